import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { migrate, pendingMigrations, planMigration, requireMigrations } from '../../storage/db/migrate.js';
import { openNew, newKey, register, runStep } from '../support/chains.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';
import { dumpSchema } from '../support/schema-dump.js';

const folder = join(import.meta.dirname, '../../migrations');
const dumpFile = join(folder, 'schema.txt');

let database: TestDatabase;
beforeEach(async () => {
  database = await createTestDatabase({ empty: true });
});
afterEach(async () => {
  await database.drop();
});

const sql = async <Row extends Record<string, unknown>>(text: string, ...values: unknown[]) =>
  (await database.pool.query<Row>(text, values)).rows;

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

  it('gives each foreign key an index that finds the rows which refer to one that is deleted', async () => {
    await migrate(database.url);
    // One that a single row can match, or that narrows further than to the rows of a project.
    expect(
      await sql(
        `SELECT k.conrelid::regclass::text AS on, k.conname AS key FROM pg_constraint k
         CROSS JOIN LATERAL (SELECT least(cardinality(k.conkey), 2) AS columns) needed
         WHERE k.contype = 'f' AND NOT EXISTS (
           SELECT FROM pg_index i CROSS JOIN LATERAL (SELECT i.indkey::int2[] AS all) x
           WHERE i.indrelid = k.conrelid AND ((i.indisunique AND i.indpred IS NULL AND x.all <@ k.conkey)
             OR (i.indnkeyatts >= columns AND x.all[0:columns - 1] <@ k.conkey)))`,
      ),
    ).toEqual([]);
  });

  it('applies nothing the second time, and two processes at once do it once', async () => {
    const [first, second] = await Promise.all([migrate(database.url), migrate(database.url)]);
    expect([first.length, second.length].sort()).toEqual([0, Math.max(first.length, second.length)]);
    expect(await pendingMigrations(database.pool)).toEqual([]);
  });

  it("adds to a host's tables and keeps its rows", async () => {
    await database.pool.query(hostTables);
    await migrate(database.url);
    expect(await sql('SELECT project_id, name, last_ai_session_id, session_seq FROM projects')).toEqual([
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

describe('functions', () => {
  /** Made from the types of a host's columns. */
  const generated = [
    'all_transitions',
    'chat_key',
    'chat_log_key',
    'chat_log_project_key',
    'every_transition',
    'project_key',
    'transition_project_key',
    'version_key',
  ];
  const texts = new Map(
    readdirSync(join(folder, 'functions'))
      .sort()
      .map((file) => [file.replace(/\.sql$/, ''), readFileSync(join(folder, 'functions', file), 'utf8')]),
  );
  const hashes = async () =>
    new Map(
      (
        await sql<{ name: string; hash: string }>(
          'SELECT name, hash FROM session_chain.routines ORDER BY name',
        )
      ).map(({ name, hash }) => [name, hash]),
    );

  beforeEach(async () => {
    await migrate(database.url);
  });

  it('are in the database as they are in their files, each once', async () => {
    const made = await sql<{ name: string; body: string }>(
      `SELECT proname AS name, prosrc AS body FROM pg_proc
       WHERE pronamespace = 'session_chain'::regnamespace AND proname <> ALL ($1)
         AND prolang <> (SELECT oid FROM pg_language WHERE lanname = 'internal') ORDER BY proname`,
      generated,
    );
    const written = [...texts].map(([name, text]) => ({
      name: /^CREATE FUNCTION session_chain\.(\w+)\(/m.exec(text)?.[1],
      body: /AS \$\$([^]*)\$\$;\n/.exec(text)?.[1],
      file: name,
    }));
    expect(made).toEqual(written.map(({ name, body }) => ({ name, body })));
    expect(made.map(({ name }) => name)).toEqual(written.map(({ file }) => file));
    expect([...(await hashes()).keys()]).toEqual([...texts.keys(), ...generated].sort());
    for (const [name, text] of texts) {
      expect((await hashes()).get(name)).toBe(createHash('sha256').update(text).digest('hex'));
    }
  });

  it('are made anew where their text has changed, and only these; what no file has is dropped', async () => {
    const before = await dumpSchema(database.pool);
    await database.pool.query(`
      DROP FUNCTION session_chain.holder_of;
      CREATE FUNCTION session_chain.holder_of(p_project text, p_limit integer) RETURNS text LANGUAGE sql AS $$ SELECT 'former' $$;
      CREATE FUNCTION session_chain.holder_of(p_project text) RETURNS text LANGUAGE sql AS $$ SELECT 'former' $$;
      UPDATE session_chain.routines SET hash = 'former' WHERE name = 'holder_of';
      CREATE FUNCTION session_chain.retired() RETURNS text LANGUAGE sql AS $$ SELECT 'former' $$;
      INSERT INTO session_chain.routines VALUES ('retired', 'former');
      DROP FUNCTION session_chain.version_key;`);
    const oids = async () =>
      await sql(`SELECT oid, proname FROM pg_proc WHERE pronamespace = 'session_chain'::regnamespace
      AND proname NOT IN ('holder_of', 'version_key', 'retired') ORDER BY oid`);
    const others = await oids();
    const changed = ['functions/holder_of', 'functions/version_key'];
    expect((await pendingMigrations(database.pool)).sort()).toEqual([...changed, 'functions/retired'].sort());
    await expect(requireMigrations(database.pool)).rejects.toMatchObject({
      code: 'MIGRATIONS_BEHIND',
      message: expect.stringContaining('functions/holder_of'),
    });

    const [one, other] = await Promise.all([migrate(database.url), migrate(database.url)]);
    expect([one, other].sort((a, b) => a.length - b.length)).toEqual([[], changed]);
    expect(await dumpSchema(database.pool)).toBe(before);
    expect(await oids()).toEqual(others);
    await requireMigrations(database.pool);
  });

  it('are made anew where they were changed by hand', async () => {
    const before = await dumpSchema(database.pool);
    await database.pool.query(`
      DROP FUNCTION session_chain.was_head;
      CREATE FUNCTION session_chain.was_head(p_project text, p_session text) RETURNS boolean LANGUAGE sql AS $$ SELECT false $$;
      CREATE FUNCTION session_chain.holder_of(p_project text, p_limit integer) RETURNS text LANGUAGE sql AS $$ SELECT 'other' $$;`);
    const changed = ['functions/holder_of', 'functions/was_head'];
    expect(await pendingMigrations(database.pool)).toEqual(changed);
    expect(await migrate(database.url)).toEqual(changed);
    expect(await dumpSchema(database.pool)).toBe(before);
  });

  it('that cannot be made leave nothing changed', async () => {
    await database.pool.query(`
      UPDATE session_chain.routines SET hash = 'former' WHERE name IN ('adopt_head', 'holder_of');
      CREATE VIEW holders AS SELECT h.id FROM projects p CROSS JOIN session_chain.holder_of(p.project_id) h;`);
    const [before, hashesBefore] = [await dumpSchema(database.pool), await hashes()];
    await expect(migrate(database.url)).rejects.toMatchObject({
      code: 'MIGRATION_FAILED',
      message: expect.stringMatching(/^functions\/holder_of: The migration was rolled back: .*depend/),
    });
    expect(await dumpSchema(database.pool)).toBe(before);
    expect(await hashes()).toEqual(hashesBefore);
  });

  it("follow a host's column that gets another type", async () => {
    await database.pool.query(`
      ALTER TABLE project_versions DROP CONSTRAINT project_versions_version_id_key;
      ALTER TABLE project_versions ALTER COLUMN version_id TYPE uuid USING version_id::uuid;`);
    expect(await migrate(database.url)).toEqual(['functions/version_key']);
    expect(await sql(`SELECT pg_typeof(session_chain.version_key('v1'))::text AS type`)).toEqual([
      { type: 'uuid' },
    ]);
  });
});

describe('a database that was not migrated', () => {
  it('is told by name', async () => {
    await expect(requireMigrations(database.pool)).rejects.toMatchObject({
      code: 'MIGRATIONS_BEHIND',
      message: expect.stringMatching(/0001_tables, .*functions\/open_chain.*functions\/project_key/),
    });
  });
});

describe('a database of another version', () => {
  const refused = { code: 'MIGRATION_FAILED', message: expect.stringMatching(/^Nothing was changed: /) };

  it('that a pre-release made is refused, with the way out', async () => {
    await database.pool.query(`
      CREATE SCHEMA session_chain;
      CREATE TABLE session_chain.migrations (id serial PRIMARY KEY, name varchar(255) NOT NULL, run_on timestamp NOT NULL);
      INSERT INTO session_chain.migrations (name, run_on) VALUES ('20261122000001_tables', now()), ('20261122000002_transcripts', now());
      CREATE TABLE session_chain.chains (id bigint PRIMARY KEY, turn bigint);`);
    const before = await dumpSchema(database.pool);
    await expect(migrate(database.url)).rejects.toMatchObject({
      ...refused,
      remedy: expect.stringMatching(
        /Export.*release that made it.*empty database.*import the heads.*npm start/s,
      ),
    });
    await expect(planMigration(database.pool)).rejects.toMatchObject(refused);
    // What looks at it alone says so too, and not that `migrate` would help.
    await expect(requireMigrations(database.pool)).rejects.toMatchObject(refused);
    await expect(pendingMigrations(database.pool)).rejects.toMatchObject(refused);
    expect(await dumpSchema(database.pool)).toBe(before);
  });

  it('that a later one migrated serves this one, which takes nothing back', async () => {
    await migrate(database.url);
    await database.pool.query(`UPDATE session_chain.routines SET hash = 'later' WHERE name = 'holder_of'`);
    await expect(requireMigrations(database.pool)).rejects.toMatchObject({ code: 'MIGRATIONS_BEHIND' });
    await database.pool.query(`UPDATE session_chain.installation SET version = '99.0.0'`);
    await requireMigrations(database.pool);
    await expect(migrate(database.url)).rejects.toMatchObject({
      ...refused,
      message: expect.stringContaining('99.0.0'),
    });
  });

  it('that a later one made is refused as soon as something would be done to it', async () => {
    await migrate(database.url);
    await database.pool.query(
      `INSERT INTO session_chain.migrations (name) VALUES ('0002_of_a_later_version')`,
    );
    expect(await migrate(database.url)).toEqual([]);
    await database.pool.query(`UPDATE session_chain.routines SET hash = 'later' WHERE name = 'holder_of'`);
    await expect(migrate(database.url)).rejects.toMatchObject(refused);
    await database.pool.query(`DELETE FROM session_chain.migrations WHERE name = '0001_tables'`);
    await expect(migrate(database.url)).rejects.toMatchObject({
      ...refused,
      message: expect.stringContaining('0002_of_a_later_version'),
    });
  });
});
