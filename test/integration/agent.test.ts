import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, relative } from 'node:path';
import {
  InMemorySessionStore,
  type SessionStore,
  type SessionStoreEntry,
} from '@anthropic-ai/claude-agent-sdk';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { createAgent } from '../../agent/agent.js';
import type { AgentRequest, AgentResult, AgentRunError } from '../../agent/run.js';
import { describeAgentBinary } from '../../agent/process/binary.js';
import type { Lease } from '../../agent/process/lease.js';
import { killQuietly } from '../../agent/process/marked-processes.js';
import type { AgentProgress } from '../../agent/progress.js';
import { openSandbox } from '../../agent/sandbox/sandbox.js';
import type { AgentTask } from '../../agent/kinds/kind.js';
import { stepTask } from '../../agent/kinds/kinds.js';
import { type ChainDefinition, isAgentStep } from '../../definition/definition.js';
import { shippedDefinition } from '../../definition/shipped.js';
import { shippedPrompt } from '../support/shipped-prompt.js';
import { toolUseIds } from '../../transcript/entries.js';
import { defaultSandbox, type SandboxSettings } from '../../contracts/sandbox.js';
import { SessionChainError } from '../../contracts/failures.js';
import type { SessionId } from '../../contracts/ids.js';
import type { StepName } from '../../contracts/steps.js';
import { guardsOf, renewedLease, type RunnerInput } from '../support/agent-runner.js';
import { processesNaming } from '../support/processes.js';
import {
  startScriptedModel,
  toolResults,
  type ModelReply,
  type ModelRequest,
  type ScriptedModel,
} from '../../agent/probe/scripted-model.js';
import { transpileRooms } from '../support/transpile.js';
import { until } from '../support/until.js';

/** The real Claude Code binary on a model that plays what each case needs. */

const secret = `sk-test-${randomUUID()}`;
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'agent-test-')));
const plainPath = process.env.PATH ?? '';
let model: ScriptedModel;
let reply: (request: ModelRequest, index: number) => ModelReply | Promise<ModelReply> = () => ({
  text: 'Done.',
});
let workspace: string;
let scratchRoot: string;
let worker: ChildProcess | undefined;
let store: InMemorySessionStore;

beforeAll(async () => {
  model = await startScriptedModel((request, index) => reply(request, index));
});
afterAll(async () => {
  await model.stop();
  rmSync(folder, { recursive: true, force: true });
});
afterEach(async () => {
  if (worker !== undefined) {
    worker.kill('SIGKILL');
    worker = undefined;
    await until(() => processesNaming(scratchRoot).length === 0);
  }
  // Whatever happened: nothing runs on and nothing lies about.
  expect(processesNaming(scratchRoot)).toEqual([]);
  expect(existsSync(scratchRoot) ? readdirSync(scratchRoot) : []).toEqual([]);
});

function newProject(): void {
  workspace = realpathSync(mkdtempSync(join(folder, 'project-')));
  scratchRoot = join(folder, `scratch-of-${basename(workspace)}`);
  store = new InMemorySessionStore();
}

interface RunOptions extends Partial<Omit<AgentRequest, 'task'>> {
  step?: StepName;
  signal?: AbortSignal;
  lease?: Lease;
  onProgress?: (progress: AgentProgress) => void;
  modelEnvironment?: Record<string, string>;
  inheritedEnvironment?: Record<string, string>;
  binaryPath?: string;
  sandbox?: SandboxSettings;
  definition?: ChainDefinition;
  task?: AgentTask;
}

async function run(options: RunOptions = {}): Promise<AgentResult> {
  const {
    step = 'build',
    signal,
    lease,
    onProgress,
    modelEnvironment,
    inheritedEnvironment,
    binaryPath,
    definition = shippedDefinition,
    sandbox = defaultSandbox,
    ...request
  } = options;
  const agent = createAgent({
    modelEnvironment: modelEnvironment ?? { ANTHROPIC_BASE_URL: model.url, ANTHROPIC_API_KEY: secret },
    inheritedEnvironment: inheritedEnvironment ?? { PATH: plainPath },
    scratchRoot,
    sandbox,
    definition,
    log: () => undefined,
    ...(binaryPath === undefined ? {} : { binaryPath }),
  });
  return agent.run(
    {
      task: taskOf(step),
      model: 'default',
      mode: 'initial',
      sessionId: newSession(),
      baseSessionId: null,
      store,
      prompt: await shippedPrompt(step, 'initial'),
      instructionKind: 'none',
      workspace,
      maxTurns: 20,
      timeoutMs: 500_000,
      ...request,
    },
    {
      signal: signal ?? new AbortController().signal,
      lease: lease ?? renewedLease(3_600_000),
      onProgress: onProgress ?? (() => undefined),
    },
  );
}

function taskOf(name: StepName): AgentTask {
  const step = shippedDefinition.steps.filter(isAgentStep).find((one) => one.name === name);
  if (!step) throw new Error(`The shipped definition has no step ${name}.`);
  return stepTask(step);
}

async function failing(options: RunOptions): Promise<SessionChainError> {
  const error = await run(options).then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (error instanceof SessionChainError) return error;
  throw new Error('The run was expected to fail.', { cause: error });
}

const newSession = () => randomUUID() as SessionId;

/** A model that makes these tool calls, one a turn, and then says it is done. Each run starts at the first. */
function playing(...calls: { name: string; input: Record<string, unknown> }[]): void {
  let next = 0;
  reply = () => {
    const call = calls[next++];
    return call === undefined ? { text: 'Done.' } : { tools: [call] };
  };
}
const isSummary = ({ messages }: ModelRequest) =>
  JSON.stringify(messages).includes('CRITICAL: Respond with TEXT ONLY');
const isCompacted = ({ messages }: ModelRequest) =>
  JSON.stringify(messages).includes('This session is being continued');
const bash = (command: string) => ({ name: 'Bash', input: { command } });
const write = (file: string, content = 'x') => ({
  name: 'Write',
  input: { file_path: file.startsWith('/') ? file : join(workspace, file), content },
});

/** The transcript in the store, whatever project key the SDK made up. */
function transcript(sessionId: string): SessionStoreEntry[] {
  const projectKey = workspace.replace(/[^A-Za-z0-9]/g, '-');
  return store.getEntries({ projectKey, sessionId });
}

describe('a step', () => {
  it('forks its base under the id chosen in advance and leaves the base as it was', async () => {
    newProject();
    playing(write('index.html'), bash('echo from a shell > shell.txt'));
    const seen: AgentProgress[] = [];
    const build = await run({ onProgress: (progress) => seen.push(progress) });
    expect(readFileSync(join(workspace, 'index.html'), 'utf8')).toBe('x');
    expect(build).toMatchObject({
      turns: 3,
      text: 'Done.',
      filesTouched: ['index.html'],
      warnings: [],
      costUsd: 0.015,
    });
    expect(build.usage).toEqual({
      inputTokens: 3000,
      outputTokens: 150,
      cacheReadTokens: 0,
      cacheWriteTokens: 0,
    });
    expect(build.contextTokens).toBe(1050);
    expect(build.agentVersion).toBe((await describeAgentBinary()).version);
    expect(seen).toContainEqual({ kind: 'tool', toolName: 'Write', file: 'index.html', turns: 1 });
    expect(model.requests.at(-1)?.headers['x-api-key']).toBe(secret);

    const before = JSON.stringify(transcript(build.sessionId));
    playing(write('README.md'));
    const docs = await run({ step: 'docs', baseSessionId: build.sessionId });
    expect(JSON.stringify(transcript(build.sessionId))).toBe(before);
    expect(docs.sessionId).not.toBe(build.sessionId);
    expect(
      transcript(docs.sessionId).every((entry) => (entry.sessionId ?? docs.sessionId) === docs.sessionId),
    ).toBe(true);
    // The counters run on over the fork; what is reported is the fork's own.
    expect(docs).toMatchObject({ turns: 2, costUsd: 0.01, filesTouched: ['README.md'], warnings: [] });
    expect(docs.usage).toEqual({
      inputTokens: 2000,
      outputTokens: 100,
      cacheReadTokens: 0,
      cacheWriteTokens: 0,
    });
  });

  it('sends what the prompt cache needs unchanged, whatever the step', async () => {
    newProject();
    reply = () => ({ text: 'Done.' });
    const first = model.requests.length;
    const build = await run();
    const docs = await run({ step: 'docs', baseSessionId: build.sessionId });
    await failing({ step: 'metadata', baseSessionId: docs.sessionId });
    const [one, two, three] = model.requests.slice(first);
    expect(two?.tools).toEqual(one?.tools);
    expect(two?.system).toEqual(one?.system);
    expect(three?.tools).toEqual(one?.tools);
    expect(three?.system).toEqual(one?.system);
    expect([one, two, three].map((request) => request?.headers['x-session-chain-step'])).toEqual([
      'build',
      'docs',
      'metadata',
    ]);
  });

  it('warns when the docs step documented nothing', async () => {
    newProject();
    reply = () => ({ text: 'Nothing to do.' });
    const docs = await run({ step: 'docs' });
    expect(docs.warnings).toEqual(['The docs step wrote none of README.md, docs/.']);
  });
});

describe('a submission', () => {
  const valid = { name: 'Tasks', description: 'A list.', tags: ['todo'], recommendations: ['Sort it'] };
  const submit = (input: Record<string, unknown>) => ({ name: 'mcp__chain__submit_metadata', input });

  it('is what the tool accepted, after a correction too', async () => {
    newProject();
    playing(submit({ ...valid, name: '' }), submit(valid));
    expect((await run({ step: 'metadata' })).value).toEqual(valid);
  });

  it('is asked for again in the same run where the model only talks', async () => {
    newProject();
    const replies: ModelReply[] = [{ text: 'Done.' }, { text: 'Done.' }, { tools: [submit(valid)] }];
    reply = () => replies.shift() ?? { text: 'Submitted.' };
    expect(await run({ step: 'metadata' })).toMatchObject({ value: valid, turns: 4 });
  });

  it('fails as SUBMISSION_INVALID without an accepted submission, and says what was spent', async () => {
    newProject();
    playing(submit({ ...valid, tags: 'todo' }));
    const error = await failing({ step: 'metadata' });
    expect(error.code).toBe('SUBMISSION_INVALID');
    expect((error as AgentRunError).spent).toMatchObject({ turns: 2 + 3, costUsd: 0.025 });
  });

  it('cannot be submitted in another step', async () => {
    newProject();
    playing(submit(valid));
    expect((await run()).value).toBeUndefined();
    expect(toolResults(model.requests.at(-1)!).at(-1)).toMatch(/permission|denied|not allowed/i);
  });
});

describe('compaction', () => {
  const long = { text: 'word '.repeat(2000), outputTokens: 4000 };

  it('is believed when the stored transcript proves it', async () => {
    newProject();
    reply = () => long;
    const build = await run();
    reply = () => ({ text: '<analysis>a</analysis><summary>What was made.</summary>' });
    const compact = await run({ step: 'compact', prompt: '/compact', baseSessionId: build.sessionId });
    expect(compact.compaction!.postTokens).toBeLessThan(compact.compaction!.preTokens);
    expect(compact.contextTokens).toBe(compact.compaction!.postTokens);
    expect(compact.apiDurationMs).toBeGreaterThan(0);
    // No turn of it is in the transcript; the counters know what it cost.
    expect(compact).toMatchObject({
      turns: 0,
      costUsd: 0.005,
      usage: { inputTokens: 1000, outputTokens: 50 },
    });
    reply = () => ({ text: 'Done.' });
    const after = await run({ step: 'docs', baseSessionId: compact.sessionId });
    expect(JSON.stringify(model.requests.at(-1)!.messages)).toContain('What was made.');
    expect(after.costUsd).toBe(0.005);
  });

  it('fails as COMPACTION_FAILED when the summary is empty', async () => {
    newProject();
    reply = () => long;
    const build = await run();
    reply = () => ({ text: '' });
    const error = await failing({ step: 'compact', prompt: '/compact', baseSessionId: build.sessionId });
    expect([error.code, error.message]).toEqual(['COMPACTION_FAILED', expect.stringContaining('empty')]);
  });

  it('fails as COMPACTION_FAILED when there is nothing to compact', async () => {
    newProject();
    expect((await failing({ step: 'compact', prompt: '/compact' })).code).toBe('COMPACTION_FAILED');
  });
});

describe('the gate between tools and the store', () => {
  it('lets no tool run ahead of a slow store', async () => {
    newProject();
    const files = ['a.txt', 'b.txt', 'c.txt', 'd.txt'].map((file) => join(workspace, file));
    reply = (request) => {
      const done = toolResults(request).length;
      // Two at once, then one by one.
      if (done === 0) return { tools: [write(files[0]!), write(files[1]!)] };
      return done < files.length ? { tools: [write(files[done]!)] } : { text: 'Done.' };
    };
    let ranAhead = 0;
    let checked = 0;
    const slow: SessionStore = {
      load: (key) => store.load(key),
      async append(key, entries) {
        await new Promise((resolve) => setTimeout(resolve, 150));
        const calls = toolUseIds(entries);
        checked += calls.length;
        const text = JSON.stringify(entries.filter((entry) => entry.type === 'assistant'));
        ranAhead += files.filter((file) => text.includes(file) && existsSync(file)).length;
        await store.append(key, entries);
      },
    };
    await run({ store: slow });
    expect(files.every((file) => existsSync(file))).toBe(true);
    expect({ checked, ranAhead }).toEqual({ checked: 4, ranAhead: 0 });
  });

  it('ends the run with the first refused append, runs no tool after it and leaves no hole', async () => {
    newProject();
    playing(write('first.txt'), write('second.txt'), write('third.txt'));
    let refused = false;
    let appendsAfter = 0;
    const refusing: SessionStore = {
      load: (key) => store.load(key),
      async append(key, entries) {
        if (refused) appendsAfter += 1;
        if (JSON.stringify(entries).includes('second.txt')) {
          refused = true;
          throw new Error('sealed');
        }
        await store.append(key, entries);
      },
    };
    const error = await failing({ store: refusing });
    expect(error.code).toBe('STORE_REFUSED');
    expect(readdirSync(workspace)).toEqual(['first.txt']);
    expect(appendsAfter).toBe(0);
  });
});

describe('the workspace', () => {
  it('is the only place for file tools, through symbolic links too', async () => {
    newProject();
    const outside = mkdtempSync(join(folder, 'outside-'));
    writeFileSync(join(outside, 'private.txt'), 'private');
    symlinkSync(outside, join(workspace, 'link'));
    symlinkSync(join(outside, 'made-by-link.txt'), join(workspace, 'dangling.txt'));
    playing(
      write(join(outside, 'plain.txt')),
      write('link/through.txt'),
      write('dangling.txt'),
      write('../up.txt'),
      { name: 'Read', input: { file_path: join(outside, 'private.txt') } },
      { name: 'Read', input: { file_path: join(workspace, 'link/private.txt') } },
      { name: 'Glob', input: { pattern: `${outside}/*` } },
      { name: 'Grep', input: { pattern: 'private', path: outside, output_mode: 'content' } },
      write('inside/new/file.txt'),
    );
    const result = await run();
    const results = toolResults(model.requests.at(-1)!);
    expect(results).toHaveLength(9);
    // By our hook, or by Claude Code's own rule before it.
    for (const refusal of results.slice(0, 8))
      expect(refusal).toMatch(/outside the (project folder|working directories)/);
    expect(readdirSync(outside)).toEqual(['private.txt']);
    expect(existsSync(join(folder, 'up.txt'))).toBe(false);
    expect(result.filesTouched).toEqual(['inside/new/file.txt']);
  });

  it('is not left by a mention in a message', async () => {
    newProject();
    const outside = mkdtempSync(join(folder, 'outside-'));
    writeFileSync(join(outside, 'private.txt'), 'canary-of-a-file');
    symlinkSync(join(outside, 'private.txt'), join(workspace, 'link.txt'));
    reply = () => ({ text: 'Done.' });
    const first = model.requests.length;
    const way = relative(workspace, outside);
    await run({ prompt: `Look at @${outside}/private.txt, @${way}/private.txt, @link.txt and @/etc/passwd` });
    const sent = JSON.stringify(model.requests.slice(first));
    expect(sent).toContain('@/etc/passwd');
    expect(sent).not.toMatch(/canary-of-a-file|root:x:0:0/);
  });
});

describe('the tools of a step', () => {
  it('are those that it lists: no command runs in another one, read-only or not', async () => {
    newProject();
    const ran = join(folder, `ran-${randomUUID()}`);
    execFileSync('git', ['init', '--quiet', workspace]);
    // What git runs by itself, by the configuration of the workspace.
    execFileSync('git', ['-C', workspace, 'config', 'core.fsmonitor', `touch ${ran}; false`]);
    playing(bash('git status'), bash('ls'), bash('ps aux'), write('README.md'));
    await run({ step: 'docs' });
    const results = toolResults(model.requests.at(-1)!);
    for (const refusal of results.slice(0, 3)) expect(refusal).toMatch(/not allowed/);
    expect(results).toHaveLength(4);
    expect(existsSync(ran)).toBe(false);
    expect(existsSync(join(workspace, 'README.md'))).toBe(true);
  });
});

describe('the environment', () => {
  it('shows the agent’s shell neither the credential nor anything of the worker', async () => {
    newProject();
    playing(
      bash('env; for e in /proc/[0-9]*/environ; do tr "\\0" "\\n" < "$e" 2>/dev/null; done'),
      bash('cat ~/.claude.json "$CLAUDE_CONFIG_DIR"/.[a-z]* 2>/dev/null; echo end'),
    );
    await run({
      inheritedEnvironment: {
        PATH: plainPath,
        TZ: 'UTC',
        DATABASE_URL: 'postgres://secret-db',
        TEMPORAL_API_KEY: 'secret-t',
      },
    });
    const [shown = '', files = ''] = toolResults(model.requests.at(-1)!);
    expect(shown).toContain(`HOME=${scratchRoot}`);
    expect(shown).toContain('TZ=UTC');
    expect(shown + files).not.toContain(secret);
    expect(shown).not.toMatch(/^ANTHROPIC_API_KEY=/m);
    expect(shown).not.toMatch(/secret-db|secret-t/);
  });
});

/** As on a platform without namespaces: a PATH on which `unshare` is not found. */
function pathWithoutNamespaces(): string {
  const bin = join(folder, 'bin');
  if (existsSync(bin)) return bin;
  mkdirSync(bin);
  for (const name of [
    'setpriv',
    'bash',
    'sh',
    'env',
    'sleep',
    'setsid',
    'cat',
    'true',
    'ls',
    'touch',
    'prlimit',
    'choom',
  ]) {
    const found = plainPath
      .split(':')
      .map((part) => join(part, name))
      .find((path) => existsSync(path));
    if (found !== undefined) symlinkSync(found, join(bin, name));
  }
  return bin;
}

describe.each(['namespace', 'marker'] as const)('processes, held by %s', (kind) => {
  const sandbox: SandboxSettings = { ...defaultSandbox, kind: kind === 'namespace' ? 'bwrap' : 'none' };
  const path = () => (kind === 'namespace' ? plainPath : pathWithoutNamespaces());
  const detachedSleeps = 'setsid sleep 3600 & (setsid sleep 3600 &) ; touch started; ';

  it('is what this platform is probed as', async () => {
    expect((await openSandbox(sandbox, { PATH: path() })).hold).toBe(kind);
  });

  it('end with the step', async () => {
    newProject();
    playing(bash(`${detachedSleeps} echo started`));
    // Where nothing holds them together, no other step follows in the same process.
    const keepWarm = kind === 'marker' ? { idleMs: 600_000 } : null;
    const { parked } = await run({ inheritedEnvironment: { PATH: path() }, sandbox, keepWarm });
    expect(parked).toBe(false);
    expect(existsSync(join(workspace, 'started'))).toBe(true);
  });

  it('end when the step is cancelled in the middle of a command', async () => {
    newProject();
    playing(bash(`${detachedSleeps} sleep 3600`));
    const cancel = new AbortController();
    const ended = failing({ signal: cancel.signal, inheritedEnvironment: { PATH: path() }, sandbox });
    await until(() => existsSync(join(workspace, 'started')));
    expect(processesNaming(scratchRoot).length).toBeGreaterThan(2);
    cancel.abort();
    expect((await ended).code).toBe('CANCELLED');
  });

  it('are killed when a frozen agent does not end within the grace', async () => {
    let ended: Promise<SessionChainError> | undefined;
    let isStarted = false;
    // A time limit that the agent reaches only once it has started, however long that takes.
    for (let timeoutMs = 4_000; !isStarted; timeoutMs *= 2) {
      newProject();
      playing(bash(`${detachedSleeps} sleep 3600`));
      const inheritedEnvironment = { PATH: path() };
      let isOver = false;
      ended = failing({ timeoutMs, killGraceMs: 300, inheritedEnvironment, sandbox });
      void ended.then(() => (isOver = true));
      await until(() => (isStarted = existsSync(join(workspace, 'started'))) || isOver);
    }
    for (const pid of processesNaming(scratchRoot)) killQuietly(pid, 'SIGSTOP');
    expect((await ended)?.code).toBe('STEP_TIMED_OUT');
  });

  it('die with a worker that is killed, and the next one clears up', async () => {
    newProject();
    const commands = [bash(`${detachedSleeps} sleep 3600`)];
    reply = (_request, index) => (index === firstRequest ? { text: 'Done.' } : { tools: commands });
    const firstRequest = model.requests.length;
    const tmp = mkdtempSync(join(folder, 'tmp-'));
    worker = startWorker(path(), { TMPDIR: tmp }, { sandbox });
    const log = logOf(worker);
    await until(() => existsSync(join(workspace, 'started')));
    expect(readdirSync(scratchRoot)).toHaveLength(1);
    // The transcript of the session that was forked, put there by the SDK.
    expect(readdirSync(tmp)).toEqual([expect.stringMatching(/^claude-resume-/)]);
    // The guard finds a renewal that nobody waits to hear repeated.
    const guards = guardsOf(scratchRoot);
    for (const guard of guards) killQuietly(guard, 'SIGSTOP');
    const renewals = log().split('renewed').length;
    await until(() => log().split('renewed').length > renewals);
    worker.kill('SIGKILL');
    for (const guard of guards) killQuietly(guard, 'SIGCONT');
    await until(() => processesNaming(scratchRoot).length === 0);
    worker = undefined;
    const agent = createAgent({
      modelEnvironment: {},
      inheritedEnvironment: { PATH: path() },
      scratchRoot,
      sandbox,
      definition: shippedDefinition,
      log: () => undefined,
    });
    await agent.recover();
    expect(readdirSync(scratchRoot)).toEqual([]);
    expect(readdirSync(tmp)).toEqual([]);
  });

  it('die with the lease of a worker that is frozen, which finds its agent ended when it goes on', async () => {
    newProject();
    reply = () => ({ tools: [bash(writing())] });
    worker = startWorker(path(), {}, { leaseMs: 5000, sandbox });
    const log = logOf(worker);
    await until(() => ['looping', 'detached'].every((who) => linesOf(who) > 0));
    worker.kill('SIGSTOP');
    const before = [linesOf('looping'), linesOf('detached')];
    await until(() => processesNaming(scratchRoot).length === 0);
    // That is what it is for: they do not stop by themselves.
    expect(linesOf('looping')).toBeGreaterThan(before[0]!);
    expect(linesOf('detached')).toBeGreaterThan(before[1]!);
    worker.kill('SIGCONT');
    await until(() => log().includes('agent.failed'));
    expect(log()).toContain('"code":"WORKER_LOST"');
    expect(guardsOf(scratchRoot)).toEqual([]);
  });

  it.each(['SIGKILL', 'SIGSTOP'] as const)('do not go on without their guard (%s)', async (signal) => {
    newProject();
    playing(bash(writing()));
    const ended = failing({
      lease: renewedLease(4000),
      killGraceMs: 300,
      inheritedEnvironment: { PATH: path() },
      sandbox,
    });
    await until(() => linesOf('detached') > 0);
    const guards = guardsOf(scratchRoot);
    expect(guards).toHaveLength(1);
    for (const guard of guards) killQuietly(guard, signal);
    expect((await ended).code).toBe('WORKER_LOST');
    expect(guards.filter((guard) => killQuietly(guard, 0))).toEqual([]);
  });
});

/** A command that writes without end, in a loop and in a process that has detached itself. */
function writing(): string {
  writeFileSync(join(workspace, 'write.sh'), 'while :; do echo "$1" >> lines; sleep 0.05; done');
  return 'setsid bash write.sh detached & bash write.sh looping';
}

function linesOf(who: string): number {
  const lines = join(workspace, 'lines');
  if (!existsSync(lines)) return 0;
  return readFileSync(lines, 'utf8')
    .split('\n')
    .filter((line) => line === who).length;
}

it('in a namespace the agent cannot read the worker’s environment', async () => {
  newProject();
  reply = () => ({
    tools: [bash('cat "/proc/$(cat worker)/environ" > shown 2>&1; touch started; sleep 3600')],
  });
  worker = startWorker(plainPath, { DATABASE_URL: 'postgres://of-the-worker' });
  writeFileSync(join(workspace, 'worker'), String(worker.pid));
  await until(() => existsSync(join(workspace, 'started')));
  expect(readFileSync(`/proc/${worker.pid}/environ`, 'utf8')).toContain('postgres://of-the-worker');
  expect(readFileSync(join(workspace, 'shown'), 'utf8')).toMatch(/no such file/i);
  worker.kill('SIGKILL');
  await until(() => processesNaming(scratchRoot).length === 0);
  worker = undefined;
  rmSync(scratchRoot, { recursive: true });
});

/** What a worker has printed so far. */
function logOf(runner: ChildProcess): () => string {
  let log = '';
  runner.stdout?.on('data', (data: Buffer) => (log += data.toString()));
  return () => log;
}

function startWorker(
  path: string,
  env: Record<string, string>,
  { leaseMs = 3_600_000, sandbox = defaultSandbox } = {},
): ChildProcess {
  const built = join(folder, 'built');
  if (!existsSync(built))
    transpileRooms(['agent', 'contracts', 'definition', 'transcript', 'test/support'], built);
  const input: RunnerInput = {
    modelEnvironment: { ANTHROPIC_BASE_URL: model.url, ANTHROPIC_API_KEY: secret },
    inheritedEnvironment: { PATH: path },
    scratchRoot,
    workspace,
    sessionIds: [newSession(), newSession()],
    leaseMs,
    sandbox,
  };
  return spawn(process.execPath, [join(built, 'test/support/agent-runner.js'), JSON.stringify(input)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { PATH: plainPath, ...env },
  });
}

describe('what goes wrong', () => {
  it.each([
    [400, 'invalid_request_error', 'MODEL_REJECTED'],
    [404, 'not_found_error', 'MODEL_REJECTED'],
    [403, 'permission_error', 'MODEL_UNAUTHORIZED'],
    [402, 'billing_error', 'MODEL_UNAUTHORIZED'],
    [401, 'authentication_error', 'MODEL_UNAUTHORIZED'],
  ] as const)('names HTTP %i of the model service', async (status, type, code) => {
    newProject();
    reply = () => ({ error: { status, type, message: 'no' } });
    const error = await failing({});
    expect([error.code, (error as AgentRunError).spent.turns]).toEqual([code, 0]);
  });

  it('names a refusal', async () => {
    newProject();
    reply = () => ({ text: 'No.', stopReason: 'refusal' });
    expect((await failing({})).code).toBe('MODEL_REFUSED');
  });

  describe('an answer that is cut in a tool call', () => {
    const cut = (stopReason: string, whole: boolean): ModelReply => ({
      tools: [write('a.txt', 'abcdef')],
      stopReason,
      inputTokens: 90_000,
      ...(whole ? {} : { cutInputAt: 50 }),
    });

    it.each([true, false])('is asked for four times (the call is whole: %s)', async (whole) => {
      newProject();
      reply = () => cut('max_tokens', whole);
      const error = (await failing({})) as AgentRunError;
      expect([error.code, error.spent.turns]).toEqual(['ANSWER_UNFINISHED', 4]);
      // Others in between begin the count anew.
      let asked = 0;
      reply = () =>
        (asked += 1) > 8
          ? { text: 'Done.' }
          : asked % 4
            ? cut('max_tokens', whole)
            : { tools: [bash('true')] };
      expect((await run()).turns).toBe(9);
    });

    it.each([true, false])(
      'is compacted at once where the context is full (the call is whole: %s)',
      async (whole) => {
        newProject();
        const summary: ModelReply = { text: '<summary>Short.</summary>', inputTokens: 100 };
        const full = cut('model_context_window_exceeded', whole);
        reply = (request) => (isSummary(request) ? summary : isCompacted(request) ? { text: 'Done.' } : full);
        const asked = model.requests.length;
        expect(await run()).toMatchObject({ text: 'Done.' });
        expect(model.requests.length - asked).toBe(3);
        reply = (request) => (isSummary(request) ? summary : full);
        expect((await failing({})).code).toBe('CONTEXT_FULL');
        expect(model.requests.length - asked).toBe(3 + 3);
      },
    );

    it('is bounded for a subagent, too', async () => {
      newProject();
      const definition = { ...shippedDefinition, tools: [...shippedDefinition.tools, 'Agent'] };
      const call = {
        name: 'Agent',
        input: { description: 'Part', prompt: 'SUBTASK', subagent_type: 'general-purpose' },
      };
      reply = (request) =>
        JSON.stringify(request.messages[0]).includes('SUBTASK')
          ? cut('max_tokens', false)
          : toolResults(request).length === 0
            ? { tools: [call] }
            : { text: 'Done.' };
      const task = { ...taskOf('build'), allowedTools: definition.tools };
      expect((await run({ definition, task })).turns).toBe(1 + 4 + 1);
    });
  });

  it('compacts what is too large for a request, and says so where that does not help', async () => {
    newProject();
    const tooLarge: ModelReply = { error: { status: 413, type: 'request_too_large', message: 'too large' } };
    const work: ModelReply = { tools: [bash('true')], inputTokens: 90_000 };
    reply = (request) =>
      isSummary(request)
        ? { text: '<summary>Short.</summary>', inputTokens: 100 }
        : isCompacted(request)
          ? { text: 'Done.' }
          : toolResults(request).length === 0
            ? work
            : tooLarge;
    expect(await run()).toMatchObject({ text: 'Done.' });
    reply = (request) => (toolResults(request).length === 0 ? work : tooLarge);
    expect((await failing({})).code).toBe('CONTEXT_FULL');
    reply = () => tooLarge;
    expect((await failing({})).code).toBe('CONTEXT_FULL');
  });

  it.each([
    ['max_tokens', 5],
    ['model_context_window_exceeded', 5],
    ['pause_turn', 2],
    ['tool_use', 4],
  ])('keeps a value that was accepted, whatever comes after it: %s', async (stopReason, paid) => {
    newProject();
    const value = { name: 'Shop', description: 'Sells.', tags: ['shop'], recommendations: ['Sell more.'] };
    const submits = { name: 'mcp__chain__submit_metadata', input: value };
    reply = (request) =>
      toolResults(request).length === 0 ? { tools: [submits] } : { text: 'I begin', stopReason };
    expect(await run({ step: 'metadata' })).toMatchObject({ value, turns: paid });
  });

  it('names the limit of turns and of cost, and what was spent up to it', async () => {
    newProject();
    reply = () => ({ tools: [bash('true')] });
    const turns = await failing({ maxTurns: 2 });
    expect([turns.code, (turns as AgentRunError).spent]).toEqual([
      'BUDGET_EXCEEDED',
      expect.objectContaining({ turns: 2, costUsd: 0.01 }),
    ]);
    expect((await failing({ maxCostUsd: 0.01 })).code).toBe('BUDGET_EXCEEDED');
  });

  it('may answer as long as the worker’s environment says', async () => {
    newProject();
    playing();
    const limit = { CLAUDE_CODE_MAX_OUTPUT_TOKENS: '4000' };
    await run({ modelEnvironment: { ANTHROPIC_BASE_URL: model.url, ANTHROPIC_API_KEY: secret, ...limit } });
    expect(model.requests.at(-1)?.maxTokens).toBe(4000);
  });

  it('counts the turns of a run that was told to go on together', async () => {
    newProject();
    let asked = 0;
    reply = () =>
      (asked += 1) === 2 ? { text: 'I pause.', stopReason: 'pause_turn' } : { tools: [bash('true')] };
    const error = (await failing({ maxTurns: 4 })) as AgentRunError;
    expect(error.code).toBe('BUDGET_EXCEEDED');
    expect(error.spent.turns).toBeLessThanOrEqual(5);
  });

  it('ends in order when cancelled while the model is silent', async () => {
    newProject();
    reply = () => ({ hang: true });
    const cancel = new AbortController();
    const asked = model.requests.length;
    const ended = failing({ signal: cancel.signal });
    await until(() => model.requests.length > asked);
    cancel.abort();
    expect((await ended).code).toBe('CANCELLED');
    expect((await failing({ signal: cancel.signal })).code).toBe('CANCELLED');
  });

  it('names a base session that is not in the store, before the model is asked', async () => {
    newProject();
    const asked = model.requests.length;
    expect((await failing({ baseSessionId: newSession() })).code).toBe('SESSION_NOT_IN_STORE');
    expect(model.requests.length).toBe(asked);
  });

  it('passes on why the store could not give the base session', async () => {
    newProject();
    const down = new SessionChainError('DATABASE_UNAVAILABLE', 'The database is down.');
    const store = { load: () => Promise.reject(down), append: async () => undefined };
    expect((await failing({ baseSessionId: newSession(), store })).code).toBe('DATABASE_UNAVAILABLE');
  });

  it('names missing credentials, a missing shell and a missing binary', async () => {
    newProject();
    expect((await failing({ modelEnvironment: { ANTHROPIC_BASE_URL: model.url } })).code).toBe(
      'CREDENTIALS_MISSING',
    );
    expect((await failing({ binaryPath: join(folder, 'no-claude') })).code).toBe('AGENT_NOT_FOUND');
    await expect(openSandbox({ ...defaultSandbox, kind: 'none' }, { PATH: folder })).rejects.toMatchObject({
      code: 'AGENT_NOT_FOUND',
    });
    await expect(describeAgentBinary('/etc/hostname')).rejects.toMatchObject({ code: 'AGENT_NOT_FOUND' });
  });
});
