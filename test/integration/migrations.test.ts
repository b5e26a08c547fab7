import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { migrate, pendingMigrations, requireMigrations } from '../../storage/db/migrate.js';
import { openNew, newKey, register, runStep } from '../support/chains.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';
import { dumpSchema } from '../support/schema-dump.js';

const dumpFile = join(import.meta.dirname, '../../migrations/schema.txt');

let database: TestDatabase;
beforeEach(async () => {
  database = await createTestDatabase({ empty: true });
});
afterEach(async () => {
  await database.drop();
});

/** The seed's tables as a host has had them for long, with the rows that its old writers left. */
const hostTables = `
  CREATE TABLE projects (project_id varchar(255) PRIMARY KEY, name text NOT NULL, last_ai_session_id varchar(255),
    last_ai_session_updated_at timestamptz);
  CREATE TABLE project_versions (id serial PRIMARY KEY, version_id varchar(255) NOT NULL UNIQUE, project_id varchar(255) NOT NULL,
    ai_session_id varchar(255), ai_session_last_used_at timestamptz, status varchar(50), created_at timestamptz DEFAULT now());
  CREATE TABLE project_ai_session_metrics (id serial PRIMARY KEY, session_id varchar(255) NOT NULL);
  CREATE TABLE project_chat_log_minimal (id serial PRIMARY KEY, session_id varchar(255), ai_session_id varchar(255));
  CREATE TABLE chat_plan_sessions (id serial PRIMARY KEY, session_id varchar(255));
  CREATE TABLE session_transitions (id serial PRIMARY KEY, project_id varchar(255) NOT NULL, version_id varchar(255),
    old_session_id varchar(255), new_session_id varchar(255) NOT NULL, source varchar(50) NOT NULL,
    created_at timestamptz DEFAULT now());
  INSERT INTO projects VALUES ('host', 'Host', 'abc', now());
  INSERT INTO project_versions (version_id, project_id, ai_session_id) VALUES ('host-v1', 'host', 'old');
  INSERT INTO session_transitions (project_id, old_session_id, new_session_id, source)
    VALUES ('host', 'abc', 'abc', 'metadata_generation');`;

describe('migrate', () => {
  it('makes on an empty database what the committed dump shows', async () => {
    expect((await migrate(database.url)).length).toBeGreaterThan(0);
    const dump = await dumpSchema(database.pool);
    // `UPDATE_SCHEMA=1` writes the dump anew, for the diff that a reviewer reads.
    if (process.env['UPDATE_SCHEMA']) writeFileSync(dumpFile, dump);
    expect(dump).toBe(readFileSync(dumpFile, 'utf8'));
  });

  it('applies nothing the second time, and two processes at once do it once', async () => {
    const [first, second] = await Promise.all([migrate(database.url), migrate(database.url)]);
    expect([first.length, second.length].sort()).toEqual([0, Math.max(first.length, second.length)]);
    expect(await pendingMigrations(database.pool)).toEqual([]);
  });

  it("adds to a host's tables and keeps its rows", async () => {
    await database.pool.query(hostTables);
    await migrate(database.url);
    const { rows } = await database.pool.query(
      'SELECT project_id, name, last_ai_session_id, session_seq FROM projects',
    );
    expect(rows).toEqual([
      { project_id: 'host', name: 'Host', last_ai_session_id: 'abc', session_seq: null },
    ]);
    // The host's old writers may still move the head as they always did.
    await database.pool.query(`UPDATE projects SET last_ai_session_id = 'def'`);
  });

  it("lets chains run on a host's tables, where start never inserts a project", async () => {
    await database.pool.query(hostTables);
    await migrate(database.url);
    await expect(register(database.pool, newKey())).rejects.toMatchObject({ code: 'PROJECT_NOT_FOUND' });
    await database.pool.query(`UPDATE projects SET last_ai_session_id = NULL`);
    const key = { ...newKey('host'), versionId: 'host-v1' as ReturnType<typeof newKey>['versionId'] };
    const result = await runStep(database.pool, await openNew(database.pool, key), 'build');
    expect(result).toMatchObject({ oldSessionId: null, seq: 1 });
  });
});

describe('a database that was not migrated', () => {
  it('is told by name', async () => {
    await expect(requireMigrations(database.pool)).rejects.toMatchObject({
      code: 'MIGRATIONS_BEHIND',
      message: expect.stringContaining('20261122000001_tables'),
    });
  });
});
