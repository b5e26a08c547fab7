import type { Pool } from '../../storage/db/pool.js';

/**
 * Ways to write the functions in migrations/functions that look right and are not. A check that lets one of them through
 * proves nothing about the real ones.
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
  /** The function of the schema session_chain that it changes. */
  routine: string;
  replacements: [original: RegExp, mutated: string][];
}

const mutants: Record<MutantName, Mutant> = {
  'siblings-beside-the-update': {
    what: 'the commit inserts its transition beside the UPDATE, not from its rows: zero rows updated is no rollback',
    breaks: /^(lineage|commits):/,
    routine: 'commit_operation',
    replacements: [
      [
        /SELECT project_id, version_id, p_old, p_new, p_source, at, session_seq, nullif\(session_seq - 1, 0\), p_parent,\s+v_attempt\.step, p_attempt, \(p_options ->> 'rewoundTo'\)::bigint FROM head/,
        `SELECT p.project_id, v_attempt.version_id, p_old, p_new, p_source, clock_timestamp(), coalesce(p.session_seq, 0) + 1,
           p.session_seq, p_parent, v_attempt.step, p_attempt, (p_options ->> 'rewoundTo')::bigint
         FROM projects p WHERE p.project_id = session_chain.project_key(v_attempt.project_id)`,
      ],
    ],
  },
  'epoch-from-a-joined-table': {
    what: 'the commit takes no lock first and compares the epoch of a joined row: after a wait for the lock Postgres looks again at the updated row only',
    breaks: /^(fenced|journal):/,
    routine: 'commit_operation',
    replacements: [
      [/PERFORM 1 FROM projects p WHERE [^;]+ FOR NO KEY UPDATE;/, ''],
      [
        /(SELECT \* INTO v_attempt FROM session_chain\.attempts a WHERE a\.id = p_attempt) FOR NO KEY UPDATE;/,
        '$1;',
      ],
      [
        /FROM session_chain\.attempts a\n/,
        `FROM session_chain.attempts a
           JOIN projects fence ON fence.project_id = session_chain.project_key(v_attempt.project_id)\n`,
      ],
      [/p\.session_epoch = v_attempt\.epoch/, 'fence.session_epoch = v_attempt.epoch'],
    ],
  },
  'ticket-and-look-in-one': {
    what: 'the ticket is drawn, the lock taken and the queue looked at in one statement, all of one snapshot',
    breaks: /^tickets:/,
    routine: 'open_chain',
    replacements: [
      [
        /PERFORM 1 FROM projects p WHERE p\.project_id = v_id FOR NO KEY UPDATE;/,
        'PERFORM 1 FROM projects p WHERE p.project_id = v_id;',
      ],
      [
        /IF v_chain\.ticket IS NULL THEN[\s\S]*?END IF;\s*SELECT \* INTO v_blocker FROM session_chain\.chains c\s*WHERE v_chain\.status = 'queued'[\s\S]*?LIMIT 1;/,
        `WITH held AS MATERIALIZED (
           SELECT p.project_id, session_chain.new_id('session_chain.tickets') AS ticket
           FROM projects p WHERE p.project_id = v_id FOR NO KEY UPDATE
         ), drawn AS (
           UPDATE session_chain.chains c SET ticket = coalesce(c.ticket, held.ticket),
             last_ticket = coalesce(c.ticket, held.ticket), run_id = p_run_id, home = p_home
           FROM held WHERE c.id = p_chain RETURNING c.ticket, c.status
         )
         SELECT c.* INTO v_blocker FROM drawn LEFT JOIN LATERAL (
           SELECT * FROM session_chain.chains c
           WHERE drawn.status = 'queued' AND c.project_id = p_project AND c.closed_at IS NULL AND c.id <> p_chain
             AND (c.status <> 'queued' OR c.ticket < drawn.ticket)
           ORDER BY c.status <> 'queued' DESC, c.ticket LIMIT 1
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

/**
 * Puts the mutant's function in the place of the real one and takes away what would keep its harm out of the tables: the
 * constraints that make the guarantees impossible to break even for code that is wrong. A check must not need them.
 * Throws where the original is not what the mutant was made from.
 */
export async function mutateDatabase(pool: Pool, name: MutantName | undefined): Promise<void> {
  await pool.query(withoutGuards);
  if (!name) return;
  const { routine, replacements } = mutants[name];
  const { rows } = await pool.query<{ text: string }>('SELECT pg_get_functiondef($1::regproc) AS text', [
    `session_chain.${routine}`,
  ]);
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
  DROP INDEX session_chain.attempts_one_committed_outside;
  -- An attempt that was ended has a failure, and could not become committed.
  DO $$
  DECLARE v_name text;
  BEGIN
    FOR v_name IN SELECT conname FROM pg_constraint WHERE conrelid = 'session_chain.attempts'::regclass AND contype = 'c'
    LOOP EXECUTE format('ALTER TABLE session_chain.attempts DROP CONSTRAINT %I', v_name);
    END LOOP;
  END $$;`;

function replaced(text: string, replacements: Mutant['replacements']): string {
  return replacements.reduce((current, [original, mutated]) => {
    if (!original.test(current)) throw new Error(`There is no ${original.source} to replace in: ${current}`);
    return current.replace(original, mutated);
  }, text);
}
