import type { BuildId, ProjectId, SessionId, VersionId } from '../../contracts/ids.js';
import { readHead } from './heads.js';
import { type Pool, queryOne, queryRows } from '../db/pool.js';

/** Why a project drifted. */
export const driftReasons = [
  /** The chain of the newest version has not opened yet. */
  'version_not_opened',
  /** The last transition belongs to another version than the newest. */
  'chain_on_older_version',
  /** The head is not the session of the last transition. */
  'head_moved_outside',
  /** The newest version names another session, and none of the above explains it. */
  'version_row_differs',
  /** A transition is missing, or does not start where the one before it ended. */
  'broken_lineage',
  /** The Redis copy names another session than the last attempt of the newest chain. */
  'checkpoint_differs',
] as const;
export type DriftReason = (typeof driftReasons)[number];

export interface DriftedProject {
  projectId: ProjectId;
  /** The newest one; null where the project has none. */
  versionId: VersionId | null;
  head: SessionId;
  versionSession: SessionId | null;
  /** False for OUT_OF_SYNC in the monitoring query. */
  inSync: boolean;
  reasons: DriftReason[];
}

export interface SyncReport {
  /** Projects that have a head and a version. */
  projects: number;
  /** Those whose newest version names the head: SYNCED in the monitoring query. */
  inSync: number;
  /** inSync / projects; null where there are none. */
  share: number | null;
  /** Projects with a head and no version: neither the monitoring query nor the share counts them. */
  withoutVersion: number;
  /** Drifted projects, in order of their ids, up to the limit. */
  drifted: DriftedProject[];
  /** Whether there are more; with a limit of 0 whether a project is out of sync. */
  more: boolean;
  checkpoints: CheckpointCheck;
}

export type CheckpointCheck =
  /** How many were found and compared. `malformed`: how many builds have something else in its place. */
  | { status: 'compared'; compared: number; malformed: number }
  /** `off`: no Redis was given, or the limit is 0. `unavailable`: it did not answer, and no checkpoint is compared. */
  | { status: 'off' | 'unavailable' };

export interface SyncOptions {
  /** Only this project, which has to exist. */
  projectId?: ProjectId;
  /** Only these. */
  projectIds?: readonly ProjectId[];
  /** The maximum number of drifted projects in the report; 0 only counts, which takes a small part of the time. */
  limit: number;
  /** Where the checkpoints are; null leaves them out. */
  redisUrl: string | null;
}

// The statements below have no names, so that each is planned for what it asks: one project, or all.

/** What the monitoring query of the documents answers; of each project it reads the newest version alone. */
export const syncQuery = `SELECT p.project_id, p.last_ai_session_id AS project_session, pv.ai_session_id AS version_session, pv.version_id,
  CASE WHEN p.last_ai_session_id = pv.ai_session_id THEN 'SYNCED' ELSE 'OUT_OF_SYNC' END AS sync_status
FROM projects p CROSS JOIN LATERAL (SELECT v.version_id, v.ai_session_id FROM project_versions v
  WHERE v.project_id = p.project_id ORDER BY v.created_at DESC LIMIT 1) pv WHERE true`;

/** Compares heads, version rows, transitions and checkpoints of projects that have a head. Throws PROJECT_NOT_FOUND. */
export async function readSyncReport(
  pool: Pool,
  { projectId, projectIds: some, limit, redisUrl }: SyncOptions,
): Promise<SyncReport> {
  if (projectId !== undefined) await readHead(pool, projectId);
  const projectIds =
    projectId === undefined ? (some ?? null) : [projectId].filter((id) => some?.includes(id) ?? true);
  const { projects, inSync } = await queryOne<{ projects: number; inSync: number }>(pool, {
    text: `SELECT count(*) AS projects, count(*) FILTER (WHERE s.sync_status = 'SYNCED') AS "inSync"
           FROM (${syncQuery} AND ${ofProject}) s WHERE s.project_session IS NOT NULL`,
    values: [projectIds],
  });
  const { withoutVersion } = await queryOne<{ withoutVersion: number }>(pool, {
    text: `SELECT count(*) AS "withoutVersion" FROM projects p
           WHERE p.last_ai_session_id IS NOT NULL AND ${ofProject}
             AND NOT EXISTS (SELECT FROM project_versions v WHERE v.project_id = p.project_id)`,
    values: [projectIds],
  });
  const counts = { projects, inSync, share: projects === 0 ? null : inSync / projects, withoutVersion };
  if (limit === 0) return { ...counts, drifted: [], more: inSync < projects, checkpoints: { status: 'off' } };
  const stale = await staleCheckpoints(pool, projectIds, redisUrl);
  const drifted = await listDrifted(pool, projectIds, stale.projectIds, limit + 1);
  return {
    ...counts,
    drifted: drifted.slice(0, limit),
    more: drifted.length > limit,
    checkpoints: stale.check,
  };
}

/** Every reason that applies to a project, in the order of `driftReasons`; projects without one are left out. */
async function listDrifted(
  pool: Pool,
  projectIds: readonly ProjectId[] | null,
  staleCheckpoints: ProjectId[],
  limit: number,
): Promise<DriftedProject[]> {
  return await queryRows<DriftedProject>(pool, {
    text: driftQuery,
    values: [projectIds, staleCheckpoints, limit],
  });
}

/** The same for some projects, without their checkpoints. */
export async function driftOf(
  pool: Pool,
  projectIds: readonly ProjectId[],
): Promise<Map<ProjectId, DriftReason[]>> {
  const drifted = await listDrifted(pool, projectIds, [], projectIds.length);
  return new Map(drifted.map(({ projectId, reasons }) => [projectId, reasons]));
}

/** The condition that a column with a project's id is one of $1; `cast` gives an id the column's type. */
function isAsked(column: string, cast: 'project_key' | 'transition_project_key' = 'project_key'): string {
  return `($1::text[] IS NULL OR ${column} = ANY (ARRAY(
    SELECT session_chain.${cast}(one.id) FROM unnest($1::text[]) AS one (id))))`;
}

const ofProject = isAsked('p.project_id');
const ofTransition = isAsked('t.project_id', 'transition_project_key');

const driftQuery = `
      WITH sync AS (${syncQuery} AND ${ofProject}),
      -- A row of a transition whose predecessor is missing or ended elsewhere; the first one that is kept has none.
      broken AS (
        SELECT DISTINCT t.project_id::text AS project_id FROM session_transitions t
        LEFT JOIN session_transitions b ON b.project_id = t.project_id AND b.seq = t.seq - 1
        WHERE t.seq IS NOT NULL AND ${ofTransition}
          AND (CASE WHEN b.seq IS NULL THEN t.prev_seq IS NOT NULL
                    ELSE t.prev_seq IS DISTINCT FROM b.seq OR t.old_session_id IS DISTINCT FROM b.new_session_id END)
        UNION
        -- Where the archive of transitions does not end at the first one that is kept.
        SELECT t.project_id::text FROM session_transitions t CROSS JOIN LATERAL (
          SELECT a.seq, a.new_session_id FROM session_chain.session_transitions_archive a
          WHERE a.project_id = t.project_id::text ORDER BY a.seq DESC LIMIT 1) a
        WHERE t.seq IS NOT NULL AND t.prev_seq IS NULL AND ${ofTransition}
          AND (a.seq <> t.seq - 1 OR a.new_session_id IS DISTINCT FROM t.old_session_id)
        UNION
        SELECT p.project_id::text FROM projects p
        LEFT JOIN session_transitions t ON t.project_id = session_chain.transition_project_key(p.project_id::text) AND t.seq = p.session_seq
        WHERE p.session_seq IS NOT NULL AND t.seq IS NULL AND ${ofProject}
      ),
      compared AS (
        SELECT p.project_id::text AS project_id, s.version_id::text AS version_id, p.last_ai_session_id AS head, s.version_session,
          s.version_id IS NULL OR s.sync_status = 'SYNCED' AS in_sync,
          p.last_ai_session_id IS DISTINCT FROM t.new_session_id AND t.seq IS NOT NULL AS moved,
          -- Adopted by a chain that could not open, or never seen by us.
          t.source = 'import' AND t.version_id IS NULL OR p.session_seq IS NULL AS came_from_outside,
          s.version_id IS NOT NULL AND s.version_session IS NULL AND NOT EXISTS (SELECT FROM session_chain.chains c
            WHERE c.project_id = p.project_id::text AND c.version_id = s.version_id::text AND c.opened_at IS NOT NULL) AS not_opened,
          coalesce(t.version_id::text <> s.version_id::text, false) AS older_version
        FROM projects p
        LEFT JOIN sync s ON s.project_id = p.project_id
        LEFT JOIN session_transitions t ON t.project_id = session_chain.transition_project_key(p.project_id::text) AND t.seq = p.session_seq
        WHERE p.last_ai_session_id IS NOT NULL AND ${ofProject}
      ),
      judged AS MATERIALIZED (
        SELECT c.project_id, c.version_id, c.head, c.version_session, c.in_sync, array_remove(ARRAY[
          CASE WHEN NOT c.in_sync AND c.not_opened THEN 'version_not_opened' END,
          CASE WHEN NOT c.in_sync AND NOT c.not_opened AND c.older_version AND NOT c.moved THEN 'chain_on_older_version' END,
          CASE WHEN c.moved OR (NOT c.in_sync AND c.came_from_outside) THEN 'head_moved_outside' END,
          CASE WHEN NOT c.in_sync AND NOT (c.not_opened OR c.older_version OR c.moved OR c.came_from_outside)
            THEN 'version_row_differs' END,
          CASE WHEN c.project_id IN (SELECT project_id FROM broken) THEN 'broken_lineage' END,
          CASE WHEN c.project_id = ANY ($2) THEN 'checkpoint_differs' END], NULL) AS reasons
        FROM compared c
      )
      SELECT project_id AS "projectId", version_id AS "versionId", head, version_session AS "versionSession",
        in_sync AS "inSync", reasons
      FROM judged WHERE cardinality(reasons) > 0 ORDER BY project_id LIMIT $3`;

/** A checkpoint expires after an hour; at most this many builds, the newest, are compared. */
const comparedCheckpoints = 1_000;

/**
 * The projects whose newest chain closed within the last hour under another session than its checkpoint names. A chain
 * that works is left out: its copy is behind for a moment by design.
 */
async function staleCheckpoints(
  pool: Pool,
  projectIds: readonly ProjectId[] | null,
  redisUrl: string | null,
): Promise<{ projectIds: ProjectId[]; check: CheckpointCheck }> {
  if (redisUrl === null) return { projectIds: [], check: { status: 'off' } };
  const chains = await queryRows<{
    projectId: ProjectId;
    buildId: BuildId;
    sessionIds: (SessionId | null)[];
  }>(pool, {
    text: `SELECT c.project_id AS "projectId", c.build_id AS "buildId", ARRAY[a.session_id, a.adopts] AS "sessionIds"
           FROM session_chain.chains c
           CROSS JOIN LATERAL (SELECT a.session_id, a.adopts FROM session_chain.attempts a
             WHERE a.chain = c.id ORDER BY a.id DESC LIMIT 1) a
           WHERE c.closed_at > clock_timestamp() - interval '1 hour' AND ($1::text[] IS NULL OR c.project_id = ANY ($1))
             AND NOT EXISTS (SELECT FROM session_chain.chains n
               WHERE n.project_id = c.project_id AND n.id <> c.id AND (n.opened_at > c.opened_at OR n.closed_at IS NULL))
           ORDER BY c.closed_at DESC LIMIT ${comparedCheckpoints}`,
    values: [projectIds],
  });
  // Loaded for this report only, and with it the client of Redis.
  const { createCheckpoint } = await import('../checkpoint.js');
  const checkpoint = createCheckpoint(redisUrl, { log: () => undefined });
  try {
    // With nothing to compare, Redis is asked whether it is there.
    const asked = chains.length === 0 ? ['sync' as BuildId] : chains.map(({ buildId }) => buildId);
    const found = await checkpoint.find(asked);
    if (found === null) return { projectIds: [], check: { status: 'unavailable' } };
    const sessions = [...found.values()];
    return {
      projectIds: chains.flatMap(({ projectId, buildId, sessionIds }) => {
        const copy = found.get(buildId) ?? null;
        return copy !== null && !sessionIds.includes(copy) ? [projectId] : [];
      }),
      check: {
        status: 'compared',
        compared: sessions.filter((session) => session !== null).length,
        malformed: sessions.filter((session) => session === null).length,
      },
    };
  } finally {
    checkpoint.close();
  }
}
