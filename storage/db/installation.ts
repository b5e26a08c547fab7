import type { Installation } from '../../contracts/installation.js';
import { SessionChainError } from '../../contracts/failures.js';
import { type Pool, queryOne, queryRows } from './pool.js';

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
  /** Sequences that were moved, and how far at most: those of fewer bits by a thousandth of what was left of them. */
  sequences: number;
  movedBy: number;
}

/** Throws DATABASE_REFUSED for a role that may not say that the database was restored. */
export async function requireOwner(pool: Pool): Promise<void> {
  const [found] = await queryRows<{ may: boolean; role: string; owner: string }>(pool, {
    text: `SELECT has_function_privilege(p.oid, 'EXECUTE') AS may, current_user AS role, pg_get_userbyid(p.proowner) AS owner
           FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
           WHERE n.nspname = 'session_chain' AND p.proname = 'mark_restored'`,
  });
  if (found === undefined || found.may) return;
  throw new SessionChainError(
    'DATABASE_REFUSED',
    `The role ${found.role} may not say that the database was restored. Nothing was changed.`,
    `Say it as the role ${found.owner}, which owns the schema session_chain.`,
  );
}

/** Raises the incarnation, and moves the sequences past all that was lost. The owner's role alone may. */
export async function markRestored(pool: Pool, isNew: boolean): Promise<MarkedRestored> {
  return await queryOne<MarkedRestored & Record<string, unknown>>(pool, {
    text: `SELECT m.id AS "installationId", m.former_id AS "formerId", m.incarnation, m.sequences, m.moved_by AS "movedBy"
           FROM session_chain.mark_restored($1) m`,
    values: [isNew],
  });
}
