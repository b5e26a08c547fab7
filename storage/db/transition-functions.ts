import type { Routine } from './id-functions.js';
import { type Connection, queryRows } from './pool.js';

/**
 * The transitions of one project, and of all, whether they are in `session_transitions` or in its archive. The planner puts
 * their bodies in place of the call, so that the indexes of both tables are used: that is why they have neither the owner's
 * rights nor a search path of their own, and name the host's table in full. Their bodies are text, because Postgres lets no
 * column that a parsed body reads get another type. The view is for people and their tools.
 */
export async function transitionFunctions(connection: Connection): Promise<Routine[]> {
  const [found] = await queryRows<{ table: string }>(connection, {
    text: `SELECT format('%I.%I', n.nspname, c.relname) AS table FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE c.oid = to_regclass('session_transitions')`,
  });
  const inlined = (name: string, text: (table: string) => string): Routine => ({
    name,
    text: found === undefined ? null : text(found.table),
    isInlined: true,
  });
  return [
    inlined(
      'all_transitions',
      (table) => `-- The transitions of a project, those in the archive included.
${functionOf(
  'all_transitions(p_project text)',
  table,
  ' WHERE t.project_id = session_chain.transition_project_key(p_project)',
  ' WHERE a.project_id = p_project',
)}`,
    ),
    inlined(
      'every_transition',
      (table) => `-- The transitions of every project, those in the archive included.
${functionOf('every_transition()', table, '', '')}
CREATE VIEW session_chain.session_transitions_all AS SELECT * FROM session_chain.every_transition();
COMMENT ON VIEW session_chain.session_transitions_all IS 'Every transition: those of session_transitions, and those that left it for the archive';
${Object.entries(comments)
  .map(
    ([column, comment]) =>
      `COMMENT ON COLUMN session_chain.session_transitions_all.${column} IS '${comment}';\n`,
  )
  .join('')}`,
    ),
  ];
}

const comments = {
  id: 'As in session_transitions, as text',
  project_id: 'projects.project_id as text',
  version_id: 'project_versions.version_id as text; null outside a version',
  old_session_id: 'The head before it',
  new_session_id: 'The head that it made',
  source: 'Name of the step, or what else moved the head',
  created_at: 'When the head moved',
  seq: 'Counts the moves of a project; null for a row from before session-chain',
  prev_seq: 'seq of the move before it; null for the first',
  parent_session_id: 'The session that was forked; null for one that started fresh',
  step: 'Name of the step; null outside a chain',
  attempt_id: 'step_overview.attempt_id',
  rewound_to: 'Of a rewind: the seq whose session it copied',
};

function functionOf(signature: string, table: string, ofHot: string, ofArchive: string): string {
  return `CREATE FUNCTION session_chain.${signature}
RETURNS TABLE (id text, project_id text, version_id text, old_session_id text, new_session_id text, source text,
  created_at timestamptz, seq bigint, prev_seq bigint, parent_session_id text, step text, attempt_id bigint, rewound_to bigint)
LANGUAGE sql STABLE AS $$
  SELECT t.id::text, t.project_id::text, t.version_id::text, t.old_session_id::text, t.new_session_id::text, t.source::text,
    t.created_at::timestamptz, t.seq,
    -- The first one that is kept lost its link when the one before it moved.
    coalesce(t.prev_seq, (SELECT b.seq FROM session_chain.session_transitions_archive b
      WHERE b.project_id = t.project_id::text AND b.seq = t.seq - 1)),
    t.parent_session_id::text, t.step::text, t.attempt_id, t.rewound_to
  FROM ${table} t${ofHot}
  UNION ALL
  SELECT a.id, a.project_id, a.version_id, a.old_session_id, a.new_session_id, a.source, a.created_at, a.seq,
    (SELECT b.seq FROM session_chain.session_transitions_archive b WHERE b.project_id = a.project_id AND b.seq = a.seq - 1),
    a.parent_session_id, a.step, a.attempt_id, a.rewound_to
  FROM session_chain.session_transitions_archive a${ofArchive}
$$;`;
}
