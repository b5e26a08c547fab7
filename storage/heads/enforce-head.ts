import { setTimeout as sleep } from 'node:timers/promises';
import { SessionChainError } from '../../contracts/failures.js';
import { type Pool, classified, queryOne, queryRows, sqlState } from '../db/pool.js';
import { inTransaction } from '../db/transaction.js';

/** The key from projects to its last transition: with it, no head can move without a transition. */

export interface HeadKey {
  /** `valid`: it holds for every row. `not_validated`: an earlier run was interrupted; it holds for what is written. */
  status: 'valid' | 'not_validated' | 'absent';
}

const constraint = 'projects_head_is_last_transition';

/** Whether the key is there; our own databases have it from the start. */
export async function readHeadKey(pool: Pool): Promise<HeadKey> {
  // By its name, whatever the table is called: a host may expose its table under our name through a view.
  const [key] = await queryRows<{ isValid: boolean }>(pool, {
    text: `SELECT k.convalidated AS "isValid" FROM pg_constraint k
           WHERE k.conname = $1 AND k.contype = 'f' AND k.confrelid = to_regclass('session_transitions')`,
    values: [constraint],
  });
  if (!key) return { status: 'absent' };
  return { status: key.isValid ? 'valid' : 'not_validated' };
}

/** Projects that have a head which is not the last transition's session. */
const drifted = `FROM projects p
  WHERE p.last_ai_session_id IS NOT NULL AND NOT EXISTS (
    SELECT FROM session_transitions t WHERE t.project_id = session_chain.transition_project_key(p.project_id::text)
      AND t.seq = p.session_seq AND t.new_session_id = p.last_ai_session_id)`;

/** How many heads `enforceHead` would adopt. */
export async function countDriftedHeads(pool: Pool): Promise<number> {
  const { count } = await queryOne<{ count: number }>(pool, { text: `SELECT count(*) AS count ${drifted}` });
  return count;
}

export interface EnforcedHeads {
  /** False where the key existed before. */
  added: boolean;
  /** Heads that had been moved outside and got their `import` transition now. */
  adopted: number;
}

/**
 * Adds the key on a host's database, once its old writers are gone: from then on a head that is moved without a
 * transition is an error for the writer that moves it. Adopts every drifted head first; a head that was cleared (null)
 * does not violate the key and stays. Readers and chains keep working meanwhile. May be repeated, even after an
 * interruption. Throws MIGRATION_FAILED.
 */
export async function enforceHead(pool: Pool): Promise<EnforcedHeads> {
  const before = await readHeadKey(pool);
  if (before.status === 'valid') return { added: false, adopted: 0 };
  try {
    let adopted = await adoptDriftedHeads(pool);
    if (before.status === 'absent') await addKey(pool);
    // Until now a head could still move without a transition.
    adopted += await adoptDriftedHeads(pool);
    await queryRows(pool, { text: `ALTER TABLE projects VALIDATE CONSTRAINT ${constraint}` });
    return { added: true, adopted };
  } catch (error) {
    const known = classified(error);
    if (known instanceof SessionChainError) throw known;
    const { message, detail } = error as { message?: string; detail?: string };
    throw new SessionChainError(
      'MIGRATION_FAILED',
      `The key from projects to its last transition could not be added: ${[message, detail].filter(Boolean).join(' · ')}`,
      'Correct what the message names, then enforce the key again.',
      { cause: error },
    );
  }
}

/** In small transactions, so that others do not wait long for a row. */
async function adoptDriftedHeads(pool: Pool): Promise<number> {
  const perTransaction = 200;
  for (let adopted = 0; ;) {
    const rows = await queryRows<{ wasAdopted: boolean }>(pool, {
      name: 'adopt_drifted_heads',
      // The lock is taken before anything is read, in an order in which two runs cannot deadlock.
      text: `WITH locked AS MATERIALIZED (SELECT p.project_id ${drifted} ORDER BY p.project_id LIMIT ${perTransaction} FOR NO KEY UPDATE OF p)
             SELECT a.adopted_session_id IS NOT NULL AS "wasAdopted"
             FROM locked l CROSS JOIN LATERAL session_chain.adopt_head(l.project_id::text, 0) a`,
    });
    adopted += rows.filter(({ wasAdopted }) => wasAdopted).length;
    if (rows.length === 0) return adopted;
  }
}

async function addKey(pool: Pool): Promise<void> {
  const { kind, hasRef } = await queryOne<{ kind: string; hasRef: boolean }>(pool, {
    text: `SELECT c.relkind AS kind, EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = 'session_transitions'::regclass
             AND a.attname = 'project_ref' AND NOT a.attisdropped) AS "hasRef"
           FROM pg_class c WHERE c.oid = 'projects'::regclass`,
  });
  if (kind === 'v') {
    throw new SessionChainError(
      'MIGRATION_FAILED',
      'projects is a view, not a table, and cannot have a key.',
      'Give the table its name for the time of this command; the recipe is in docs/host-databases.md.',
    );
  }
  // For what is written from now on; existing rows are validated afterwards, without a lock that blocks writers.
  const statement = `ALTER TABLE projects ADD CONSTRAINT ${constraint}
    FOREIGN KEY (project_id, session_seq, last_ai_session_id)
    REFERENCES session_transitions (${hasRef ? 'project_ref' : 'project_id'}, seq, new_session_id) NOT VALID`;
  for (const deadlineMs = Date.now() + giveUpAfterMs; ;) {
    const added = await inTransaction(pool, async (client) => {
      // It locks two tables, which others lock in the opposite order: it times out before Postgres detects a deadlock.
      await client.query(`SET LOCAL lock_timeout = '300ms'`);
      await client.query(statement);
      return true;
    }).catch((error: unknown) => {
      const state = sqlState(error);
      // Another process has just added it.
      if (state === duplicateObject) return true;
      if (state !== lockNotAvailable || Date.now() > deadlineMs) throw error;
      return false;
    });
    if (added) return;
    await sleep(Math.random() * 300);
  }
}

const giveUpAfterMs = 60_000;
const lockNotAvailable = '55P03';
const duplicateObject = '42710';
