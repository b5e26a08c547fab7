import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { Client, Connection } from '@temporalio/client';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { findAgentBinary } from '../../agent/process/binary.js';
import { type HeadImport, type Imports, createImports } from '../../client/import.js';
import { chainKey, createSessionChain } from '../../client/session-chain.js';
import { type ChainKey, parseSessionId } from '../../contracts/ids.js';
import { defaultPolicy } from '../../contracts/policy.js';
import { startOfflineModel } from '../../dev/offline-model/server.js';
import { listTransitions, readHead } from '../../storage/heads/heads.js';
import { taskQueuesOf } from '../../temporal/names.js';
import { findHole } from '../../transcript/hole.js';
import { projectFolder } from '../../transcript/local-files.js';
import { migrate } from '../../storage/db/migrate.js';
import { recordSession, unknownSpend } from '../../storage/operations/record.js';
import { createTranscriptStore, sessionFitness } from '../../storage/transcripts/store.js';
import { createCommandLine } from '../support/cli.js';
import { begin, newKey, openNew, register, runStep } from '../support/chains.js';
import { startWorkerProcess } from '../support/chain-stack.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';
import { uuidHost } from '../support/host-schemas.js';
import { type ScriptedModel, startScriptedModel } from '../../agent/probe/scripted-model.js';

/** Sessions that a plain Claude Code wrote on its disk, taken over, and given back to one. */

let database: TestDatabase;
let imports: Imports;
let model: ScriptedModel;
/** A session with a subagent, as the real binary leaves it. */
let original: { root: string; sessionId: string };

beforeAll(async () => {
  database = await createTestDatabase();
  imports = createImports(database.pool);
  model = await startScriptedModel(({ messages, tools }) => {
    const said = JSON.stringify(messages);
    const name = tools.find((tool) => tool.name === 'Agent')?.name;
    return said.includes('Ask a helper') && name !== undefined && !said.includes('tool_result')
      ? {
          tools: [
            {
              name,
              input: {
                description: 'help',
                prompt: 'Help.',
                subagent_type: 'general-purpose',
                run_in_background: false,
              },
            },
          ],
          stopReason: 'tool_use',
        }
      : { text: 'The answer is 42.' };
  });
  original = { root: newRoot(), sessionId: randomUUID() };
  await claude(original.root, ['-p', 'Ask a helper.', '--session-id', original.sessionId]);
});
afterAll(async () => {
  await model.stop();
  await database.drop();
  rmSync(original.root, { recursive: true, force: true });
});

let root: string;
beforeEach(() => {
  root = newRoot();
});
afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

function newRoot(): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'session-chain-import-')));
  for (const name of ['home', 'claude', 'work']) mkdirSync(join(folder, name));
  return folder;
}

/** Plain Claude Code on the folders of a root: what it printed. */
async function claude(folder: string, args: string[], claudeDir = join(folder, 'claude')): Promise<string> {
  const child = spawn(await findAgentBinary(), args, {
    cwd: join(folder, 'work'),
    env: {
      PATH: process.env['PATH'],
      HOME: join(folder, 'home'),
      CLAUDE_CONFIG_DIR: claudeDir,
      ANTHROPIC_BASE_URL: model.url,
      ANTHROPIC_API_KEY: 'test-credential',
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
      CLAUDE_CODE_DISABLE_BACKGROUND_TASKS: '1',
      DISABLE_TELEMETRY: '1',
      DISABLE_AUTOUPDATER: '1',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data: Buffer) => (output += data.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`claude ${args.join(' ')} ended with ${String(code)}: ${output}`);
  return output;
}

/** A copy of the original session under the test's own root, with another id. */
function localSession(sessionId: string = randomUUID()): {
  sessionId: string;
  file: string;
  claudeDir: string;
} {
  const claudeDir = join(root, 'claude');
  const folder = join(claudeDir, 'projects', projectFolder(join(root, 'work')));
  const from = join(original.root, 'claude', 'projects', projectFolder(join(original.root, 'work')));
  mkdirSync(folder, { recursive: true });
  cpSync(join(from, original.sessionId), join(folder, sessionId), { recursive: true });
  const file = join(folder, `${sessionId}.jsonl`);
  const text = readFileSync(join(from, `${original.sessionId}.jsonl`), 'utf8');
  writeFileSync(file, text.replaceAll(original.sessionId, sessionId).replaceAll(original.root, root));
  return { sessionId, file, claudeDir };
}

const linesOf = (file: string) => readFileSync(file, 'utf8').trimEnd().split('\n');

async function newProject(head: string | null = null): Promise<ChainKey> {
  const key = newKey();
  await register(database.pool, key);
  if (head !== null) {
    await database.pool.query(
      'ALTER TABLE projects DROP CONSTRAINT IF EXISTS projects_head_is_last_transition',
    );
    await database.pool.query('UPDATE projects SET last_ai_session_id = $2 WHERE project_id = $1', [
      key.projectId,
      head,
    ]);
  }
  return key;
}

async function storedLines(key: ChainKey, sessionId: string, subpath?: string): Promise<string[] | null> {
  const entries = await storedEntries(key, sessionId, subpath);
  return entries?.map((entry) => JSON.stringify(entry)) ?? null;
}

async function storedEntries(
  { projectId }: Pick<ChainKey, 'projectId'>,
  sessionId: string,
  subpath?: string,
): Promise<SessionStoreEntry[] | null> {
  const store = createTranscriptStore({ pool: database.pool, projectId });
  return await store.load({ projectKey: '', sessionId, ...(subpath === undefined ? {} : { subpath }) });
}

describe('import', () => {
  it('takes a transcript with its subagents byte for byte and makes it the head', async () => {
    const key = await newProject();
    const { sessionId, file, claudeDir } = localSession();
    const imported = await imports.importSession({ projectId: key.projectId, sessionId, claudeDir });
    expect(imported).toMatchObject({
      transcript: 'copied',
      transition: { seq: 1, source: 'import', isNew: true },
      warnings: [],
    });
    expect(await readHead(database.pool, key.projectId)).toEqual({ sessionId, seq: 1 });
    expect(await storedLines(key, sessionId)).toEqual(linesOf(file));

    const folder = file.replace(/\.jsonl$/, '/subagents');
    const [subagent = ''] = readdirSync(folder).filter((name) => name.endsWith('.jsonl'));
    const metadata = readFileSync(
      join(folder, subagent.replace(/l$/, '').replace(/\.json$/, '.meta.json')),
      'utf8',
    );
    const stored = await storedLines(key, sessionId, `subagents/${subagent.replace('.jsonl', '')}`);
    expect(stored?.slice(0, -1)).toEqual(linesOf(join(folder, subagent)));
    expect(JSON.parse(stored?.at(-1) ?? '')).toEqual({
      ...(JSON.parse(metadata) as object),
      type: 'agent_metadata',
    });
    expect(await sessionFitness(database.pool, key.projectId, parseSessionId(sessionId))).toBe('whole');
  });

  it('may be repeated: nothing is written twice', async () => {
    const { projectId } = await newProject();
    const { sessionId, claudeDir } = localSession();
    await imports.importSession({ projectId, sessionId, claudeDir });
    expect(await imports.importSession({ projectId, sessionId, claudeDir })).toMatchObject({
      transcript: 'unchanged',
      entries: 0,
      transition: { seq: 1, isNew: false },
    });
    const both = await Promise.all(
      [1, 2].map(() => imports.importSession({ projectId, sessionId, claudeDir })),
    );
    expect(both.map(({ transcript }) => transcript)).toEqual(['unchanged', 'unchanged']);
    expect(await listTransitions(database.pool, projectId, 10)).toHaveLength(1);
  });

  it.each(['an old writer made the head', 'was recorded'])(
    'fills the transcript of a session that %s, without a second transition',
    async (how) => {
      const { sessionId, claudeDir } = localSession();
      const key = await newProject(how === 'was recorded' ? null : sessionId);
      if (how === 'was recorded') {
        await recordSession(database.pool, {
          ...key,
          sessionId: parseSessionId(sessionId),
          source: 'build',
          metrics: unknownSpend,
          notInStore: true,
        });
      }
      const imported = await imports.importSession({ projectId: key.projectId, sessionId, claudeDir });
      expect(imported.transcript).toBe('copied');
      expect(
        (await listTransitions(database.pool, key.projectId, 10)).map((row) => [row.seq, row.newSessionId]),
      ).toEqual([[1, sessionId]]);
      // A chain can go on from it.
      const chain = await openNew(database.pool, { ...key });
      expect(chain.head).toBe(sessionId);
    },
  );

  it('takes what a session has become since, and not once it was forked here', async () => {
    const key = await newProject();
    const { sessionId, file, claudeDir } = localSession();
    const request = { projectId: key.projectId, sessionId, claudeDir };
    await imports.importSession(request);
    await claude(root, ['-p', 'And now?', '--resume', sessionId]);
    expect(await imports.importSession(request)).toMatchObject({
      transcript: 'extended',
      transition: { isNew: false },
    });
    expect(await storedLines(key, sessionId)).toEqual(linesOf(file));

    await runStep(database.pool, await openNew(database.pool, key), 'build');
    appendFileSync(file, `${JSON.stringify({ type: 'user', uuid: randomUUID(), sessionId, message: {} })}\n`);
    await database.pool.query(
      `UPDATE session_chain.chains SET status = 'cancelled', result = '{}', closed_at = now() WHERE project_id = $1`,
      [key.projectId],
    );
    await expect(imports.importSession(request)).rejects.toMatchObject({ code: 'SESSION_ALREADY_KNOWN' });
  });

  it('fills the transcript of an earlier head and leaves the head where it is', async () => {
    const key = await newProject();
    const earlier = localSession();
    const later = localSession();
    const record = { ...key, source: 'build', metrics: unknownSpend, notInStore: true } as const;
    await recordSession(database.pool, { ...record, sessionId: parseSessionId(earlier.sessionId) });
    await recordSession(database.pool, { ...record, sessionId: parseSessionId(later.sessionId) });
    const imported = await imports.importSession({
      projectId: key.projectId,
      sessionId: earlier.sessionId,
      claudeDir: earlier.claudeDir,
    });
    expect(imported).toMatchObject({ transcript: 'copied', transition: null });
    expect((await readHead(database.pool, key.projectId)).sessionId).toBe(later.sessionId);
  });

  it('fills the transcript of a head from before there were numbers', async () => {
    const [first, second, present] = [localSession(), localSession(), localSession()];
    const key = await newProject(present.sessionId);
    await database.pool.query(
      `INSERT INTO session_transitions (project_id, old_session_id, new_session_id, source)
       VALUES ($1, $2, $3, 'build'), ($1, $3, $4, 'docs')`,
      [key.projectId, first.sessionId, second.sessionId, present.sessionId],
    );
    for (const earlier of [first, second]) {
      expect(
        await imports.importSession({
          projectId: key.projectId,
          sessionId: earlier.sessionId,
          claudeDir: earlier.claudeDir,
        }),
      ).toMatchObject({
        transcript: 'copied',
        transition: null,
        warnings: [expect.stringContaining('was a head before')],
      });
    }
  });

  it('is refused while a chain holds the project', async () => {
    const chain = await openNew(database.pool);
    const { sessionId, claudeDir } = localSession();
    await expect(
      imports.importSession({ projectId: chain.projectId, sessionId, claudeDir }),
    ).rejects.toMatchObject({ code: 'PROJECT_BUSY' });
    expect(await storedLines(chain, sessionId)).toBeNull();
  });

  it('is refused for a session of another project, also of one that is imported at the same time', async () => {
    const { sessionId, claudeDir } = localSession();
    const keys = await Promise.all(Array.from({ length: 4 }, newProject));
    const importAll = async () =>
      await Promise.allSettled(
        keys.map(async ({ projectId }) => imports.importSession({ projectId, sessionId, claudeDir })),
      );
    for (const outcomes of [await importAll(), await importAll()]) {
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected')
          expect(outcome.reason).toMatchObject({ code: 'SESSION_ALREADY_KNOWN' });
      }
    }
    const { rows } = await database.pool.query('SELECT FROM session_chain.sessions WHERE session_id = $1', [
      sessionId,
    ]);
    expect(rows).toHaveLength(1);
  });

  it('is refused for a session that a worker writes just now', async () => {
    const chain = await openNew(database.pool);
    const begun = await begin(database.pool, chain, 'build');
    if (begun.outcome !== 'begun') throw new Error(begun.outcome);
    await database.pool.query(`UPDATE session_chain.chains SET status = 'queued' WHERE id = $1`, [
      chain.chainId,
    ]);
    const { sessionId, claudeDir } = localSession(begun.attempt.sessionId);
    await expect(
      imports.importSession({ projectId: chain.projectId, sessionId, claudeDir }),
    ).rejects.toMatchObject({ code: 'SESSION_ALREADY_KNOWN' });
  });

  it('leaves nothing behind when it is interrupted, and goes through when it is repeated', async () => {
    const key = await newProject();
    const { sessionId, file, claudeDir } = localSession();
    // Many batches, of which the last but one ends the connection.
    for (let n = 0; n < 3_000; n++) {
      appendFileSync(
        file,
        `${JSON.stringify({ type: 'user', uuid: randomUUID(), sessionId, message: { content: String(n) } })}\n`,
      );
    }
    await database.pool.query(`
      CREATE FUNCTION interrupt() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        IF NEW.ordinal = 5 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
        RETURN NEW;
      END $$;
      CREATE TRIGGER interrupt BEFORE INSERT ON session_chain.transcript_batches FOR EACH ROW EXECUTE FUNCTION interrupt()`);
    const request = { projectId: key.projectId, sessionId, claudeDir };
    await expect(imports.importSession(request)).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    expect(await storedLines(key, sessionId)).toBeNull();
    expect(await sessionFitness(database.pool, key.projectId, parseSessionId(sessionId))).toBe('unknown');
    expect(await readHead(database.pool, key.projectId)).toEqual({ sessionId: null, seq: null });

    await database.pool.query(
      'DROP TRIGGER interrupt ON session_chain.transcript_batches; DROP FUNCTION interrupt',
    );
    expect(await imports.importSession(request)).toMatchObject({
      transcript: 'copied',
      transition: { seq: 1 },
    });
    expect(await storedLines(key, sessionId)).toEqual(linesOf(file));
  });

  it('replaces what a damaged store has left of a session', async () => {
    const key = await newProject();
    const { sessionId, file, claudeDir } = localSession();
    const request = { projectId: key.projectId, sessionId, claudeDir };
    await imports.importSession(request);
    await database.pool.query(
      `DELETE FROM session_chain.transcript_batches b USING session_chain.sessions s
       WHERE s.id = b.session AND s.project_id = $1 AND b.subpath = ''`,
      [key.projectId],
    );
    expect(await imports.importSession(request)).toMatchObject({
      transcript: 'copied',
      transition: { isNew: false },
    });
    expect(await storedLines(key, sessionId)).toEqual(linesOf(file));
  });

  it('keeps what a newer Claude Code wrote as it is, with a warning, and this one goes on from it', async () => {
    const key = await newProject();
    const { sessionId, file, claudeDir } = localSession();
    const lines = linesOf(file).map((line) => line.replace(/"version":"[\d.]+"/, '"version":"99.1.0"'));
    const unknown = {
      type: 'hologram',
      uuid: randomUUID(),
      sessionId,
      version: '99.1.0',
      payload: [1e21, 'ä', { 2: 1 }],
    };
    writeFileSync(file, [...lines, JSON.stringify(unknown), ''].join('\n'));
    const imported = await imports.importSession({
      projectId: key.projectId,
      sessionId,
      claudeDir,
      agentVersion: '2.1.330',
    });
    expect(imported.warnings).toEqual([
      expect.stringMatching(/^Claude Code 99\.1\.0 wrote .*, and 2\.1\.330 will go on/),
    ]);
    expect(await storedLines(key, sessionId)).toEqual(linesOf(file));

    rmSync(join(root, 'claude'), { recursive: true });
    await imports.exportSession({ sessionId, claudeDir });
    expect(JSON.stringify(await resumed(sessionId, claudeDir))).toContain('The answer is 42.');
  });

  it('refuses what Claude Code does not resume either, and says what the file holds', async () => {
    const key = await newProject();
    const refused = async (change: (file: string) => void) => {
      const { sessionId, file, claudeDir } = localSession();
      change(file);
      const error = await imports
        .importSession({ projectId: key.projectId, sessionId, claudeDir })
        .catch((e: unknown) => e);
      expect(await storedLines(key, sessionId)).toBeNull();
      return (error as Error).message.replace(file, 'FILE');
    };
    expect(await refused((file) => writeFileSync(file, '[1]\n{"type":"us\n'))).toBe(
      'FILE is not a transcript of Claude Code: it holds no message of a user or a model (no entry: lines 1-2).',
    );
    expect(await refused((file) => writeFileSync(file, readFileSync(file, 'utf8'), 'utf16le'))).toMatch(
      /^FILE .*no message/,
    );
    expect(await refused((file) => writeFileSync(file, ''))).toMatch(/^FILE .*no message/);
    expect(await refused((file) => rmSync(file))).toMatch(/^No .*projects.* is there/);
  });

  it('walks the heads of all projects, tells of each, and may be repeated', async () => {
    const own = await createTestDatabase();
    try {
      const all = createImports(own.pool);
      const locals = Array.from({ length: 12 }, () => localSession());
      const [local] = locals;
      const claudeDir = local?.claudeDir ?? '';
      const lost = randomUUID();
      await own.pool.query(`
        ALTER TABLE projects DROP CONSTRAINT projects_head_is_last_transition;
        INSERT INTO projects (project_id, last_ai_session_id)
        SELECT 'many-' || n, CASE WHEN n % 100 = 0
          THEN ('{${locals.map(({ sessionId }) => sessionId).join(',')}}'::text[])[n / 100] WHEN n % 2 = 0 THEN '${lost}' END
        FROM generate_series(1, 1200) n`);
      const walk = async () => {
        const heads: HeadImport[] = [];
        for await (const head of all.importHeads({ claudeDir })) heads.push(head);
        const count: Record<string, number> = {};
        for (const head of heads) {
          const what = head.outcome === 'failed' ? `failed ${head.failure.code}` : head.outcome;
          count[what] = (count[what] ?? 0) + 1;
        }
        return { count, heads };
      };
      await all.importSession({
        projectId: 'many-100',
        sessionId: local?.sessionId ?? '',
        claudeDir,
      });
      // As the planner sees it in the end: many projects, and no version.
      await own.pool.query('ANALYZE');
      const { heads, count } = await walk();
      expect(count).toEqual({ imported: 11, 'failed TRANSCRIPT_NOT_FOUND': 588, already_there: 1 });
      expect(new Set(heads.map(({ projectId }) => projectId)).size).toBe(600);
      const failed = heads.find(({ outcome }) => outcome === 'failed');
      expect(failed).toMatchObject({ sessionId: lost });
      expect((await walk()).count).toEqual({ already_there: 12, 'failed TRANSCRIPT_NOT_FOUND': 588 });
    } finally {
      await own.drop();
    }
  });
});

describe('a damaged transcript', () => {
  it.each(Object.entries(damagedTranscripts()))(
    'gives a model what Claude Code gives it from the file itself: %s',
    async (_, { data, warnings }) => {
      const { projectId } = await newProject();
      const { sessionId, file, claudeDir } = localSession();
      const written = Buffer.from(data(sessionId));
      writeFileSync(file, written);
      const imported = await imports.importSession({ projectId, sessionId, claudeDir });
      expect(imported.warnings.map((warning) => warning.replaceAll(file, 'FILE'))).toEqual(warnings);
      // The agent refuses a transcript with a hole.
      const stored = await storedEntries({ projectId }, sessionId);
      expect(findHole(stored ?? [])).toBeNull();
      expect(await imports.importSession({ projectId, sessionId, claudeDir })).toMatchObject({
        transcript: 'unchanged',
      });
      expect(readFileSync(file).equals(written)).toBe(true);

      const exported = join(root, 'exported');
      await imports.exportSession({ sessionId, projectId, claudeDir: exported, cwd: join(root, 'work') });
      expect(await resumed(sessionId, exported)).toEqual(await resumed(sessionId, claudeDir));
    },
  );

  it('is taken with what can be read of its subagents', async () => {
    const key = await newProject();
    const { sessionId, file, claudeDir } = localSession();
    const folder = file.replace(/\.jsonl$/, '/subagents');
    const [name = ''] = readdirSync(folder).filter((one) => one.endsWith('.jsonl'));
    const whole = linesOf(join(folder, name));
    const [first = '', ...rest] = whole;
    writeFileSync(join(folder, name), [first, '\0'.repeat(64), ...rest, '{"type":"us'].join('\n'));
    writeFileSync(join(folder, name.replace('.jsonl', '.meta.json')), '{"agent');
    const { warnings } = await imports.importSession({ projectId: key.projectId, sessionId, claudeDir });
    expect(warnings).toEqual([
      `${join(folder, name)}, lines 2 and ${whole.length + 2}: no entry; left out, as Claude Code does.`,
      `${join(folder, name.replace('.jsonl', '.meta.json'))} is not a JSON object and is left out.`,
    ]);
    expect(await storedLines(key, sessionId, `subagents/${name.replace('.jsonl', '')}`)).toEqual(whole);
  });
});

/** The conversation that a plain Claude Code gives the model when it resumes a session. */
async function resumed(sessionId: string, claudeDir: string): Promise<unknown> {
  const asked = model.requests.length;
  await claude(root, ['-p', 'And now?', '--resume', sessionId], claudeDir);
  const request = model.requests
    .slice(asked)
    .find(({ messages }) => JSON.stringify(messages).includes('And now?'));
  if (request) return request.messages;
  throw new Error('The model was not asked.');
}

interface Damaged {
  /** The bytes of the file. */
  data: (sessionId: string) => string | Buffer;
  warnings: string[];
}

/** What was seen on disks, and what is like it. */
function damagedTranscripts(): Record<string, Damaged> {
  const uuid = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
  type More = Record<string, unknown>;
  /** A message `n` after the message `after`, `n` seconds later than the beginning. */
  const message = (
    n: number,
    after: number | null,
    text: string,
    role: 'user' | 'assistant',
    more: More,
  ) => ({
    parentUuid: after === null ? null : uuid(after),
    isSidechain: false,
    userType: 'external',
    cwd: '/srv/shop',
    sessionId: 'SESSION',
    version: '2.1.100',
    type: role,
    message:
      role === 'user'
        ? { role, content: text }
        : {
            ...{ id: `msg_${n}`, type: 'message', role, model: 'claude-sonnet-4-5' },
            content: [{ type: 'text', text }],
            stop_reason: 'end_turn',
            usage: { input_tokens: 10, output_tokens: 5 },
          },
    uuid: uuid(n),
    timestamp: new Date(Date.UTC(2026, 0, 1, 0, 0, n)).toISOString(),
    ...more,
  });
  const user = (n: number, after: number | null, text: string, more: More = {}) =>
    JSON.stringify(message(n, after, text, 'user', more));
  const model = (n: number, after: number | null, text: string, more: More = {}) =>
    JSON.stringify(message(n, after, text, 'assistant', more));
  const file = (...lines: string[]) => ({
    data: (sessionId: string) =>
      lines
        .map((line) => `${line}\n`)
        .join('')
        .replaceAll('SESSION', sessionId),
  });
  const [u1, m2, u3, m4, u5, m6] = [
    user(1, null, 'Make a shop'),
    model(2, 1, 'ONE'),
    user(3, 2, 'Add a search'),
    model(4, 3, 'TWO'),
    user(5, 4, 'Add a cart'),
    model(6, 5, 'THREE 😀'),
  ];
  const at = (second: number) => ({ timestamp: new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString() });
  const boundary = (more: More) =>
    user(20, null, '', {
      ...{
        type: 'system',
        subtype: 'compact_boundary',
        content: 'Conversation compacted',
        message: undefined,
      },
      compactMetadata: { trigger: 'manual', preTokens: 900, postTokens: 100 },
      ...more,
    });
  const summary = user(21, 20, 'The summary', { isCompactSummary: true, isVisibleInTranscriptOnly: true });
  const leftOut = (lines: string) => `FILE, ${lines}: no entry; left out, as Claude Code does.`;
  const bridged = (lines: string) =>
    `FILE, ${lines}: follows an entry that is not in the file; follows the last one before it now, as Claude Code has it.`;
  const begins = (lines: string) =>
    `FILE, ${lines}: follows an entry that is not in the file, and none comes shortly before it; the conversation begins ` +
    'there, as for Claude Code. What comes before it is kept, but no model sees it.';
  const anew = (lines: string) =>
    `FILE, ${lines}: names no entry that it follows; the conversation begins there, as for Claude Code. What comes before ` +
    'it is kept, but no model sees it.';
  const nameless = (lines: string) =>
    `FILE, ${lines}: a message without a uuid; kept, but no model sees it, as with Claude Code.`;

  return {
    'a run of NULs as a line': { ...file(u1, m2, '\0'.repeat(200), u3, m4), warnings: [leftOut('line 3')] },
    'lines that are no entries': {
      ...file(
        u1,
        '[]',
        m2,
        '',
        '{"uuid":"x"}',
        '42',
        u3,
        u3,
        'words',
        '[{"a":1}]',
        m4,
        '{"type":7}',
        u5.slice(0, 20),
      ),
      warnings: [leftOut('lines 2, 5-6, 9-10 and 12-13')],
    },
    'a record cut off, with the next one on its line': {
      ...file(u1, m2, `{"type":"file-history-snapshot","messageId":"ab${u3}`, m4, u5, m6),
      warnings: [leftOut('line 3'), bridged('line 4')],
    },
    'records that end and begin on one line': {
      ...file(u1, m2, u3 + m4, `${u5}\0\0`, model(6, 5, 'THREE')),
      warnings: [
        'FILE, lines 3-4: more than an entry; what follows the first is left out, as Claude Code does.',
        bridged('line 4'),
      ],
    },
    'a record cut in the middle of the file': {
      ...file(u1, m2, u3.slice(0, 120), m4, u5, m6),
      warnings: [leftOut('line 3'), bridged('line 4')],
    },
    'a mark of byte order, line ends of Windows, a record over several lines': {
      data: (sessionId) =>
        `\ufeff${[u1, JSON.stringify(JSON.parse(m2), null, 1).replaceAll('\n', '\r\n'), u3, m4].join('\r\n')}\r\n`.replaceAll(
          'SESSION',
          sessionId,
        ),
      warnings: ['FILE, line 2: kept as the same JSON, but not byte for byte.'],
    },
    'bytes that are no UTF-8, and an end in the middle of a character': {
      data: (sessionId) => {
        const whole = Buffer.from([u1, m2, u3, m4, m6].join('\n').replaceAll('SESSION', sessionId));
        const smile = whole.indexOf('😀');
        const one = whole.indexOf('ONE');
        return Buffer.concat([
          whole.subarray(0, one),
          Buffer.from([0xff, 0xfe, 0xc3]),
          whole.subarray(one, smile + 2),
        ]);
      },
      warnings: [
        'FILE, lines 2 and 5: bytes that are not UTF-8; read as U+FFFD, as Claude Code reads them.',
        leftOut('line 5'),
      ],
    },
    'one line of 5 MB': {
      ...file(u1, m2, user(3, 2, 'x'.repeat(5_000_000)), '\0', m4),
      warnings: [leftOut('line 4')],
    },
    'the same uuid twice, with other words': {
      ...file(u1, m2, u3, m4, model(2, 1, 'ONE again', at(9))),
      warnings: [
        'FILE, line 2: a later line has another entry of the same uuid; left out, as Claude Code does.',
      ],
    },
    'a parent that is not in the file, long before': {
      ...file(u1, m2, user(3, 999, 'Add a search', at(59)), model(4, 3, 'TWO', at(60))),
      warnings: [begins('line 3')],
    },
    'two parents that are not in the file, a moment before': {
      ...file(u1, m2, user(3, 999, 'Add a search'), m4, user(5, 998, 'Add a cart'), m6),
      warnings: [bridged('lines 3 and 5')],
    },
    'parents that are not in the file, at the same moment, beside the conversation and on a branch': {
      ...file(
        user(1, null, 'Make a shop', at(0)),
        ...[model(2, 1, 'ONE', at(0)), user(3, 999, 'Add a search', at(0)), model(4, 3, 'TWO', at(0))],
        ...[user(7, 997, 'Elsewhere', { isSidechain: true }), user(8, 2, 'Went back', at(7))],
        user(9, 996, 'Add a cart', at(8)),
      ),
      warnings: [bridged('lines 3 and 7'), begins('line 5')],
    },
    'parents that are no text, or an empty one': {
      ...file(
        u1,
        m2,
        user(3, 2, 'Add a search', { parentUuid: 5 }),
        m4,
        user(5, 4, '', { parentUuid: '' }),
        m6,
      ),
      warnings: [bridged('line 3'), anew('line 5')],
    },
    'a message without a parent in the middle, and others without a uuid': {
      ...file(
        ...[u1, m2, user(3, 2, 'Lost', { uuid: undefined }), model(4, 2, 'LOST', { uuid: '' })],
        ...[user(5, null, 'Add a cart', { parentUuid: undefined }), m6],
      ),
      warnings: [anew('line 5'), nameless('lines 3-4')],
    },
    'a branch that begins anew, and another one that goes on': {
      ...file(
        u1,
        m2,
        user(3, null, 'Made another shop'),
        model(4, 3, 'TWO'),
        user(5, 2, 'Add a cart'),
        model(6, 5, 'THREE'),
      ),
      warnings: [],
    },
    'a parent that is no message': {
      ...file(
        u1,
        m2,
        JSON.stringify({ type: 'hologram', uuid: uuid(9), parentUuid: uuid(2) }),
        user(3, 9, 'Go'),
        m4,
      ),
      warnings: [bridged('line 4')],
    },
    'parents in a circle': {
      ...file(
        user(1, 4, 'Make a shop'),
        m2,
        u3,
        m4,
        user(7, 8, 'Elsewhere'),
        user(8, 7, 'Elsewhere'),
        u5,
        m6,
      ),
      warnings: [],
    },
    'a compaction after a parent that is not in the file': {
      ...file(
        ...[u1, m2, user(3, 999, 'Add a search', at(30)), model(4, 3, 'TWO', at(31))],
        ...[boundary({ ...at(32), logicalParentUuid: uuid(777) }), summary],
        ...[user(22, 21, 'Add a cart'), model(23, 22, 'THREE')],
      ),
      warnings: [begins('line 3')],
    },
    'the boundary of a compaction cut off': {
      ...file(u1, m2, '{"parentUuid":null,"logicalPar', summary, user(22, 21, 'Add a cart')),
      warnings: [leftOut('line 3'), begins('line 4')],
    },
  };
}

describe('export', () => {
  it('writes a session that plain claude --resume opens with all its context', async () => {
    const key = await newProject();
    const { sessionId, file, claudeDir } = localSession();
    await imports.importSession({ projectId: key.projectId, sessionId, claudeDir });
    const before = linesOf(file);
    rmSync(claudeDir, { recursive: true });

    const exported = await imports.exportSession({ sessionId, claudeDir });
    expect(exported).toEqual({ projectId: key.projectId, sessionId, path: file, cwd: join(root, 'work') });
    expect(linesOf(file)).toEqual(before);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const context = JSON.stringify(await resumed(sessionId, claudeDir));
    expect(context).toContain('Ask a helper.');
    expect(context).toContain('The answer is 42.');
    expect(linesOf(file).length).toBeGreaterThan(before.length);
  });

  it('gives back the files that were imported, those of subagents included', async () => {
    const { sessionId, file, claudeDir } = localSession();
    const { projectId } = await newProject();
    await imports.importSession({ projectId, sessionId, claudeDir });
    const other = join(root, 'other');
    const { path } = await imports.exportSession({ sessionId, projectId, claudeDir: other });
    const subagents = (main: string) => {
      const folder = main.replace(/\.jsonl$/, '/subagents');
      return readdirSync(folder)
        .sort()
        .map((name) => [name, readFileSync(join(folder, name), 'utf8')]);
    };
    expect(readFileSync(path, 'utf8')).toBe(readFileSync(file, 'utf8'));
    expect(subagents(path)).toEqual(subagents(file));
    // The same again is the same; another file of that session stays.
    await imports.exportSession({ sessionId, projectId, claudeDir: other });
    appendFileSync(path, '{"type":"user"}\n');
    await expect(imports.exportSession({ sessionId, projectId, claudeDir: other })).rejects.toMatchObject({
      code: 'TRANSCRIPT_EXISTS',
    });
    expect(readdirSync(join(path, '..')).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('knows the project of a session, and says when there is none', async () => {
    const { sessionId, claudeDir } = localSession();
    const { projectId } = await newProject();
    await imports.importSession({ projectId, sessionId, claudeDir });
    expect(await imports.exportSession({ sessionId, claudeDir })).toMatchObject({ projectId });
    await expect(imports.exportSession({ sessionId: randomUUID(), claudeDir })).rejects.toMatchObject({
      code: 'SESSION_NOT_IN_STORE',
    });
    await expect(
      imports.exportSession({ sessionId: randomUUID(), projectId: 'nobody', claudeDir }),
    ).rejects.toMatchObject({ code: 'SESSION_NOT_IN_STORE' });
    expect(existsSync(join(root, 'other'))).toBe(false);
  });
});

describe('the command line', () => {
  const commandLine = createCommandLine();
  afterAll(() => commandLine.stop());

  const cli = async (url: string, args: string[]) =>
    await commandLine.run(args, {
      PATH: process.env['PATH'],
      DATABASE_URL: url,
      CLAUDE_CONFIG_DIR: join(root, 'claude'),
    });

  it('takes a host from its first migration to enforced heads, and gives a session back', async () => {
    const host = await createTestDatabase({ empty: true });
    try {
      const { sessionId, file } = localSession();
      await host.pool.query(uuidHost.sql);
      await host.pool.query(`UPDATE projects SET last_ai_session_id = $2 WHERE project_id = $1`, [
        uuidHost.projectId,
        sessionId,
      ]);
      const plan = await cli(host.url, ['migrate', '--dry-run', '--enforce-head']);
      expect(plan.stdout).toContain('0001_tables\n  ALTER TABLE projects\n');
      expect(plan.stdout).toContain('Would adopt every head that was moved outside');
      expect((await cli(host.url, ['migrate'])).stdout).toContain('applied 0001_tables\n');
      expect((await cli(host.url, ['migrate', '--dry-run', '--enforce-head'])).stdout).toBe(
        'Would adopt 2 heads that were moved outside, then add the key from projects to its last transition.\n',
      );

      const all = await cli(host.url, ['import', '--all']);
      expect(all.stdout).toContain(`${uuidHost.projectId} ${sessionId} copied, `);
      expect(all.stdout).toContain('outside-1 failed: TRANSCRIPT_NOT_FOUND: ');
      expect(all.stdout).toMatch(/\n1 imported, 0 there before, 1 failed\n$/);
      expect(all.code).toBe(1);
      const one = await cli(host.url, ['import', '-p', uuidHost.projectId, '-s', sessionId, '-o', 'json']);
      expect(JSON.parse(one.stdout)).toMatchObject({
        transcript: 'unchanged',
        transition: { seq: 1, isNew: false },
      });
      expect(await cli(host.url, ['import', '--all', '-s', sessionId])).toMatchObject({
        code: 2,
        stdout: '',
      });
      expect(await cli(host.url, ['import', '-p', 'shop', '-s', sessionId])).toMatchObject({
        code: 3,
        stdout: '',
      });

      expect((await cli(host.url, ['migrate', '--enforce-head'])).stdout).toBe(
        'Adopted 1 head and added the key from projects to its last transition.\n',
      );
      const doctor = await cli(host.url, ['doctor', '--only', 'migrations', '-o', 'json']);
      expect(doctor.stdout).toContain('no head can move without a transition');

      const written = linesOf(file);
      rmSync(join(root, 'claude'), { recursive: true });
      const exported = await cli(host.url, ['export', sessionId]);
      const elsewhere = join(root, 'my claude');
      expect((await cli(host.url, ['export', sessionId, '--claude-dir', elsewhere])).stdout).toContain(
        `&& CLAUDE_CONFIG_DIR='${elsewhere}' claude --resume ${sessionId}`,
      );
      expect(exported.stdout).toContain(`cd ${join(root, 'work')} && claude --resume ${sessionId}`);
      expect(linesOf(file)).toEqual(written);
    } finally {
      await host.drop();
    }
  });
});

it("lets a chain go on from an imported session, on a host's database of uuids", async () => {
  const host = await createTestDatabase({ empty: true });
  await host.pool.query(uuidHost.sql);
  await migrate(host.url);
  const address = process.env['TEST_TEMPORAL_ADDRESS'] ?? '';
  const connection = await Connection.connect({ address });
  const offline = await startOfflineModel();
  const taskQueue = `import-${process.pid}`;
  const worker = await startWorkerProcess(join(root, 'scratch'), {
    DATABASE_URL: host.url,
    TEMPORAL_ADDRESS: address,
    SESSION_CHAIN_TASK_QUEUE: taskQueue,
    SESSION_CHAIN_WORKSPACE_ROOTS: root,
    ANTHROPIC_BASE_URL: offline.url,
    ANTHROPIC_API_KEY: 'test-credential',
  });
  try {
    const { projectId, versionId } = uuidHost;
    const sessionChain = createSessionChain({
      pool: host.pool,
      temporal: new Client({ connection }),
      policy: { ...defaultPolicy, taskQueues: taskQueuesOf(taskQueue).chains },
      searchAttributes: 'off',
    });
    const { sessionId, file, claudeDir } = localSession();
    // A crash took the entry before the answer.
    const lines = linesOf(file);
    const answer = JSON.parse(lines.findLast((line) => line.includes('The answer is 42.')) ?? '') as {
      parentUuid: string;
    };
    writeFileSync(
      file,
      lines.map((line) => (line.includes(`"uuid":"${answer.parentUuid}"`) ? '\0\n' : `${line}\n`)).join(''),
    );
    const { warnings } = await sessionChain.importSession({ projectId, sessionId, claudeDir });
    expect(warnings).toHaveLength(2);
    const key = chainKey(
      await sessionChain.start({
        projectId,
        versionId,
        workspace: join(root, 'work'),
        steps: ['build', 'docs'],
      }),
    );
    const result = await sessionChain.wait(key);
    expect(result).toMatchObject({ status: 'completed', baseSessionId: sessionId, head: { seq: 3 } });
    for (const said of ['Ask a helper.', 'The answer is 42.']) {
      expect(offline.requests[0]?.bodyText).toContain(said);
    }
    expect((await sessionChain.lineage(projectId)).at(-1)).toBe(sessionId);
    const { rows } = await host.pool.query(
      'SELECT status, ai_session_id FROM project_versions WHERE version_id = $1',
      [versionId],
    );
    expect(rows).toEqual([{ status: 'deployed', ai_session_id: result.head.sessionId }]);
  } finally {
    await worker.kill('SIGTERM');
    await connection.close();
    await offline.stop();
    await host.drop();
  }
});
