import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { exitCodes } from '../../cli/errors.js';
import type { Answer } from '../../client/chats.js';
import { type ChainStack, longHeartbeatTimeoutMs, startChainStack } from '../support/chain-stack.js';
import { createCommandLine, onTerminal } from '../support/cli.js';

/** The chat tour of a stranger: the compiled command line, as a process where it reads or is stopped, on real servers. */

const main = join(import.meta.dirname, '../../dist/cli/main.js');

const commandLine = createCommandLine();
let stack: ChainStack;
let project: string;
beforeAll(async () => {
  stack = await startChainStack('chat-cli', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  await stack.startWorker();
  const request = { ...stack.request(), steps: ['build' as const] };
  project = request.projectId;
  await stack.sessionChain.wait(await stack.sessionChain.start(request));
});
afterAll(async () => {
  commandLine.stop();
  await stack.stop();
});

const environment = () => ({
  PATH: process.env['PATH'],
  DATABASE_URL: stack.database.url,
  TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'],
  SESSION_CHAIN_TASK_QUEUE: stack.policy.taskQueues.chains,
  SESSION_CHAIN_WORKSPACE_ROOTS: stack.root,
  SESSION_CHAIN_HEARTBEAT_TIMEOUT_MS: String(longHeartbeatTimeoutMs),
  SESSION_CHAIN_KILL_GRACE_MS: '1000',
});

async function cli(args: string[], { input = '', signalWhen = '' } = {}) {
  const env = environment();
  if (input === '' && signalWhen === '') return await commandLine.run(args, env);
  const child = spawn(process.execPath, [main, ...args], {
    cwd: '/',
    env,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const out = { stdout: '', stderr: '' };
  child.stdout.on('data', (data: Buffer) => (out.stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => (out.stderr += data.toString()));
  child.stdin.end(input);
  const closed = once(child, 'close');
  if (signalWhen !== '') {
    const held = stack.model.holdNext(({ step }) => step === signalWhen);
    await held.reached;
    child.kill('SIGINT');
    const [code] = (await closed) as [number | null];
    held.remove();
    return { code, ...out };
  }
  const [code] = (await closed) as [number | null];
  return { code, ...out };
}

async function json<Document>(args: string[]): Promise<Document> {
  const { code, stdout, stderr } = await cli([...args, '-o', 'json']);
  if (code !== 0) throw new Error(`Exit code ${code}: ${stderr}`);
  return JSON.parse(stdout) as Document;
}

const chat = (...args: string[]) => ['chat', ...args, '--project', project];

describe('the command chat', () => {
  it('prints the reply, and beside it what the answer did to the head', async () => {
    const { code, stdout, stderr } = await cli(chat('What is in style.css?'));
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: expect.stringMatching(/^\(the head is [0-9a-f]{8} now\)\n$/),
    });
    expect(stdout).toContain('You asked: “What is in style.css?”');
    expect(stdout).toContain('style.css has');
  });

  it('says with --aside that the head stays, and its log says so too', async () => {
    const head = await stack.sessionChain.head(project);
    // On a terminal, where the tools are shown, too, and what is being written.
    const asked = await onTerminal(
      chat('And what is in style.css, between us?', '--aside', '--chat', 'aside'),
      environment(),
    );
    expect(asked).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(
        /\x1b\[K {2}answer {2}Read …?\S*style\.css\r\n[^]*You asked: [^]*\n\(beside the head, as [0-9a-f]{8}\)\r\n$/,
      ),
    });
    expect(asked.stdout).toMatch(/\x1b\[\?7lanswer {2}.* m?s\x1b\[\?7h/);
    expect(await stack.sessionChain.head(project)).toEqual(head);
    expect((await cli(chat('--log', '--chat', 'aside'))).stdout).toMatch(/ {2}side_branch {2}/);
  });

  it('returns the first reply when the same message is asked again', async () => {
    const asked = chat('And app.js?', '--message-id', 'm-1');
    const first = await json<Answer>(asked);
    expect(first).toMatchObject({ chatId: project, messageId: 'm-1', kind: 'transition', repeated: false });
    const requests = stack.model.requests.length;
    expect(await json(asked)).toEqual({ ...first, repeated: true });
    expect((await cli(asked)).stderr).toContain('answered before');
    expect(stack.model.requests).toHaveLength(requests);
    const other = await cli(chat('Something else?', '--message-id', 'm-1', '-o', 'json'));
    expect(other).toMatchObject({ code: exitCodes.conflict, stdout: '' });
    expect(JSON.parse(other.stderr)).toMatchObject({ error: { code: 'MESSAGE_ID_REUSED' } });
  });

  it('takes one question a line from the input', async () => {
    const { code, stdout } = await cli(chat('--chat', 'lines', '-o', 'jsonl'), {
      input: 'First?\n\nSecond?\n',
    });
    expect(code).toBe(0);
    // What happens to each, and last its answer.
    const items = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string; reply?: string });
    const told = ['question.asked', 'question.started', 'live.entry', 'question.answered', 'result'];
    const types = items.map(({ type }) => type).filter((type) => type !== 'live.text');
    expect(types.filter((type, index) => type !== types[index - 1])).toEqual([...told, ...told]);
    const replies = items.filter(({ type }) => type === 'result').map(({ reply = '' }) => reply);
    expect(replies.map((reply) => /You asked: “\w+\?”/.exec(reply)?.[0])).toEqual([
      'You asked: “First?”',
      'You asked: “Second?”',
    ]);
  });

  it('shows what was said with --log, of one chat at a time', async () => {
    const { stdout } = await cli(chat('--log', '--chat', 'lines'));
    expect(stdout).toMatch(/^\d{4}-.* {2}transition {2}[0-9a-f]{8} -> [0-9a-f]{8}\n> First\?\nYou asked/);
    const log = await json<{ questions: { question: string; state: string }[] }>(
      chat('--log', '--limit', '1'),
    );
    expect(log).toMatchObject({
      projectId: project,
      chatId: project,
      questions: [{ question: 'And app.js?', state: 'answered' }],
    });
  });

  it('keeps the question when its asker leaves with Ctrl-C', async () => {
    const asked = chat('Still there?', '--message-id', 'm-2');
    const left = await cli(asked, { signalWhen: 'chat_plan' });
    expect(left).toMatchObject({ code: exitCodes.interrupted, stdout: '' });
    expect(left.stderr).toContain('--log');
    expect((await cli(asked)).stdout).toContain('Still there?');
  });

  it.each([
    ['an unknown project', ['chat', 'Why?', '--project', 'nobody'], exitCodes.notFound, 'PROJECT_NOT_FOUND'],
    ['an empty message', ['chat', ' ', '--project', 'nobody'], exitCodes.badInput, 'INVALID_INPUT'],
    [
      'no message and -o json',
      ['chat', '--project', 'nobody', '-o', 'json'],
      exitCodes.badInput,
      'INVALID_INPUT',
    ],
    [
      'an unknown moment',
      ['chat', 'Why?', '-p', 'x', '--when', 'later'],
      exitCodes.badInput,
      'INVALID_INPUT',
    ],
  ])('refuses %s', async (_what, args, exitCode, code) => {
    const { code: exited, stdout, stderr } = await cli(args);
    expect({ exited, stdout }).toEqual({ exited: exitCode, stdout: '' });
    expect(stderr).toContain(code);
  });

  it('says that a chat has no log before anything was asked', async () => {
    expect(await cli(chat('--log', '--chat', 'silent'))).toMatchObject({ code: exitCodes.notFound });
  });
});
