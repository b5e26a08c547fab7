import type { ProjectId } from '../../contracts/ids.js';
import {
  type ProjectStorage,
  type StorageOverview,
  type Stored,
  type StoredKind,
  storedKinds,
} from '../../contracts/storage.js';
import { type Pool, queryOne, queryRows } from '../db/pool.js';

/** How the rows `t` of a kind are found and measured. pg_column_size reads no text: it takes the size of what is stored aside. */
interface Measured {
  table: string;
  /** The project of a row, as text, and the condition that it is a row of this one, `$1`, by an index. */
  project: string;
  ofProject: string;
  join?: string;
  /** Bytes of a row; the constants are its header and its columns of a fixed size. */
  size: string;
}

const bySize = (fixed: number, ...columns: string[]) =>
  [String(fixed), ...columns.map((column) => `coalesce(pg_column_size(t.${column}), 0)`)].join(' + ');
const ours = { project: 't.project_id', ofProject: 't.project_id = $1' };
const hosts = (key: string) => ({
  project: 't.project_id::text',
  ofProject: `t.project_id = session_chain.${key}($1)`,
});

const measured: Record<StoredKind, Measured> = {
  texts: { ...ours, table: 'session_chain.transcript_texts', size: bySize(84, 'project_id', 'content') },
  batches: {
    table: 'session_chain.transcript_batches',
    join: 'JOIN session_chain.sessions s ON s.id = t.session',
    project: 's.project_id',
    ofProject: 's.project_id = $1',
    size: bySize(72, 'subpath', 'entry_ids'),
  },
  sessions: { ...ours, table: 'session_chain.sessions', size: 'pg_column_size(t)' },
  transitions: {
    ...hosts('transition_project_key'),
    table: 'session_transitions',
    size: 'CASE WHEN t.seq IS NOT NULL THEN pg_column_size(t) END',
  },
  archivedTransitions: {
    ...ours,
    table: 'session_chain.session_transitions_archive',
    size: 'pg_column_size(t)',
  },
  attempts: {
    ...ours,
    table: 'session_chain.attempts',
    size: bySize(300, 'result', 'value', 'failure', 'evidence'),
  },
  metrics: {
    table: 'project_ai_session_metrics',
    join: 'JOIN session_chain.attempts s ON s.id = t.attempt_id',
    project: 's.project_id',
    ofProject: 's.project_id = $1',
    size: bySize(300, 'usage_by_model'),
  },
  chains: {
    ...ours,
    table: 'session_chain.chains',
    size: `${bySize(300, 'instruction', 'plan', 'result', 'failures', 'spent', 'origin')}
      + coalesce((SELECT sum(72 + pg_column_size(b.content) + pg_column_size(b.parts)) FROM session_chain.briefs b
         WHERE b.chain = t.id), 0)`,
  },
  questions: {
    ...hosts('chat_log_project_key'),
    table: 'project_chat_log_minimal',
    size: `CASE WHEN t.question_id IS NOT NULL THEN ${bySize(200, 'question', 'reply', 'failure')} END`,
  },
  events: { ...ours, table: 'session_chain.events', size: 'pg_column_size(t)' },
};

/** What sessions `t` appended, and what of it is archived and waits to be dropped. */
const ofSessions = (days: string) => `
  coalesce(sum(t.appended_bytes) FILTER (WHERE t.dropped_at IS NULL), 0) AS "hereBytes",
  coalesce(sum(t.appended_bytes) FILTER (WHERE t.created_at > clock_timestamp() - interval '7 days'), 0) AS "weekBytes",
  coalesce(sum(t.appended_bytes) FILTER (WHERE t.created_at > clock_timestamp() - interval '30 days'), 0) AS "monthBytes",
  coalesce(sum(t.appended_bytes) FILTER (WHERE t.dropped_at IS NULL
    AND a.verified_at <= clock_timestamp() - ${days} * interval '1 day'), 0) AS "nowBytes",
  coalesce(sum(t.appended_bytes) FILTER (WHERE t.dropped_at IS NULL
    AND a.verified_at > clock_timestamp() - ${days} * interval '1 day'), 0) AS "laterBytes"`;

interface Appended {
  hereBytes: number;
  weekBytes: number;
  monthBytes: number;
  nowBytes: number;
  laterBytes: number;
}

/** What a project takes. `dropDays` is null where nothing is archived. */
export async function readProjectStorage(
  pool: Pool,
  projectId: ProjectId,
  dropDays: number | null,
): Promise<ProjectStorage> {
  const kinds = storedKinds.map((kind) => {
    const { table, join = '', ofProject, size } = measured[kind];
    return `SELECT '${kind}' AS kind, count(one.size) AS rows, coalesce(sum(one.size), 0) AS bytes
      FROM (SELECT ${size} AS size FROM ${table} t ${join} WHERE ${ofProject}) one`;
  });
  const [rows, appended] = await Promise.all([
    queryRows<{ kind: StoredKind } & Stored>(pool, {
      name: 'project_storage',
      text: kinds.join(' UNION ALL '),
      values: [projectId],
    }),
    queryOne<Appended & Pick<ProjectStorage, 'archive' | 'leftAlone'>>(pool, {
      name: 'project_storage_growth',
      text: `SELECT ${ofSessions('$2')}, session_chain.why_left_alone($1) AS "leftAlone",
               (SELECT jsonb_build_object('files', count(*), 'bytes', coalesce(sum(p.bytes), 0))
                FROM session_chain.archive_parts p WHERE p.project_id = $1 AND p.state = 'verified') AS archive
             FROM session_chain.sessions t LEFT JOIN session_chain.archive_parts a ON a.id = t.archive_part
             WHERE t.project_id = $1`,
      values: [projectId, dropDays ?? 0],
    }),
  ]);
  const stored = Object.fromEntries(rows.map(({ kind, ...own }) => [kind, own])) as Record<
    StoredKind,
    Stored
  >;
  const { archive, leftAlone } = appended;
  const figures = figuresOf(appended, stored.texts.bytes + stored.batches.bytes, dropDays);
  return {
    projectId,
    bytes: storedKinds.reduce((sum, kind) => sum + stored[kind].bytes, 0),
    kinds: stored,
    archive,
    ...figures,
    freeable: figures.freeable && leftAlone !== null ? { now: 0, later: 0 } : figures.freeable,
    leftAlone,
  };
}

/** What was appended counts as what it takes, in the proportion of what is here. */
function figuresOf(
  { hereBytes, weekBytes, monthBytes, nowBytes, laterBytes }: Appended,
  transcripts: number,
  dropDays: number | null,
): Pick<ProjectStorage, 'growthPerDay' | 'freeable'> {
  const stored = (appended: number) =>
    Math.round(hereBytes === 0 ? appended : appended * (transcripts / hereBytes));
  return {
    growthPerDay: { last7Days: stored(weekBytes / 7), last30Days: stored(monthBytes / 30) },
    freeable: dropDays === null ? null : { now: stored(nowBytes), later: stored(laterBytes) },
  };
}

/** So many pages of a table are read at most. */
const sampledPages = 1_000;

/** What everything takes, and the `limit` projects that take most. */
export async function readStorage(
  pool: Pool,
  limit: number,
  dropDays: number | null,
): Promise<StorageOverview> {
  const tables = await queryRows<{ kind: StoredKind; pages: number; bytes: number }>(pool, {
    name: 'storage_tables',
    text: storedKinds
      .map(
        (
          kind,
        ) => `SELECT '${kind}' AS kind, pg_total_relation_size(c.oid) + ${kind === 'chains' ? briefs : 0} AS bytes,
          pg_relation_size(c.oid) / current_setting('block_size')::bigint AS pages
        FROM pg_class c WHERE c.oid = '${measured[kind].table}'::regclass`,
      )
      .join(' UNION ALL '),
  });
  const share = (kind: StoredKind) => {
    const pages = tables.find((table) => table.kind === kind)?.pages ?? 0;
    return Math.min(100, (100 * sampledPages) / Math.max(pages, 1));
  };
  const sample = (kind: StoredKind) =>
    `${measured[kind].table} t TABLESAMPLE SYSTEM (${share(kind)}) REPEATABLE (1)`;
  const [counted, projects, appended] = await Promise.all([
    // Not the catalogue's figures, which are unknown until a table is analyzed.
    queryRows<{ kind: StoredKind; rows: number }>(pool, {
      text: storedKinds
        .map(
          (kind) =>
            `SELECT '${kind}' AS kind, round(count(*) * ${100 / share(kind)})::bigint AS rows FROM ${sample(kind)}`,
        )
        .join(' UNION ALL '),
    }),
    queryRows<{ projectId: ProjectId; bytes: number; allTranscripts: number }>(pool, {
      // Without a name: the shares differ from time to time.
      text: `
        WITH taken AS (${storedKinds
          .map((kind) => {
            const { join = '', project, size } = measured[kind];
            return `SELECT ${project} AS project, '${kind}' AS kind, sum(${size}) * ${100 / share(kind)} AS bytes
              FROM ${sample(kind)} ${join} GROUP BY 1`;
          })
          .join(' UNION ALL ')})
        SELECT project AS "projectId", round(sum(bytes))::bigint AS bytes,
          (SELECT coalesce(round(sum(a.bytes)), 0)::bigint FROM taken a WHERE a.kind IN ('texts', 'batches')) AS "allTranscripts"
        FROM taken WHERE bytes > 0 AND project IS NOT NULL GROUP BY project ORDER BY sum(bytes) DESC, project LIMIT $1`,
      values: [limit],
    }),
    queryOne<Appended & Pick<StorageOverview, 'archive'>>(pool, {
      text: `SELECT ${ofSessions('$1::integer')},
               (SELECT jsonb_build_object('files', count(*), 'bytes', coalesce(sum(p.bytes), 0))
                FROM session_chain.archive_parts p WHERE p.state = 'verified') AS archive
             FROM ${sample('sessions')} LEFT JOIN session_chain.archive_parts a ON a.id = t.archive_part`,
      values: [dropDays ?? 0],
    }),
  ]);
  const { archive, ...sampled } = appended;
  const whole = Object.fromEntries(
    Object.entries(sampled).map(([name, bytes]) => [name, bytes * (100 / share('sessions'))]),
  ) as unknown as Appended;
  return {
    bytes: tables.reduce((sum, { bytes }) => sum + bytes, 0),
    kinds: Object.fromEntries(
      tables.map(({ kind, bytes }) => [
        kind,
        { rows: counted.find((one) => one.kind === kind)?.rows ?? 0, bytes },
      ]),
    ) as Record<StoredKind, Stored>,
    archive,
    ...figuresOf(whole, projects[0]?.allTranscripts ?? 0, dropDays),
    projects: projects.map(({ projectId, bytes }) => ({ projectId, bytes })),
    isEstimate: storedKinds.some((kind) => share(kind) < 100),
  };
}

const briefs = `pg_total_relation_size('session_chain.briefs')`;
