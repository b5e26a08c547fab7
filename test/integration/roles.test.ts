import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createKeys } from '../../client/keys.js';
import { type SessionChain, chainKey, createSessionChain } from '../../client/session-chain.js';
import { failureOfCode } from '../../contracts/failures.js';
import { parseProjectId } from '../../contracts/ids.js';
import { type Part, missingRights, openSchemas, parts } from '../../storage/db/grants.js';
import { migrate, requireMigrations } from '../../storage/db/migrate.js';
import { type Pool, createPool, sqlState } from '../../storage/db/pool.js';
import { readAllEvents } from '../../storage/events/events.js';
import { failQuestion, recordQuestion } from '../../storage/questions/questions.js';
import { createTranscriptStore } from '../../storage/transcripts/store.js';
import { taskQueuesOf } from '../../temporal/names.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
} from '../support/chain-stack.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';
import { uuidHost } from '../support/host-schemas.js';

/** Each role does its part of the work on a database that another role owns, and no more. */

const run = randomUUID().slice(0, 8);
const role = (name: string) => `${name}_${run}`;
const roles = ['owner', 'host', 'stranger', ...parts].map(role);

let stack: ChainStack;
beforeAll(async () => {
  stack = await startChainStack('roles', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  for (const one of roles) await stack.database.pool.query(`CREATE ROLE ${one} LOGIN`);
});
afterAll(async () => {
  const { pool } = stack.database;
  for (const one of roles) await pool.query(`DROP OWNED BY ${one} CASCADE`).catch(() => undefined);
  for (const one of roles) await pool.query(`DROP ROLE ${one}`);
  await stack.stop();
});

/** A database that the role `owner` migrated, whose tables are our own or those of a host in a schema of its own. */
interface Migrated {
  database: TestDatabase;
  /** The address for a role. */
  as(name: string): string;
  pools: Record<Part | 'stranger' | 'owner', Pool>;
  drop(): Promise<void>;
}

async function migrated(hostSql: string | null): Promise<Migrated> {
  const database = await createTestDatabase({ empty: true });
  const name = new URL(database.url).pathname.slice(1);
  await database.pool.query(
    hostSql === null
      ? `ALTER DATABASE ${name} OWNER TO ${role('owner')}`
      : `GRANT CREATE ON DATABASE ${name} TO ${role('owner')};
         GRANT ${role('host')} TO ${role('owner')};
         CREATE SCHEMA app AUTHORIZATION ${role('host')};
         ${['owner', ...parts].map((one) => `ALTER ROLE ${role(one)} IN DATABASE ${name} SET search_path TO app;`).join('')}
         SET ROLE ${role('host')}; SET search_path TO app; ${hostSql}; RESET ROLE; RESET search_path`,
  );
  const as = (one: string) => {
    const url = new URL(database.url);
    url.username = role(one);
    return url.href;
  };
  await migrate(
    as('owner'),
    {},
    parts.map((part) => ({ part, role: role(part) })),
  );
  const pools = Object.fromEntries(
    ['owner', 'stranger', ...parts].map((one) => [
      one,
      createPool(as(one), { applicationName: one, max: 8 }),
    ]),
  ) as Migrated['pools'];
  return {
    database,
    as,
    pools,
    async drop() {
      for (const pool of Object.values(pools)) await pool.end();
      await database.pool.query(`DROP OWNED BY ${roles.join(', ')} CASCADE`);
      await database.drop();
    },
  };
}

/** SQLSTATE and message of a statement's error; null where it went through, whatever it would have done. */
async function refusalOf(pool: Pool, statement: string): Promise<string | null> {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    await client.query(statement);
    return null;
  } catch (error) {
    return `${sqlState(error)} ${(error as Error).message}`;
  } finally {
    await client.query('ROLLBACK');
    client.release();
  }
}

const hosts = [
  { name: 'own tables', sql: null, project: `shop-${run}`, version: `shop-${run}-v1`, createRows: true },
  {
    name: 'tables of a host with uuids',
    sql: uuidHost.sql,
    project: uuidHost.projectId,
    version: uuidHost.versionId,
  },
];

describe.each(hosts)('on $name', ({ sql, project, version, createRows = false }) => {
  let on: Migrated;
  let worker: TestWorker | undefined;
  let client: SessionChain;
  let key: ReturnType<typeof chainKey>;
  const projectId = parseProjectId(project);
  const workspace = () => join(stack.root, project);

  beforeAll(async () => {
    on = await migrated(sql);
    const taskQueue = `roles-${project}-${run}`;
    // Its ends are called for on a queue that it polls itself, for an activity that it does not have.
    const onEnd = `{ activity: 'chainEnded', taskQueue: '${taskQueue}', maxAttempts: 1 }`;
    worker = await stack.startWorker({
      DATABASE_URL: on.as('worker'),
      SESSION_CHAIN_TASK_QUEUE: taskQueue,
      SESSION_CHAIN_CONFIG: stack.configuration(`{ onEnd: ${onEnd} }`),
    });
    client = createSessionChain({
      pool: on.pools.client,
      temporal: stack.temporal,
      policy: { ...stack.policy, taskQueues: taskQueuesOf(taskQueue).chains },
      overrides: stack.overrides,
    });
    mkdirSync(workspace(), { recursive: true });
  });
  afterAll(async () => {
    await worker?.kill('SIGTERM');
    await on.drop();
  });

  it('no role lacks anything for its part, and the stranger everything', async () => {
    for (const part of parts) expect(await missingRights(on.pools[part], part)).toBeNull();
    expect((await missingRights(on.pools.stranger, 'client'))?.statements).toContain(
      `GRANT USAGE ON SCHEMA session_chain TO ${role('stranger')};`,
    );
  });

  it('client and worker run a chain', async () => {
    key = chainKey(
      await client.start({
        projectId,
        versionId: version,
        // Tests of other files start the version of the same host, in the same Temporal.
        buildId: `build-${run}`,
        workspace: workspace(),
        instruction: 'Canary-instruction',
        steps: ['build', 'metadata'],
        createRows,
      }),
    );
    expect(await client.wait(key)).toMatchObject({ status: 'completed', head: { seq: 2 } });
    expect(await client.state(key)).toMatchObject({ status: 'completed' });
    expect((await client.workers()).workers).toMatchObject([{ alive: true }]);
    // The worker has recorded, taken, begun and noted the end; the client and the reader see it.
    await until(async () => (await client.ends(key))[0]?.failure?.includes('NotFoundError') === true);
    expect((await client.chain(key)).ends).toMatchObject([{ status: 'completed', rounds: 1 }]);
    expect((await client.stats()).ends).toEqual({ waiting: 0, failed: 1 });
    const { rows: ends } = await on.pools.reader.query('SELECT failure FROM session_chain.chain_ends');
    expect(ends).toEqual([{ failure: expect.stringContaining('NotFoundError') }]);
    const { rows } = await on.database.pool.query<{ status: string; has: boolean }>(
      `SELECT status, ai_metadata IS NOT NULL AS has FROM ${sql === null ? 'public' : 'app'}.project_versions WHERE version_id::text = $1`,
      [version],
    );
    expect(rows).toEqual([{ status: 'deployed', has: true }]);
  });

  it('the client asks, reads, records, rewinds, recovers, and cancels', async () => {
    const chatId = sql === null ? 'chat-1' : uuidHost.chatId;
    const { reply } = await client.ask(
      { projectId, chatId, text: 'Which files are there?' },
      { onChunk: () => undefined },
    );
    expect(reply).toMatch(/\w/);
    expect(await client.questions(projectId, { chatId })).toHaveLength(1);
    expect((await client.chains()).chains).toHaveLength(1);
    expect((await client.chain(key)).steps).toHaveLength(2);
    expect(await client.brief(key)).toBeNull();
    expect((await client.tree(projectId)).nodes.length).toBeGreaterThan(1);
    expect((await client.syncReport()).projects).toBeGreaterThan(0);
    expect(await client.stats()).toMatchObject({
      chains: { completed: 1 },
      cacheReadShare: expect.any(Number),
    });
    expect((await client.chainSpend(key)).costUsd).toBeGreaterThan(0);
    expect((await client.spendBy('model', { projectIds: [projectId] }))[0]?.costUsd).toBeGreaterThan(0);
    expect((await client.chainCounts({ projectIds: [projectId] })).status.completed).toBe(1);
    const { projects } = await client.projects({ projectIds: [projectId] });
    expect(projects).toMatchObject([{ projectId, openChains: 0 }]);
    const { entries } = await client.entries({ sessionId: String(projects[0]?.head.sessionId) });
    expect(entries.length).toBeGreaterThan(0);
    expect(await client.reconcile(projectId)).toEqual({ released: [], endingInMs: null });
    const recorded = await client.recordSession({
      projectId,
      sessionId: randomUUID(),
      source: 'import',
      notInStore: true,
    });
    expect(recorded).toMatchObject({ alreadyRecorded: false });
    expect(await client.validateAndRecover(projectId)).toMatchObject({ outcome: 'ancestor' });
    const rewound = await client.rewind(projectId, { to: 2 });
    expect((await client.head(projectId)).sessionId).toBe(rewound.sessionId);
    const held = stack.model.holdNext();
    const version2 = sql === null ? `${project}-v2` : uuidHost.olderVersionId;
    const cancelled = await client.start({
      projectId,
      versionId: version2,
      workspace: workspace(),
      steps: ['build'],
      createRows,
    });
    await held.reached;
    await client.cancel(cancelled);
    expect(await client.wait(cancelled)).toMatchObject({ status: 'cancelled' });
    held.remove();
    // A question that its chat's workflow rejects is recorded as failed by the client.
    const rejected = await recordQuestion(on.pools.client, {
      ...{ projectId, chatId, messageId: 'rejected', question: 'Why?', when: 'now' },
    });
    await failQuestion(on.pools.client, rejected, failureOfCode('CHAT_BUSY'));
    const [newest] = (await client.questions(projectId, { chatId })).reverse();
    expect(newest).toMatchObject({ state: 'failed', failure: { code: 'CHAT_BUSY' } });
    expect(await client.unbindWorkspace(projectId)).toMatchObject({ path: expect.any(String) });
    // An old writer moved the head: on our own tables a key forbids it.
    if (sql !== null) {
      const outside = randomUUID();
      await on.database.pool.query(`BEGIN; SET LOCAL search_path TO app;
        UPDATE projects SET last_ai_session_id = '${outside}' WHERE project_id = '${project}'; COMMIT`);
      expect(
        await client.recordSession({ projectId, sessionId: outside, source: 'import', notInStore: true }),
      ).toMatchObject({
        alreadyRecorded: true,
      });
      await client.rewind(projectId, { to: 2 });
    }
  });

  it('a chain from which row-level security hides its project goes on once it is there again', async () => {
    const projects = `${sql === null ? 'public' : 'app'}.projects`;
    const held = stack.model.holdNext();
    const request = {
      projectId,
      versionId: version,
      buildId: 'hidden',
      workspace: workspace(),
      steps: ['build'],
    };
    const started = await client.start(request);
    await held.reached;
    await on.database.pool.query(
      `ALTER TABLE ${projects} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY`,
    );
    held.release();
    const pendingFailure = async () => {
      const { raw } = await stack.temporal.workflow.getHandle(started.workflowId).describe();
      return raw.pendingActivities?.[0]?.lastFailure?.applicationFailureInfo?.type;
    };
    await until(async () => (await pendingFailure()) !== undefined);
    expect(await pendingFailure()).toBe('DATABASE_REFUSED');
    await expect(client.head(projectId)).rejects.toMatchObject({ code: 'DATABASE_REFUSED' });
    await on.database.pool.query(
      `ALTER TABLE ${projects} DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY`,
    );
    expect(await client.wait(started)).toMatchObject({ status: 'completed' });
  });

  it('the server lists the keys that another role makes, without a hash', async () => {
    const { id, key: made } = await createKeys(on.pools.keys).create({ name: 'web', scope: 'read' });
    const listed = await createKeys(on.pools.server).list();
    expect(listed).toEqual(await createKeys(on.pools.keys).list());
    expect(listed).toMatchObject([{ id, name: 'web', scope: 'read', projects: null, revokedAt: null }]);
    expect(Object.keys(listed[0] ?? {})).not.toContain('hash');
    expect(await createKeys(on.pools.server).check(made)).toMatchObject({ id });
  });

  it('the reader reads chains, lineage and costs, and no text', async () => {
    const { reader } = on.pools;
    const { rows } = await reader.query(
      `SELECT c.status, count(t.seq) AS moves, sum(m.cost_usd) > 0 AS costs FROM session_chain.chain_overview c
       JOIN session_transitions t ON t.project_id = session_chain.transition_project_key(c.project_id)
       LEFT JOIN project_ai_session_metrics m ON m.attempt_id = t.attempt_id
       JOIN projects p ON p.project_id = session_chain.project_key(c.project_id) WHERE c.project_id = $1 GROUP BY 1`,
      [project],
    );
    expect(rows).toContainEqual(expect.objectContaining({ status: 'completed', costs: true }));
    // The documented views: each has rows here, no text, and a word on every column.
    await on.database.pool.query(
      `UPDATE session_chain.chains SET failures = '{"build": {"code": "AGENT_FAILED", "message": "Canary-failure"}}'`,
    );
    const { rows: named } = await reader.query<{ name: string; silent: string[] }>(
      `SELECT c.oid::regclass::text AS name, ARRAY(SELECT a.attname::text FROM pg_attribute a
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND col_description(c.oid, a.attnum) IS NULL) AS silent
       FROM pg_class c WHERE c.relnamespace = 'session_chain'::regnamespace AND c.relkind = 'v' ORDER BY 1`,
    );
    expect(named.map(({ name }) => name)).toEqual([
      ...[
        'session_chain.chain_overview',
        'session_chain.session_transitions_all',
        'session_chain.step_overview',
      ],
    ]);
    const { rows: asked } = await reader.query(
      `SELECT state, kind, aside, asked_at, answered_at FROM project_chat_log_minimal WHERE question_id IS NOT NULL`,
    );
    expect(asked).toContainEqual(expect.objectContaining({ state: 'answered' }));
    for (const { name, silent } of named) {
      expect([name, silent]).toEqual([name, []]);
      const { rows: shown } = await reader.query(`SELECT * FROM ${name}`);
      expect([name, shown.length > 0]).toEqual([name, true]);
      for (const text of ['Canary-', 'Which files are there?', workspace()])
        expect([name, JSON.stringify(shown).includes(text)]).toEqual([name, false]);
    }
    const { rows: views } = await reader.query('SELECT * FROM session_chain.chain_overview');
    const { rows: events } = await reader.query('SELECT * FROM session_chain.events');
    expect(events).toContainEqual(expect.objectContaining({ project_id: project, type: 'head.moved' }));
    expect((await readAllEvents(reader, 0, 1_000)).events).toHaveLength(events.length);
    expect(JSON.stringify([views, events])).not.toContain('Canary-instruction');
  });

  it('the archiver copies transcripts, and deletes what nothing refers to', async () => {
    const { archiver } = on.pools;
    const head = await client.head(projectId);
    const store = createTranscriptStore({ pool: archiver, projectId });
    await expect(store.delete({ projectKey: '', sessionId: String(head.sessionId) })).rejects.toMatchObject({
      code: 'SESSION_IN_USE',
    });
    const orphan = randomUUID();
    await on.database.pool.query(
      `INSERT INTO session_chain.sessions (project_id, session_id) VALUES ($1, $2)`,
      [project, orphan],
    );
    await store.delete({ projectKey: '', sessionId: orphan });
    const { rows } = await archiver.query<{ n: number }>(
      `SELECT count(*)::integer AS n FROM session_chain.sessions WHERE session_id = $1`,
      [orphan],
    );
    expect(rows).toEqual([{ n: 0 }]);
    // Nothing is as old as that: what counts is that it may.
    expect(
      await refusalOf(archiver, `SELECT session_chain.archive_transitions('${project}', 3650, 1, true)`),
    ).toBeNull();
    const policy = '{"transitionsDays":30,"transcriptsDays":3650,"detailsDays":3650,"hostTables":true}';
    expect(
      await refusalOf(
        archiver,
        `SELECT session_chain.plan_part('${project}', '${policy}', 'file:///x', 'x')`,
      ),
    ).toBeNull();
    expect(
      await refusalOf(archiver, `SELECT session_chain.drop_sessions('${project}', 3650, 3650, NULL, 1)`),
    ).toBeNull();
  });

  const forbidden: Record<Part | 'stranger', string[]> = {
    worker: [
      'SELECT * FROM session_chain.workers',
      `UPDATE session_chain.workers SET seen_at = clock_timestamp()`,
      'SELECT * FROM session_chain.list_api_keys()',
      `UPDATE projects SET last_ai_session_id = 'x'`,
      'UPDATE projects SET session_epoch = 0',
      'DELETE FROM session_transitions',
      `UPDATE session_transitions SET new_session_id = 'x'`,
      `INSERT INTO session_transitions (project_id, new_session_id, source) SELECT project_id, 'x', 'build' FROM projects`,
      `UPDATE project_versions SET status = 'deployed'`,
      `UPDATE session_chain.chains SET result = '{}'`,
      'UPDATE session_chain.chains SET ticket = 1',
      `UPDATE session_chain.transcript_texts SET content = 'x'`,
      `UPDATE session_chain.attempts SET state = 'committed'`,
      `SELECT session_chain.new_id('session_chain.tickets')`,
      `SELECT * FROM session_chain.adopt_head('${project}', 1)`,
      `SELECT session_chain.register_chain('${project}', 'v', 'b', NULL, NULL, NULL, '/x', true, NULL)`,
      'CREATE TABLE session_chain.mine ()',
      'ALTER TABLE projects ADD COLUMN x int',
      'DROP FUNCTION session_chain.lock_project',
      'ALTER TABLE session_chain.chains DROP COLUMN result',
      'SELECT * FROM session_chain.grants',
      `UPDATE session_chain.chains SET status = 'waiting'`,
      `UPDATE session_chain.events SET data = '{}'`,
      'DELETE FROM session_chain.events',
      `SELECT session_chain.write_event('${project}', NULL, NULL, NULL, 'chain.closed', '{}')`,
      'UPDATE session_chain.chain_ends SET delivered_at = now()',
      'DELETE FROM session_chain.chain_ends',
      'SELECT session_chain.record_end()',
      `SELECT session_chain.request_erasure('${project}', 'x', NULL, false)`,
      'DELETE FROM session_chain.erasures',
    ],
    client: [
      'SELECT session_chain.erase_rows(gen_random_uuid(), NULL, 1)',
      `SELECT session_chain.finish_erasure(gen_random_uuid(), '[]', '[]')`,
      'UPDATE session_chain.erasures SET finished_at = now()',
      'SELECT * FROM session_chain.take_ends(1)',
      'SELECT * FROM session_chain.begin_end(gen_random_uuid())',
      'SELECT session_chain.note_end(gen_random_uuid(), NULL)',
      'UPDATE session_chain.chain_ends SET delivered_at = now()',
      'SELECT id FROM session_chain.api_keys',
      `SELECT * FROM session_chain.find_api_key('000000000000')`,
      `SELECT session_chain.create_login(repeat('0', 64), '000000000000', 1)`,
      'SELECT * FROM session_chain.list_api_keys()',
      `SELECT session_chain.renew_worker(gen_random_uuid(), '{}', 0, 0, 0)`,
      'SELECT session_chain.remove_worker(gen_random_uuid())',
      'DELETE FROM session_chain.workers',
      `UPDATE session_chain.events SET data = '{}'`,
      'DELETE FROM session_chain.events',
      `SELECT session_chain.write_event('${project}', NULL, NULL, NULL, 'chain.closed', '{}')`,
      `SELECT session_chain.trim_events('1 day', 1)`,
      `UPDATE projects SET last_ai_session_id = 'x'`,
      'UPDATE projects SET session_epoch = 0',
      'SELECT FROM projects FOR UPDATE',
      'DELETE FROM session_transitions',
      `INSERT INTO session_transitions (project_id, new_session_id, source) SELECT project_id, 'x', 'build' FROM projects`,
      `UPDATE project_versions SET status = 'deployed'`,
      `UPDATE session_chain.chains SET instruction = 'x'`,
      'UPDATE session_chain.chains SET cancelled_ticket = ticket',
      `UPDATE session_chain.attempts SET state = 'committed'`,
      'DELETE FROM session_chain.transcript_batches',
      `INSERT INTO session_chain.live_chunks (attempt_id, message, content) VALUES (1, 1, 'x')`,
      `UPDATE project_chat_log_minimal SET reply = 'x'`,
      `SELECT session_chain.append_entries('${project}', 'x', '', gen_random_uuid(), '{}', '', false, NULL, NULL, NULL, 0, 0, 0, NULL)`,
      `SELECT session_chain.append_to_copy('${project}', 'x', 'y', '', gen_random_uuid(), '{}', '', false, 0, 0, 0)`,
      `SELECT session_chain.begin_operation('${project}', NULL, NULL, NULL, 'chat:1', 'chat_plan', 1, NULL, NULL, NULL, NULL, 'x', NULL, 'x', 0)`,
      `SELECT session_chain.commit_operation(1, 'build', NULL, 'x', NULL, '{}', '{}', '{}')`,
      `SELECT session_chain.commit_recording(a.id, NULL, 'x', NULL, '{}', '{}', '{}') FROM session_chain.attempts a WHERE a.chain IS NOT NULL`,
      `SELECT session_chain.commit_recording(a.id, NULL, 'x', NULL, '{}', '{}', '{}') FROM session_chain.attempts a WHERE a.build_id LIKE 'chat:%'`,
      `SELECT session_chain.begin_recording('${project}', NULL, 'chat:1', 'chat_plan', NULL, NULL, NULL, 'x', 'x')`,
      `SELECT session_chain.close_chain('${project}', 'v', 'b', 1, 'x', '{}', 'deployed', 'failed')`,
      `SELECT session_chain.open_chain('${project}', 1, 'x', NULL, 'x', NULL)`,
      `SELECT session_chain.settle_step('${project}', 1, 1, 'build', 1, now())`,
      `SELECT session_chain.delete_session('${project}', 'x', NULL)`,
      `SELECT * FROM session_chain.adopt_head('${project}', 1)`,
      `SELECT session_chain.bind_workspace('${project}', NULL, NULL, '/x', '/x', NULL, 'x', 'x')`,
      'SELECT * FROM session_chain.workspaces',
      'CREATE TABLE session_chain.mine ()',
      'DROP FUNCTION session_chain.lock_project',
    ],
    server: [
      'SELECT * FROM session_chain.workers',
      'SELECT id FROM session_chain.api_keys',
      'SELECT hash FROM session_chain.api_keys',
      'SELECT * FROM session_chain.logins',
      `SELECT session_chain.create_api_key('000000000000', 'x', repeat('0', 64), 'admin', NULL, NULL)`,
      `SELECT session_chain.revoke_api_key('000000000000')`,
      'SELECT * FROM session_chain.chains',
      `SELECT session_chain.request_stop(1)`,
    ],
    keys: [
      'SELECT hash FROM session_chain.api_keys',
      `SELECT * FROM session_chain.find_api_key('000000000000')`,
      `SELECT session_chain.create_login(repeat('0', 64), '000000000000', 1)`,
      `UPDATE session_chain.api_keys SET scope = 'admin'`,
      `DELETE FROM session_chain.api_keys`,
      'SELECT * FROM session_chain.chains',
      `SELECT session_chain.request_stop(1)`,
    ],
    reader: [
      `SELECT session_chain.request_erasure('${project}', 'x', NULL, true)`,
      'SELECT reason FROM session_chain.erasures',
      'SELECT session_chain.note_end(gen_random_uuid(), NULL)',
      'SELECT * FROM session_chain.api_keys',
      `UPDATE session_chain.events SET data = '{}'`,
      'DELETE FROM session_chain.events',
      `SELECT session_chain.write_event('${project}', NULL, NULL, NULL, 'chain.closed', '{}')`,
      `SELECT session_chain.trim_events('1 day', 1)`,
      'SELECT * FROM session_chain.chains',
      'SELECT instruction FROM session_chain.chains',
      'SELECT result FROM session_chain.attempts',
      'SELECT failure FROM session_chain.attempts',
      'SELECT value FROM session_chain.attempts',
      'SELECT content FROM session_chain.transcript_texts',
      'SELECT * FROM session_chain.transcript_batches',
      'SELECT * FROM session_chain.briefs',
      'SELECT * FROM session_chain.live_chunks',
      'SELECT question FROM project_chat_log_minimal',
      'SELECT workspace FROM chat_plan_sessions',
      'SELECT ai_metadata FROM project_versions',
      'SELECT quarantine_reason FROM session_chain.sessions',
      `UPDATE projects SET last_ai_session_id = 'x'`,
      'DELETE FROM session_transitions',
      `SELECT session_chain.request_stop(1)`,
      `SELECT session_chain.lock_project('${project}')`,
    ],
    archiver: [
      'SELECT instruction FROM session_chain.chains',
      'SELECT question FROM project_chat_log_minimal',
      `UPDATE projects SET last_ai_session_id = 'x'`,
      `UPDATE session_transitions SET new_session_id = 'x'`,
      'DELETE FROM session_transitions',
      'DELETE FROM session_chain.session_transitions_archive',
      'DELETE FROM session_chain.transcript_batches',
      'DELETE FROM session_chain.transcript_texts',
      'DELETE FROM session_chain.sessions',
      'DELETE FROM session_chain.chains',
      `SELECT session_chain.request_stop(1)`,
      'TRUNCATE session_transitions',
    ],
    stranger: [
      'SELECT FROM session_chain.chains',
      `SELECT FROM ${sql === null ? '' : 'app.'}projects`,
      `SELECT session_chain.request_stop(1)`,
      `SELECT session_chain.project_key('x')`,
      `SELECT session_chain.holder_of('x')`,
    ],
  };
  it.each(Object.entries(forbidden))('%s may do no more', async (name, statements) => {
    const wrong = [];
    for (const statement of statements) {
      const refusal = await refusalOf(on.pools[name as Part], statement);
      if (!refusal?.startsWith('42501')) wrong.push({ statement, refusal });
    }
    expect(wrong).toEqual([]);
  });

  it('every function runs as the owner, pinned, but for two that are put in place of their calls, and PUBLIC may call none', async () => {
    const { rows } = await on.database.pool.query(
      `SELECT p.oid::regprocedure::text AS name FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner
       WHERE p.pronamespace = 'session_chain'::regnamespace AND p.prokind = 'f'
         AND p.prolang <> (SELECT oid FROM pg_language WHERE lanname = 'internal')
         AND NOT (o.rolname = $1 AND (p.prosqlbody IS NOT NULL OR p.proname IN ('all_transitions', 'every_transition')
             OR p.prosecdef AND p.proconfig = ARRAY['search_path=session_chain, ${sql === null ? 'public' : 'app'}, pg_temp'])
           AND NOT has_function_privilege($2, p.oid, 'EXECUTE'))`,
      [role('owner'), role('stranger')],
    );
    expect(rows).toEqual([]);
  });

  it('client and worker erase the project, and the rows of the host stay, named and without what is ours', async () => {
    const { certificate } = await client.erase(projectId, { by: 'a role' });
    expect(certificate?.erased).toMatchObject({ chains: 3, session_transitions: expect.any(Number) });
    const left = (certificate?.left ?? []).map(({ what }) => what).filter((what) => /rows? of /.test(what));
    expect(left).toEqual(
      sql === null
        ? []
        : ['projects', 'project_versions', 'session_transitions', 'chat_plan_sessions'].map((table) =>
            expect.stringMatching(new RegExp(`^\\d+ rows? of ${table}$`)),
          ),
    );
    const schema = sql === null ? 'public' : 'app';
    const { rows } = await on.database.pool.query(
      `SELECT (SELECT count(*)::integer FROM ${schema}.project_versions v WHERE v.project_id::text = $1
           AND num_nonnulls(v.ai_session_id, v.ai_metadata) > 0) AS versions,
         (SELECT count(*)::integer FROM ${schema}.projects p WHERE p.project_id::text = $1
           AND num_nonnulls(p.last_ai_session_id, p.session_seq) > 0) AS heads,
         (SELECT count(*)::integer FROM ${schema}.session_transitions t WHERE t.project_id::text = $1
           AND t.seq IS NOT NULL) AS moves`,
      [project],
    );
    expect(rows).toEqual([{ versions: 0, heads: 0, moves: 0 }]);
  });
});

describe('a database that others share', () => {
  let on: Migrated;
  beforeAll(async () => {
    on = await migrated(null);
  });
  afterAll(async () => {
    await on.drop();
  });

  it('every function that our statements call is of a part, but for what the owner alone does', async () => {
    const called = readdirSync('storage', { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .flatMap((file) => [
        ...readFileSync(join('storage', file), 'utf8').matchAll(/\bsession_chain\.(\w+)\(/g),
      ])
      .map(([, name]) => name);
    const { rows } = await on.database.pool.query<{ name: string }>(
      `SELECT DISTINCT p.proname AS name FROM pg_proc p
       WHERE p.pronamespace = 'session_chain'::regnamespace AND p.proname = ANY ($1)
         AND NOT EXISTS (SELECT FROM unnest($2::text[]) AS part (role) WHERE has_function_privilege(part.role, p.oid, 'EXECUTE'))
       ORDER BY 1`,
      [called, parts.map(role)],
    );
    expect(rows.map(({ name }) => name)).toEqual(['adopt_head', 'mark_restored']);
  });

  it('schemas in which everyone may create are named in the order of their names', async () => {
    const connection = await on.database.pool.connect();
    try {
      await connection.query(
        'BEGIN; CREATE SCHEMA open_b; CREATE SCHEMA open_a; GRANT CREATE ON SCHEMA open_b, open_a TO PUBLIC',
      );
      await connection.query('SET LOCAL search_path TO open_b, open_a');
      expect(await openSchemas(connection)).toEqual([
        'REVOKE CREATE ON SCHEMA open_a FROM PUBLIC;',
        'REVOKE CREATE ON SCHEMA open_b FROM PUBLIC;',
      ]);
    } finally {
      await connection.query('ROLLBACK');
      connection.release();
    }
  });

  /** Registers a chain and opens it as far as the client and the owner can without a worker. */
  const register = async (pool: Pool, project: string) =>
    (
      await pool.query<{ outcome: string; chain_id: string }>(
        `SELECT * FROM session_chain.register_chain($1, $1 || '-v', $1 || '-b', NULL, NULL, NULL, '/nowhere', true, NULL)`,
        [project],
      )
    ).rows[0];

  it('tables, operators and functions of a role, and its temporary ones, stand in for none of ours', async () => {
    const client = on.pools.client;
    await on.database.pool.query(`CREATE SCHEMA trap AUTHORIZATION ${role('client')}`);
    const connection = await client.connect();
    try {
      await connection.query(
        `
        CREATE TABLE trap.projects (project_id varchar PRIMARY KEY, last_ai_session_id varchar, session_seq bigint, session_epoch bigint);
        CREATE TABLE trap.session_transitions (id int, project_id text, seq bigint, new_session_id text);
        INSERT INTO trap.projects (project_id, last_ai_session_id) VALUES ('trapped', 'stolen');
        CREATE FUNCTION trap.note() RETURNS text LANGUAGE plpgsql AS $$
        BEGIN
          EXECUTE format('CREATE TABLE IF NOT EXISTS trap.%I ()', 'ran_as_' || current_user);
          RETURN 'x';
        END $$;
        CREATE FUNCTION trap.nextval(regclass) RETURNS bigint LANGUAGE sql AS 'SELECT trap.note(); SELECT 1::bigint';
        CREATE FUNCTION trap.random() RETURNS double precision LANGUAGE sql AS 'SELECT trap.note(); SELECT 0::float8';
        CREATE FUNCTION trap.equal(character varying, text) RETURNS boolean LANGUAGE sql AS 'SELECT trap.note(); SELECT true';
        CREATE OPERATOR trap.= (LEFTARG = character varying, RIGHTARG = text, FUNCTION = trap.equal);
        CREATE FUNCTION trap.equal(character varying, character varying) RETURNS boolean LANGUAGE sql AS 'SELECT trap.note(); SELECT true';
        CREATE OPERATOR trap.= (LEFTARG = character varying, RIGHTARG = character varying, FUNCTION = trap.equal);`,
      );
      await connection.query(
        `CREATE TEMPORARY TABLE project_versions (version_id varchar, project_id varchar, status varchar)`,
      );
      await connection.query('CREATE TEMPORARY TABLE projects (LIKE trap.projects)');
      await connection.query('SET search_path TO pg_temp, trap, pg_catalog, public');
      const { rows } = await connection.query<{ outcome: string }>(
        `SELECT * FROM session_chain.register_chain('shadowed', 'shadowed-v', 'shadowed-b', NULL, NULL, NULL, '/nowhere', true, NULL)`,
      );
      expect(rows[0]?.outcome).toBe('registered');
      for (const call of [
        `session_chain.lock_project('shadowed')`,
        `session_chain.holder_of('shadowed')`,
        `session_chain.begin_recording('shadowed', NULL, 'record:1', 'import', '${randomUUID()}', NULL, NULL, 'x', 'x')`,
        `session_chain.is_rewound('shadowed', 'x')`,
        `session_chain.session_ancestors('shadowed', 'x')`,
        `session_chain.record_question('shadowed', 'c', 'm', 'q', 'now', NULL, false, NULL)`,
      ]) {
        await connection.query(`SELECT * FROM ${call}`);
      }
      const { rows: temporary } = await connection.query('SELECT FROM pg_temp.projects');
      expect(temporary).toEqual([]);
    } finally {
      connection.release(true);
    }
    const { rows: found } = await on.database.pool.query(
      `SELECT p.project_id, v.version_id FROM public.projects p JOIN public.project_versions v USING (project_id) WHERE project_id IN ('shadowed', 'trapped')`,
    );
    expect(found).toEqual([{ project_id: 'shadowed', version_id: 'shadowed-v' }]);
    const { rows: ran } = await on.database.pool.query(
      `SELECT relname FROM pg_class WHERE relname LIKE 'ran\\_as\\_%'`,
    );
    expect(ran).toEqual([]);
  });

  it('grants outlive changed functions, rights that were taken away and a second migration; other rights go', async () => {
    const { pool } = on.database;
    expect(await migrate(on.as('owner'))).toEqual([]);
    await pool.query(
      `UPDATE session_chain.routines SET hash = 'another' WHERE name IN ('register_chain', 'project_key')`,
    );
    expect(await migrate(on.as('owner'))).toEqual([
      'functions/register_chain',
      'functions/project_key',
      ...[...parts].sort().map((part) => `grants/${part}=${role(part)}`),
    ]);
    expect(await register(on.pools.client, 'again')).toMatchObject({ outcome: 'registered' });
    expect(await refusalOf(on.pools.stranger, `SELECT session_chain.project_key('x')`)).toMatch(/^42501/);
    await pool.query(`REVOKE SELECT ON session_chain.chains FROM ${role('client')}`);
    expect(await migrate(on.as('owner'))).toEqual([`grants/client=${role('client')}`]);
    // By hand, and from a version before: only what the part has stays.
    await pool.query(`GRANT UPDATE ON session_chain.chains TO ${role('client')}`);
    await pool.query('ALTER FUNCTION session_chain.lock_project SECURITY INVOKER');
    await pool.query('ALTER FUNCTION session_chain.holder_of RESET search_path');
    await expect(requireMigrations(on.pools.client)).rejects.toMatchObject({
      code: 'MIGRATIONS_BEHIND',
      message: expect.stringContaining('functions/holder_of, functions/lock_project'),
    });
    await migrate(on.as('owner'));
    await requireMigrations(on.pools.client);
    expect(await refusalOf(on.pools.client, 'UPDATE session_chain.chains SET ticket = 1')).toMatch(/^42501/);
  });

  it('a part goes to a role that is there and does not own everything, and by a role that may', async () => {
    await expect(
      migrate(on.as('owner'), {}, [{ part: 'worker', role: 'nobody-here' }]),
    ).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      remedy: expect.stringContaining('CREATE ROLE "nobody-here" LOGIN'),
    });
    for (const one of [role('owner'), 'postgres']) {
      await expect(migrate(on.as('owner'), {}, [{ part: 'worker', role: one }])).rejects.toMatchObject({
        code: 'INVALID_INPUT',
      });
    }
    await on.database.pool.query(
      `UPDATE session_chain.routines SET hash = 'another' WHERE name = 'holder_of'`,
    );
    for (const one of ['stranger', 'worker']) {
      await expect(migrate(on.as(one))).rejects.toMatchObject({
        code: 'MIGRATION_FAILED',
        remedy: expect.stringContaining(`GRANT ${role('owner')} TO ${role(one)};`),
      });
    }
    await migrate(on.as('owner'));
  });

  it('a worker whose role lacks a right does not start, and says which', async () => {
    const lacking = stack.startWorker({
      DATABASE_URL: on.as('client'),
      SESSION_CHAIN_TASK_QUEUE: `roles-none-${run}`,
    });
    await expect(lacking).rejects.toThrow(
      /DATABASE_REFUSED[^]*session_chain\.close_chain[^]*migrate --grants/,
    );
  });
});
