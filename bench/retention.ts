import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { openArchive } from '../archive/open.js';
import { readPart, writePart } from '../archive/part.js';
import { type ProjectId, type SessionId, parseProjectId } from '../contracts/ids.js';
import type { RetentionPolicy } from '../contracts/retention.js';
import { storedKinds } from '../contracts/storage.js';
import { startPostgres } from '../dev/postgres.js';
import { migrate } from '../storage/db/migrate.js';
import { type Pool, createPool } from '../storage/db/pool.js';
import { rollUpDetails } from '../storage/retention/details.js';
import { dryRunOf, dueProjects } from '../storage/retention/needed.js';
import {
  dropDue,
  droppableParts,
  dropsAtOnce,
  planPart,
  readPartLines,
  verifyPart,
} from '../storage/retention/parts.js';
import { knownFiles, restoreLines, restoreTransitions } from '../storage/retention/restore.js';
import { readProjectStorage, readStorage } from '../storage/retention/sizes.js';
import { archiveTransitions } from '../storage/retention/transitions.js';
import { createTranscriptStore } from '../storage/transcripts/store.js';
import type { ProbeOptions } from './append-probe.js';
import { type Size, makeLargeDatabase } from './large-database.js';
import { type Row, row } from './report.js';
import { begin, close, commit, newKey, open, openOptions, register } from './storage-chain.js';
import { copied, newEntries } from './transcripts.js';

const part = 'retention';
const policy: RetentionPolicy = {
  ...{ transitionsDays: 60, transcriptsDays: 90, dropDays: 30, detailsDays: 90 },
  ...{ hostTables: false, archive: 'file:///archive' },
};

/** What retention costs: a project from its archiving to its restoration, and a large database of which nothing is due. */
export async function measureRetention(say: (line: string) => void, size: Size): Promise<Row[]> {
  const folder = mkdtempSync(join(tmpdir(), 'session-chain-bench-'));
  // Under root another user runs Postgres and must reach its data.
  chmodSync(folder, 0o711);
  const postgres = await startPostgres({
    dataDir: join(folder, 'postgres'),
    logFile: join(folder, 'postgres.log'),
    durable: true,
  });
  const pool = createPool(postgres.url, { applicationName: 'session-chain bench', max: 4 });
  try {
    await migrate(postgres.url);
    const rows = await measureProject({
      pool,
      databaseUrl: postgres.url,
      folder,
      chains: size === 'small' ? 12 : 252,
      say,
    });
    say('A large database …');
    return [...rows, ...(await measureLarge(pool, size))];
  } finally {
    await pool.end();
    await postgres.stop();
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

interface Place {
  pool: Pool;
  databaseUrl: string;
  /** For the archive. */
  folder: string;
  /** Of four sessions each. */
  chains: number;
  say: (line: string) => void;
}

/** One project: archived, verified, dropped and restored. Throws where a session is not, byte by byte, what it was. */
async function measureProject({ pool, databaseUrl, folder, chains, say }: Place): Promise<Row[]> {
  mkdirSync(join(folder, 'archive'));
  const archive = openArchive(join(folder, 'archive'), {});
  // Waiting for the disk at each commit would take minutes.
  const hasty = createPool(`${databaseUrl}?options=-c%20synchronous_commit%3Doff`, {
    applicationName: 'session-chain bench',
    max: 1,
  });
  const projectId = await makeProject(hasty, chains).finally(() => hasty.end());
  await pool.query('VACUUM ANALYZE');
  const probes = {
    same: startProbe({ databaseUrl, projectId, sessionId: randomUUID() }),
    other: startProbe({ databaseUrl, projectId: `bench-${randomUUID()}`, sessionId: randomUUID() }),
  };
  const clock = startClock();
  try {
    const before = await digestsOf(pool, projectId);
    const stored = [await storedKb(pool, projectId)];
    say(`${before.size} sessions; in the database, kB: ${JSON.stringify(stored[0])}`);
    for (const probe of Object.values(probes)) await probe.take();
    for (const probe of Object.values(probes)) await probe.reach(100);
    const idle = { same: await probes.same.take(), other: await probes.other.take() };

    await clock.time('transitions', async () => {
      while ((await archiveTransitions(pool, projectId, policy, 1_000)) === 1_000);
    });
    await clock.time('what is due', () => dryRunOf(pool, projectId, policy));
    let [archived, bytes, contentBytes] = [0, 0, 0];
    const times: number[] = [];
    for (;;) {
      const planned = await clock.time('plan', () => planPart(pool, projectId, policy, archive.location));
      if (!planned) break;
      const header = { projectId, month: planned.month, part: planned.id, writtenBy: 'bench' };
      const began = performance.now();
      const written = await clock.time('write and read back', () =>
        writePart(archive, header, readPartLines(pool, planned)),
      );
      times.push(performance.now() - began);
      await clock.time('verify', () => verifyPart(pool, planned, written));
      archived += written.counts.session;
      bytes += written.bytes;
    }
    await clock.time('details', () => rollUpDetails(pool, projectId, policy));
    const whileArchiving = { same: await probes.same.take(), other: await probes.other.take() };
    for await (const { object } of archive.list('projects/')) {
      if (object.endsWith('.manifest.json')) {
        contentBytes += await readPart(
          archive,
          object.slice(0, -'.manifest.json'.length),
          async ({ manifest }) => manifest.contentBytes,
        );
      }
    }
    const dumped = await dump(pool, projectId, folder);

    await pool.query(
      `UPDATE session_chain.archive_parts SET verified_at = verified_at - interval '31 days' WHERE project_id = $1`,
      [projectId],
    );
    for (const probe of Object.values(probes)) await probe.take();
    const drops: number[] = [];
    let dropped = 0;
    for (const { id } of await droppableParts(pool, projectId, policy)) {
      for (;;) {
        const began = performance.now();
        const gone = await clock.time('drop', () => dropDue(pool, projectId, policy, id, dropsAtOnce));
        drops.push(performance.now() - began);
        dropped += gone.sessions;
        if (gone.sessions < dropsAtOnce) break;
      }
    }
    for (const probe of Object.values(probes)) await probe.reach(1);
    const whileDropping = { same: await probes.same.take(), other: await probes.other.take() };
    stored.push(await storedKb(pool, projectId));

    for (const { object, expected, month } of await knownFiles(pool, projectId, {})) {
      await clock.time('restore', () =>
        readPart(
          archive,
          object,
          async ({ manifest, lines }) => {
            const file = {
              location: archive.location,
              object,
              part: manifest.part,
              month,
              written: manifest,
            };
            return await restoreLines(pool, projectId, file, lines, { keepDays: 1 });
          },
          expected,
        ),
      );
    }
    await clock.time('restore transitions', () => restoreTransitions(pool, projectId, null, 1));
    stored.push(await storedKb(pool, projectId));
    const after = await digestsOf(pool, projectId);
    const differing = [...before].filter(([session, digest]) => after.get(session) !== digest);
    if (differing.length > 0) throw new Error(`${differing.length} sessions are not what they were.`);
    if (dropped !== archived) throw new Error(`${archived} sessions were archived and ${dropped} dropped.`);

    const [full, small, again] = stored as [Kinds, Kinds, Kinds];
    const one = (name: string, value: number, unit: Row['unit']) =>
      row({ part, name, unit, values: [value] });
    const transcripts = ({ texts, batches }: Kinds) => texts + batches;
    return [
      one('sessions of the project', before.size, 'sessions'),
      one('of them archived, verified, dropped and restored, byte by byte the same', archived, 'sessions'),
      ...storedKinds
        .filter((kind) => full[kind] + small[kind] > 0)
        .map((kind) =>
          row({
            part,
            name: `${kind} after the drop`,
            unit: 'kB',
            values: [small[kind]],
            peer: { name: 'before', values: [full[kind]] },
          }),
        ),
      row({
        part,
        name: 'transcripts after the restoration',
        unit: 'kB',
        values: [transcripts(again)],
        peer: { name: 'before', values: [transcripts(full)] },
      }),
      row({
        part,
        name: 'files of the archive',
        unit: 'kB',
        values: [bytes / 1_000],
        peer: { name: 'their lines, unpacked', values: [contentBytes / 1_000] },
      }),
      row({
        part,
        name: 'the same',
        unit: 'kB',
        values: [bytes / 1_000],
        peer: { name: 'COPY of the same rows and gzip', values: [dumped.bytes / 1_000] },
      }),
      row({
        part,
        name: 'writing and reading back, all files',
        unit: 'ms',
        values: [times.reduce((sum, ms) => sum + ms, 0)],
        peer: { name: 'COPY of the same rows and gzip', values: [dumped.ms] },
      }),
      ...clock.stages.map(([name, { ms }]) =>
        row({ part, name: `${name}, a statement or file`, unit: 'ms', values: ms }),
      ),
      ...clock.stages
        .filter(([name]) => ['write and read back', 'drop', 'restore'].includes(name))
        .map(([name, { mb }]) => one(`memory of this process at its most, ${name}`, mb, 'MB')),
      ...Object.entries({ archiving: whileArchiving, dropping: whileDropping }).flatMap(([stage, during]) =>
        (['same', 'other'] as const).flatMap((which) =>
          [50, 99].map((percent) =>
            row({
              part,
              name: `appends to ${which === 'same' ? 'the same' : 'another'} project while ${stage}, p${percent}`,
              unit: 'ms',
              values: [percentile(during[which], percent)],
              peer: { name: 'idle', values: [percentile(idle[which], percent)] },
            }),
          ),
        ),
      ),
    ];
  } finally {
    clock.stop();
    await Promise.all(Object.values(probes).map((probe) => probe.end()));
  }
}

/**
 * A project of chains with four sessions each, half a year ago. Each session has 40 entries of its own and begins with all of
 * the one before it; every tenth is a compaction and begins with little. Of old versions the host has deleted the session.
 */
async function makeProject(pool: Pool, chains: number): Promise<ProjectId> {
  const { projectId } = newKey();
  let head: SessionId | null = null;
  let context: SessionStoreEntry[] = [];
  let sessions = 0;
  for (let count = 0; count < chains; count++) {
    const chain = await open(pool, await register(pool, newKey(projectId)));
    for (const { name } of openOptions.plan) {
      const inherited = sessions++ % 10 === 0 ? [] : context;
      const attempt = await begin(pool, chain, name, head, (sessionId) => {
        const own = newEntries(sessionId, 40);
        context = [...copied(inherited, sessionId), ...own];
        const appends = Array.from({ length: 8 }, (_, index) => own.slice(5 * index, 5 * index + 5));
        return inherited.length === 0 ? appends : [context.slice(0, inherited.length), ...appends];
      });
      head = (await commit(pool, attempt)).newSessionId;
    }
    await close(pool, chain);
  }
  await pool.query(
    `UPDATE project_versions v SET ai_session_id = NULL WHERE v.project_id = $1
       AND v.ai_session_id IS DISTINCT FROM (SELECT p.last_ai_session_id FROM projects p WHERE p.project_id = v.project_id)`,
    [projectId],
  );
  // In the order in which they were made, over two months.
  for (const [table, key, columns] of aged) {
    const older = columns.map(
      (column) => `${column} = t.${column} - make_interval(days => 180, secs => 60 * 86400 * o.left)`,
    );
    await pool.query(
      `UPDATE ${table} t SET ${older.join(', ')} FROM (
         SELECT ${key}, 1 - row_number() OVER (ORDER BY ${key})::float8 / count(*) OVER () AS left
         FROM ${table} WHERE project_id = $1) o
       WHERE t.project_id = $1 AND t.${key} = o.${key}`,
      [projectId],
    );
  }
  return projectId;
}

const aged: [table: string, key: string, columns: string[]][] = [
  ['session_chain.sessions', 'id', ['created_at', 'appended_at', 'sealed_at']],
  ['session_transitions', 'seq', ['created_at']],
  ['session_chain.attempts', 'id', ['scheduled_at', 'started_at', 'seen_at', 'ended_at']],
  ['session_chain.chains', 'id', ['created_at', 'requested_at', 'opened_at', 'closed_at']],
];

/** SHA-256 of the entries of each session, as an agent that resumes it gets them. */
async function digestsOf(pool: Pool, projectId: ProjectId): Promise<Map<string, string>> {
  const store = createTranscriptStore({ pool, projectId });
  const { rows } = await pool.query<{ id: string }>(
    `SELECT s.session_id AS id FROM session_chain.sessions s WHERE s.project_id = $1 AND s.sealed_at IS NOT NULL`,
    [projectId],
  );
  const digests = new Map<string, string>();
  for (const { id } of rows) {
    const entries = await store.load({ projectKey: '', sessionId: id });
    digests.set(id, createHash('sha256').update(JSON.stringify(entries)).digest('hex'));
  }
  return digests;
}

type Kinds = Record<(typeof storedKinds)[number], number>;

async function storedKb(pool: Pool, projectId: ProjectId): Promise<Kinds> {
  const { kinds } = await readProjectStorage(pool, projectId, policy.dropDays);
  return Object.fromEntries(storedKinds.map((kind) => [kind, kinds[kind].bytes / 1_000])) as Kinds;
}

/** What pg_dump would write of the same rows: the server copies them through gzip, so that no client of Postgres is needed. */
async function dump(
  pool: Pool,
  projectId: ProjectId,
  folder: string,
): Promise<{ bytes: number; ms: number }> {
  // Under root another user runs Postgres and must write here.
  const into = join(folder, 'dump');
  mkdirSync(into);
  chmodSync(into, 0o777);
  const copies = [
    `session_chain.sessions t WHERE t.project_id = '${projectId}' AND t.archive_part IS NOT NULL`,
    `session_chain.transcript_batches t WHERE t.session IN (SELECT s.id FROM session_chain.sessions s
       WHERE s.project_id = '${projectId}' AND s.archive_part IS NOT NULL)`,
    `session_chain.transcript_texts t WHERE t.project_id = '${projectId}'`,
    `session_chain.session_transitions_archive t WHERE t.project_id = '${projectId}'`,
  ];
  const file = join(into, 'dump.gz');
  const began = performance.now();
  for (const rows of copies) {
    await pool.query(`COPY (SELECT t.* FROM ${rows}) TO PROGRAM 'gzip >> "${file}"'`);
  }
  return { bytes: statSync(file).size, ms: performance.now() - began };
}

/** Times stages, each of which may come several times, and looks what this process takes meanwhile. */
function startClock() {
  const stages = new Map<string, { ms: number[]; mb: number }>();
  let current: { ms: number[]; mb: number } | undefined;
  const timer = setInterval(() => {
    if (current) current.mb = Math.max(current.mb, process.memoryUsage.rss() / 1e6);
  }, 50);
  return {
    get stages() {
      return [...stages];
    },
    async time<T>(name: string, work: () => Promise<T>): Promise<T> {
      current = stages.get(name) ?? { ms: [], mb: process.memoryUsage.rss() / 1e6 };
      stages.set(name, current);
      const began = performance.now();
      const result = await work();
      current.ms.push(performance.now() - began);
      current = undefined;
      return result;
    },
    stop: () => clearInterval(timer),
  };
}

function startProbe(options: ProbeOptions) {
  const probe = new Worker(new URL('./append-probe.js', import.meta.url), { workerData: options });
  const failed = once(probe, 'error').then(([error]) => {
    throw error as Error;
  });
  failed.catch(() => undefined);
  let taken: number[] = [];
  const fetch = async () => {
    const answer = once(probe, 'message');
    probe.postMessage('take');
    const [times] = (await Promise.race([answer, failed])) as [number[]];
    taken.push(...times);
  };
  return {
    /** The times since the last call. */
    async take(): Promise<number[]> {
      await fetch();
      const all = taken;
      taken = [];
      return all;
    },
    /** Waits until there are so many. */
    async reach(count: number): Promise<void> {
      while (taken.length < count) await fetch();
    },
    async end(): Promise<void> {
      const ended = once(probe, 'exit');
      probe.postMessage('end');
      await ended;
    },
  };
}

function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? 0;
}

/** What is asked of each database each day, where there is nothing to do. */
async function measureLarge(pool: Pool, size: Size): Promise<Row[]> {
  const { projects, sessions } = await makeLargeDatabase(pool, size);
  // What a version needs stays for ever, so that a look at the oldest meets it each time.
  await pool.query(
    `UPDATE session_chain.sessions s SET batches = 1 FROM project_versions v
     WHERE v.project_id = s.project_id AND v.ai_session_id = s.session_id AND s.project_id LIKE 'large-%'`,
  );
  await pool.query('VACUUM ANALYZE');
  const made = `${projects} projects, ${sessions} sessions`;
  const asks: [name: string, ask: () => Promise<unknown>][] = [
    ['what a run asks first, all young', () => askAll(pool, policy)],
    ['the same, all old and needed', () => askAll(pool, { ...policy, transcriptsDays: 1 })],
    ['session-chain storage', () => readStorage(pool, 10, policy.dropDays)],
    [
      'session-chain storage of one project',
      () => readProjectStorage(pool, parseProjectId('large-00042'), policy.dropDays),
    ],
    ['dry run of one project', () => dryRunOf(pool, parseProjectId('large-00042'), policy)],
  ];
  const rows: Row[] = [];
  for (const [name, ask] of asks) {
    const values: number[] = [];
    for (let run = 0; run < 3; run++) {
      const began = performance.now();
      await ask();
      values.push(performance.now() - began);
    }
    rows.push(row({ part, name: `${name}; ${made}`, unit: 'ms', values }));
  }
  return rows;
}

/** Page by page, as the workflow does; throws where something is due. */
async function askAll(pool: Pool, asked: RetentionPolicy): Promise<void> {
  const due = (await dueProjects(pool, asked, null, 100)).filter((project) => project.startsWith('large-'));
  if (due.length > 0) throw new Error(`Something is due of ${due.length} projects.`);
}
