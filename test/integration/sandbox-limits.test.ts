import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InMemorySessionStore } from '@anthropic-ai/claude-agent-sdk';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createAgent } from '../../agent/agent.js';
import type { AgentResult, AgentRunError } from '../../agent/run.js';
import { stepTask } from '../../agent/kinds/kinds.js';
import { startScriptedModel, toolResults, type ScriptedModel } from '../../agent/probe/scripted-model.js';
import type { SessionId } from '../../contracts/ids.js';
import { type SandboxLimits, defaultSandbox } from '../../contracts/sandbox.js';
import { isAgentStep } from '../../definition/definition.js';
import { shippedDefinition } from '../../definition/shipped.js';
import { renewedLease } from '../support/agent-runner.js';
import { processesNaming } from '../support/processes.js';
import { longHeartbeatTimeoutMs, startChainStack } from '../support/chain-stack.js';
import { attemptsOf } from '../support/project-facts.js';

/** What a command of the model may use: attacks by the real binary's shell, with limits that are soon reached. */

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'sandbox-limits-')));
const scratchRoot = join(folder, 'scratch');
let model: ScriptedModel;
/** What the model makes each run do, by the run's session. */
const scripts = new Map<string, string[]>();

beforeAll(async () => {
  model = await startScriptedModel((request) => {
    const [session = ''] = /session [0-9a-f-]{36}/.exec(JSON.stringify(request.messages)) ?? [];
    const command = scripts.get(session)?.shift();
    return command === undefined
      ? { text: 'Done.' }
      : { tools: [{ name: 'Bash', input: { command, timeout: 600_000 } }] };
  });
});
afterAll(async () => {
  await model.stop();
  // The agents and all that they started are dead, and their folders are gone.
  expect(processesNaming(scratchRoot)).toEqual([]);
  expect(existsSync(scratchRoot) ? readdirSync(scratchRoot) : []).toEqual([]);
  rmSync(folder, { recursive: true, force: true });
});

async function run(limits: Partial<SandboxLimits>, ...commands: string[]): Promise<AgentResult> {
  const sessionId = randomUUID() as SessionId;
  const prompt = `session ${sessionId}`;
  scripts.set(prompt, commands);
  const agent = createAgent({
    modelEnvironment: { ANTHROPIC_BASE_URL: model.url, ANTHROPIC_API_KEY: 'sk-test' },
    inheritedEnvironment: { PATH: process.env.PATH },
    scratchRoot,
    sandbox: { ...defaultSandbox, limits: { ...defaultSandbox.limits, ...limits } },
    definition: shippedDefinition,
    log: () => undefined,
  });
  return agent.run(
    {
      task: stepTask(shippedDefinition.steps.filter(isAgentStep).find(({ name }) => name === 'build')!),
      model: 'default',
      mode: 'initial',
      sessionId,
      baseSessionId: null,
      store: new InMemorySessionStore(),
      prompt,
      instructionKind: 'none',
      workspace: mkdtempSync(join(folder, 'project-')),
      maxTurns: 20,
      timeoutMs: 500_000,
    },
    {
      signal: new AbortController().signal,
      lease: renewedLease(3_600_000),
      onProgress: () => undefined,
    },
  );
}

const perl = (script: string) => `perl -e '${script}'`;
const memfdCreate = process.arch === 'arm64' ? 279 : 319;

const attacks: [string, Partial<SandboxLimits>, string][] = [
  ['a fork bomb', { processes: 200 }, 'b() { b | b & }; b; sleep 100'],
  [
    'processes that leave their parents',
    { processes: 200 },
    'for i in $(seq 1500); do (setsid sleep 100 &); done; sleep 100',
  ],
  ['memory of one process', { memoryMb: 1024 }, perl('$x = "x" x (1 << 31); sleep 100')],
  [
    'memory of many processes',
    { memoryMb: 1024 },
    `for i in $(seq 10); do ${perl('$x = "x" x (50 << 20); sleep 100')} & done; wait`,
  ],
  [
    'memory that no process maps',
    { memoryMb: 1024 },
    perl(
      `$name = "x"; $n = syscall(${memfdCreate}, $name, 0); open(F, ">&=", $n);` +
        ' $b = "x" x (1 << 20); syswrite(F, $b) for 1 .. 1100; sleep 100',
    ),
  ],
  ['a file', { fileMb: 10 }, 'head -c 50M /dev/zero > large'],
  ['a sparse file', { fileMb: 10 }, 'truncate -s 1G sparse'],
  ['open files', { openFiles: 1000 }, perl('open($f[$_], "/dev/null") for 1 .. 2000; sleep 100')],
  ['processor time', { cpuSeconds: 3 }, 'while :; do :; done'],
  ['a full /tmp', { tmpMb: 20 }, 'head -c 100M /dev/zero > /tmp/large; sleep 100'],
  ['a full /dev/shm', { tmpMb: 20 }, 'head -c 100M /dev/zero > /dev/shm/large; sleep 100'],
  ['empty files in /tmp', { tmpMb: 20 }, perl('open(F, ">/tmp/$_") for 1 .. 50000; sleep 100')],
];

describe('a command that uses more than the sandbox allows', () => {
  let runs: Map<string, Promise<unknown>>;
  beforeAll(() => {
    // All at once: each has limits of its own.
    runs = new Map(
      attacks.map(([what, limits, command]) => [what, run(limits, command).catch((error: unknown) => error)]),
    );
  });

  it.each(attacks)('ends the step and names the limit: %s', async (what, limits) => {
    const error = (await runs.get(what)) as AgentRunError;
    const [limit, value] = Object.entries(limits)[0]!;
    expect(error).toMatchObject({
      code: 'SANDBOX_LIMIT',
      message: expect.stringContaining(`of the sandbox (${value}`),
      reached: { limit, owner: 'sandbox' },
      spent: { turns: 1, usage: { inputTokens: 1000, outputTokens: 50 } },
    });
  });

  it('cannot raise its limits, and is left alone below them', async () => {
    const asked = model.requests.length;
    const result = await run(
      { fileMb: 1, openFiles: 500, processes: 300, cpuSeconds: 100 },
      'for limit in fsize nofile nproc cpu; do prlimit --pid $$ --$limit=unlimited && echo raised; done; ' +
        '(echo 0 >/proc/self/oom_score_adj) && echo raised; cat /proc/self/oom_score_adj',
      '(head -c 5M /dev/zero > large); stat -c %s large',
    );
    expect(result.text).toBe('Done.');
    const [limits, size] = toolResults(model.requests.slice(asked).at(-1)!);
    expect(limits).not.toContain('raised');
    expect(limits).toMatch(/^1000$/m);
    expect(size).toMatch(/^1048576$/m);
  });
});

describe('a worker whose limit no agent keeps', () => {
  it('fails the step and the question, with the limit and what they spent', async () => {
    const stack = await startChainStack('sandbox-limits', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
    try {
      const request = { ...stack.request(), steps: ['build' as const] };
      const worker = await stack.startWorker();
      const built = await stack.sessionChain.wait(await stack.sessionChain.start(request));
      expect(built.status).toBe('completed');
      await worker.kill('SIGTERM');

      await stack.startWorker({ SESSION_CHAIN_SANDBOX_MEMORY_MB: '20' });
      // After a paid turn.
      stack.model.holdNext(({ bodyText }) => bodyText.includes('tool_result'));
      const failure = {
        code: 'SANDBOX_LIMIT',
        remedy: expect.stringContaining('sandbox.limits.memoryMb, SESSION_CHAIN_SANDBOX_MEMORY_MB'),
      };
      const next = { ...stack.request(request.projectId), versionId: `${request.versionId}-next` };
      const failed = await stack.sessionChain.wait(
        await stack.sessionChain.start({ ...next, steps: ['build' as const] }),
      );
      expect(failed).toMatchObject({ status: 'failed', failure, head: built.head });
      expect(failed.steps).toMatchObject([{ status: 'failed', attempts: 1 }]);
      stack.model.holdNext();
      await expect(
        stack.sessionChain.ask({ projectId: request.projectId, text: 'Which files?' }),
      ).rejects.toMatchObject(failure);
      const attempts = await attemptsOf(stack, request.projectId);
      expect(attempts.slice(1)).toMatchObject([
        { step: 'build', failure: 'SANDBOX_LIMIT', outcome: 'failed' },
        { failure: 'SANDBOX_LIMIT', outcome: 'failed' },
      ]);
    } finally {
      await stack.stop();
    }
  });
});
