import { createHash } from 'node:crypto';
import {
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { checks } from '../../cli/doctor-checks.js';
import { createKeys } from '../../client/keys.js';
import { type StartedChain, createSessionChain } from '../../client/session-chain.js';
import { readConfig } from '../../config/environment.js';
import type { ChainResult } from '../../contracts/chain.js';
import type { RetentionRun, RetentionRunState } from '../../contracts/retention.js';
import { createApp } from '../../server/app.js';
import { closeChain } from '../../storage/chains/chains.js';
import { retentionId } from '../../temporal/names.js';
import { type ChainStack, longHeartbeatTimeoutMs, startChainStack, until } from '../support/chain-stack.js';
import { newKey, openNew, runStep, shippedStatus } from '../support/chains.js';
import { createCommandLine } from '../support/cli.js';

/** What is old and not needed leaves the hot tables, goes to the archive, and is dropped; what is needed stays, whatever is killed. */

let stack: ChainStack;
let archive: string;
const commandLine = createCommandLine();

/**
 * The clock of the worker is a thousand days ahead: nothing may go by it. Temporal and the database have their own.
 */
const ahead = `--import=data:text/javascript,${encodeURIComponent(
  'const D = Date; const by = 1000 * 86400000; globalThis.Date = class Date extends D { constructor(...a) { if (a.length) super(...a); else super(D.now() + by); } static now() { return D.now() + by; } };',
)}`;
const withArchive = () => ({ SESSION_CHAIN_ARCHIVE: archive, NODE_OPTIONS: ahead });

beforeAll(async () => {
  stack = await startChainStack('retention', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  archive = realpathSync(mkdtempSync(join(tmpdir(), 'session-chain-archive-')));
});
afterAll(async () => {
  commandLine.stop();
  await stack.stop();
  rmSync(archive, { recursive: true, force: true });
});

const sql = async <Row extends object>(text: string, ...values: unknown[]): Promise<Row[]> =>
  (await stack.database.pool.query<Row>(text, values)).rows;

/** Lets all that a project has be older. */
async function age(projectId: string, days: number): Promise<void> {
  for (const [table, columns] of Object.entries({
    'session_chain.sessions': ['created_at', 'appended_at', 'sealed_at'],
    session_transitions: ['created_at'],
    'session_chain.session_transitions_archive': ['created_at', 'archived_at'],
    'session_chain.attempts': ['scheduled_at', 'started_at', 'seen_at', 'ended_at'],
    'session_chain.chains': ['created_at', 'requested_at', 'opened_at', 'closed_at'],
    'session_chain.archive_parts': ['planned_at', 'verified_at'],
  })) {
    const older = columns.map((column) => `${column} = ${column} - $2 * interval '1 day'`).join(', ');
    await sql(`UPDATE ${table} SET ${older} WHERE project_id = $1`, projectId, days);
  }
}

/** A project of three chains' first steps, made in the database; each chain's session is of a version of its own. */
async function project(chains = 3): Promise<string> {
  const { projectId } = newKey();
  for (let count = 0; count < chains; count++) {
    const chain = await openNew(stack.database.pool, newKey(projectId));
    await runStep(stack.database.pool, chain, 'build');
    await runStep(stack.database.pool, chain, 'metadata');
    const { ticket, runId, head } = chain;
    const result = { status: 'completed', warnings: [], steps: [], head: { sessionId: head, seq: null } };
    await closeChain(stack.database.pool, chain, {
      ...{ ticket, runId, versionStatus: shippedStatus, result: result as unknown as ChainResult },
    });
  }
  return projectId;
}

interface Rows {
  hot: number;
  moved: number;
  archived: number;
  dropped: number;
  batches: number;
  parts: number;
}

async function rowsOf(projectId: string): Promise<Rows> {
  const [row] = await sql<Rows>(
    `SELECT (SELECT count(*)::int FROM session_transitions WHERE project_id = $1) AS hot,
       (SELECT count(*)::int FROM session_chain.session_transitions_archive WHERE project_id = $1) AS moved,
       (SELECT count(*)::int FROM session_chain.sessions WHERE project_id = $1 AND archive_part IS NOT NULL) AS archived,
       (SELECT count(*)::int FROM session_chain.sessions WHERE project_id = $1 AND dropped_at IS NOT NULL) AS dropped,
       (SELECT count(*)::int FROM session_chain.transcript_batches b JOIN session_chain.sessions s ON s.id = b.session
         WHERE s.project_id = $1) AS batches,
       (SELECT count(*)::int FROM session_chain.archive_parts WHERE project_id = $1 AND state = 'verified') AS parts`,
    projectId,
  );
  return row as Rows;
}

const figures = ({ total: { failed: _, projects: __, ...rest } }: RetentionRun) => rest;
const run = async (projectId: string, dryRun = false) =>
  await stack.sessionChain.runRetention({ projectId, dryRun });

/** What a dry run says, and then the run does. */
async function asForeseen(projectId: string): Promise<RetentionRun> {
  const before = await rowsOf(projectId);
  const foreseen = await run(projectId, true);
  expect(await rowsOf(projectId)).toEqual(before);
  const done = await run(projectId);
  expect(done.projects).toEqual(foreseen.projects);
  expect(figures(done)).toEqual(figures(foreseen));
  return done;
}

/** The files of the archive, by name, with their hash. */
function files(folder = archive): Record<string, string> {
  return Object.fromEntries(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [path, createHash('sha256').update(readFileSync(path)).digest('hex')]),
  );
}

describe('retention', () => {
  let chains: StartedChain[];
  let projectId: string;
  const build = async () => {
    const started = await stack.sessionChain.start({ ...stack.request(projectId), steps: ['build', 'docs'] });
    chains.push(started);
    return await stack.sessionChain.wait(started);
  };
  beforeAll(async () => {
    // A session that goes on in the process of its base shares all that this holds, and dropping the base frees no text.
    await stack.startWorker({ SESSION_CHAIN_WARM: '0' });
    chains = [];
    projectId = stack.request().projectId;
    await build();
    await build();
    await age(projectId, 91);
  });

  it('without an archive moves transitions alone, and the head stays in sync', async () => {
    const done = await asForeseen(projectId);
    expect(done.projects).toMatchObject([
      { projectId, transitions: 3, archivedSessions: 0, droppedSessions: 0, leftAlone: 'no_archive' },
    ]);
    expect(await rowsOf(projectId)).toMatchObject({ hot: 1, moved: 3, archived: 0, dropped: 0 });
    expect(await stack.sessionChain.syncReport({ projectId })).toMatchObject({ drifted: [] });
    expect(await stack.sessionChain.lineage(projectId)).toHaveLength(4);
    expect(figures(await run(projectId)).transitions).toBe(0);
  });

  it('archives what nothing needs, drops it after the second period, and the head resumes', async () => {
    await stack.onlyWorker(withArchive());
    const archived = await asForeseen(projectId);
    // Of both chains the session of the build: docs made the head and what the first version has.
    expect(figures(archived)).toMatchObject({ archivedSessions: 2, droppedSessions: 0 });
    const { batches, ...rows } = await rowsOf(projectId);
    expect(rows).toMatchObject({ archived: 2, dropped: 0, parts: 1 });
    expect(Object.keys(files())).toHaveLength(2);
    expect(figures(await run(projectId))).toMatchObject({ archivedSessions: 0, droppedSessions: 0 });

    await age(projectId, 31);
    const dropped = await asForeseen(projectId);
    expect(figures(dropped)).toMatchObject({ archivedSessions: 0, droppedSessions: 2 });
    expect(dropped.total.freedBytes).toBeGreaterThan(0);
    const now = await rowsOf(projectId);
    expect(now.dropped).toBe(2);
    expect(now.batches).toBeLessThan(batches);
    expect(await build()).toMatchObject({ status: 'completed', warnings: [] });
  });

  it('leaves a project on legal hold alone, and says so', async () => {
    const held = await project();
    await age(held, 100);
    await sql(
      `INSERT INTO session_chain.project_retention (project_id, held_at, held_by, hold_reason)
       VALUES ($1, now(), 'counsel', 'case 7')`,
      held,
    );
    const before = await rowsOf(held);
    const done = await run(held);
    expect(done.projects).toMatchObject([{ transitions: 0, archivedSessions: 0, leftAlone: 'hold' }]);
    expect(await rowsOf(held)).toEqual(before);
  });

  it('runs twice at a time for one project, and does it once', async () => {
    const both = await project();
    await age(both, 100);
    const foreseen = figures(await run(both, true));
    const done = await Promise.all([run(both), run(both)]);
    const sum = (name: keyof typeof foreseen) =>
      done.reduce((all, one) => all + (figures(one)[name] ?? 0), 0);
    expect(sum('transitions')).toBe(foreseen.transitions);
    expect(sum('archivedSessions')).toBe(foreseen.archivedSessions);
    expect(await rowsOf(both)).toMatchObject({ hot: 1, archived: foreseen.archivedSessions, parts: 1 });
    expect(await sql('SELECT FROM session_chain.archive_parts WHERE project_id = $1', both)).toHaveLength(1);
  });

  it('gives up on a project whose archive is out of reach, deletes nothing, and goes on at the next run', async () => {
    const stuck = await project();
    await age(stuck, 100);
    const away = `${archive}-away`;
    renameSync(archive, away);
    const failed = await run(stuck);
    expect(failed.projects).toMatchObject([
      { archivedSessions: 0, failure: { code: 'ARCHIVE_UNAVAILABLE' } },
    ]);
    expect(failed.total.failed).toBe(1);
    renameSync(away, archive);
    const { batches } = await rowsOf(stuck);
    expect(figures(await run(stuck)).archivedSessions).toBeGreaterThan(0);
    expect(await rowsOf(stuck)).toMatchObject({ batches, parts: 1 });
  });
});

describe('a file of the archive', () => {
  it('that was lost or changed since it was written keeps what it holds in the database', async () => {
    const lost = await project();
    await age(lost, 100);
    const before = files();
    expect(figures(await run(lost))).toMatchObject({ archivedSessions: 3 });
    await age(lost, 31);
    const rows = await rowsOf(lost);
    const file = Object.keys(files()).find((path) => !(path in before) && path.endsWith('.jsonl.gz')) ?? '';
    const content = readFileSync(file);
    for (const damage of [() => rmSync(file), () => writeFileSync(file, content.subarray(1))]) {
      damage();
      const done = await run(lost);
      expect(done.projects).toMatchObject([
        { droppedSessions: 0, failure: { code: 'ARCHIVE_DAMAGED', message: expect.any(String) as unknown } },
      ]);
      expect(await rowsOf(lost)).toEqual(rows);
    }
    writeFileSync(file, content);
    expect(figures(await run(lost))).toMatchObject({ droppedSessions: 3 });
  });
});

describe('a worker that is killed', () => {
  /** Boundaries at which the database waits for the test: a part is chosen; its file is written; it is verified; in the middle of a drop. */
  const boundaries = [
    ['once a part is planned', 'session_chain.archive_parts', 'written_until'],
    ['once its file is written', 'session_chain.archive_parts', 'state'],
    ['once it is verified', 'session_chain.archive_parts', 'rolled_up_at'],
    ['in the middle of a drop', 'session_chain.sessions', 'dropped_at'],
  ] as const;

  it.each(boundaries)('%s loses nothing, and another one ends the run', async (_when, table, column) => {
    const { pool } = stack.database;
    const killed = await project();
    await age(killed, 100);
    if (column === 'dropped_at') {
      await run(killed);
      await age(killed, 31);
    }
    const foreseen = figures(await run(killed, true));
    const worker = await stack.onlyWorker(withArchive());
    await sql(`CREATE FUNCTION public.wait_here() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END $$`);
    await sql(
      `CREATE TRIGGER wait_here AFTER UPDATE OF ${column} ON ${table} EXECUTE FUNCTION public.wait_here()`,
    );
    const gate = await pool.connect();
    await gate.query('SELECT pg_advisory_lock(4711)');
    // What is asserted holds for any number of attempts, so that none has to be waited for longer than needed.
    const { temporal, policy } = stack;
    const hasty = createSessionChain({ pool, temporal, policy: { ...policy, heartbeatTimeoutMs: 3_000 } });
    const started = await hasty.startRetention({ projectId: killed });
    const waiting = async () =>
      await sql<{ pid: number }>(
        `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
      );
    await until(async () => (await waiting()).length > 0);
    await worker.kill('SIGKILL');
    for (const { pid } of await waiting()) await sql('SELECT pg_terminate_backend($1)', pid);
    await gate.query('SELECT pg_advisory_unlock(4711)');
    gate.release();
    await until(async () => (await waiting()).length === 0);
    await sql('DROP FUNCTION public.wait_here CASCADE');

    await stack.onlyWorker(withArchive());
    const ended = await stack.sessionChain.retentionRun(started.id, { waitMs: 500_000 });
    expect(ended).toMatchObject({ state: 'finished', failure: null, result: { total: { failed: 0 } } });
    const rows = await rowsOf(killed);
    expect(rows).toMatchObject({ hot: 1, parts: 1 });
    if (column === 'dropped_at') expect(rows.dropped).toBe(foreseen.droppedSessions);
    else expect(rows.archived).toBe(foreseen.archivedSessions);
    const before = files();
    expect(figures(await run(killed))).toMatchObject({
      transitions: 0,
      archivedSessions: 0,
      droppedSessions: 0,
    });
    expect([await rowsOf(killed), files()]).toEqual([rows, before]);
  });
});

describe('its schedule', () => {
  beforeAll(async () => {
    await stack.onlyWorker(withArchive());
    // Its row is written a moment after it polls.
    await until(async () => (await stack.sessionChain.retentionStatus()).policies.length > 0);
  });
  const environment = () => ({
    DATABASE_URL: stack.database.url,
    TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'] ?? '',
    SESSION_CHAIN_TASK_QUEUE: stack.policy.taskQueues.chains,
    SESSION_CHAIN_HEARTBEAT_TIMEOUT_MS: String(stack.policy.heartbeatTimeoutMs),
  });
  const cli = async (...args: string[]) => await commandLine.run(['retention', ...args], environment());
  const doctor = async () => [await checks.retention(readConfig(environment()))].flat();

  it('is missed by the doctor, installed, changed in place, run, told of, and removed', async () => {
    expect(await doctor()).toContainEqual({
      status: 'warn',
      message: expect.stringContaining('no schedule is installed'),
      remedy: 'Run: session-chain retention install',
    });
    expect((await cli('status')).stdout).toMatch(/^schedule +none/m);
    expect(await cli('install', '--every', 'day at 04:30')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^schedule +day at 04:30\nnext run +.* 04:30$/m),
    });
    const { schedule } = await stack.sessionChain.retentionStatus();
    expect(schedule).toMatchObject({ every: 'day at 04:30', paused: false, betweenMs: 86_400_000 });
    expect(await stack.sessionChain.installRetention({ every: '6h', paused: true })).toMatchObject({
      ...{ every: '6h', paused: true, nextAt: null },
    });
    expect(await doctor()).toContainEqual(
      expect.objectContaining({ status: 'warn', message: 'the schedule (6h) is paused' }),
    );
    // What was not said stays.
    expect(await stack.sessionChain.installRetention({ every: '0 3 * * 6' })).toMatchObject({
      ...{ every: '0 3 * * 6', paused: true },
    });
    expect(await stack.sessionChain.installRetention({ every: '1d', paused: false })).toMatchObject({
      ...{ every: '1d', paused: false },
    });

    const scheduled = await project();
    await age(scheduled, 100);
    await stack.temporal.schedule.getHandle(retentionId(stack.policy.taskQueues.chains)).trigger();
    let last: RetentionRunState | null = null;
    await until(async () => {
      ({ lastRun: last } = await stack.sessionChain.retentionStatus());
      return last?.scheduled === true;
    });
    const now = last as RetentionRunState | null;
    expect(now).toMatchObject({ state: 'finished', dryRun: false, projectId: null, failure: null });
    expect(now?.result?.projects).toContainEqual(
      expect.objectContaining({ projectId: scheduled, transitions: 5, archivedSessions: 3 }),
    );
    expect(await stack.sessionChain.retentionRun(now?.id ?? '')).toEqual(now);
    expect(await doctor()).toMatchObject([
      { status: 'ok', message: expect.stringContaining(`to file://${archive}`) },
      { status: 'ok', message: expect.stringMatching(/^every 1d, next at /) },
      { status: 'ok', message: expect.stringMatching(/^last run, .*: \d+ projects; moved/) },
    ]);
    expect((await cli('status')).stdout).toMatch(/^last run +.* projects; moved/m);
    expect(await cli('remove')).toMatchObject({ code: 0, stdout: 'Retention runs no more by itself.\n' });
    expect(await cli('remove')).toMatchObject({ code: 0, stdout: 'There was no schedule.\n' });
  });

  it('warns of workers that differ', async () => {
    await sql(
      `INSERT INTO session_chain.workers SELECT (jsonb_populate_record(w, jsonb_build_object('id', gen_random_uuid(),
         'identity', '7@other', 'limits', jsonb_set(w.limits, '{retention,transcriptsDays}', '45')))).*
       FROM session_chain.workers w WHERE stopped_at IS NULL ORDER BY seen_at DESC LIMIT 1`,
    );
    expect((await doctor())[0]).toMatchObject({
      status: 'warn',
      message: expect.stringMatching(
        /workers differ: (?=.*after 90 days)(?=.*after 45 days[^(]*\(7@other\))/,
      ),
    });
    await sql(`DELETE FROM session_chain.workers WHERE identity = '7@other'`);
  });

  it('is run from the command line, which says what would go and why', async () => {
    const asked = await project();
    await age(asked, 100);
    const dry = await cli('run', '--project', asked, '--dry-run');
    expect(dry).toMatchObject({ code: 0, stderr: '' });
    expect(dry.stdout).toContain('move: transitions older than 30 days');
    expect(dry.stdout.split('\n')[1]).toMatch(/ 5 +3 +0 +0 B +0$/);
    const { stdout } = await cli('run', '--project', asked, '-o', 'json');
    expect(JSON.parse(stdout)).toMatchObject({ total: { transitions: 5, archivedSessions: 3 } });
    expect((await cli('run', '--project', asked)).stdout).toContain(' 0 ');
  });

  it.each<[string[], number, string]>([
    [['install', '--every', 'tomorrow'], 2, 'INVALID_INPUT: "tomorrow" says no times'],
    [['install', '--every', 'day at 25:00'], 2, 'INVALID_INPUT'],
    [['install', '--every', '99 99 * * *'], 2, 'INVALID_INPUT'],
    [['run', '--project', 'no such'], 2, 'INVALID_INPUT'],
    [['run', '--project', 'none'], 3, 'PROJECT_NOT_FOUND'],
    [['run', '--dryrun'], 2, 'Did you mean --dry-run'],
  ])('refuses %j', async (args, code, said) => {
    const ended = await cli(...args);
    expect(ended).toMatchObject({ code, stdout: '' });
    expect(ended.stderr).toContain(said);
  });
});

describe('over HTTP', () => {
  beforeAll(async () => {
    await stack.onlyWorker(withArchive());
  });

  it('is shown to readers, and run by admins', async () => {
    const keys = createKeys(stack.database.pool);
    const app = await createApp({ sessionChain: stack.sessionChain, keys });
    const keyOf = async (scope: 'admin' | 'start') => (await keys.create({ name: scope, scope })).key;
    const [admin, start] = [await keyOf('admin'), await keyOf('start')];
    await app.listen({ host: '127.0.0.1', port: 0 });
    const base = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
    const call = async (key: string, method: 'GET' | 'POST', path: string, body?: object) => {
      const answer = await fetch(`${base}${path}`, {
        method,
        headers: { authorization: `Bearer ${key}`, ...(body ? { 'content-type': 'application/json' } : {}) },
        ...(body ? { body: JSON.stringify(body) } : {}),
      });
      const location = answer.headers.get('location');
      return { status: answer.status, location, body: (await answer.json()) as object };
    };
    const asked = await project();
    await age(asked, 100);
    expect(await call(start, 'GET', '/v1/retention')).toMatchObject({
      ...{ status: 200, body: { schedule: null, parts: { planned: 0 } } },
    });
    expect((await call(start, 'POST', '/v1/retention/runs', {})).status).toBe(403);
    const refused = await call(admin, 'POST', '/v1/retention/runs', { dryrun: true });
    expect(refused).toMatchObject({ status: 400, body: { code: 'INVALID_INPUT' } });
    const ran = await call(admin, 'POST', '/v1/retention/runs?waitMs=60000', { projectId: asked });
    expect(ran).toMatchObject({
      status: 200,
      body: { state: 'finished', result: { total: { projects: 1 } } },
    });
    expect(await call(start, 'GET', String(ran.location))).toMatchObject({ status: 200, body: ran.body });
    const none = await call(start, 'GET', '/v1/retention/runs/5d1c0a9b-0000-4000-8000-000000000000');
    expect(none).toMatchObject({ status: 404, body: { code: 'RUN_NOT_FOUND' } });
    await app.close();
  });
});
