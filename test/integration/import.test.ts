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
import { projectFolder } from '../../transcript/local-files.js';
import { migrate } from '../../storage/db/migrate.js';
import { recordSession, unknownSpend } from '../../storage/operations/record.js';
import { createTranscriptStore, sessionFitness } from '../../storage/transcripts/store.js';
import { begin, newKey, openNew, register, runStep } from '../support/chains.js';
import { startWorkerProcess } from '../support/chain-stack.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';
import { uuidHost } from '../support/host-schemas.js';
import { type ScriptedModel, startScriptedModel } from '../support/scripted-model.js';

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
}, 120_000);
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
async function claude(folder: string, args: string[]): Promise<string> {
  const child = spawn(await findAgentBinary(), args, {
    cwd: join(folder, 'work'),
    env: {
      PATH: process.env['PATH'],
      HOME: join(folder, 'home'),
      CLAUDE_CONFIG_DIR: join(folder, 'claude'),
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

async function storedLines(
  { projectId }: ChainKey,
  sessionId: string,
  subpath?: string,
): Promise<string[] | null> {
  const store = createTranscriptStore({ pool: database.pool, projectId });
  const entries = await store.load({
    projectKey: '',
    sessionId,
    ...(subpath === undefined ? {} : { subpath }),
  });
  return entries?.map((entry) => JSON.stringify(entry)) ?? null;
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
    await expect(
      imports.importSession({ ...request, projectId: (await newProject()).projectId }),
    ).resolves.toMatchObject({
      transcript: 'copied',
    });
    await database.pool.query(
      `UPDATE session_chain.chains SET status = 'cancelled', result = '{}', closed_at = now() WHERE project_id = $1`,
      [key.projectId],
    );
    await expect(imports.importSession(request)).rejects.toMatchObject({ code: 'SESSION_ALREADY_KNOWN' });
  }, 60_000);

  it('fills the transcript of an earlier head and leaves the head where it is', async () => {
    const key = await newProject();
    const earlier = localSession();
    const later = localSession();
    const record = { ...key, source: 'build', metrics: unknownSpend } as const;
    await recordSession(database.pool, { ...record, sessionId: parseSessionId(earlier.sessionId) });
    await recordSession(database.pool, { ...record, sessionId: parseSessionId(later.sessionId) });
    const imported = await imports.importSession({ projectId: key.projectId, ...earlier });
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
      expect(await imports.importSession({ projectId: key.projectId, ...earlier })).toMatchObject({
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
    const asked = model.requests.length;
    await claude(root, ['-p', 'And now?', '--resume', sessionId]);
    expect(JSON.stringify(model.requests[asked]?.messages)).toContain('The answer is 42.');
  }, 60_000);

  it('says which file and line is no transcript, and imports nothing of it', async () => {
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
    expect(await refused((file) => writeFileSync(file, `${linesOf(file)[0] ?? ''}\n{"type":"us\n`))).toMatch(
      /^FILE:2 is no transcript/,
    );
    expect(await refused((file) => writeFileSync(file, '[1]\n'))).toMatch(/^FILE:1 .*no JSON object/);
    expect(await refused((file) => writeFileSync(file, '{"uuid":"a"}\n'))).toMatch(/^FILE:1 .*no type/);
    expect(await refused((file) => writeFileSync(file, ''))).toMatch(/^FILE .*no message/);
    expect(await refused((file) => rmSync(file))).toMatch(/^No .*projects.* is there/);
  });

  it('leaves out a last line that was cut off, with a warning', async () => {
    const key = await newProject();
    const { sessionId, file, claudeDir } = localSession();
    const whole = linesOf(file);
    appendFileSync(file, '{"type":"assistant","mess');
    const imported = await imports.importSession({ projectId: key.projectId, sessionId, claudeDir });
    expect(imported.warnings).toEqual([`The last line of ${file} was cut off and is left out.`]);
    expect(await storedLines(key, sessionId)).toEqual(whole);
  });

  it('warns of a part that is lost', async () => {
    const key = await newProject();
    const { sessionId, file, claudeDir } = localSession();
    const lines = linesOf(file);
    const first = lines.findIndex((line) => line.includes('"parentUuid":null'));
    writeFileSync(file, `${lines.toSpliced(first, 1).join('\n')}\n`);
    const { warnings } = await imports.importSession({ projectId: key.projectId, sessionId, claudeDir });
    expect(warnings).toEqual([
      expect.stringMatching(/^The entry [\w-]+ of .* follows one that is not in the file/),
    ]);
  });

  it('walks the heads of all projects, tells of each, and may be repeated', async () => {
    const own = await createTestDatabase();
    try {
      const all = createImports(own.pool);
      const local = localSession();
      const lost = randomUUID();
      await own.pool.query(`
        ALTER TABLE projects DROP CONSTRAINT projects_head_is_last_transition;
        INSERT INTO projects (project_id, last_ai_session_id)
        SELECT 'many-' || n, CASE WHEN n % 100 = 0 THEN '${local.sessionId}' WHEN n % 2 = 0 THEN '${lost}' END
        FROM generate_series(1, 1200) n`);
      const walk = async () => {
        const heads: HeadImport[] = [];
        for await (const head of all.importHeads({ claudeDir: local.claudeDir })) heads.push(head);
        const count = (outcome: string) => heads.filter((head) => head.outcome === outcome).length;
        return { count, heads };
      };
      await all.importSession({ projectId: 'many-100', ...local });
      const { heads, count } = await walk();
      expect([count('imported'), count('failed'), count('already_there')]).toEqual([11, 588, 1]);
      expect(new Set(heads.map(({ projectId }) => projectId)).size).toBe(600);
      const failed = heads.find(({ outcome }) => outcome === 'failed');
      expect(failed).toMatchObject({ sessionId: lost, failure: { code: 'TRANSCRIPT_NOT_FOUND' } });
      expect((await walk()).count('already_there')).toBe(12);
    } finally {
      await own.drop();
    }
  }, 120_000);
});

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
    const asked = model.requests.length;
    await claude(root, ['-p', 'What was the answer?', '--resume', sessionId]);
    const context = JSON.stringify(model.requests[asked]?.messages);
    expect(context).toContain('Ask a helper.');
    expect(context).toContain('The answer is 42.');
    expect(linesOf(file).length).toBeGreaterThan(before.length);
  }, 60_000);

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

  it('asks for the project where several have the session, and says when none has', async () => {
    const { sessionId, claudeDir } = localSession();
    const keys = [await newProject(), await newProject()];
    for (const { projectId } of keys) await imports.importSession({ projectId, sessionId, claudeDir });
    await expect(imports.exportSession({ sessionId, claudeDir })).rejects.toMatchObject({
      code: 'INVALID_INPUT',
    });
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
  const main = join(import.meta.dirname, '../../dist/cli/main.js');

  async function cli(
    url: string,
    args: string[],
  ): Promise<{ code: number | null; stdout: string; stderr: string }> {
    const child = spawn(process.execPath, [main, ...args], {
      cwd: '/',
      env: { PATH: process.env['PATH'], DATABASE_URL: url, CLAUDE_CONFIG_DIR: join(root, 'claude') },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const out = { stdout: '', stderr: '' };
    child.stdout.on('data', (data: Buffer) => (out.stdout += data.toString()));
    child.stderr.on('data', (data: Buffer) => (out.stderr += data.toString()));
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, ...out };
  }

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
      expect(exported.stdout).toContain(`cd ${join(root, 'work')} && claude --resume ${sessionId}`);
      expect(linesOf(file)).toEqual(written);
    } finally {
      await host.drop();
    }
  }, 60_000);
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
    const { sessionId, claudeDir } = localSession();
    await sessionChain.importSession({ projectId, sessionId, claudeDir });
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
    expect(offline.requests[0]?.bodyText).toContain('The answer is 42.');
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
}, 120_000);
