import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect } from '@jest/globals';
import { listParts, readPart } from '../../archive/part.js';
import type { PartLine } from '../../contracts/archive.js';
import type { SessionId } from '../../contracts/ids.js';
import type { Pool } from '../../storage/db/pool.js';
import { getSessionChain } from '../../storage/heads/heads.js';
import { type GroupedSpend, spendBy, spendGroups } from '../../storage/ledger/ledger.js';
import { sessionFitness } from '../../storage/transcripts/store.js';
import { entryDecoder } from '../../transcript/codec.js';
import { type Project, type World, policy } from './world.js';

/**
 * All that ever was of a project, and whether it still is: in the database, or in verified files of the archive. Of moments
 * the time of day counts, to the microsecond: projects age by whole days.
 */
export interface Recorded {
  transitions: Rows;
  sessions: Rows;
  /** The appends of each session, with digests in place of texts. */
  appends: Map<string, Append[]>;
  texts: Map<string, string>;
  attempts: Rows;
  metrics: Rows;
  briefs: Rows;
  spent: Record<string, GroupedSpend[]>;
}

/** A row as texts, by its key. */
type Rows = Map<string, Record<string, string | null>>;
type Append = Omit<Extract<PartLine, { kind: 'append' }>, 'kind' | 'session_id'>;

type Kind = 'transition' | 'session' | 'attempt' | 'metrics' | 'brief';
const recordOf = {
  transition: 'transitions',
  session: 'sessions',
  attempt: 'attempts',
  metrics: 'metrics',
  brief: 'briefs',
} as const satisfies Record<Kind, keyof Recorded>;

/** What a row is known by, and what retention may change of it, or the archive leaves out. */
const kinds: Record<Kind, { key: (row: Record<string, string | null>) => string; without: string[] }> = {
  transition: {
    key: ({ seq }) => String(seq),
    without: ['prev_seq', 'project_id', 'part', 'archived_at', 'host'],
  },
  session: {
    key: ({ session_id: id }) => String(id),
    without: ['id', 'project_id', 'archive_part', 'dropped_at', 'last_text', 'restored_at', 'sealed_at'],
  },
  attempt: { key: ({ id }) => String(id), without: ['archive_part', 'calls', 'project_id'] },
  metrics: { key: ({ attempt_id: id }) => String(id), without: ['project_id', 'host'] },
  brief: { key: ({ chain, head_session_id: head }) => `${chain}/${head}`, without: ['archive_part'] },
};

const queries: Record<Kind, string> = {
  transition: 'SELECT t.* FROM session_transitions t WHERE t.project_id = $1 AND t.seq IS NOT NULL',
  // In order: a history restores one of them by its number.
  session: 'SELECT s.* FROM session_chain.sessions s WHERE s.project_id = $1 ORDER BY s.id',
  attempt: 'SELECT a.* FROM session_chain.attempts a WHERE a.project_id = $1',
  metrics:
    'SELECT m.* FROM project_ai_session_metrics m WHERE m.project_id = $1 AND m.attempt_id IS NOT NULL',
  brief: `SELECT b.* FROM session_chain.briefs b JOIN session_chain.chains c ON c.id = b.chain WHERE c.project_id = $1`,
};

async function rowsOf(pool: Pool, query: string, kind: Kind, projectId: string): Promise<Rows> {
  const { rows } = await pool.query<{ row: Record<string, string | null> }>(
    `SELECT (SELECT jsonb_object_agg(e.key, e.value) FROM jsonb_each_text(to_jsonb(r)) e) AS row FROM (${query}) r`,
    [projectId],
  );
  return byKey(
    kind,
    rows.map(({ row }) => row),
  );
}

function byKey(kind: Kind, rows: readonly Record<string, string | null>[]): Rows {
  return new Map(rows.map((row) => [kinds[kind].key(row), plain(kind, row)]));
}

function plain(kind: Kind, row: Readonly<Record<string, unknown>>): Record<string, string | null> {
  return Object.fromEntries(
    Object.entries(row)
      .filter(([name]) => name !== 'kind' && !kinds[kind].without.includes(name))
      .map(([name, value]): [string, string | null] => [
        name,
        value === null ? null : plainValue(name, String(value as string | number | boolean)),
      ])
      .sort(([one], [other]) => (one < other ? -1 : 1)),
  );
}

function plainValue(name: string, text: string): string {
  if (!name.endsWith('_at')) return text;
  const [, time, fraction = ''] =
    /^\d{4}-\d\d-\d\dT(\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(?:Z|\+00:00)$/.exec(text) ?? [];
  if (time === undefined) throw new Error(`${name} is ${text}.`);
  return `${time}.${fraction.padEnd(6, '0')}`;
}

async function appendsOf(pool: Pool, projectId: string): Promise<Map<string, Append[]>> {
  const { rows } = await pool.query<{ session: string; appends: Append[] }>(
    `SELECT s.session_id AS session, jsonb_agg(jsonb_build_object('ordinal', b.ordinal, 'append_id', b.append_id,
         'subpath', b.subpath, 'patch', (SELECT encode(p.digest, 'hex') FROM session_chain.transcript_texts p WHERE p.id = b.patch_id),
         'entries', (SELECT jsonb_agg(encode(t.digest, 'hex') ORDER BY u.n) FROM unnest(b.entry_ids) WITH ORDINALITY u (id, n)
           LEFT JOIN session_chain.transcript_texts t ON t.id = u.id)) ORDER BY b.ordinal) AS appends
     FROM session_chain.sessions s JOIN session_chain.transcript_batches b ON b.session = s.id
     WHERE s.project_id = $1 GROUP BY 1`,
    [projectId],
  );
  return new Map(rows.map(({ session, appends }) => [session, appends]));
}

async function textsOf(pool: Pool, projectId: string): Promise<Map<string, string>> {
  const { rows } = await pool.query<{ digest: string; content: string }>(
    `SELECT encode(t.digest, 'hex') AS digest, t.content FROM session_chain.transcript_texts t WHERE t.project_id = $1`,
    [projectId],
  );
  return new Map(rows.map(({ digest, content }) => [digest, content]));
}

async function spentOf(pool: Pool, { projectId }: Project): Promise<Record<string, GroupedSpend[]>> {
  const all = { since: new Date(0), until: null, projectIds: [projectId], limit: null };
  const groups = await Promise.all(
    spendGroups.map(async (group) => [group, await spendBy(pool, group, all)] as const),
  );
  return Object.fromEntries(groups);
}

/** Everything that is in the database. */
async function present(pool: Pool, { projectId }: Project) {
  const [transition, moved, session, attempt, metrics, brief, appends, texts] = (await Promise.all([
    rowsOf(pool, queries.transition, 'transition', projectId),
    rowsOf(
      pool,
      'SELECT a.* FROM session_chain.session_transitions_archive a WHERE a.project_id = $1',
      'transition',
      projectId,
    ),
    ...(['session', 'attempt', 'metrics', 'brief'] as const).map((kind) =>
      rowsOf(pool, queries[kind], kind, projectId),
    ),
    appendsOf(pool, projectId),
    textsOf(pool, projectId),
  ] as const)) as [Rows, Rows, Rows, Rows, Rows, Rows, Map<string, Append[]>, Map<string, string>];
  return { transition, moved, session, attempt, metrics, brief, appends, texts };
}

export function nothingRecorded(): Recorded {
  return {
    ...{
      transitions: new Map(),
      sessions: new Map(),
      attempts: new Map(),
      metrics: new Map(),
      briefs: new Map(),
    },
    ...{ appends: new Map(), texts: new Map() },
    spent: Object.fromEntries(spendGroups.map((group) => [group, []])),
  };
}

/** Adds what the database has now, after work that is no retention. */
export async function record({ pool }: World, project: Project, recorded: Recorded): Promise<void> {
  const now = await present(pool, project);
  for (const kind of ['transition', 'session', 'attempt', 'metrics', 'brief'] as const)
    for (const [key, row] of now[kind]) {
      // Of one that was dropped the file has all.
      if (kind !== 'session' || now.appends.has(key) || !recorded.appends.has(key))
        recorded[recordOf[kind]].set(key, row);
    }
  for (const [key, appends] of now.appends) recorded.appends.set(key, appends);
  for (const [digest, content] of now.texts) recorded.texts.set(digest, content);
  recorded.spent = await spentOf(pool, project);
}

/** What verified files of the archive hold of the project. */
async function archived({ pool, archive }: World, project: Project, recorded: Recorded) {
  const { rows } = await pool.query<{
    object: string;
    expected: { bytes: number; sha256: string };
    counts: object;
  }>(
    `SELECT p.object, jsonb_build_object('bytes', p.bytes, 'sha256', p.sha256) AS expected, p.counts
     FROM session_chain.archive_parts p WHERE p.project_id = $1 AND p.state = 'verified'`,
    [project.projectId],
  );
  const found = {
    ...{ transition: new Set<string>(), session: new Set<string>(), attempt: new Set<string>() },
    ...{ metrics: new Set<string>(), brief: new Set<string>() },
  };
  const objects = new Set<string>();
  for await (const { object } of listParts(archive, project.projectId)) objects.add(object);
  for (const { object, expected, counts } of rows) {
    expect(objects).toContain(object);
    await readPart(
      archive,
      object,
      async ({ manifest, lines }) => {
        expect(manifest.counts).toEqual(counts);
        const appends = new Map<string, Append[]>();
        const texts = new Map<string, string>();
        for await (const line of lines) {
          if (line.kind === 'text') {
            expect(digestOf(line.content)).toBe(line.digest);
            expect(recorded.texts.get(line.digest)).toBe(line.content);
            texts.set(line.digest, line.content);
          } else if (line.kind === 'append') {
            const { kind: _, session_id: session, ...append } = line;
            appends.set(session, [...(appends.get(session) ?? []), append]);
          } else {
            const { kind } = line;
            const row = plain(kind, line as unknown as Record<string, unknown>);
            const key = kinds[kind].key(line as unknown as Record<string, string | null>);
            expectSameRow(kind, key, row, recorded);
            found[kind].add(key);
            if (kind === 'session') appends.set(line.session_id, []);
          }
        }
        for (const [session, ofSession] of appends) {
          expect(ofSession).toEqual(recorded.appends.get(session) ?? []);
          expectTranscript(session as SessionId, ofSession, texts, project);
        }
      },
      expected,
    );
  }
  return found;
}

/** A line of the archive holds no column that the row did not have, and every one that matters. */
function expectSameRow(
  kind: Kind,
  key: string,
  row: Record<string, string | null>,
  recorded: Recorded,
): void {
  const was = recorded[recordOf[kind]].get(key);
  if (!was) throw new Error(`The archive has the ${kind} ${key}, which never was.`);
  expect({ kind, key, ...row }).toEqual({ kind, key, ...was });
}

/** The main transcript reads as it was appended. */
function expectTranscript(
  sessionId: SessionId,
  appends: Append[],
  texts: Map<string, string>,
  { transcripts }: Project,
): void {
  const was = transcripts.get(sessionId);
  if (!was) return;
  const entries = appends
    .filter(({ subpath }) => subpath === '')
    .flatMap(({ patch, entries: digests }) => {
      const decode = entryDecoder(sessionId, patch === null ? null : textOf(texts, patch));
      return digests.map((digest, index) => JSON.stringify(decode(textOf(texts, digest), index)));
    });
  expect(entries).toEqual(was);
}

function textOf(texts: Map<string, string>, digest: string): string {
  const text = texts.get(digest);
  if (text === undefined) throw new Error(`The text ${digest} is missing.`);
  return text;
}

/** Sessions that must be whole, found in another way than the product finds them. */
export async function neededSessions(pool: Pool, { projectId }: Project): Promise<Map<SessionId, string>> {
  const { rows } = await pool.query<{ id: SessionId; why: string }>(
    `WITH open AS (SELECT * FROM session_chain.chains c WHERE c.project_id = $1 AND c.status IN ('queued', 'running', 'waiting')),
       alive AS (SELECT a.* FROM session_chain.attempts a WHERE a.project_id = $1
         AND (a.state IN ('running', 'waiting') OR a.chain IN (SELECT id FROM open)))
     SELECT DISTINCT ON (id) id, why FROM (
       SELECT last_ai_session_id AS id, 'head' AS why FROM projects WHERE project_id = $1
       UNION ALL SELECT ai_session_id, 'version' FROM project_versions WHERE project_id = $1
       UNION ALL SELECT u.id, 'attempt' FROM alive CROSS JOIN LATERAL (VALUES (session_id), (base_session_id), (adopts)) u (id)
       UNION ALL SELECT u.id, 'open chain' FROM open CROSS JOIN LATERAL (VALUES (base_session_id), (origin ->> 'headSessionId')) u (id)
       UNION ALL SELECT q.head_session_id, 'question' FROM project_chat_log_minimal q
         WHERE q.project_id = $1 AND q.state IN ('asked', 'running')
       UNION ALL SELECT q.ai_session_id, 'answer beside' FROM project_chat_log_minimal q
         WHERE q.project_id = $1 AND q.kind = 'side_branch' AND q.answered_at > clock_timestamp() - $2 * interval '24 hours'
     ) n WHERE id IS NOT NULL`,
    [projectId, policy.transcriptsDays],
  );
  return new Map(rows.map(({ id, why }) => [id, why]));
}

/** What is true of a project after whatever was done. */
export async function expectAllThere(world: World, project: Project, recorded: Recorded): Promise<void> {
  const { pool } = world;
  const { projectId } = project;
  const now = await present(pool, project);
  const inArchive = await archived(world, project, recorded);

  // Transitions: all of them, in one of two tables, linked, and the head is the last one.
  expect([...now.transition.keys()].filter((seq) => now.moved.has(seq))).toEqual([]);
  expect(sorted([...now.moved, ...now.transition])).toEqual(sorted(recorded.transitions));
  const hot = [...now.transition.keys()].map(Number).sort((one, other) => one - other);
  for (const seq of now.moved.keys()) expect(Number(seq)).toBeLessThan(hot[0] ?? Infinity);
  const { rows: links } = await pool.query<{ seq: number; linked: boolean }>(
    `SELECT t.seq::integer, t.prev_seq IS NOT DISTINCT FROM nullif(t.seq - 1, 0) AS linked FROM session_transitions t
     WHERE t.project_id = $1 AND t.seq IS NOT NULL ORDER BY t.seq`,
    [projectId],
  );
  expect(links.filter(({ linked, seq }) => !linked && seq !== hot[0])).toEqual([]);
  const { rows: heads } = await pool.query<{ head: string; seq: number }>(
    'SELECT last_ai_session_id AS head, session_seq::integer AS seq FROM projects WHERE project_id = $1',
    [projectId],
  );
  const all = recorded.transitions.size;
  if (all > 0) {
    expect(heads).toEqual([{ head: recorded.transitions.get(String(all))?.['new_session_id'], seq: all }]);
    expect(await getSessionChain(pool, projectId)).toEqual(lineOf(recorded));
  }
  const { rows: view } = await pool.query<{ seqs: number[] }>(
    `SELECT array_agg(t.seq::integer ORDER BY t.seq) AS seqs FROM session_chain.session_transitions_all t
     WHERE t.project_id::text = $1`,
    [projectId],
  );
  expect(view[0]?.seqs ?? []).toEqual(Array.from({ length: all }, (_, n) => n + 1));

  // Sessions: whole here, or in the archive.
  expect([...now.session.keys()].sort()).toEqual([...recorded.sessions.keys()].sort());
  const { rows: dropped } = await pool.query<{ id: SessionId }>(
    'SELECT session_id AS id FROM session_chain.sessions WHERE project_id = $1 AND dropped_at IS NOT NULL',
    [projectId],
  );
  const gone = new Set(dropped.map(({ id }) => id));
  for (const id of gone) {
    expect(now.appends.get(id)).toBeUndefined();
    expect(inArchive.session).toContain(id);
  }
  for (const [id, row] of recorded.sessions) {
    if (gone.has(id as SessionId)) continue;
    expect(now.session.get(id)).toEqual(row);
    expect(now.appends.get(id)).toEqual(recorded.appends.get(id));
    expectTranscript(id as SessionId, now.appends.get(id) ?? [], now.texts, project);
  }
  for (const [digest, content] of now.texts) expect(recorded.texts.get(digest)).toBe(content);
  for (const [id, why] of await neededSessions(pool, project)) {
    if (!recorded.appends.has(id)) continue;
    expect({ id, why, fitness: await sessionFitness(pool, projectId, id) }).toEqual({
      id,
      why,
      fitness: 'whole',
    });
  }

  // Details: here, or in the archive.
  for (const kind of ['attempt', 'metrics', 'brief'] as const) {
    for (const [key, row] of now[kind])
      expect({ kind, key, ...row }).toEqual({ kind, key, ...recorded[recordOf[kind]].get(key) });
    const missing = [...recorded[recordOf[kind]].keys()].filter(
      (key) => !now[kind].has(key) && !inArchive[kind].has(key),
    );
    expect({ kind, missing }).toEqual({ kind, missing: [] });
  }
  expect(await spentOf(pool, project)).toEqual(recorded.spent);
}

/** The heads that the present one knows of, the newest first. */
function lineOf({ transitions }: Recorded): (string | null | undefined)[] {
  const line: (string | null | undefined)[] = [];
  for (let seq = transitions.size; seq > 0;) {
    const row = transitions.get(String(seq));
    line.push(row?.['new_session_id']);
    seq = row?.['rewound_to'] ? Number(row['rewound_to']) : seq - 1;
  }
  return line;
}

function sorted(rows: Iterable<[string, object]>): [string, object][] {
  return [...rows].sort(([one], [other]) => Number(one) - Number(other));
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** What a run of retention leaves to do: nothing, but for what a hold or a restoration keeps. */
export async function expectNothingDue({ pool }: World, project: Project): Promise<void> {
  const needed = await neededSessions(pool, project);
  const { rows: sessions } = await pool.query<{ id: SessionId; is_archived: boolean; is_due: boolean }>(
    `SELECT s.session_id AS id, s.archive_part IS NOT NULL AS is_archived, s.dropped_at IS NULL
       AND s.restored_at IS NULL AND p.verified_at < clock_timestamp() - $3 * interval '24 hours' AS is_due
     FROM session_chain.sessions s LEFT JOIN session_chain.archive_parts p ON p.id = s.archive_part AND p.state = 'verified'
     WHERE s.project_id = $1 AND s.batches > 0 AND s.restored_at IS NULL
       AND coalesce(s.appended_at, s.created_at) < clock_timestamp() - $2 * interval '24 hours'`,
    [project.projectId, policy.transcriptsDays, policy.dropDays],
  );
  const unneeded = sessions.filter(({ id }) => !needed.has(id));
  expect(unneeded.filter((session) => !session.is_archived)).toEqual([]);
  expect(unneeded.filter((session) => session.is_due)).toEqual([]);
  const { rows: old } = await pool.query(
    `SELECT t.seq FROM session_transitions t WHERE t.project_id = $1
       AND t.created_at < clock_timestamp() - $2 * interval '24 hours'
       AND t.seq < (SELECT max(l.seq) FROM session_transitions l WHERE l.project_id = $1)
       AND NOT EXISTS (SELECT FROM session_transitions y WHERE y.project_id = $1 AND y.seq < t.seq
         AND y.created_at >= clock_timestamp() - $2 * interval '24 hours')`,
    [project.projectId, policy.transitionsDays],
  );
  expect(old).toEqual([]);
  // A text that nothing refers to is dropped with the last session that did.
  const { rows: orphans } = await pool.query(
    `SELECT t.id FROM session_chain.transcript_texts t WHERE t.project_id = $1 AND NOT EXISTS (
       SELECT FROM session_chain.sessions s JOIN session_chain.transcript_batches b ON b.session = s.id
       WHERE s.project_id = $1 AND (b.patch_id = t.id OR t.id = ANY (b.entry_ids)))`,
    [project.projectId],
  );
  expect(orphans).toEqual([]);
}

/** A digest of all rows of all tables. */
export async function digestOfTables(pool: Pool): Promise<Record<string, string>> {
  const { rows } = await pool.query<{ name: string; digest: string }>(await digestQuery(pool));
  return Object.fromEntries(rows.map(({ name, digest }) => [name, digest]));
}

export async function digestQuery(pool: Pool): Promise<string> {
  const { rows: tables } = await pool.query<{ name: string }>(tablesQuery);
  return tables
    .map(
      ({ name }) =>
        `SELECT '${name}' AS name, md5(string_agg(t::text, '|' ORDER BY t::text)) AS digest FROM ${name} t`,
    )
    .join(' UNION ALL ');
}

const tablesQuery = `SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname IN ('public', 'session_chain') AND c.relkind = 'r' ORDER BY 1`;

/** Nothing but certificates names an erased project. */
export async function expectErased(
  { pool, archive }: World,
  { projectId }: Project,
  certificates: number,
): Promise<void> {
  const { rows: tables } = await pool.query<{ name: string }>(tablesQuery);
  const { rows } = await pool.query<{ name: string; count: number }>(
    tables
      .map(
        ({ name }) =>
          `SELECT '${name}' AS name, count(*)::integer AS count FROM ${name} t WHERE t::text LIKE '%' || $1 || '%'`,
      )
      .join(' UNION ALL '),
    [projectId],
  );
  expect(rows.filter(({ count }) => count > 0)).toEqual([
    { name: 'session_chain.erasures', count: certificates },
  ]);
  const files = await readdir(fileURLToPath(archive.location), { recursive: true });
  expect(files.filter((file) => file.includes(projectId))).toEqual([]);
}
