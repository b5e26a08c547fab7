import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createSessionChain } from '../../client/session-chain.js';
import {
  type ChainKey,
  parseBuildId,
  parseProjectId,
  parseSessionId,
  parseVersionId,
} from '../../contracts/ids.js';
import type { VersionStatus } from '../../contracts/chain.js';
import { questionBuildId } from '../../contracts/question.js';
import { readChainState } from '../../storage/chains/chain-state.js';
import { operationsSince, readPast as readProjectPast } from '../../storage/chains/brief.js';
import { closeChain, openChain, readChain, requireChain } from '../../storage/chains/chains.js';
import { lastEventId, readProjectEvents } from '../../storage/events/events.js';
import { readLineage } from '../../storage/heads/lineage.js';
import { nearestValidAncestor } from '../../storage/heads/recovery.js';
import {
  chatWorkspace,
  listQuestions,
  listSideBranches,
  readPast,
  recordQuestion,
} from '../../storage/questions/questions.js';
import { countDriftedHeads, enforceHead, readHeadKey } from '../../storage/heads/enforce-head.js';
import { getSessionChain, listTransitions, readHead, readHeadSnapshots } from '../../storage/heads/heads.js';
import {
  accountInterrupted,
  chainSpend,
  countedUsage,
  projectSpend,
  uncostedAttempts,
} from '../../storage/ledger/ledger.js';
import { findObstacles, missingSubmissionColumns } from '../../storage/db/host-tables.js';
import { migrate, planMigration, rehearseMigration } from '../../storage/db/migrate.js';
import { createPool } from '../../storage/db/pool.js';
import { nothingSpent } from '../../storage/ledger/metrics.js';
import { beginOperation, commitOperation, endOperation } from '../../storage/operations/operations.js';
import { recordSession, unknownSpend } from '../../storage/operations/record.js';
import { readSyncReport } from '../../storage/heads/sync.js';
import { createTranscriptStore } from '../../storage/transcripts/store.js';
import {
  begin,
  beginWithTranscript,
  noStatus,
  openNew,
  openerOf,
  plan,
  register,
  runStep,
  shippedStatus,
  storeMessage,
} from '../support/chains.js';
import { type Ended, createCommandLine } from '../support/cli.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';
import { bigintHost, hostSchemas, uuidHost, varcharHost } from '../support/host-schemas.js';
import { dumpSchema } from '../support/schema-dump.js';

/** The product on databases that hosts have had for long: their types of ids, their columns, keys, triggers and rows. */

describe.each(hostSchemas)('on a host with $name', (host) => {
  const projectId = parseProjectId(host.projectId);
  const driftedId = parseProjectId(host.driftedProjectId);
  const key: ChainKey = { projectId, versionId: parseVersionId(host.versionId), buildId: parseBuildId('b1') };
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase({ empty: true });
    await database.pool.query(host.sql);
    await migrate(database.url);
  });
  afterAll(async () => {
    await database.drop();
  });

  it('runs a chain, every step of which moves the head, and the triggers see it', async () => {
    const { pool } = database;
    const chain = await openNew(pool, key);
    const build = await runStep(pool, chain, 'build');
    const failed = await begin(pool, chain, 'metadata');
    if (failed.outcome !== 'begun') throw new Error(failed.outcome);
    await endOperation(pool, failed.attempt, {
      failure: { code: 'AGENT_FAILED', message: 'It ended.', remedy: '' },
      spent: nothingSpent,
    });
    const docs = await runStep(pool, chain, 'docs');
    expect([build.seq, docs.seq, docs.oldSessionId]).toEqual([1, 2, build.newSessionId]);
    const died = await begin(pool, chain, 'compact');
    if (died.outcome !== 'begun') throw new Error(died.outcome);
    await accountInterrupted(pool, died.attempt.attemptId, nothingSpent);
    expect((await readHeadSnapshots(pool, [projectId])).get(projectId)?.holder).toMatchObject({
      ticket: chain.ticket,
    });
    const state = await readChainState(pool, key);
    await closeChain(pool, chain, {
      ticket: chain.ticket,
      runId: chain.runId,
      result: { ...state, status: 'completed' },
      versionStatus: shippedStatus,
    });

    expect(await readHead(pool, projectId)).toEqual({ sessionId: docs.newSessionId, seq: 2 });
    expect(
      (await listTransitions(pool, projectId, 10)).map(({ seq, versionId }) => [seq, versionId]),
    ).toEqual([
      [2, key.versionId],
      [1, key.versionId],
      [null, null],
    ]);
    expect(await getSessionChain(pool, projectId)).toEqual([docs.newSessionId, build.newSessionId]);
    expect((await chainSpend(pool, key)).attempts).toBe(4);
    expect((await projectSpend(pool, projectId)).costUsd).toBe(1);
    expect(await countedUsage(pool, projectId)).toHaveLength(2);
    expect(await uncostedAttempts(pool, projectId)).toEqual([]);
    const { rows: audit } = await pool.query(
      'SELECT head FROM head_audit WHERE project_id = $1 ORDER BY id',
      [projectId],
    );
    expect(audit.map(({ head }: { head: string }) => head)).toEqual([build.newSessionId, docs.newSessionId]);
    const { events } = await readProjectEvents(pool, { projectId }, 0, 100);
    expect(events.map(({ type }) => type)).toEqual([
      ...['chain.queued', 'chain.opened', 'step.started', 'step.committed', 'head.moved'],
      ...['step.started', 'step.failed', 'step.started', 'step.committed', 'head.moved', 'step.started'],
      ...['step.failed', 'chain.closed'],
    ]);
    expect(new Set(events.map((event) => [event.projectId, event.versionId, event.buildId].join()))).toEqual(
      new Set([[projectId, key.versionId, key.buildId].join()]),
    );
  });

  it('answers the two monitoring queries as they stand', async () => {
    const head = await readHead(database.pool, projectId);
    const { rows: sync } = await database.pool.query(monitoringQuery);
    expect(sync).toHaveLength(2);
    expect(sync).toContainEqual(
      expect.objectContaining({
        project_session: head.sessionId,
        version_session: head.sessionId,
        sync_status: 'SYNCED',
      }),
    );
    const { rows: moves } = await database.pool.query<{ source: string }>(
      `SELECT source, old_session_id, new_session_id, created_at FROM session_transitions
       WHERE project_id = $1 ORDER BY created_at DESC`,
      [projectId],
    );
    expect(moves.map(({ source }) => source)).toEqual(['docs', 'build', 'metadata_generation']);
  });

  it('records operations, on a version that is named and on the newest one', async () => {
    const { pool } = database;
    const versionId = parseVersionId(host.olderVersionId);
    const request = { projectId, source: 'build', metrics: unknownSpend, notInStore: true } as const;
    const named = await recordSession(pool, {
      ...request,
      versionId,
      sessionId: parseSessionId(randomUUID()),
    });
    const newest = await recordSession(pool, {
      ...request,
      versionId: null,
      sessionId: parseSessionId(randomUUID()),
    });
    expect([named.versionId, newest.versionId, newest.oldSessionId]).toEqual([
      versionId,
      key.versionId,
      named.newSessionId,
    ]);
    const again = await recordSession(pool, { ...request, versionId, sessionId: newest.newSessionId });
    expect(again).toMatchObject({ alreadyRecorded: true, seq: 4, versionId: key.versionId });
  });

  it('adopts a head that an old writer moved, and tells of the drift before', async () => {
    const { pool } = database;
    const before = await readSyncReport(pool, { limit: 10, redisUrl: null });
    expect(before.drifted).toEqual([
      expect.objectContaining({
        projectId: driftedId,
        head: 'outside-1',
        reasons: ['version_not_opened', 'head_moved_outside'],
      }),
    ]);
    const adopted = await recordSession(pool, {
      projectId: driftedId,
      versionId: null,
      sessionId: parseSessionId('outside-1'),
      source: 'build',
      metrics: unknownSpend,
      notInStore: true,
    });
    expect(adopted).toMatchObject({ seq: 1, source: 'import', oldSessionId: null });
    const one = await readSyncReport(pool, { projectId, limit: 10, redisUrl: null });
    expect(one).toMatchObject({ projects: 1, inSync: 1, drifted: [] });
  });

  it('holds chats', async () => {
    const { pool } = database;
    const question = {
      projectId,
      chatId: host.chatId,
      messageId: 'm1',
      question: 'How is it?',
      when: 'now',
    } as const;
    const last = await lastEventId(pool, projectId);
    const asked = await recordQuestion(pool, { ...question, workspace: '/srv/shop' });
    expect(await recordQuestion(pool, question)).toEqual(asked);
    expect(asked).toMatchObject({ projectId, chatId: host.chatId, state: 'asked' });
    const begun = await beginOperation(pool, {
      projectId,
      inputDigest: 'digest',
      worker: 'test',
      leaseMs: 0,
      operation: {
        kind: 'outside',
        versionId: null,
        buildId: questionBuildId(asked.questionId),
        source: 'chat_plan',
        sessionId: null,
      },
    });
    if (begun.outcome !== 'begun') throw new Error(begun.outcome);
    const { sessionId } = begun.attempt;
    await storeMessage(pool, projectId, sessionId);
    const committed = await commitOperation(pool, {
      attempt: begun.attempt,
      source: 'chat_plan',
      newSessionId: sessionId,
      parentSessionId: null,
      metrics: nothingSpent,
      result: {},
      answer: { questionId: asked.questionId, reply: 'Well.' },
      beside: 'always',
    });
    expect(committed.outcome).toBe('beside');
    const { events } = await readProjectEvents(pool, { projectId }, last, 10);
    expect(events).toMatchObject([
      { projectId, type: 'question.asked', data: { chatId: host.chatId } },
      { projectId, type: 'question.started' },
      { projectId, type: 'question.answered', data: { kind: 'side_branch', sessionId } },
    ]);
    expect(await listQuestions(pool, projectId, host.chatId, { limit: 10 })).toEqual([
      expect.objectContaining({ questionId: asked.questionId, reply: 'Well.', sessionId }),
    ]);
    expect((await listSideBranches(pool, projectId)).map(({ reply }) => reply)).toEqual(['Well.']);
    const next = await recordQuestion(pool, { ...question, messageId: 'm2' });
    expect((await readPast(pool, next)).branch).toMatchObject({ sessionId });
    expect(await chatWorkspace(pool, projectId, host.chatId)).toBe('/srv/shop');
  });

  it('shows the lineage, tells a fresh session of the past, and finds ancestors of a lost head', async () => {
    const { pool } = database;
    const { nodes, headSessionId } = await readLineage(pool, projectId, 10);
    expect(nodes.filter(({ kind }) => kind === 'head').map(({ seq }) => seq)).toEqual([1, 2, 3, 4]);
    expect(new Set(nodes.filter(({ kind }) => kind === 'head').map(({ versionId }) => versionId))).toEqual(
      new Set([key.versionId, host.olderVersionId]),
    );
    await pool.query(`UPDATE project_versions SET ai_metadata = '{"title": "Shop"}' WHERE version_id = $1`, [
      key.versionId,
    ]);
    const { chainId } = await requireChain(pool, key);
    const past = await readProjectPast(pool, projectId, chainId);
    expect(past.metadata).toEqual({ versionId: key.versionId, value: { title: 'Shop' } });
    expect(past.operations.map(({ seq }) => seq)).toEqual([1, 2, 3, 4]);
    const [, , docs] = await getSessionChain(pool, projectId);
    expect(
      (await operationsSince(pool, projectId, parseSessionId(docs ?? ''))).map(({ seq }) => seq),
    ).toEqual([3, 4]);
    // The two recorded sessions have no transcript here.
    expect(await nearestValidAncestor(pool, projectId, parseSessionId(headSessionId ?? ''))).toMatchObject({
      sessionId: docs,
    });
  });

  it('keeps sessions that a head needs and deletes others', async () => {
    const store = createTranscriptStore({ pool: database.pool, projectId });
    const { sessionId } = await readHead(database.pool, projectId);
    await storeMessage(database.pool, projectId, sessionId ?? '');
    await expect(store.delete({ projectKey: '', sessionId: sessionId ?? '' })).rejects.toMatchObject({
      code: 'SESSION_IN_USE',
    });
    await storeMessage(database.pool, projectId, 'nobody-needs-it');
    await store.delete({ projectKey: '', sessionId: 'nobody-needs-it' });
    expect(await store.load({ projectKey: '', sessionId: 'nobody-needs-it' })).toBeNull();
  });

  it('says that an unknown or malformed id is not there', async () => {
    const { pool } = database;
    const unknown = host.malformedId ?? 'unknown';
    const strange = {
      projectId: parseProjectId(unknown),
      versionId: parseVersionId(unknown),
      buildId: parseBuildId('b'),
    };
    const notFound = { code: 'PROJECT_NOT_FOUND' };
    await expect(register(pool, strange)).rejects.toMatchObject(notFound);
    await expect(readHead(pool, strange.projectId)).rejects.toMatchObject(notFound);
    expect(await readHeadSnapshots(pool, [strange.projectId])).toEqual(new Map());
    await expect(
      readSyncReport(pool, { projectId: strange.projectId, limit: 1, redisUrl: null }),
    ).rejects.toMatchObject(notFound);
    await expect(register(pool, { ...strange, projectId })).rejects.toMatchObject({
      code: 'VERSION_NOT_FOUND',
    });
    const record = {
      sessionId: parseSessionId('s'),
      source: 'build',
      metrics: unknownSpend,
      notInStore: true,
    } as const;
    await expect(
      recordSession(pool, { ...record, projectId: strange.projectId, versionId: null }),
    ).rejects.toMatchObject(notFound);
    await expect(
      recordSession(pool, { ...record, projectId, versionId: strange.versionId }),
    ).rejects.toMatchObject({ code: 'VERSION_NOT_FOUND' });
    const question = { chatId: unknown, messageId: 'm', question: 'q', when: 'now' } as const;
    await expect(recordQuestion(pool, { ...question, projectId: strange.projectId })).rejects.toMatchObject(
      notFound,
    );
    if (host.malformedId !== null) {
      await expect(recordQuestion(pool, { ...question, projectId })).rejects.toMatchObject({
        code: 'INVALID_INPUT',
      });
    }
  });

  it('takes two spellings of one id for two ids, of which one is not there', async () => {
    const other =
      host.projectId === host.projectId.toUpperCase() ? `0${host.projectId}` : host.projectId.toUpperCase();
    await expect(readHead(database.pool, parseProjectId(other))).rejects.toMatchObject({
      code: 'PROJECT_NOT_FOUND',
    });
  });

  it("finds rows by the host's own indexes", async () => {
    const client = await database.pool.connect();
    try {
      await client.query('SET enable_seqscan = off');
      for (const [table, column, cast] of [
        ['projects', 'project_id', 'project_key'],
        ['project_versions', 'version_id', 'version_key'],
        ['session_transitions', 'project_id', 'transition_project_key'],
      ]) {
        await client.query(
          `PREPARE look (text) AS SELECT FROM ${table} WHERE ${column} = session_chain.${cast}($1)`,
        );
        await client.query('SET plan_cache_mode = force_generic_plan');
        const { rows } = await client.query<{ 'QUERY PLAN': string }>(
          `EXPLAIN EXECUTE look ('${host.projectId}')`,
        );
        expect(rows.map((row) => row['QUERY PLAN']).join('\n')).toMatch(/Index Cond: .*\$1/);
        await client.query('DEALLOCATE look');
      }
    } finally {
      client.release(true);
    }
  });

  it('opens another chain on the head that moved, whose transcript must be there', async () => {
    const { pool } = database;
    const other = { ...key, buildId: parseBuildId('b2') };
    const { chainId } = await register(pool, other);
    const opened = await openChain(pool, { ...other, chainId }, openerOf('r2'), null, { plan });
    const { sessionId } = await readHead(pool, projectId);
    expect(opened).toMatchObject({ outcome: 'opened', baseSessionId: sessionId });
    expect(await readChain(pool, other)).toMatchObject({ status: 'running', versionId: key.versionId });
  });
});

const monitoringQuery = `SELECT p.project_id, p.last_ai_session_id AS project_session, pv.ai_session_id AS version_session, pv.version_id,
  CASE WHEN p.last_ai_session_id = pv.ai_session_id THEN 'SYNCED' ELSE 'OUT_OF_SYNC' END AS sync_status
FROM projects p JOIN project_versions pv ON p.project_id = pv.project_id
WHERE pv.id = (SELECT id FROM project_versions WHERE project_id = p.project_id ORDER BY created_at DESC LIMIT 1);`;

describe('migrate --dry-run', () => {
  it.each(hostSchemas)('prints what it would add to $name, and changes nothing', async (host) => {
    await withHost(host.sql, async (database) => {
      const before = await dumpSchema(database.pool);
      const { pending, additions, obstacles } = await planMigration(database.pool);
      expect([pending[0], obstacles]).toEqual(['0001_tables', []]);
      expect(await dumpSchema(database.pool)).toBe(before);

      await migrate(database.url);
      const printed = additions.map(({ statement }) => statement).join('\n');
      const { rows: added } = await database.pool.query<{ name: string }>(
        `SELECT attname AS name FROM pg_attribute WHERE attrelid = ANY ($1::regclass[]) AND attnum > 0`,
        [hostTableNames],
      );
      const known = before.split('\n').map((line) => line.trim().split(' ')[0]);
      const missing = added.filter(({ name }) => !known.includes(name) && !printed.includes(name));
      expect(missing).toEqual([]);
      for (const trigger of ['event_of_transition', 'event_of_new_question', 'event_of_question']) {
        expect(printed).toContain(`CREATE TRIGGER ${trigger} AFTER`);
      }
      expect(await planMigration(database.pool)).toEqual({ pending: [], additions: [], obstacles: [] });
    });
  });

  it('prints the statements that help against what stops it, and once they have run nothing stops it', async () => {
    await withHost(varcharHost.sql, async (database) => {
      await database.pool.query(`
        DELETE FROM session_transitions;
        ALTER TABLE session_transitions ADD COLUMN actor text NOT NULL, ALTER COLUMN old_session_id SET NOT NULL;
        ALTER TABLE project_ai_session_metrics ADD COLUMN region text NOT NULL DEFAULT 'eu', ADD COLUMN "tenantId" int NOT NULL;
        ALTER TABLE projects DROP CONSTRAINT projects_pkey, ALTER COLUMN last_ai_session_id TYPE varchar(20);
        ALTER TABLE project_versions DROP COLUMN status, ALTER COLUMN ai_session_id TYPE char(10);
        DROP TABLE chat_plan_sessions;`);
      const before = await dumpSchema(database.pool);
      const { obstacles } = await planMigration(database.pool);
      expect(obstacles.map(({ table, column }) => `${table}.${column ?? ''}`).sort()).toEqual([
        'project_ai_session_metrics.tenantId',
        'project_versions.ai_session_id',
        'project_versions.status',
        'projects.last_ai_session_id',
        'projects.project_id',
        'session_transitions.actor',
        'session_transitions.old_session_id',
      ]);
      await expect(migrate(database.url)).rejects.toMatchObject({
        code: 'MIGRATION_FAILED',
        message: expect.stringContaining('session_transitions.actor is NOT NULL without a default'),
        remedy: expect.stringContaining('ALTER TABLE session_transitions ALTER COLUMN actor DROP NOT NULL;'),
      });
      expect(await dumpSchema(database.pool)).toBe(before);

      for (const { statement } of obstacles) await database.pool.query(statement);
      expect((await migrate(database.url)).length).toBeGreaterThan(0);
    });
  });

  it('stops at ids that cannot be compared, values that do not fit, a missing table of versions, and a view', async () => {
    const { sql } = uuidHost;
    const stops = async (change: string) =>
      await withHost(sql, async (database) => {
        await database.pool.query(change);
        const { obstacles } = await planMigration(database.pool);
        for (const { statement } of obstacles.filter((one) => !one.statement.includes('…'))) {
          await database.pool.query(statement);
        }
        return [
          obstacles.map(({ problem }) => problem),
          (await planMigration(database.pool)).obstacles.length,
        ];
      });
    expect(
      await stops(
        'DROP TABLE chat_plan_sessions; CREATE TABLE chat_plan_sessions (session_id jsonb, project_id text)',
      ),
    ).toEqual([
      [
        'chat_plan_sessions.session_id is of the type jsonb; ids may be text, character varying, character, smallint, integer, bigint, uuid',
      ],
      0,
    ]);
    expect(
      await stops(`DELETE FROM project_versions; ALTER TABLE project_versions DROP CONSTRAINT project_versions_project_id_fkey,
        ALTER COLUMN project_id TYPE text`),
    ).toEqual([['project_versions.project_id (text) cannot be compared with the uuid that it refers to'], 0]);
    expect(
      await stops(`CREATE TYPE state AS ENUM ('queued', 'deployed');
        ALTER TABLE project_versions ALTER COLUMN status TYPE state USING status::state`),
    ).toEqual([['project_versions.status (state) has no label failed'], 0]);
    expect(
      await stops(`ALTER TABLE session_transitions ADD CONSTRAINT known_sources
        CHECK (source IN ('build', 'metadata_generation', 'chat_plan'))`),
    ).toEqual([
      [
        expect.stringMatching(
          /^session_transitions.source is bound to other values than context_reset, .*compact: CHECK/,
        ),
      ],
      0,
    ]);
    expect(await stops('DROP TABLE project_versions')).toEqual([
      ['projects is there and project_versions is not'],
      0,
    ]);
    expect(
      await stops('ALTER TABLE projects RENAME TO apps; CREATE VIEW projects AS SELECT * FROM apps'),
    ).toEqual([['projects is a view, not a table; nothing can be added to it'], 1]);
  });
});

describe('a table that would refuse what chains write', () => {
  // Read from the catalogs, before a migration; each is undone by its transaction.
  const listed: [string, string, string][] = [
    [
      'a generated head',
      `ALTER TABLE projects DROP COLUMN last_ai_session_id,
         ADD COLUMN last_ai_session_id text GENERATED ALWAYS AS (project_id || '-head') STORED`,
      'projects.last_ai_session_id is generated, and session-chain writes to it',
    ],
    [
      'an identity where a number is written',
      'ALTER TABLE project_ai_session_metrics ADD COLUMN attempt_id bigint GENERATED ALWAYS AS IDENTITY',
      'project_ai_session_metrics.attempt_id is generated, and session-chain writes to it',
    ],
    [
      'a generated status',
      `ALTER TABLE project_versions DROP COLUMN status, ADD COLUMN status text GENERATED ALWAYS AS (version_id || '!') STORED`,
      'project_versions.status is generated, and session-chain writes to it',
    ],
    [
      'an enum without the labels',
      `CREATE TYPE state AS ENUM ('queued', 'failed'); ALTER TABLE project_versions ALTER COLUMN status TYPE state USING status::state`,
      'project_versions.status (state) has no label deployed',
    ],
    [
      'a domain over an enum, with a check',
      `CREATE TYPE state AS ENUM ('failed', 'deployed'); CREATE DOMAIN checked AS state CHECK (VALUE <> 'failed');
       ALTER TABLE project_versions ALTER COLUMN status TYPE checked USING status::state`,
      `project_versions.status is bound to other values than failed: CHECK ((VALUE <> 'failed'::state))`,
    ],
    [
      'a check on the status',
      `ALTER TABLE project_versions ADD CONSTRAINT known CHECK (status <> 'deployed')`,
      `project_versions.status is bound to other values than deployed: CHECK (((status)::text <> 'deployed'::text))`,
    ],
    [
      'a short status',
      'ALTER TABLE project_versions ALTER COLUMN status TYPE varchar(6)',
      'project_versions.status (character varying(6)) is too short for deployed',
    ],
    [
      'transitions in partitions',
      partitioned('RANGE (created_at)', 'DEFAULT'),
      'session_transitions is partitioned by created_at, so that it can have no unique key without it',
    ],
    [
      'a table that is a partition',
      `ALTER TABLE chat_plan_sessions RENAME TO chats_2026; CREATE TABLE chat_plan_sessions_all (LIKE chats_2026) PARTITION BY RANGE (id);
       ALTER TABLE chats_2026 RENAME TO chat_plan_sessions;
       ALTER TABLE chat_plan_sessions_all ATTACH PARTITION chat_plan_sessions FOR VALUES FROM (0) TO (9)`,
      'chat_plan_sessions is a partition of chat_plan_sessions_all, and Postgres adds columns to the whole alone',
    ],
    [
      'an unlogged table',
      'ALTER TABLE project_chat_log_minimal SET UNLOGGED',
      'project_chat_log_minimal is unlogged: after a crash of the server it is empty',
    ],
    [
      'a rule',
      'CREATE RULE twice AS ON INSERT TO session_transitions DO ALSO NOTHING',
      'the rule twice of session_transitions changes what is written, and Postgres takes no such rule where several tables are written at once',
    ],
    [
      'a published table whose rows have no identity',
      'ALTER TABLE projects REPLICA IDENTITY NOTHING; CREATE PUBLICATION changes FOR TABLE projects',
      'projects is published for logical replication and has no replica identity: Postgres refuses every update and delete',
    ],
    [
      'a column of our name',
      'ALTER TABLE session_transitions ADD COLUMN seq text',
      'session_transitions has a column seq already, and session-chain adds one of this name',
    ],
    [
      'a column of our name with another type',
      'ALTER TABLE projects ADD COLUMN session_epoch text',
      'projects.session_epoch (text) cannot hold what we write to it, which is bigint',
    ],
    [
      'a column in capitals',
      'ALTER TABLE project_versions RENAME COLUMN created_at TO "Created_At"',
      'project_versions has no column created_at, only "Created_At": Postgres tells names in capitals apart',
    ],
    [
      'a table in capitals',
      'ALTER TABLE projects RENAME TO "Projects"',
      'public."Projects" is there and projects is not: Postgres tells names in capitals apart',
    ],
    [
      'tables outside the search path',
      'CREATE SCHEMA "My app"; ALTER TABLE projects SET SCHEMA "My app"; ALTER TABLE project_versions SET SCHEMA "My app"',
      'the table projects is in the schema My app, which is not in the search path ("$user", public) of postgres',
    ],
  ];

  it('is named before a migration, with a statement after which it is none', async () => {
    await withHost(varcharHost.sql, async ({ pool }) => {
      for (const [what, sql, problem] of listed) {
        const client = await pool.connect();
        try {
          await client.query(`BEGIN; ${sql}`);
          const { obstacles } = await planMigration(client);
          expect([what, obstacles.map((one) => one.problem)]).toEqual([what, [problem]]);
          // A label cannot be used in the transaction that adds it, and a path counts for the next connection.
          const statement = obstacles[0]?.statement ?? '';
          await client.query(
            statement.replace(/^ALTER ROLE .* IN DATABASE \S+ SET search_path/, 'SET LOCAL search_path'),
          );
          const isLeft = statement.startsWith('--') || statement.startsWith('ALTER TYPE');
          const left = isLeft ? [] : (await planMigration(client)).obstacles;
          expect([what, left]).toEqual([what, []]);
        } finally {
          await client.query('ROLLBACK');
          client.release();
        }
      }
    });
  });

  // Found by writing, on tables that are migrated already or that will be; `undo` takes the hindrance away again.
  const tried: [string, string, string, string][] = [
    [
      'a trigger that raises',
      hinder('session_transitions', 'BEFORE INSERT', `RAISE EXCEPTION 'frozen'`),
      'DROP FUNCTION hinder CASCADE',
      'frozen (PL/pgSQL function hinder() line 1 at RAISE)',
    ],
    [
      'a trigger that raises at the end of the transaction',
      hinder(
        'projects',
        'AFTER UPDATE',
        `RAISE EXCEPTION 'not today'`,
        'CONSTRAINT',
        'DEFERRABLE INITIALLY DEFERRED',
      ),
      'DROP FUNCTION hinder CASCADE',
      'not today (PL/pgSQL function hinder() line 1 at RAISE)',
    ],
    [
      'a trigger that leaves rows out',
      hinder('project_ai_session_metrics', 'BEFORE INSERT', 'RETURN NULL'),
      'DROP FUNCTION hinder CASCADE',
      'what was written to project_ai_session_metrics is not there afterwards: a trigger or a key left the row out, or a trigger wrote another value',
    ],
    [
      'a key that the second build of a version breaks',
      'ALTER TABLE session_transitions ADD CONSTRAINT once EXCLUDE USING btree (version_id WITH =, source WITH =)',
      'ALTER TABLE session_transitions DROP CONSTRAINT once',
      'conflicting key value violates exclusion constraint "once"',
    ],
    [
      'a check over two columns of which one is not set',
      `ALTER TABLE project_versions ADD COLUMN url text, ADD CONSTRAINT has_url CHECK (status <> 'deployed' OR url IS NOT NULL)`,
      'ALTER TABLE project_versions DROP COLUMN url',
      'new row for relation "project_versions" violates check constraint "has_url"',
    ],
    [
      'a publication that does not cover what is updated',
      `CREATE PUBLICATION named FOR TABLE projects WHERE (name <> '')`,
      'DROP PUBLICATION named',
      'cannot update table "projects" (Column used in the publication WHERE expression is not part of the replica identity.)',
    ],
  ];

  it.each(['before', 'after'])(
    'is found by a rehearsal %s the migration, and nothing is changed',
    async (moment) => {
      await withHost(varcharHost.sql, async ({ pool, url }) => {
        if (moment === 'after') await migrate(url);
        // Before it, one is enough: each is a whole migration.
        for (const [what, sql, undo, problem] of moment === 'after' ? tried : tried.slice(0, 1)) {
          await pool.query(sql);
          const before = await rowsOf(pool);
          const { obstacles } = await rehearseMigration(pool);
          expect([what, obstacles.map((one) => one.problem)]).toEqual([
            what,
            [
              expect.stringMatching(
                new RegExp(`^a chain was rehearsed, and could not write: ${escaped(problem)}`),
              ),
            ],
          ]);
          await expect(migrate(url)).rejects.toMatchObject({
            code: 'MIGRATION_FAILED',
            message: expect.stringContaining(problem),
          });
          expect(await rowsOf(pool)).toEqual(before);
          await pool.query(undo);
        }
        expect(await rehearseMigration(pool)).toEqual({ obstacles: [], notRehearsed: null });
      });
    },
  );

  it('is none where only one project refuses, and cannot be known without a project', async () => {
    await withHost(varcharHost.sql, async ({ pool, url }) => {
      await migrate(url);
      const archived = `IF NEW.project_id = 'blog' THEN RAISE EXCEPTION 'archived'; END IF; RETURN NEW`;
      await pool.query(hinder('projects', 'BEFORE UPDATE', archived));
      expect(await rehearseMigration(pool)).toEqual({ obstacles: [], notRehearsed: null });
      await pool.query('TRUNCATE projects, project_versions');
      expect(await rehearseMigration(pool)).toEqual({
        obstacles: [],
        notRehearsed: 'projects has no row with a version on which nothing works, and none could be made',
      });
    });
  });

  it('is none in a schema of another name, in partitions by project, with children', async () => {
    await withHost('', async ({ pool, url }) => {
      const name = new URL(url).pathname.slice(1);
      await pool.query(`CREATE SCHEMA "My app"; ALTER DATABASE ${name} SET search_path TO "My app", public`);
      const there = createPool(url, { applicationName: 'test', max: 2 });
      try {
        // The same names in a later schema of the path are not meant.
        await there.query(`CREATE TABLE public.projects (project_id int); SET search_path TO "My app"; ${varcharHost.sql};
          ${partitioned('HASH (project_id)', 'FOR VALUES WITH (MODULUS 1, REMAINDER 0)')};
          CREATE TABLE more_projects () INHERITS (projects);
          CREATE TABLE all_chats (LIKE chat_plan_sessions) PARTITION BY LIST (session_id);
          DROP TABLE chat_plan_sessions; ALTER TABLE all_chats RENAME TO chat_plan_sessions;
          CREATE TABLE chats_part PARTITION OF chat_plan_sessions DEFAULT; CREATE SEQUENCE chat_ids;
          ALTER TABLE chat_plan_sessions ALTER COLUMN id SET DEFAULT nextval('chat_ids'); RESET search_path`);
        expect(await rehearseMigration(there)).toEqual({ obstacles: [], notRehearsed: null });
        await migrate(url);
        expect(await rehearseMigration(there)).toEqual({ obstacles: [], notRehearsed: null });
        const projectId = parseProjectId(varcharHost.projectId);
        const recorded = await recordSession(there, {
          ...{ projectId, versionId: null, source: 'build', sessionId: parseSessionId(randomUUID()) },
          ...{ metrics: unknownSpend, notInStore: true },
        });
        expect(await readHead(there, projectId)).toEqual({ sessionId: recorded.newSessionId, seq: 1 });
      } finally {
        await there.end();
      }
    });
  });

  it('is left alone while another holds its lock', async () => {
    await withHost(varcharHost.sql, async ({ pool }) => {
      const client = await pool.connect();
      await client.query('BEGIN; LOCK TABLE projects IN ROW SHARE MODE');
      expect((await rehearseMigration(pool)).notRehearsed).toMatch(/^a lock was not to be had within 2 s/);
      await client.query('ROLLBACK');
      client.release();
    });
  });
});

/** A trigger of the host that gets in the way. */
function hinder(table: string, when: string, body: string, kind = '', how = ''): string {
  return `CREATE FUNCTION hinder() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${body}; END $$;
    CREATE ${kind} TRIGGER hinder ${when} ON ${table} ${how} FOR EACH ROW EXECUTE FUNCTION hinder()`;
}

function partitioned(by: string, values: string): string {
  return `DROP TABLE session_transitions;
    CREATE TABLE session_transitions (id bigint, project_id varchar(255) NOT NULL, version_id varchar(255), old_session_id varchar(255),
      new_session_id varchar(255) NOT NULL, source varchar(50) NOT NULL, created_at timestamptz DEFAULT now()) PARTITION BY ${by};
    CREATE TABLE transitions_part PARTITION OF session_transitions ${values}`;
}

function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

/** What a rehearsal might leave behind. */
async function rowsOf(pool: TestDatabase['pool']): Promise<unknown> {
  const { rows } = await pool.query(
    `SELECT (SELECT jsonb_agg(to_jsonb(p) ORDER BY p.project_id) FROM projects p) AS projects,
       (SELECT jsonb_agg(to_jsonb(v) ORDER BY v.id) FROM project_versions v) AS versions,
       (SELECT count(*) FROM session_transitions) AS transitions, (SELECT count(*) FROM project_ai_session_metrics) AS metrics,
       to_regclass('session_chain.chains') IS NOT NULL AS "isMigrated"`,
  );
  return rows;
}

describe('roles that may not see or write every row', () => {
  const run = randomUUID().slice(0, 8);
  const [owner, client, stranger] = ['owner', 'client', 'stranger'].map((name) => `${name}_${run}`) as [
    string,
    string,
    string,
  ];
  const cli = createCommandLine();
  let admin: TestDatabase;
  beforeAll(async () => {
    admin = await createTestDatabase({ empty: true });
    for (const role of [owner, client, stranger]) await admin.pool.query(`CREATE ROLE ${role} LOGIN`);
  });
  afterAll(async () => {
    cli.stop();
    for (const role of [owner, client, stranger]) await admin.pool.query(`DROP ROLE ${role}`);
    await admin.drop();
  });

  /** A database whose tables `owner` has; `as` runs a command as a role. */
  const withRoles = async (
    work: (
      on: TestDatabase & {
        urlAs: (role: string) => string;
        as: (role: string, ...args: string[]) => Promise<Ended>;
      },
    ) => Promise<void>,
  ) =>
    await withHost('', async (database) => {
      await database.pool.query(
        `GRANT CREATE ON DATABASE ${new URL(database.url).pathname.slice(1)} TO ${owner}; GRANT ALL ON SCHEMA public TO ${owner};
         SET ROLE ${owner}; ${varcharHost.sql}; RESET ROLE`,
      );
      const urlAs = (role: string) => {
        const url = new URL(database.url);
        url.username = role;
        return url.href;
      };
      const as = async (role: string, ...args: string[]) =>
        await cli.run(args, { PATH: process.env['PATH'], DATABASE_URL: urlAs(role) });
      await work({ ...database, urlAs, as });
      await database.pool.query(`DROP OWNED BY ${owner}, ${client}, ${stranger} CASCADE`);
    });

  it('row-level security that may hide rows is refused at each step', async () => {
    await withRoles(async ({ pool, urlAs, as }) => {
      const hides = `row-level security of projects may hide rows from ${owner}`;
      await pool.query(`ALTER TABLE projects ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
        CREATE POLICY of_tenant ON projects USING (name = current_setting('app.tenant', true))`);
      const dry = await as(owner, 'migrate', '--dry-run');
      expect([dry.code, dry.stdout]).toEqual([7, expect.stringContaining(`stops: ${hides}`)]);
      expect(await as(owner, 'migrate')).toMatchObject({
        code: 7,
        stderr: expect.stringContaining('MIGRATION_FAILED'),
      });
      await pool.query(
        `CREATE POLICY session_chain_${owner} ON projects TO ${owner} USING (true) WITH CHECK (true)`,
      );
      expect((await as(owner, 'migrate', '--dry-run')).code).toBe(0);
      const forClient = `CREATE POLICY session_chain_${client} ON projects FOR SELECT TO ${client} USING (true);`;
      const denied = await as(owner, 'migrate', '--grants', `client=${client}`);
      expect([denied.code, words(denied.stderr)]).toEqual([7, expect.stringContaining(forClient)]);
      await pool.query(forClient);
      expect((await as(owner, 'migrate', '--grants', `client=${client}`)).code).toBe(0);
      expect((await as(client, 'sync')).code).toBe(1);

      // What a person changes later.
      await pool.query(`DROP POLICY session_chain_${client} ON projects`);
      const synced = await as(client, 'sync');
      expect([synced.code, words(synced.stderr)]).toEqual([
        7,
        expect.stringMatching(/error DATABASE_REFUSED.*may hide rows/),
      ]);
      // An application has no command that looks beforehand.
      const there = createPool(urlAs(client), { applicationName: 'test', max: 2 });
      const application = createSessionChain({
        pool: there,
        temporal: { address: '127.0.0.1:1', namespace: 'none' },
      });
      await expect(application.head(varcharHost.projectId)).rejects.toMatchObject({
        code: 'DATABASE_REFUSED',
      });
      await there.end();
      const examined = await as(client, 'doctor', '--only', 'host-tables');
      expect([examined.code, words(examined.stdout)]).toEqual([7, expect.stringContaining(forClient)]);
      await pool.query(`${forClient} DROP POLICY session_chain_${owner} ON projects`);
      const enforced = await as(owner, 'migrate', '--enforce-head');
      expect([enforced.code, words(enforced.stderr)]).toEqual([7, expect.stringContaining(hides)]);
      await pool.query(`CREATE POLICY none_of_x ON projects AS RESTRICTIVE USING (name <> 'x')`);
      expect(words((await as(owner, 'migrate', '--dry-run')).stdout)).toContain(
        `ALTER ROLE ${owner} BYPASSRLS;`,
      );
      await pool.query(`ALTER ROLE ${owner} BYPASSRLS; ALTER ROLE ${client} BYPASSRLS`);
      expect((await as(owner, 'migrate', '--enforce-head')).stdout).toContain('Adopted 1 head');
      expect((await as(client, 'doctor', '--only', 'host-tables')).code).toBe(0);
      await pool.query(`ALTER ROLE ${owner} NOBYPASSRLS; ALTER ROLE ${client} NOBYPASSRLS; DROP POLICY none_of_x ON projects;
        CREATE POLICY all_of_it ON projects USING (true); ALTER ROLE ${client} SET row_security = off`);
      expect(words((await as(client, 'sync')).stderr)).toContain(
        `ALTER ROLE ${client} SET row_security = on;`,
      );
    });
  });

  it('sequences and tables that the owner of the functions may not use are named', async () => {
    await withRoles(async ({ pool, as }) => {
      await pool.query(`REVOKE ALL ON SEQUENCE session_transitions_id_seq FROM ${owner}`);
      const lacks = 'GRANT USAGE ON SEQUENCE session_transitions_id_seq TO';
      const dry = await as(owner, 'migrate', '--dry-run');
      expect([dry.code, dry.stdout]).toEqual([7, expect.stringContaining(lacks)]);
      await pool.query(`GRANT USAGE ON SEQUENCE session_transitions_id_seq TO ${owner}`);
      expect((await as(owner, 'migrate', '--grants', `client=${client}`)).code).toBe(0);
      await pool.query(`REVOKE ALL ON SEQUENCE session_transitions_id_seq FROM ${owner};
        ALTER TABLE project_chat_log_minimal OWNER TO ${stranger}`);
      const examined = await as(client, 'doctor', '--only', 'rights,host-tables');
      expect([examined.code, words(examined.stdout)]).toEqual([
        7,
        expect.stringMatching(
          new RegExp(
            `${lacks} ${owner}; GRANT SELECT, INSERT, UPDATE, DELETE ON project_chat_log_minimal TO`,
          ),
        ),
      ]);
    });
  });

  it('a role that may not migrate is told what would let it, by the dry run as well', async () => {
    await withRoles(async ({ as }) => {
      for (const args of [['migrate', '--dry-run'], ['migrate']]) {
        const { code, stdout, stderr } = await as(stranger, ...args);
        expect([code, words(stdout + stderr)]).toEqual([
          7,
          expect.stringMatching(
            new RegExp(`the role ${stranger} may not do .*GRANT ${owner} TO ${stranger};`),
          ),
        ]);
      }
    });
  });
});

/** A text without the breaks of its lines. */
function words(text: string): string {
  return text.replaceAll(/\s+/g, ' ');
}

describe('a status that is no text', () => {
  const key: ChainKey = {
    projectId: parseProjectId(varcharHost.projectId),
    versionId: parseVersionId(varcharHost.versionId),
    buildId: parseBuildId('b1'),
  };
  const statusAfter = async (change: string, versionStatus: VersionStatus, statuses: string[]) =>
    await withHost(varcharHost.sql, async ({ pool, url }) => {
      await pool.query(change);
      await migrate(url, { statuses });
      expect(await rehearseMigration(pool, { statuses })).toEqual({ obstacles: [], notRehearsed: null });
      const chain = await openNew(pool, key);
      await runStep(pool, chain, 'build');
      const state = await readChainState(pool, key);
      const { ticket, runId } = chain;
      await closeChain(pool, chain, {
        ticket,
        runId,
        result: { ...state, status: 'completed' },
        versionStatus,
      });
      const { rows } = await pool.query<{ status: string; session: string }>(
        'SELECT status::text, ai_session_id AS session FROM project_versions WHERE version_id = $1',
        [key.versionId],
      );
      expect(rows[0]?.session).toBe((await readHead(pool, key.projectId)).sessionId);
      return rows[0]?.status;
    });
  const toEnum = `CREATE TYPE state AS ENUM ('queued', 'deployed', 'failed');
    UPDATE project_versions SET status = 'queued'; ALTER TABLE project_versions ALTER COLUMN status TYPE state USING status::state`;

  it('gets the labels of an enum', async () => {
    expect(await statusAfter(toEnum, shippedStatus, ['deployed', 'failed'])).toBe('deployed');
  });

  it('is left alone where both values are empty, and may be generated then', async () => {
    expect(await statusAfter(toEnum.replace(`'deployed', 'failed'`, `'live'`), noStatus, [])).toBe('queued');
    const generated = `ALTER TABLE project_versions DROP COLUMN status, ADD COLUMN status text GENERATED ALWAYS AS ('as ' || version_id) STORED`;
    expect(await statusAfter(generated, noStatus, [])).toBe(`as ${varcharHost.versionId}`);
  });

  it('may be citext, and the source of a transition, too', async () => {
    const caseless = `CREATE EXTENSION citext; ALTER TABLE project_versions ALTER COLUMN status TYPE citext;
      ALTER TABLE session_transitions ALTER COLUMN source TYPE citext`;
    expect(await statusAfter(caseless, shippedStatus, ['deployed', 'failed'])).toBe('deployed');
  });
});

describe('what a definition asks of the tables', () => {
  type Asked = Parameters<typeof findObstacles>;
  const problemsOf = async (...asked: Asked) =>
    (await findObstacles(...asked)).map(({ problem, statement }) => [problem, statement]);
  const problems = async ({ pool }: TestDatabase, expectations: Asked[1]) =>
    await problemsOf(pool, expectations);

  it('is a source that the host accepts, whatever words its rule is written in', async () => {
    await withHost(varcharHost.sql, async (database) => {
      const { pool } = database;
      await pool.query(`
        ALTER TABLE session_transitions ADD CONSTRAINT words CHECK (source ~ '^[a-z_]+$'),
          ADD CONSTRAINT no_test CHECK (source <> 'test'),
          ADD CONSTRAINT with_version CHECK (source IN ('metadata_generation', 'build', 'test') OR version_id IS NOT NULL)`);
      expect(await problems(database, { sources: ['build'] })).toEqual([]);
      const found = [
        [
          expect.stringMatching(/^session_transitions.source is bound to other values than test: CHECK/),
          'ALTER TABLE session_transitions DROP CONSTRAINT no_test;',
        ],
        [
          expect.stringContaining('is bound to other values than e2e: CHECK'),
          'ALTER TABLE session_transitions DROP CONSTRAINT with_version;',
        ],
        [
          expect.stringContaining('is bound to other values than e2e: CHECK'),
          'ALTER TABLE session_transitions DROP CONSTRAINT words;',
        ],
      ];
      const sources = ['build', 'test', 'e2e'];
      expect(await problems(database, { sources })).toEqual(found);
      // By their names, whatever the planner does.
      const client = await pool.connect();
      try {
        await client.query('SET enable_indexscan = off; SET enable_bitmapscan = off');
        expect(await problemsOf(client, { sources })).toEqual(found);
      } finally {
        client.release(true);
      }
      const long = 'a_step_with_a_name_of_forty_characters__';
      await pool.query('ALTER TABLE session_transitions ALTER COLUMN source TYPE varchar(39)');
      expect(await problems(database, { sources: ['build', long] })).toContainEqual([
        `session_transitions.source (character varying(39)) is too short for ${long}`,
        'ALTER TABLE session_transitions ALTER COLUMN source TYPE varchar(255);',
      ]);
    });
  });

  it('is a source that the domain of the column accepts', async () => {
    await withHost(varcharHost.sql, async (database) => {
      const { pool } = database;
      await pool.query(`
        CREATE DOMAIN origin AS varchar(20) CONSTRAINT known CHECK (VALUE IN ('build', 'docs') OR VALUE ~ '^meta');
        ALTER TABLE session_transitions ALTER COLUMN source TYPE origin`);
      expect(await problems(database, { sources: ['build', 'metadata'] })).toEqual([]);
      expect(await problems(database, { sources: ['build', 'test', 'metadata_of_the_longer_kind'] })).toEqual(
        [
          [
            'session_transitions.source (character varying(20)) is too short for metadata_of_the_longer_kind',
            'ALTER TABLE session_transitions ALTER COLUMN source TYPE varchar(255);',
          ],
          [
            expect.stringMatching(/^session_transitions.source is bound to other values than test: CHECK/),
            'ALTER DOMAIN origin DROP CONSTRAINT known;',
          ],
        ],
      );
    });
  });

  it('is a column for every submission, also once the tables are up to date', async () => {
    await withHost(varcharHost.sql, async (database) => {
      const { pool, url } = database;
      const columns = [
        { step: 'metadata', column: 'ai_metadata' },
        { step: 'seo', column: 'seoTags' },
        { step: 'notes', column: 'notes' },
        { step: 'tags', column: 'tags' },
      ];
      await pool.query('ALTER TABLE project_versions ADD COLUMN notes text, ADD COLUMN tags json');
      const expected = [
        [
          'project_versions.seoTags, to which the step seo writes, is not there',
          'ALTER TABLE project_versions ADD COLUMN "seoTags" jsonb;',
        ],
        [
          'project_versions.notes, to which the step notes writes, is of the type text and not jsonb or json',
          'ALTER TABLE project_versions ALTER COLUMN notes TYPE jsonb USING notes::jsonb;',
        ],
      ];
      expect(await problems(database, { columns })).toEqual(expected);
      await expect(migrate(url, { columns })).rejects.toMatchObject({
        code: 'MIGRATION_FAILED',
        message: expect.stringContaining('to which the step seo writes'),
      });
      await migrate(url);
      expect((await planMigration(pool, { columns })).obstacles.map(({ problem }) => problem)).toEqual(
        expected.map(([problem]) => problem),
      );
      expect(await missingSubmissionColumns(pool, columns)).toEqual(
        expected.map((texts) => texts.join(': ')),
      );
      for (const [, statement = ''] of expected) await pool.query(statement);
      expect(await migrate(url, { columns })).toEqual([]);
      expect(await missingSubmissionColumns(pool, columns)).toEqual([]);

      const key: ChainKey = {
        projectId: parseProjectId(varcharHost.projectId),
        versionId: parseVersionId(varcharHost.versionId),
        buildId: parseBuildId('b1'),
      };
      const chain = await openNew(pool, key);
      for (const [step, column] of [
        ['build', 'seoTags'],
        ['metadata', 'tags'],
      ] as const) {
        const attempt = await beginWithTranscript(pool, chain, step);
        await commitOperation(pool, {
          attempt,
          source: step,
          newSessionId: attempt.sessionId,
          parentSessionId: null,
          metrics: nothingSpent,
          result: {},
          value: { step },
          column,
        });
      }
      const { rows } = await pool.query(
        'SELECT "seoTags", tags, ai_metadata FROM project_versions WHERE version_id = $1',
        [key.versionId],
      );
      expect(rows).toEqual([{ seoTags: { step: 'build' }, tags: { step: 'metadata' }, ai_metadata: null }]);
    });
  });

  it('stops nothing on an empty database, whose tables are made first', async () => {
    const database = await createTestDatabase({ empty: true });
    try {
      const columns = [{ step: 'seo', column: 'seo' }];
      expect((await migrate(database.url, { columns })).length).toBeGreaterThan(0);
      expect(await missingSubmissionColumns(database.pool, columns)).toHaveLength(1);
    } finally {
      await database.drop();
    }
  });
});

describe.each(hostSchemas)('migrate --enforce-head on $name', (host) => {
  const projectId = parseProjectId(host.projectId);
  const key: ChainKey = { projectId, versionId: parseVersionId(host.versionId), buildId: parseBuildId('b1') };

  it('adopts drifted heads, adds the key, may be repeated, and old writers are refused from then on', async () => {
    await withHost(host.sql, async ({ pool, url }) => {
      await migrate(url);
      expect(await readHeadKey(pool)).toEqual({ status: 'absent' });
      const chain = await openNew(pool, key);
      const built = await runStep(pool, chain, 'build');
      // An old writer, of a head of ours and of one that we have never seen.
      await pool.query(`UPDATE projects SET last_ai_session_id = 'outside-2' WHERE project_id = $1`, [
        projectId,
      ]);
      expect(await countDriftedHeads(pool)).toBe(2);

      // Whichever comes first; another that comes later may find nothing to do.
      const both = await Promise.all([enforceHead(pool), enforceHead(pool)]);
      expect(both.map(({ added }) => added)).toContain(true);
      expect(both.reduce((sum, { adopted }) => sum + adopted, 0)).toBe(2);
      expect(await readHeadKey(pool)).toEqual({ status: 'valid' });
      expect(await enforceHead(pool)).toEqual({ added: false, adopted: 0 });
      expect(
        (await listTransitions(pool, projectId, 2)).map((row) => [
          row.source,
          row.oldSessionId,
          row.newSessionId,
        ]),
      ).toEqual([
        ['import', built.newSessionId, 'outside-2'],
        ['build', null, built.newSessionId],
      ]);
      await expect(
        pool.query(`UPDATE projects SET last_ai_session_id = 'outside-3' WHERE project_id = $1`, [projectId]),
      ).rejects.toMatchObject({ constraint: 'projects_head_is_last_transition' });

      // What moves the head as it should be is not in its way, nor is a head that a person clears.
      const recorded = await recordSession(pool, {
        projectId: parseProjectId(host.driftedProjectId),
        versionId: null,
        sessionId: parseSessionId(randomUUID()),
        source: 'build',
        metrics: unknownSpend,
        notInStore: true,
      });
      expect(recorded.seq).toBe(2);
      await pool.query('UPDATE projects SET last_ai_session_id = NULL WHERE project_id = $1', [projectId]);
    });
  });

  it('goes on where an earlier run was interrupted, with more drifted heads than fit in one transaction', async () => {
    await withHost(host.sql, async ({ pool, url }) => {
      await migrate(url);
      // As a run leaves it that died before it looked at the rows that were there.
      const hasRef = host === uuidHost;
      await pool.query(`ALTER TABLE projects ADD CONSTRAINT projects_head_is_last_transition
        FOREIGN KEY (project_id, session_seq, last_ai_session_id)
        REFERENCES session_transitions (${hasRef ? 'project_ref' : 'project_id'}, seq, new_session_id) NOT VALID`);
      expect(await readHeadKey(pool)).toEqual({ status: 'not_validated' });
      await pool.query(manyProjects(host));
      // Two at once do it once.
      const both = await Promise.all([enforceHead(pool), enforceHead(pool)]);
      expect(both.reduce((sum, { adopted }) => sum + adopted, 0)).toBe(451);
      expect(await readHeadKey(pool)).toEqual({ status: 'valid' });
    });
  });
});

it('enforces heads while old writers and our own move them', async () => {
  await withHost(varcharHost.sql, async ({ pool, url }) => {
    await migrate(url);
    await pool.query(manyProjects(varcharHost));
    const projects = Array.from({ length: 20 }, (_, n) => parseProjectId(`many-${n + 1}`));
    let refused = 0;
    const oldWriter = async (projectId: string) => {
      for (let n = 0; n < 20; n++) {
        await pool
          .query('UPDATE projects SET last_ai_session_id = $2 WHERE project_id = $1', [
            projectId,
            randomUUID(),
          ])
          .catch((error: unknown) => {
            expect(error).toMatchObject({ constraint: 'projects_head_is_last_transition' });
            refused++;
          });
      }
    };
    const ours = async (projectId: ChainKey['projectId']) => {
      for (let n = 0; n < 10; n++) {
        await recordSession(pool, {
          projectId,
          versionId: null,
          sessionId: parseSessionId(randomUUID()),
          source: 'build',
          metrics: unknownSpend,
          notInStore: true,
        });
      }
    };
    const [, , enforced] = await Promise.all([
      Promise.all(projects.map(oldWriter)),
      Promise.all(projects.map(ours)),
      enforceHead(pool),
    ]);
    expect(enforced.added).toBe(true);
    expect(await countDriftedHeads(pool)).toBe(0);
    expect(await readHeadKey(pool)).toEqual({ status: 'valid' });
    // From here on every old writer is refused.
    const before = refused;
    await oldWriter('many-1');
    expect(refused - before).toBe(20);
    const report = await readSyncReport(pool, { limit: 1_000, redisUrl: null });
    expect(report.drifted.filter(({ reasons }) => reasons.includes('broken_lineage'))).toEqual([]);
  });
});

/** 450 heads that no transition explains. */
function manyProjects({ name }: (typeof hostSchemas)[number]): string {
  const insert = {
    [uuidHost.name]: `(project_id, tenant, name, updated_at, last_ai_session_id)
      SELECT gen_random_uuid(), gen_random_uuid(), 'many', now(), 's-' || n`,
    [bigintHost.name]: `(project_id, owner, last_ai_session_id) SELECT 1000 + n, 1, 's-' || n`,
    [varcharHost.name]: `(project_id, name, last_ai_session_id) SELECT 'many-' || n, 'many', 's-' || n`,
  }[name];
  return `INSERT INTO projects ${insert ?? ''} FROM generate_series(1, 450) AS n`;
}

it('finds ids that a host holds as character of a fixed length', async () => {
  await withHost(
    varcharHost.sql.replaceAll('project_id varchar(255)', 'project_id character(36)'),
    async ({ pool, url }) => {
      await migrate(url);
      const projectId = parseProjectId(varcharHost.projectId);
      expect(await readHead(pool, projectId)).toEqual({ sessionId: null, seq: null });
      const built = await runStep(
        pool,
        await openNew(pool, {
          projectId,
          versionId: parseVersionId(varcharHost.versionId),
          buildId: parseBuildId('b1'),
        }),
        'build',
      );
      expect(await readHead(pool, projectId)).toEqual({ sessionId: built.newSessionId, seq: 1 });
    },
  );
});

it('has the key from the start on a database of its own', async () => {
  const database = await createTestDatabase();
  try {
    expect(await readHeadKey(database.pool)).toEqual({ status: 'valid' });
    expect(await enforceHead(database.pool)).toEqual({ added: false, adopted: 0 });
  } finally {
    await database.drop();
  }
});

const hostTableNames = [
  'projects',
  'project_versions',
  'session_transitions',
  'project_ai_session_metrics',
  'chat_plan_sessions',
  'project_chat_log_minimal',
];

async function withHost<Result>(
  sql: string,
  work: (database: TestDatabase) => Promise<Result>,
): Promise<Result> {
  const database = await createTestDatabase({ empty: true });
  try {
    await database.pool.query(sql);
    return await work(database);
  } finally {
    await database.drop();
  }
}

describe('tables of other names', () => {
  const blocks = [
    ...readFileSync(join(import.meta.dirname, '../../docs/host-databases.md'), 'utf8').matchAll(
      /^```sql\n([^]*?)^```$/gm,
    ),
  ].map(([, sql]) => sql ?? '');
  const [before = '', after = ''] = blocks;
  const projectId = parseProjectId('5f3c1a52-5a0e-4a53-9d0b-3a7f5d0f6c11');
  const key: ChainKey = { projectId, versionId: parseVersionId('12'), buildId: parseBuildId('b1') };

  it('are used through updatable views, which the recipe of the document makes', async () => {
    expect(blocks).toHaveLength(2);
    const host = `
      CREATE TABLE apps (id serial PRIMARY KEY, key uuid NOT NULL UNIQUE, title text NOT NULL);
      CREATE TABLE app_versions (number serial PRIMARY KEY, key bigint NOT NULL UNIQUE, app_key uuid NOT NULL REFERENCES apps (key),
        state text, made_at timestamptz NOT NULL DEFAULT now());
      INSERT INTO apps (key, title) VALUES ('${projectId}', 'Shop');
      INSERT INTO app_versions (key, app_key) VALUES (12, '${projectId}');`;
    await withHost(host, async ({ pool, url }) => {
      await pool.query(before);
      // The host's own code goes on meanwhile.
      await pool.query(`UPDATE apps SET title = 'The shop'; UPDATE app_versions SET state = 'queued'`);
      expect((await migrate(url)).length).toBeGreaterThan(0);
      await pool.query(after);
      // There is nothing to do, so that the views are not in its way.
      expect(await migrate(url)).toEqual([]);

      const chain = await openNew(pool, key);
      const built = await runStep(pool, chain, 'build');
      const state = await readChainState(pool, key);
      await closeChain(pool, chain, {
        ticket: chain.ticket,
        runId: chain.runId,
        result: { ...state, status: 'completed' },
        versionStatus: shippedStatus,
      });
      const record = {
        projectId,
        versionId: null,
        source: 'build',
        metrics: unknownSpend,
        notInStore: true,
      } as const;
      const recorded = await recordSession(pool, { ...record, sessionId: parseSessionId(randomUUID()) });
      expect(recorded).toMatchObject({ seq: 2, versionId: '12', oldSessionId: built.newSessionId });
      const { rows } = await pool.query(
        'SELECT a.title, a.last_ai_session_id, v.state, v.ai_session_id FROM apps a, app_versions v',
      );
      expect(rows).toEqual([
        {
          title: 'The shop',
          last_ai_session_id: recorded.newSessionId,
          state: 'deployed',
          ai_session_id: recorded.newSessionId,
        },
      ]);
      expect((await pool.query(monitoringQuery)).rows).toEqual([
        expect.objectContaining({ sync_status: 'SYNCED' }),
      ]);
      await expect(register(pool, { ...key, projectId: parseProjectId('shop') })).rejects.toMatchObject({
        code: 'PROJECT_NOT_FOUND',
      });

      // The key needs the table; once it is there, it holds behind the view, too.
      await expect(enforceHead(pool)).rejects.toMatchObject({ code: 'MIGRATION_FAILED' });
      await pool.query(`UPDATE projects SET last_ai_session_id = 'outside'`);
      await pool.query(before);
      expect(await enforceHead(pool)).toEqual({ added: true, adopted: 1 });
      await pool.query(after);
      expect(await readHeadKey(pool)).toEqual({ status: 'valid' });
      await expect(pool.query(`UPDATE projects SET last_ai_session_id = 'outside-2'`)).rejects.toMatchObject({
        constraint: 'projects_head_is_last_transition',
      });
      expect((await recordSession(pool, { ...record, sessionId: parseSessionId(randomUUID()) })).seq).toBe(4);
    });
  });
});
