import type { QueryConfig } from 'pg';
import type { Pool } from '../../storage/db/pool.js';

/**
 * Ways to write the storage functions that look right and are not. A check that lets one of them through proves nothing
 * about the real ones.
 */
export const mutantNames = [
  'siblings-beside-the-update',
  'epoch-from-a-joined-table',
  'ticket-and-look-in-one',
] as const;
export type MutantName = (typeof mutantNames)[number];

interface Mutant {
  what: string;
  /** The rules of the checker that it breaks, by name. */
  breaks: RegExp;
  /** Replaces parts of the statement that moves the head. */
  moveHead?: Replacement[];
  /** Replaces parts of the function that takes the turn. */
  openChain?: Replacement[];
}

type Replacement = [original: RegExp, mutated: string];

const mutants: Record<MutantName, Mutant> = {
  'siblings-beside-the-update': {
    what: 'the commit inserts its transition beside the UPDATE, not from its rows: zero rows updated is no rollback',
    breaks: /^(lineage|commits):/,
    moveHead: [
      [
        /SELECT project_id, version_id, \$5, \$6, \$7, at, session_seq, nullif\(session_seq - 1, 0\), \$8, step, \$3 FROM head/,
        `SELECT p.project_id, $2, $5, $6, $7, clock_timestamp(), coalesce(p.session_seq, 0) + 1, p.session_seq, $8, a.step, $3
         FROM projects p, session_chain.attempts a WHERE p.project_id = $1 AND a.id = $3`,
      ],
    ],
  },
  'epoch-from-a-joined-table': {
    what: 'the commit compares the epoch of a joined row: after a wait for the lock Postgres looks again at the updated row only',
    breaks: /^(fenced|journal):/,
    moveHead: [
      [
        /FROM session_chain\.attempts a\n/,
        'FROM session_chain.attempts a JOIN projects fence ON fence.project_id = $1\n',
      ],
      [/p\.session_epoch = \$4/, 'fence.session_epoch = $4'],
    ],
  },
  'ticket-and-look-in-one': {
    what: 'the ticket is drawn, the lock taken and the line looked at in one statement, all of one snapshot',
    breaks: /^turns:/,
    openChain: [
      [
        /PERFORM 1 FROM projects p WHERE p\.project_id = v_id FOR NO KEY UPDATE;/,
        'PERFORM 1 FROM projects p WHERE p.project_id = v_id;',
      ],
      [
        /IF v_chain\.turn IS NULL THEN[\s\S]*?END IF;\s*SELECT \* INTO v_blocker FROM session_chain\.chains c\s*WHERE v_chain\.status = 'queued'[\s\S]*?LIMIT 1;/,
        `WITH held AS MATERIALIZED (
           SELECT p.project_id FROM projects p WHERE p.project_id = v_id FOR NO KEY UPDATE
         ), drawn AS (
           UPDATE session_chain.chains c SET turn = coalesce(c.turn, nextval('session_chain.turns')), run_id = p_run_id, home = p_home
           FROM held WHERE c.id = p_chain RETURNING c.turn, c.status
         )
         SELECT c.* INTO v_blocker FROM drawn LEFT JOIN LATERAL (
           SELECT * FROM session_chain.chains c
           WHERE drawn.status = 'queued' AND c.project_id = p_project AND c.closed_at IS NULL AND c.id <> p_chain
             AND (c.status <> 'queued' OR c.turn < drawn.turn)
           ORDER BY c.status <> 'queued' DESC, c.turn LIMIT 1
         ) c ON true;
         SELECT * INTO STRICT v_chain FROM session_chain.chains c WHERE c.id = p_chain;
         -- For the EXIT WHEN NOT FOUND that follows.
         PERFORM 1 WHERE v_blocker.id IS NOT NULL;`,
      ],
    ],
  },
};

export function describeMutant(name: MutantName): Pick<Mutant, 'what' | 'breaks'> {
  return mutants[name];
}

/** A pool whose statements are those of the mutant. Throws where the original is not what the mutant was made from. */
export function mutatePool(pool: Pool, name: MutantName | undefined): Pool {
  const replacements = name && mutants[name].moveHead;
  if (!replacements) return pool;
  return new Proxy(pool, {
    get(target, property) {
      if (property !== 'query') {
        const value: unknown = Reflect.get(target, property, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      }
      return async (query: QueryConfig) =>
        await target.query(
          query.name === 'move_head' ? { ...query, text: replaced(query.text, replacements) } : query,
        );
    },
  });
}

/**
 * Puts the mutant's functions in the place of the real ones and takes away what would keep its harm out of the tables: the
 * constraints that make the guarantees impossible to break even for code that is wrong. A check must not need them.
 */
export async function mutateDatabase(pool: Pool, name: MutantName | undefined): Promise<void> {
  await pool.query(withoutGuards);
  const replacements = name && mutants[name].openChain;
  if (!replacements) return;
  const { rows } = await pool.query<{ text: string }>(
    `SELECT pg_get_functiondef('session_chain.open_chain'::regproc) AS text`,
  );
  await pool.query(replaced(rows[0]?.text ?? '', replacements));
}

const withoutGuards = `
  ALTER TABLE projects DROP CONSTRAINT projects_head_is_last_transition;
  ALTER TABLE session_transitions DROP CONSTRAINT session_transitions_starts_where_the_last_ended,
    DROP CONSTRAINT session_transitions_seq_key, DROP CONSTRAINT session_transitions_link_key,
    DROP CONSTRAINT session_transitions_no_gap;
  DROP INDEX session_transitions_one_root;
  DROP INDEX session_chain.chains_one_holder;
  DROP INDEX session_chain.attempts_one_committed;
  -- An attempt that was ended has a failure, and could not become committed.
  DO $$
  DECLARE v_name text;
  BEGIN
    FOR v_name IN SELECT conname FROM pg_constraint WHERE conrelid = 'session_chain.attempts'::regclass AND contype = 'c'
    LOOP EXECUTE format('ALTER TABLE session_chain.attempts DROP CONSTRAINT %I', v_name);
    END LOOP;
  END $$;`;

function replaced(text: string, replacements: Replacement[]): string {
  return replacements.reduce((current, [original, mutated]) => {
    if (!original.test(current)) throw new Error(`There is no ${original.source} to replace in: ${current}`);
    return current.replace(original, () => mutated);
  }, text);
}
