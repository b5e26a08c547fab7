import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { openArchive } from '../../archive/open.js';
import { readPart, writePart } from '../../archive/part.js';
import type { SessionChain } from '../../client/session-chain.js';
import type { StartRequest } from '../../client/start-request.js';
import { type PartLine, partObject } from '../../contracts/archive.js';
import type { ChainResult } from '../../contracts/chain.js';
import { type ProjectId, type SessionId, parseProjectId, parseSessionId } from '../../contracts/ids.js';
import type { Pool } from '../../storage/db/pool.js';
import { restoreLines } from '../../storage/retention/restore.js';
import { createTranscriptStore } from '../../storage/transcripts/store.js';
import { type CommandLine, createCommandLine } from '../support/cli.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
} from '../support/chain-stack.js';
import { createTestDatabase } from '../support/database.js';

/** What was archived comes back: by hand, and by itself when a step or a question needs it. */

let stack: ChainStack;
let worker: TestWorker;
let folder: string;
let cli: CommandLine;
let client: SessionChain;
beforeAll(async () => {
  stack = await startChainStack('restore', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  cli = createCommandLine();
  client = stack.sessionChain;
  // Not below the root of the workspaces, where agents write.
  folder = mkdtempSync(join(tmpdir(), 'session-chain-restore-archive-'));
  // As on a host's database, where older writers may move a head.
  await sql('ALTER TABLE projects DROP CONSTRAINT projects_head_is_last_transition');
  worker = await stack.startWorker();
});
afterAll(async () => {
  cli.stop();
  await stack.stop();
  rmSync(folder, { recursive: true, force: true });
});

const sql = async (text: string, ...values: unknown[]) =>
  (await stack.database.pool.query(text, values)).rows as Record<string, unknown>[];
const archive = () => openArchive(folder, {});
const withArchive = async () => {
  await worker.kill('SIGTERM');
  worker = await stack.startWorker({ SESSION_CHAIN_ARCHIVE: folder });
};

const run = async (request: StartRequest): Promise<ChainResult> =>
  await client.wait(await client.start(request));
const buildOf = (projectId?: string): StartRequest => ({ ...stack.request(projectId), steps: ['build'] });
const command = async (...args: string[]) =>
  await cli.run(args, {
    PATH: process.env['PATH'],
    DATABASE_URL: stack.database.url,
    TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'],
    SESSION_CHAIN_TASK_QUEUE: stack.policy.taskQueues.chains,
  });

/** Whether a connection to this file's database waits for a lock; the server has the databases of other files too. */
const isWaitingFor = async (kind: 'relation' | 'advisory'): Promise<boolean> =>
  (
    await sql(
      `SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
       WHERE d.datname = current_database() AND l.locktype = $1 AND NOT l.granted`,
      kind,
    )
  ).length > 0;

/** Everything that a restoration could change, but for why the last one failed. */
async function dump(pool: Pool = stack.database.pool): Promise<string[]> {
  const { rows } = await pool.query<{ row: string }>(
    [
      ...['sessions', 'transcript_batches', 'transcript_texts', 'session_transitions_archive', 'attempts'],
      ...['briefs', 'spend_days', 'archive_parts', 'events'],
    ]
      .map((table) => `SELECT '${table} ' || t::text AS row FROM session_chain.${table} t`)
      .concat(
        'SELECT t::text FROM session_transitions t',
        'SELECT t::text FROM project_ai_session_metrics t',
        `SELECT concat_ws(' ', p.project_id, p.held_at, p.restored_until) FROM session_chain.project_retention p
         WHERE p.held_at IS NOT NULL OR p.restored_until IS NOT NULL`,
      )
      .join(' UNION ALL ') + ' ORDER BY 1',
  );
  return rows.map(({ row }) => row);
}

/** The transcripts of a project as they are stored, by what they are and not by their numbers. */
async function transcripts(projectId: string, pool: Pool = stack.database.pool): Promise<unknown[]> {
  const { rows } = await pool.query<Record<string, unknown>>(
    `SELECT s.session_id, s.parent_session_id, s.batches, s.entries, s.messages, s.appended_bytes, s.context_tokens,
       s.created_at, s.appended_at, b.ordinal, b.append_id, b.subpath,
       (SELECT p.content FROM session_chain.transcript_texts p WHERE p.id = b.patch_id) AS patch,
       ARRAY(SELECT t.content FROM unnest(b.entry_ids) WITH ORDINALITY AS u (id, n)
         JOIN session_chain.transcript_texts t ON t.id = u.id ORDER BY u.n) AS entries
     FROM session_chain.sessions s JOIN session_chain.transcript_batches b ON b.session = s.id
     WHERE s.project_id = $1 ORDER BY s.id, b.ordinal`,
    [projectId],
  );
  return rows;
}

/** Writes sessions of a project to a file of the archive as retention does, and drops them. Returns the file without its endings. */
async function archived(projectId: ProjectId, sessionIds: string[], month = '2026-03'): Promise<string> {
  const part = randomUUID();
  const header = { projectId, month, part };
  const object = partObject(header);
  await sql(
    `INSERT INTO session_chain.archive_parts (id, project_id, month, location, object) VALUES ($1, $2, $3, $4, $5)`,
    ...[part, projectId, `${month}-01`, archive().location, object],
  );
  await sql(
    `UPDATE session_chain.sessions SET archive_part = $1, sealed_at = coalesce(sealed_at, clock_timestamp())
     WHERE project_id = $2 AND session_id = ANY ($3)`,
    ...[part, projectId, sessionIds],
  );
  await sql(
    `UPDATE session_chain.session_transitions_archive SET part = $1 WHERE project_id = $2 AND part IS NULL`,
    ...[part, projectId],
  );
  const written = await writePart(archive(), { ...header, writtenBy: 'test' }, linesOf(part));
  await sql(
    `UPDATE session_chain.archive_parts SET state = 'verified', verified_at = clock_timestamp(), bytes = $2, sha256 = $3,
       counts = $4 WHERE id = $1`,
    ...[part, written.bytes, written.sha256, written.counts],
  );
  await sql(
    `UPDATE session_chain.sessions SET dropped_at = clock_timestamp(), last_text = 0 WHERE archive_part = $1`,
    part,
  );
  await sql(
    `DELETE FROM session_chain.transcript_batches b USING session_chain.sessions s
     WHERE s.id = b.session AND s.archive_part = $1`,
    part,
  );
  await sql(
    `DELETE FROM session_chain.transcript_texts t WHERE t.project_id = $1 AND NOT EXISTS (
       SELECT FROM session_chain.transcript_batches b WHERE b.entry_ids @> ARRAY[t.id] OR b.patch_id = t.id)`,
    projectId,
  );
  return object;
}

const archiveTime = (column: string) =>
  `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

async function* linesOf(part: string): AsyncGenerator<PartLine> {
  const written = new Set<string>();
  const sessions = await sql(
    `SELECT s.id, jsonb_build_object('session_id', s.session_id, 'parent_session_id', s.parent_session_id,
       'created_at', ${archiveTime('s.created_at')}, 'appended_at', ${archiveTime('s.appended_at')},
       'appended_bytes', s.appended_bytes::text, 'batches', s.batches, 'entries', s.entries::text,
       'messages', s.messages::text, 'context_tokens', s.context_tokens::text, 'sealed_at', ${archiveTime('s.sealed_at')},
       'quarantined_at', NULL, 'quarantine_reason', NULL, 'given_up_at', NULL) AS line
     FROM session_chain.sessions s WHERE s.archive_part = $1 ORDER BY s.id`,
    part,
  );
  for (const { id, line } of sessions) {
    yield { kind: 'session', ...(line as object) } as PartLine;
    const appends = await sql(
      `SELECT b.ordinal, b.append_id, b.subpath, encode(p.digest, 'hex') AS patch, p.content,
         ARRAY(SELECT jsonb_build_array(encode(t.digest, 'hex'), t.content) FROM unnest(b.entry_ids) WITH ORDINALITY AS u (id, n)
           JOIN session_chain.transcript_texts t ON t.id = u.id ORDER BY u.n) AS entries
       FROM session_chain.transcript_batches b LEFT JOIN session_chain.transcript_texts p ON p.id = b.patch_id
       WHERE b.session = $1 ORDER BY b.ordinal`,
      id,
    );
    for (const { content, patch, entries, ...append } of appends) {
      const texts = entries as [string, string][];
      for (const [digest, text] of [
        ...texts,
        ...(patch === null ? [] : [[patch, content] as [string, string]]),
      ]) {
        if (!written.has(digest)) yield { kind: 'text', digest, content: text };
        written.add(digest);
      }
      const { session_id } = line as { session_id: string };
      yield {
        ...{ kind: 'append', session_id, ...append, patch },
        entries: texts.map(([digest]) => digest),
      } as PartLine;
    }
  }
  const transitions = await sql(
    `SELECT a.id, a.seq::text, a.version_id, a.old_session_id, a.new_session_id, a.source,
       ${archiveTime('a.created_at')} AS created_at, a.parent_session_id, a.step, a.attempt_id::text, a.rewound_to::text,
       a.host::text FROM session_chain.session_transitions_archive a WHERE a.part = $1 ORDER BY a.seq`,
    part,
  );
  for (const line of transitions) yield { kind: 'transition', ...line } as unknown as PartLine;
}

const entry = (type: string, text: string, sessionId: string, parent: string | null) =>
  ({
    ...{ type, uuid: randomUUID(), parentUuid: parent, sessionId, cwd: '/srv/shop', version: '2.1.330' },
    message: { role: type, content: text },
  }) as unknown as SessionStoreEntry;

/** A project with a session and a fork of it, and a subagent, of odd texts. */
async function written(): Promise<{ projectId: ProjectId; base: SessionId; fork: SessionId }> {
  const projectId = parseProjectId(`p-${randomUUID()}`);
  await sql('INSERT INTO projects (project_id) VALUES ($1)', projectId);
  const store = createTranscriptStore({ pool: stack.database.pool, projectId });
  const [base, fork] = [randomUUID(), randomUUID()].map(parseSessionId) as [SessionId, SessionId];
  const first = entry('user', 'Größe \u2028 \u0001 \\u0003 "𝒳" \n', base, null);
  const second = entry('assistant', 'done', base, first.uuid ?? null);
  await store.append({ projectKey: '', sessionId: base }, [first, second]);
  await store.append({ projectKey: '', sessionId: base, subpath: 'subagents/agent-1' }, [
    entry('user', 'look', base, null),
  ]);
  const copies = [first, second].map((one) => ({ ...one, sessionId: fork }));
  await store.append({ projectKey: '', sessionId: fork }, copies);
  await store.append({ projectKey: '', sessionId: fork }, [
    entry('user', 'more '.repeat(20_000), fork, second.uuid ?? null),
  ]);
  await sql(
    `UPDATE session_chain.sessions SET sealed_at = clock_timestamp(),
       parent_session_id = CASE WHEN session_id = $2 THEN $3 END WHERE project_id = $1`,
    ...[projectId, fork, base],
  );
  return { projectId, base, fork };
}

const loaded = async (projectId: ProjectId, sessionId: string) =>
  JSON.stringify(
    await createTranscriptStore({ pool: stack.database.pool, projectId }).load({ projectKey: '', sessionId }),
  );

describe('without an archive', () => {
  it('a step does not continue from an archived head, and nothing is paid; what is to be restored is refused', async () => {
    const first = await run(buildOf());
    const projectId = parseProjectId(first.projectId);
    const head = first.head.sessionId as SessionId;
    const second = await run(buildOf(projectId));
    await sql('UPDATE projects SET last_ai_session_id = $2 WHERE project_id = $1', projectId, head);
    const before = await loaded(projectId, head);
    const object = await archived(projectId, [head]);
    expect((await client.session(projectId, head)).condition).toBe('archived');
    const spent = (await client.spend(projectId)).costUsd;

    const refused = await run(buildOf(projectId));
    expect(refused).toMatchObject({
      status: 'failed',
      head: { sessionId: head },
      failure: { code: 'SESSION_ARCHIVED' },
    });
    expect(refused.failure?.message).toContain(object);
    expect(refused.failure?.remedy).toContain('SESSION_CHAIN_ARCHIVE');
    expect((await client.spend(projectId)).costUsd).toBe(spent);
    await expect(client.rewind(projectId, { to: 1 })).rejects.toMatchObject({ code: 'SESSION_ARCHIVED' });
    await expect(client.restore({ projectId })).rejects.toMatchObject({ code: 'ARCHIVE_NOT_CONFIGURED' });
    expect(await client.validateAndRecover(projectId)).toMatchObject({ outcome: 'valid', givenUp: false });

    // With one it does.
    await withArchive();
    const third = await run(buildOf(projectId));
    const warning = `The transcript of the session ${head} was in the archive; it was restored, and the work went on from it.`;
    expect(third).toMatchObject({ status: 'completed_with_warnings', baseSessionId: head });
    expect(third.warnings.join('\n')).toContain(warning);
    expect(third.steps[0]?.oldSessionId).toBe(head);
    expect(await loaded(projectId, head)).toBe(before);
    const { stdout } = await command('status', '-p', projectId, '-v', third.versionId);
    expect(stdout.replace(/\s+/g, ' ')).toContain(warning);
    expect(second.head.sessionId).not.toBe(head);

    // So does a question; it pays for the answer alone.
    const now = third.head.sessionId as SessionId;
    await archived(projectId, [now]);
    const { kind, sessionId } = await client.ask({ projectId, text: 'What is here?' });
    expect(kind).toBe('transition');
    expect(await client.session(projectId, sessionId)).toMatchObject({ parentSessionId: now });
    expect((await client.session(projectId, now)).condition).toBe('whole');
  });
});

describe('a restoration', () => {
  it('brings all back byte for byte, shares what is still here, and does nothing twice', async () => {
    const { projectId, base, fork } = await written();
    const before = await transcripts(projectId);
    const texts = await sql(
      'SELECT digest FROM session_chain.transcript_texts WHERE project_id = $1',
      projectId,
    );
    const [entriesOfBase, entriesOfFork] = [await loaded(projectId, base), await loaded(projectId, fork)];
    await archived(projectId, [base], '2026-02');
    expect((await transcripts(projectId)).length).toBeLessThan(before.length);
    await archived(projectId, [fork]);
    expect(await sql('SELECT FROM session_chain.transcript_texts WHERE project_id = $1', projectId)).toEqual(
      [],
    );

    // One session, in a file by the other's side.
    const one = await client.restore({ projectId, sessionId: fork, keepDays: 7 });
    expect(one).toMatchObject({ files: 1, sessions: 1, entries: 3, left: { transitions: 0, details: 0 } });
    expect(await loaded(projectId, fork)).toBe(entriesOfFork);
    expect((await client.session(projectId, base)).condition).toBe('archived');
    const hold = await client.projectHold(projectId);
    expect(hold).toEqual({ projectId, hold: null, restoredUntil: one.keptUntil });

    const { stdout } = await command('restore', '-p', projectId, '--month', '2026-02', '-o', 'json');
    expect(JSON.parse(stdout)).toMatchObject({ files: 1, sessions: 1, entries: 2 });
    expect(await loaded(projectId, base)).toBe(entriesOfBase);
    const after = await transcripts(projectId);
    expect(after).toEqual(before);
    expect(
      (await sql('SELECT digest FROM session_chain.transcript_texts WHERE project_id = $1', projectId))
        .length,
    ).toBe(texts.length);

    const rows = await dump();
    const again = await client.restore({ projectId, keepDays: 1 });
    expect(again).toMatchObject({ files: 2, sessions: 0, entries: 0 });
    expect(await dump()).toEqual(rows);
    expect(await client.restoration(projectId)).toMatchObject({ state: 'finished', restored: again });
  });

  it('refuses a file that is cut, changed, exchanged or gone, names it and changes nothing', async () => {
    const { projectId, base, fork } = await written();
    const object = await archived(projectId, [base, fork]);
    const [file, manifest] = [join(folder, `${object}.jsonl.gz`), join(folder, `${object}.manifest.json`)];
    const [content, said] = [readFileSync(file), readFileSync(manifest)];
    const rows = await dump();
    const broken: [string, () => void][] = [
      ['cut', () => truncateSync(file, content.length - 20)],
      [
        'changed',
        () =>
          writeFileSync(
            file,
            content.map((byte, at) => (at === 40 ? byte ^ 1 : byte)),
          ),
      ],
      ['gone', () => renameSync(file, `${file}.away`)],
      ['without its manifest', () => renameSync(manifest, `${manifest}.away`)],
      [
        'written anew by another hand',
        () => {
          const lines = gunzipSync(content).toString().replace('done', 'gone');
          writeFileSync(file, gzipSync(lines));
        },
      ],
    ];
    for (const [how, breakIt] of broken) {
      breakIt();
      const failure: unknown = await client.restore({ projectId }).catch((error: unknown) => error);
      expect({ how, failure }).toMatchObject({ how, failure: { code: 'ARCHIVE_DAMAGED' } });
      expect((failure as Error).message).toContain(object);
      writeFileSync(file, content);
      writeFileSync(manifest, said);
    }
    expect(await dump()).toEqual(rows);
    expect((await client.restore({ projectId, sessionId: base })).sessions).toBe(1);
  });

  it('leaves another transcript of a session, and names it; of what it does not have it says so', async () => {
    const { projectId, base, fork } = await written();
    const object = await archived(projectId, [base]);
    // Such as one that was imported meanwhile.
    const store = createTranscriptStore({ pool: stack.database.pool, projectId });
    await sql(
      `UPDATE session_chain.sessions SET dropped_at = NULL, sealed_at = NULL, archive_part = NULL WHERE session_id = $1`,
      base,
    );
    await store.append({ projectKey: '', sessionId: base }, [entry('user', 'another', base, null)]);
    const rows = await dump();
    await expect(client.restore({ projectId, month: '2026-03' })).rejects.toMatchObject({
      code: 'SESSION_DIFFERS',
      message: expect.stringMatching(new RegExp(`${base}.*${object}`)) as unknown as string,
    });
    await expect(client.restore({ projectId, sessionId: fork })).rejects.toMatchObject({
      code: 'NOT_IN_ARCHIVE',
    });
    await expect(client.restore({ projectId, month: '2025-01' })).rejects.toMatchObject({
      code: 'NOT_IN_ARCHIVE',
    });
    expect(await dump()).toEqual(rows);
    const { code, stderr } = await command('restore', '-p', projectId, '-s', base, '--month', '2026-03');
    expect({ code, stderr }).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('give one of the two') as unknown as string,
    });
    for (const month of ['2026-13', 'march', '2026-3']) {
      await expect(client.restore({ projectId, month })).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    }
  });

  it('goes on after a kill in the middle, as a whole', async () => {
    const { projectId, base, fork } = await written();
    const before = await transcripts(projectId);
    await archived(projectId, [base, fork]);
    const rows = await dump();
    const blocker = await stack.database.pool.connect();
    await blocker.query('BEGIN; LOCK TABLE session_chain.transcript_batches IN SHARE ROW EXCLUSIVE MODE');
    const restoring = client.restore({ projectId });
    await until(() => isWaitingFor('relation'));
    await worker.kill('SIGKILL');
    await blocker.query('ROLLBACK');
    blocker.release();
    await until(async () => {
      const [left] = await sql(
        `SELECT FROM pg_stat_activity WHERE application_name = 'session-chain worker' AND datname = current_database()`,
      );
      return left === undefined;
    });
    expect(await dump()).toEqual(rows);
    worker = await stack.startWorker({ SESSION_CHAIN_ARCHIVE: folder });
    expect(await restoring).toMatchObject({ sessions: 2 });
    expect(await transcripts(projectId)).toEqual(before);
  });

  it('waits for retention, and is refused in a project that is being erased', async () => {
    const { projectId, base } = await written();
    await archived(projectId, [base]);
    const other = await stack.database.pool.connect();
    await other.query('BEGIN');
    await other.query(`SELECT pg_advisory_xact_lock(hashtextextended('session_chain retention ' || $1, 0))`, [
      projectId,
    ]);
    const restoring = client.restore({ projectId });
    await until(() => isWaitingFor('advisory'));
    await expect(client.startRestore({ projectId })).rejects.toMatchObject({ code: 'PROJECT_BUSY' });
    await other.query('COMMIT');
    other.release();
    expect((await restoring).sessions).toBe(1);

    await sql(`INSERT INTO session_chain.erasures (project_id, requested_by) VALUES ($1, 'test')`, projectId);
    const rows = await dump();
    await expect(client.restore({ projectId })).rejects.toMatchObject({ code: 'PROJECT_BEING_ERASED' });
    await expect(client.hold(projectId, { reason: 'too late', by: 'test' })).rejects.toMatchObject({
      code: 'PROJECT_BEING_ERASED',
    });
    expect(await dump()).toEqual(rows);
  });

  it('brings transitions of a month on back, and makes an empty database what the archive has', async () => {
    const { projectId, base, fork } = await written();
    const before = await transcripts(projectId);
    const ids = [base, fork, randomUUID()];
    await sql(
      `INSERT INTO session_transitions (project_id, old_session_id, new_session_id, source, seq, prev_seq, created_at)
       SELECT $1, ($2::text[])[n - 1], ($2::text[])[n], 'import', n, nullif(n - 1, 0),
         CASE n WHEN 1 THEN '2026-02-10'::timestamptz WHEN 2 THEN '2026-03-10' ELSE clock_timestamp() END
       FROM generate_series(1, 3) n`,
      ...[projectId, ids],
    );
    await sql(
      'UPDATE projects SET session_seq = 3, last_ai_session_id = $2 WHERE project_id = $1',
      projectId,
      ids[2],
    );
    const all = await sql('SELECT * FROM session_transitions WHERE project_id = $1 ORDER BY seq', projectId);
    await sql('SELECT session_chain.archive_transitions($1, 30, 100, false)', projectId);
    const object = await archived(projectId, [base, fork]);
    // Of a month of which nothing was archived, no later one comes back.
    await expect(client.restore({ projectId, month: '1999-01' })).rejects.toMatchObject({
      code: 'NOT_IN_ARCHIVE',
    });
    expect(await client.restore({ projectId, month: '2026-03' })).toMatchObject({
      sessions: 2,
      transitions: 1,
    });
    expect(await client.restore({ projectId })).toMatchObject({ sessions: 0, transitions: 1 });
    expect(
      await sql('SELECT * FROM session_transitions WHERE project_id = $1 ORDER BY seq', projectId),
    ).toEqual(all);

    const empty = await createTestDatabase();
    const restoreThere = async () =>
      await readPart(archive(), object, async ({ manifest, lines }) => {
        const { part, month } = manifest;
        const file = { location: archive().location, object, part, month, written: manifest };
        return await restoreLines(empty.pool, projectId, file, lines);
      });
    // Without the head that they lead to, transitions would be of no project.
    expect(await restoreThere()).toMatchObject({ sessions: 2, left: { transitions: 2, details: 0 } });
    expect(await transcripts(projectId, empty.pool)).toEqual(before);
    await empty.pool.query(`INSERT INTO projects (project_id) VALUES ($1)`, [projectId]);
    await empty.pool.query(
      `INSERT INTO session_transitions (project_id, old_session_id, new_session_id, source, seq) VALUES ($1, $2, $3, 'import', 3)`,
      [projectId, fork, ids[2]],
    );
    expect(await restoreThere()).toMatchObject({ sessions: 0, left: { transitions: 0, details: 0 } });
    const { rows } = await empty.pool.query<{ seq: number }>(
      'SELECT seq::integer FROM session_chain.all_transitions($1) ORDER BY seq',
      [projectId],
    );
    expect(rows.map(({ seq }) => seq)).toEqual([1, 2, 3]);
    await empty.drop();
  });
});

describe('a legal hold', () => {
  it('is set, said anew, shown and released', async () => {
    const { projectId } = await written();
    const held = await client.hold(projectId, { reason: ' case 17/4 ', by: 'legal' });
    expect(held).toMatchObject({ hold: { reason: 'case 17/4', by: 'legal' }, restoredUntil: null });
    const again = await command('hold', '-p', projectId, '--reason', 'case 18', '--by', 'ops', '-o', 'json');
    expect(JSON.parse(again.stdout)).toMatchObject({
      hold: { reason: 'case 18', by: 'ops', since: held.hold?.since.toISOString() },
    });
    expect((await command('hold', '-p', projectId)).stdout).toContain('case 18');
    expect(await client.release(projectId)).toMatchObject({ hold: null, released: true });
    expect(await client.release(projectId)).toMatchObject({ hold: null, released: false });
    expect((await command('hold', '-p', projectId)).stdout).toMatch(/on hold +no/);
  });

  it('refuses what is no project, no words, and both at once', async () => {
    const { projectId } = await written();
    await expect(client.hold('nowhere', { reason: 'x', by: 'y' })).rejects.toMatchObject({
      code: 'PROJECT_NOT_FOUND',
    });
    await expect(client.release('nowhere')).rejects.toMatchObject({ code: 'PROJECT_NOT_FOUND' });
    for (const options of [
      { reason: '  ', by: 'y' },
      { reason: 'x' },
      { reason: 'x'.repeat(1_001), by: 'y' },
    ]) {
      await expect(client.hold(projectId, options as never)).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    }
    const both = await command('hold', '-p', projectId, '--reason', 'x', '--release');
    expect(both).toMatchObject({ code: 2, stdout: '' });
    expect(await client.projectHold(projectId)).toMatchObject({ hold: null });
  });
});
