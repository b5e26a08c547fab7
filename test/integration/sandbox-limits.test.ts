import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InMemorySessionStore } from '@anthropic-ai/claude-agent-sdk';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createAgent } from '../../agent/agent.js';
import type { AgentResult, AgentRunError } from '../../agent/run.js';
import { stepTask } from '../../agent/kinds/kinds.js';
import {
  startScriptedModel,
  toolResults,
  type ModelReply,
  type ScriptedModel,
} from '../../agent/probe/scripted-model.js';
import { SessionChainError } from '../../contracts/failures.js';
import type { SessionId } from '../../contracts/ids.js';
import { type SandboxLimits, defaultSandbox } from '../../contracts/sandbox.js';
import { isAgentStep } from '../../definition/definition.js';
import { shippedDefinition } from '../../definition/shipped.js';
import { processesNaming, renewedLease } from '../support/agent-runner.js';

/** What a command of the model may use: attacks by the real binary's shell, with limits that are soon reached. */

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'sandbox-limits-')));
const scratchRoot = join(folder, 'scratch');
let model: ScriptedModel;
let reply: () => ModelReply;
let workspace: string;

beforeAll(async () => {
  model = await startScriptedModel(() => reply());
});
afterAll(async () => {
  await model.stop();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  workspace = mkdtempSync(join(folder, 'project-'));
});
afterEach(() => {
  // The agent and all that it started are dead, and its folders are gone.
  expect(processesNaming(scratchRoot)).toEqual([]);
  expect(existsSync(scratchRoot) ? readdirSync(scratchRoot) : []).toEqual([]);
});

async function run(limits: Partial<SandboxLimits>, ...commands: string[]): Promise<AgentResult> {
  reply = () => {
    const command = commands.shift();
    return command === undefined ? { text: 'Done.' } : { tools: [{ name: 'Bash', input: { command } }] };
  };
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
      sessionId: randomUUID() as SessionId,
      baseSessionId: null,
      store: new InMemorySessionStore(),
      prompt: 'build',
      instructionKind: 'none',
      workspace,
      maxTurns: 20,
      timeoutMs: 100_000,
    },
    {
      signal: new AbortController().signal,
      lease: renewedLease(3_600_000),
      onProgress: () => undefined,
    },
  );
}

async function failing(limits: Partial<SandboxLimits>, command: string): Promise<AgentRunError> {
  const error = await run(limits, command).then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (error instanceof SessionChainError) return error as AgentRunError;
  throw new Error(`The run was expected to fail. The model was told: ${told()}`, { cause: error });
}
const told = () => toolResults(model.requests.at(-1)!).join('\n');

const perl = (script: string) => `perl -e '${script}'`;

describe('a command that uses more than the sandbox allows', () => {
  it.each<[string, Partial<SandboxLimits>, string]>([
    ['a fork bomb', { processes: 200 }, 'b() { b | b & }; b; sleep 100'],
    [
      'many processes that leave their parents',
      { processes: 200 },
      'for i in $(seq 1500); do (setsid sleep 100 &); done; sleep 100',
    ],
    ['memory of one process', { memoryMb: 1024 }, perl('$x = "x" x (1 << 31); sleep 100')],
    [
      'memory of many processes',
      { memoryMb: 1024 },
      `for i in 1 2 3 4 5 6 7 8; do ${perl('$x = "x" x (150 << 20); sleep 100')} & done; wait`,
    ],
    ['one file in the workspace', { fileMb: 10 }, 'head -c 50M /dev/zero > large'],
    ['a sparse file', { fileMb: 10 }, 'truncate -s 1G sparse'],
    ['open files', { openFiles: 1000 }, perl('open($f[$_], "/dev/null") for 1 .. 2000; sleep 100')],
    ['processor time', { cpuSeconds: 2 }, 'while :; do :; done'],
  ])('ends the step and names the limit: %s', async (_what, limits, command) => {
    const error = await failing(limits, command);
    const [name, value] = Object.entries(limits)[0]!;
    expect([error.code, error.reached]).toEqual(['SANDBOX_LIMIT', { limit: name, owner: 'sandbox' }]);
    expect(error.message).toContain(`of the sandbox (${value}`);
    expect(error.spent).toMatchObject({ turns: 1, usage: { inputTokens: 1000, outputTokens: 50 } });
  });
});
