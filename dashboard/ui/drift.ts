import type { Schemas } from '../api/client.js';

/** Why a project is out of sync, in words. */
export const driftText: Record<Schemas['Project']['reasons'][number], string> = {
  version_not_opened: 'The chain of the newest version has not opened yet.',
  chain_on_older_version: 'The last move of the head belongs to an older version.',
  head_moved_outside: 'The head was moved past session-chain.',
  version_row_differs: 'The newest version names another session.',
  broken_lineage: 'A transition is missing, or does not start where the one before it ended.',
  checkpoint_differs: 'The copy in Redis names another session.',
};
