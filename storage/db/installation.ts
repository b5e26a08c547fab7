import type { Installation } from '../../contracts/installation.js';
import { type Pool, queryOne } from './pool.js';

export async function readInstallation(pool: Pool): Promise<Installation> {
  return await queryOne<Installation & Record<string, unknown>>(pool, {
    name: 'read_installation',
    text: 'SELECT i.id, i.incarnation, current_database() AS database FROM session_chain.installation i',
  });
}

/** What is said of a database that was restored. */
export interface MarkedRestored {
  installationId: string;
  /** The id that it had; the same unless it got a new one. */
  formerId: string;
  incarnation: number;
  /** Sequences that were moved, and how far: those of 32 bits by a tenth of it. */
  sequences: number;
  movedBy: number;
}

/** Raises the incarnation, and moves the sequences past all that was lost. The owner's role alone may. */
export async function markRestored(pool: Pool, isNew: boolean): Promise<MarkedRestored> {
  return await queryOne<MarkedRestored & Record<string, unknown>>(pool, {
    text: `SELECT m.id AS "installationId", m.former_id AS "formerId", m.incarnation, m.sequences, m.moved_by AS "movedBy"
           FROM session_chain.mark_restored($1) m`,
    values: [isNew],
  });
}
