import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { WorkflowNotFoundError } from '@temporalio/client';
import { Redis } from 'ioredis';
import { chainKey } from '../../client/session-chain.js';
import { parseProjectId } from '../../contracts/ids.js';
import type { Pool } from '../../storage/db/pool.js';
import {
  eraseRows,
  finishErasure,
  lastErasure,
  requestErasure,
  stopErased,
} from '../../storage/erasure/erasure.js';
import { createTranscriptStore } from '../../storage/transcripts/store.js';
import { createCommandLine } from '../support/cli.js';
import { type ChainStack, longHeartbeatTimeoutMs, startChainStack, until } from '../support/chain-stack.js';
import { beginWithTranscript, commitAttempt, newKey, openNew, register } from '../support/chains.js';

/** What is left of a project that was erased: its certificate. */

let stack: ChainStack;
let pool: Pool;
let redis: Redis;
beforeAll(async () => {
  stack = await startChainStack('erase', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  ({ pool } = stack.database);
  redis = new Redis(process.env['TEST_REDIS_URL'] ?? '', { lazyConnect: true });
});
afterAll(async () => {
  redis.disconnect();
  await stack.stop();
});

/** Every row of every table that holds one of these texts, as `table: row`. */
async function rowsWith(...texts: string[]): Promise<string[]> {
  const { rows: tables } = await pool.query<{ name: string }>(
    `SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1`,
  );
  const found: string[] = [];
  for (const { name } of tables) {
    const { rows } = await pool.query<{ row: string }>(
      `SELECT x::text AS row FROM ${name} x WHERE EXISTS (SELECT FROM unnest($1::text[]) t WHERE position(t IN x::text) > 0)`,
      [texts],
    );
    found.push(...rows.map(({ row }) => `${name}: ${row.slice(0, 150)}`));
  }
  return found;
}

/** The tables with rows of a project, with how many. */
async function tablesOf(projectId: string): Promise<Record<string, number>> {
  const { rows } = await pool.query<{ counts: Record<string, number> }>(
    'SELECT session_chain.count_erased($1, true) AS counts',
    [projectId],
  );
  return rows[0]?.counts ?? {};
}

/** What no chain of these tests writes: a row of the project in each other table that may hold one. */
async function fillOtherTables(projectId: string, canary: string): Promise<void> {
  const one = async (text: string, ...values: unknown[]) => await pool.query(text, values);
  const part = randomUUID();
  await one(
    `INSERT INTO session_chain.archive_parts (id, project_id, month, location, object) VALUES ($1, $2, '2026-01-01', 'file:///a', $3)`,
    part,
    projectId,
    `projects/${projectId}/2026-01/${part}`,
  );
  await one(
    `INSERT INTO session_chain.session_transitions_archive (project_id, seq, id, new_session_id, source) VALUES ($1, 0, '0', $2, 'build')`,
    projectId,
    canary,
  );
  await one(
    `INSERT INTO session_chain.spend_days SELECT (jsonb_populate_record(NULL::session_chain.spend_days,
       (SELECT jsonb_object_agg(attname, 0) FROM pg_attribute WHERE attrelid = 'session_chain.spend_days'::regclass AND attnum > 0)
       || jsonb_build_object('project_id', $1::text, 'day', '2026-01-01', 'step', 'build', 'model', 'm'))).*`,
    projectId,
  );
  await one(
    `INSERT INTO session_chain.project_retention (project_id, restored_until) VALUES ($1, now())`,
    projectId,
  );
  await one(`INSERT INTO session_chain.trimmed_events (project_id, id) VALUES ($1, 1)`, projectId);
  await one(
    `INSERT INTO session_chain.chain_ends (event, chain, project_id, version_id, build_id, status, steps, ended_at)
     VALUES (1, 1, $1, $2, 'b', 'completed', '{}', now())`,
    projectId,
    canary,
  );
  await one(
    `INSERT INTO session_chain.workspaces (project_id, requested, path, identity, worker) VALUES ($1, $2, $2, $3, 'test') ON CONFLICT DO NOTHING`,
    projectId,
    `/${randomUUID()}/${canary}`,
    randomUUID(),
  );
  await one(
    `INSERT INTO session_chain.briefs (chain, head_session_id, content, parts)
     SELECT id, 'h', $2, '[]' FROM session_chain.chains WHERE project_id = $1 LIMIT 1`,
    projectId,
    canary,
  );
  await one(
    `INSERT INTO session_chain.activity_steps (key, chain, step, ticket, activity, task_queue, state, scheduled_at, ended_at, failure)
     SELECT gen_random_uuid(), id, 'deploy', 1, 'deploy', 'q', 'failed', now(), now(), jsonb_build_object('message', $2::text)
     FROM session_chain.chains WHERE project_id = $1 LIMIT 1`,
    projectId,
    canary,
  );
  await one(
    `INSERT INTO session_chain.workspace_searches (operation, workers)
     SELECT 'chain:' || id || ':1', jsonb_build_object($2::text, 1) FROM session_chain.chains WHERE project_id = $1 LIMIT 1`,
    projectId,
    canary,
  );
  await one(
    `INSERT INTO session_chain.live_chunks (attempt_id, message, content)
     SELECT id, 1, $2 FROM session_chain.attempts WHERE project_id = $1 LIMIT 1`,
    projectId,
    canary,
  );
  const key = async (projects: string[]) => {
    const id = randomUUID().replaceAll('-', '').slice(0, 12);
    const hash = () => (randomUUID() + randomUUID()).replaceAll('-', '');
    await one(
      `INSERT INTO session_chain.api_keys (id, name, hash, scope, projects) VALUES ($1, 'key', $2, 'read', $3)`,
      id,
      hash(),
      projects,
    );
    await one(
      `INSERT INTO session_chain.logins (hash, key_id, expires_at) VALUES ($1, $2, now() + interval '1 day')`,
      hash(),
      id,
    );
    return id;
  };
  await key([projectId]);
  await key([projectId, 'another']);
}

/** A project with a committed step and a question, by SQL alone. */
async function storedProject(projectId = `p-${randomUUID()}`) {
  const chain = await openNew(pool, newKey(projectId));
  const attempt = await beginWithTranscript(pool, chain, 'build');
  await commitAttempt(pool, attempt, chain.head);
  await pool.query(
    `SELECT session_chain.record_question($1, $2, 'm', 'Why?', 'now', '/nowhere', false, NULL)`,
    [projectId, `chat-${projectId}`],
  );
  return { ...chain, projectId: parseProjectId(projectId) };
}

/** Erases the rows of a project as its workflow does, a row of each table at a time. */
async function eraseByRow(projectId: string): Promise<void> {
  const erasureId = await requestErasure(pool, { projectId: parseProjectId(projectId), by: 'test' });
  while (!(await eraseRows(pool, erasureId, [], 1)));
  expect(await finishErasure(pool, erasureId, { left: [], later: [] })).toBe(true);
}

describe('the rows of a project', () => {
  it('are looked for in every table that there is', async () => {
    const { rows } = await pool.query<{ name: string; isErased: boolean }>(
      `SELECT c.relname AS name, EXISTS (SELECT FROM session_chain.erased_tables() e WHERE e.tab::regclass = c.oid) AS "isErased"
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1`,
    );
    // What knows no project, and what stays of an erased one.
    expect(rows.filter(({ isErased }) => !isErased).map(({ name }) => name)).toEqual([
      'erasures',
      'grants',
      'installation',
      'migrations',
      'routines',
      'workers',
    ]);
  });

  it('are deleted one by one, in any number of goes, and those of like projects stay', async () => {
    const name = `shop-${randomUUID()}`;
    const chain = await storedProject(name);
    const others = [`${name}-2`, name.toUpperCase(), `${name}.`, name.slice(0, -1)];
    for (const other of others) await storedProject(other);
    await fillOtherTables(name, 'canary-of-rows');
    const before = await Promise.all(others.map(tablesOf));
    const counted = await tablesOf(name);
    const { rows: kinds } = await pool.query<{ kind: string }>(
      'SELECT kind FROM session_chain.erased_tables()',
    );
    expect(Object.keys(counted).sort()).toEqual(kinds.map(({ kind }) => kind).sort());
    await eraseByRow(name);
    const { counts } = await lastErasure(pool, chain.projectId);
    expect(counts).toEqual(counted);
    expect(await tablesOf(name)).toEqual({});
    expect(await Promise.all(others.map(tablesOf))).toEqual(before);
    expect(await rowsWith('canary-of-rows', ...[chain.versionId, chain.runId])).toEqual([]);
    // A second one looks again, and finds nothing.
    await eraseByRow(name);
    expect(await lastErasure(pool, chain.projectId)).toMatchObject({ counts: {}, state: 'finished' });
    // The id may be used again.
    await storedProject(name);
  });

  it('are deleted as well where the row of the project is gone, or where another table refers to it', async () => {
    const gone = await storedProject();
    await pool.query('DELETE FROM project_versions WHERE project_id = $1', [gone.projectId]);
    await pool.query('DELETE FROM projects WHERE project_id = $1', [gone.projectId]);
    await eraseByRow(gone.projectId);
    expect(await tablesOf(gone.projectId)).toEqual({});

    const referred = await storedProject();
    await pool.query(`CREATE TABLE invoices (project_id varchar(255) REFERENCES projects)`);
    await pool.query('INSERT INTO invoices VALUES ($1)', [referred.projectId]);
    await eraseByRow(referred.projectId);
    expect(await tablesOf(referred.projectId)).toEqual({ projects: 1 });
    expect((await lastErasure(pool, referred.projectId)).certificate?.left).toEqual([
      expect.objectContaining({ what: '1 row of projects' }),
    ]);
    await pool.query('DROP TABLE invoices');
  });

  it('wait for the lease of an agent and for a file of the archive that is being written', async () => {
    const chain = await openNew(pool);
    await pool.query(
      `INSERT INTO session_chain.archive_parts (project_id, month, location, object, written_until)
       VALUES ($1, '2026-01-01', 'file:///a', $1, clock_timestamp() + interval '1 hour')`,
      [chain.projectId],
    );
    const erasureId = await requestErasure(pool, { projectId: chain.projectId, by: 'test' });
    expect(await stopErased(pool, erasureId)).toBeGreaterThan(3_000_000);
    await pool.query('UPDATE session_chain.archive_parts SET written_until = NULL');
    expect(await stopErased(pool, erasureId)).toBeNull();
    // Nothing is certified that is not so.
    expect(await finishErasure(pool, erasureId, { left: [], later: [] })).toBe(false);
  });
});

describe('while a project is being erased', () => {
  it('nothing begins in it, and its queue does not hang', async () => {
    const chain = await storedProject();
    const { projectId } = chain;
    // It waits behind the chain that holds the project.
    const { chainId } = await register(pool, newKey(projectId));
    await requestErasure(pool, { projectId, by: 'test' });
    const refused = { code: 'PROJECT_BEING_ERASED', category: 'conflict' };
    await expect(register(pool, newKey(projectId))).rejects.toMatchObject(refused);
    const client = stack.sessionChain;
    await expect(client.start(stack.request(projectId))).rejects.toMatchObject(refused);
    await expect(client.ask({ projectId, chatId: 'c', messageId: 'm', text: 'Why?' })).rejects.toMatchObject(
      refused,
    );
    await expect(
      createTranscriptStore({ pool, projectId }).append({ projectKey: 'any', sessionId: randomUUID() }, [
        { type: 'user', uuid: randomUUID() },
      ]),
    ).rejects.toMatchObject({ message: expect.stringContaining('being erased') });
    await expect(
      pool.query(`INSERT INTO session_chain.project_retention VALUES ($1, now(), 'a', 'b')`, [projectId]),
    ).rejects.toMatchObject({ code: 'SC004' });
    await expect(
      pool.query(
        `UPDATE session_chain.chains SET status = 'running', ticket = 1, run_id = 'r' WHERE id = $1`,
        [chainId],
      ),
    ).rejects.toMatchObject({ code: 'SC004' });
    // What ends may end.
    await pool.query(
      `UPDATE session_chain.chains SET status = 'failed', ticket = NULL, closed_at = now(), result = '{}' WHERE project_id = $1`,
      [projectId],
    );
    await expect(
      pool.query(
        `UPDATE session_chain.chains SET status = 'queued', closed_at = NULL, result = NULL WHERE id = $1`,
        [chainId],
      ),
    ).rejects.toMatchObject({ code: 'SC004' });
    const left = { left: [], later: [] };
    const erasureId = await requestErasure(pool, { projectId, by: 'another' });
    while (!(await eraseRows(pool, erasureId, [])));
    expect(await finishErasure(pool, erasureId, left)).toBe(true);
    expect(await lastErasure(pool, projectId)).toMatchObject({
      erasureId,
      certificate: { requestedBy: 'test' },
    });
  });

  it.each([
    ['a project that there is not', 'never-was', { by: 'test' }, 'PROJECT_NOT_FOUND'],
    ['no name', 'shop', {}, 'INVALID_INPUT'],
    ['a blank name', 'shop', { by: '  ' }, 'INVALID_INPUT'],
    ['a long reason', 'shop', { by: 'test', reason: 'x'.repeat(1_001) }, 'INVALID_INPUT'],
    ['another word for an option', 'shop', { by: 'test', dryrun: true }, 'INVALID_INPUT'],
    ['a name that cannot be stored', 'shop', { by: 'Ada\0' }, 'INVALID_INPUT'],
    ['a reason that cannot be stored', 'shop', { by: 'test', reason: '\ud800' }, 'INVALID_INPUT'],
    ['a malformed id', "shop'%", { by: 'test' }, 'INVALID_INPUT'],
  ])('a request is refused: %s', async (_what, projectId, options, code) => {
    await expect(stack.sessionChain.erase(projectId, options)).rejects.toMatchObject({ code });
    await expect(stack.sessionChain.erasure('never-was')).rejects.toMatchObject({
      code: 'ERASURE_NOT_FOUND',
    });
  });

  it('the command asks first, and refuses where it cannot', async () => {
    const { projectId } = await storedProject();
    const command = createCommandLine();
    const run = async (...args: string[]) =>
      await command.run(['erase', '--project', projectId, ...args], {
        DATABASE_URL: stack.database.url,
        TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'],
      });
    try {
      expect(await run('--dry-run')).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(/a dry run; nothing was erased[^]*sessions +1/),
      });
      expect(await run()).toMatchObject({ stderr: expect.stringMatching(/INVALID_INPUT[^]*--by/) });
      expect(await run('--by', 'Ada')).toMatchObject({
        stdout: '',
        stderr: expect.stringMatching(/INVALID_INPUT[^]*Add --yes/),
      });
      expect(await run('--by', 'Ada', '-o', 'json')).toMatchObject({
        stderr: expect.stringContaining('INVALID_INPUT'),
      });
      expect(await run('--certificate')).toMatchObject({
        stderr: expect.stringContaining('ERASURE_NOT_FOUND'),
      });
      await eraseByRow(projectId);
      expect(await run('--certificate')).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(/requested by +test[^]*sessions +1/),
      });
    } finally {
      command.stop();
    }
  });

  it('a hold refuses it, and a dry run writes nothing', async () => {
    const { projectId } = await storedProject();
    await expect(stack.sessionChain.erasure(projectId)).rejects.toMatchObject({ code: 'ERASURE_NOT_FOUND' });
    const planned = await stack.sessionChain.erase(projectId, { dryRun: true });
    expect(planned).toMatchObject({
      state: 'planned',
      erasureId: null,
      counts: { chains: 1, sessions: 1, projects: 1 },
    });
    await pool.query(`INSERT INTO session_chain.project_retention VALUES ($1, now(), 'a', 'b')`, [projectId]);
    for (const options of [{ dryRun: true }, { by: 'test' }]) {
      await expect(stack.sessionChain.erase(projectId, options)).rejects.toMatchObject({
        code: 'PROJECT_ON_HOLD',
      });
    }
    await expect(stack.sessionChain.erasure(projectId)).rejects.toMatchObject({ code: 'ERASURE_NOT_FOUND' });
  });
});

/** Every file below a folder with one of these texts in it or in its name. */
function filesWith(folder: string, ...texts: string[]): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile())
    .map((file) => join(file.parentPath, file.name))
    .filter((path) => {
      const content = `${path}\n${readFileSync(path, 'latin1')}`;
      return texts.some((text) => content.includes(text));
    });
}

/** Every history of the workflows of this file, of chains, chats and what else there is, with one of these texts. */
async function historiesWith(...texts: string[]): Promise<string[]> {
  const found: string[] = [];
  const query = `TaskQueue STARTS_WITH '${stack.policy.taskQueues.chains}'`;
  for await (const { workflowId, runId, memo, searchAttributes } of stack.temporal.workflow.list({ query })) {
    const history = await stack.temporal.workflow
      .getHandle(workflowId, runId)
      .fetchHistory()
      .catch((error: unknown) => {
        // The list is behind: it is deleted.
        if (error instanceof WorkflowNotFoundError) return null;
        throw error;
      });
    if (history === null) continue;
    const events = JSON.stringify([workflowId, memo, searchAttributes, history], (_, value: unknown) =>
      value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value,
    );
    if (texts.some((text) => events.includes(text))) found.push(workflowId);
  }
  return found;
}

it('a project is erased while a chain runs, though its worker is killed, and nothing but the certificate is left', async () => {
  const name = `cust-${randomUUID().slice(0, 8)}`;
  const canary = `canary-${randomUUID()}`;
  const neighbour = `${name}-2`;
  const archive = mkdtempSync(join(tmpdir(), 'session-chain-erase-archive-'));
  const environment = { SESSION_CHAIN_ARCHIVE: archive };
  for (const project of [name, neighbour]) {
    const file = join(archive, 'projects', project, '2026-01', 'part.jsonl.gz');
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, project === name ? canary : 'neighbour');
  }
  let worker = await stack.startWorker(environment);
  const request = (projectId: string) => ({
    ...stack.request(projectId),
    buildId: `b-${projectId === name ? canary : projectId}`,
    instruction: `Build it: ${projectId === name ? canary : 'neighbour'}`,
    steps: ['build'],
  });
  const [done, beside] = [request(name), request(neighbour)];
  for (const one of [done, beside]) {
    await stack.sessionChain.start(one);
    expect(await stack.sessionChain.wait(chainKey(one))).toMatchObject({ status: 'completed' });
  }
  await stack.sessionChain.ask({
    ...{
      projectId: name,
      chatId: `chat-${canary}`,
      messageId: 'm-1',
      text: `What of ${canary}?`,
      workspace: done.workspace,
    },
  });
  await fillOtherTables(name, canary);
  // Of the archive of this worker.
  await pool.query(`UPDATE session_chain.archive_parts SET location = $2 WHERE project_id = $1`, [
    name,
    `file://${archive}`,
  ]);
  const held = stack.model.holdNext(
    ({ bodyText, step }) => step === 'build' && bodyText.includes(`again ${canary}`),
  );
  const running = { ...request(name), buildId: `c-${canary}`, instruction: `Do it again ${canary}` };
  const queued = { ...request(name), buildId: `d-${canary}` };
  await stack.sessionChain.start(running);
  await held.reached;
  await stack.sessionChain.start(queued);
  const waits = Promise.allSettled([running, queued].map((one) => stack.sessionChain.wait(chainKey(one))));
  expect((await rowsWith(canary)).length).toBeGreaterThan(15);
  // A busy worker leaves one out, for it waits half a second for Redis.
  for (const { buildId } of [done, beside])
    await redis.set(`claude:session:${buildId}`, '{}', 'EX', 3_600, 'NX');
  expect(await redis.keys(`*${canary}*`)).not.toEqual([]);
  const before = { tables: await tablesOf(neighbour), files: filesWith(archive, 'neighbour') };

  // Killed while its agent works, and another goes on.
  const erasure = stack.sessionChain.erase(name, { by: 'Ada', reason: 'Her customer asked for it' });
  await until(async () => (await stack.sessionChain.erasure(name).catch(() => null)) !== null);
  await worker.kill('SIGKILL');
  await expect(stack.sessionChain.start(request(name))).rejects.toMatchObject({
    code: 'PROJECT_BEING_ERASED',
  });
  worker = await stack.startWorker(environment);
  const { state, counts, certificate } = await erasure;
  held.remove();

  expect(state).toBe('finished');
  expect(counts).toMatchObject({ chains: 3, archive_files: 1, project_chat_log_minimal: 1, projects: 1 });
  expect(counts['workflows']).toBeGreaterThanOrEqual(3);
  expect(certificate).toMatchObject({
    requestedBy: 'Ada',
    reason: 'Her customer asked for it',
    erased: counts,
  });
  expect(certificate?.left[0]?.what).toContain(done.workspace);
  expect(certificate?.later.map(({ what }) => what).join()).toMatch(/write-ahead log.*Free pages.*Dumps/s);
  for (const wait of await waits)
    expect(wait).toMatchObject({
      status: 'rejected',
      reason: { code: expect.stringMatching(/REQUEST_LOST|CHAIN_TERMINATED|CHAIN_NOT_FOUND/) },
    });

  // The path of the workspace, which the application owns, is the project's name alone.
  expect(await rowsWith(canary)).toEqual([]);
  expect(await rowsWith(name)).toEqual(
    expect.arrayContaining([
      expect.stringMatching(/^session_chain.erasures: /),
      expect.stringContaining(neighbour),
    ]),
  );
  expect((await rowsWith(name)).filter((row) => !row.includes(neighbour))).toHaveLength(1);
  // As seldom it does not reach Redis in time for this, and the certificate says so.
  const later = certificate?.later.some(({ what }) => what.startsWith('Checkpoints in Redis'));
  if (!later) expect(await redis.keys(`*${canary}*`)).toEqual([]);
  expect(filesWith(archive, canary, `${name}/`)).toEqual([]);
  expect(filesWith(stack.root, canary).filter((path) => !path.startsWith(`${done.workspace}/`))).toEqual([]);
  await until(async () => (await historiesWith(canary)).length === 0);
  expect({ tables: await tablesOf(neighbour), files: filesWith(archive, 'neighbour') }).toEqual(before);
  expect(await redis.keys(`*${neighbour}*`)).toHaveLength(1);
  expect((await historiesWith(neighbour)).length).toBeGreaterThan(0);
  await worker.kill('SIGTERM');
  rmSync(archive, { recursive: true });
});
