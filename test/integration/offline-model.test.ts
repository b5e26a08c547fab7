import {
  createSdkMcpServer,
  query,
  tool,
  type Options,
  type SDKMessage,
} from '@anthropic-ai/claude-agent-sdk';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { readStepHint, stepHeaderLines, type StepHint } from '../../dev/offline-model/headers.js';
import { answers } from '../../dev/offline-model/injections.js';
import { repeatedPart } from '../../dev/offline-model/request-log.js';
import { startOfflineModel, type OfflineModel } from '../../dev/offline-model/server.js';
import { until } from '../support/until.js';

let model: OfflineModel;
beforeAll(async () => {
  model = await startOfflineModel();
});
afterAll(() => model.stop());

describe('the offline model and the real agent', () => {
  let root: string;
  let workspace: string;
  let submitted: unknown;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'offline-model-'));
    workspace = join(root, 'my app');
    await mkdir(workspace);
  });
  afterEach(() => rm(root, { recursive: true }));

  /** Runs one step as a fork of a session; returns its session id, its messages and the error that ended it, if any. */
  async function run(step: string, mode: StepHint['mode'], base?: string, more: Partial<Options> = {}) {
    const hint = { ...readStepHint({ 'x-session-chain-step': step }), mode };
    const messages: SDKMessage[] = [];
    const submit = tool(
      'submit_metadata',
      'Submits the metadata of the project.',
      {
        name: z.string().min(1).max(80),
        description: z.string(),
        tags: z.array(z.string()).max(8),
        recommendations: z.array(z.object({ title: z.string(), reason: z.string() })).min(2),
      },
      async (input) => {
        submitted = input;
        return { content: [{ type: 'text', text: 'accepted' }] };
      },
    );
    const options: Options = {
      cwd: workspace,
      model: 'claude-sonnet-4-5',
      settingSources: [],
      tools: ['Bash', 'Edit', 'Glob', 'Grep', 'Read', 'Write'],
      strictMcpConfig: true,
      systemPrompt: {
        type: 'preset',
        preset: 'claude_code',
        append: 'Be tidy.',
        excludeDynamicSections: true,
      },
      mcpServers: { chain: createSdkMcpServer({ name: 'chain', alwaysLoad: true, tools: [submit] }) },
      permissionMode: 'dontAsk',
      allowedTools: ['Bash', 'Edit', 'Glob', 'Grep', 'Read', 'Write', 'mcp__chain__submit_metadata'],
      ...(base !== undefined && { resume: base, forkSession: true }),
      env: {
        PATH: process.env.PATH,
        HOME: root,
        CLAUDE_CONFIG_DIR: join(root, '.claude'),
        ANTHROPIC_BASE_URL: model.url,
        ANTHROPIC_API_KEY: 'offline',
        ANTHROPIC_CUSTOM_HEADERS: stepHeaderLines(hint),
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
        DISABLE_TELEMETRY: '1',
        DISABLE_AUTOUPDATER: '1',
        CLAUDE_CODE_ATTRIBUTION_HEADER: '0',
        ENABLE_PROMPT_CACHING_1H: '1',
      },
      ...more,
    };
    let error: unknown;
    try {
      const prompt = step === 'compact' ? '/compact' : `Do the step ${step}.`;
      for await (const message of query({ prompt, options })) messages.push(message);
    } catch (thrown) {
      error = thrown;
    }
    const result = messages.findLast((message) => message.type === 'result');
    return {
      sessionId: messages.findLast((message) => 'session_id' in message)?.session_id ?? '',
      text: result?.subtype === 'success' ? result.result : '',
      compaction: messages.flatMap((message) =>
        message.type === 'system' && message.subtype === 'status' && message.compact_result
          ? [message.compact_result]
          : [],
      )[0],
      error,
    };
  }

  async function transcript(sessionId: string | undefined): Promise<string> {
    const projects = join(root, '.claude', 'projects');
    const path = (await readdir(projects, { recursive: true })).find((name) =>
      name.endsWith(`${sessionId ?? ''}.jsonl`),
    );
    return path === undefined ? '' : readFile(join(projects, path), 'utf8');
  }

  const file = (name: string): Promise<string> => readFile(join(workspace, name), 'utf8');

  it('builds, describes, documents, compacts and updates, and remembers over fork and compaction', async () => {
    const first = await run('build', 'initial');
    expect(await file('index.html')).toContain('id="version">Version 1</span>');
    expect(await file('style.css')).toContain('--accent');
    expect(await file('app.js')).toContain('localStorage');

    const metadata = await run('metadata', 'initial', first.sessionId);
    expect(submitted).toMatchObject({
      name: 'Pocket Tasks',
      tags: expect.arrayContaining(['todo']) as unknown,
    });

    const docs = await run('docs', 'initial', metadata.sessionId);
    expect(await file('README.md')).toContain('# Pocket Tasks');

    for (const [index, request] of model.requests.entries()) {
      const earlier = model.requests[index - 1];
      if (earlier) expect(repeatedPart(earlier, request)).toBe(1);
    }
    expect(model.requests.at(-1)).toMatchObject({
      step: 'docs',
      kind: 'work',
      mode: 'initial',
      sessionId: docs.sessionId,
    });
    expect(model.requests.at(-1)?.usage?.cache_read_input_tokens).toBeGreaterThan(10_000);

    const compact = await run('compact', 'initial', docs.sessionId);
    expect(compact.compaction).toBe('success');

    const second = await run('build', 'update', compact.sessionId);
    expect(second.text).toContain('I remembered Version 1. (operation 4; 3 earlier remembered)');
    expect(await file('index.html')).toContain('id="version">Version 2</span>');

    const again = await run('build', 'update', (await run('compact', 'update', second.sessionId)).sessionId);
    expect(again.text).toContain('I remembered Version 2. (operation 5; 4 earlier remembered)');

    const lost = await run('build', 'update');
    expect(lost.text).toContain('I had no memory of the project');
  });

  it('lets an agent be killed between two turns, and its fork go on without repeating what is stored', async () => {
    let agent: ChildProcess | undefined;
    const held = model.holdNext(
      ({ step, bodyText }) => step === 'build' && bodyText.includes('"tool_result"'),
    );
    const killed = run('build', 'initial', undefined, {
      spawnClaudeCodeProcess: ({ command, args, cwd, env, signal }) => {
        const child = spawn(command, args, { cwd, env, signal, stdio: ['pipe', 'pipe', 'ignore'] });
        agent = child;
        return child;
      },
    });
    const { sessionId: partial } = await held.reached;
    // The agent writes its local transcript a little later than it asks the model.
    await until(async () => (await transcript(partial)).includes('"tool_result"'));
    agent?.kill('SIGKILL');
    const { sessionId, error } = await killed;
    held.remove();
    expect(error).toBeDefined();

    const from = model.requests.length;
    const { text } = await run('build', 'initial', sessionId);
    expect(text).toContain('Version 1');
    expect(text).toContain('(operation 1; 0 earlier remembered)');
    const written = model.requests.slice(from).flatMap(({ response }) => response?.toolCalls ?? []);
    expect(written.map(({ name, input }) => [name, input.file_path])).toEqual([
      ['Write', join(workspace, 'style.css')],
      ['Write', join(workspace, 'app.js')],
      ['Bash', undefined],
    ]);
  });

  it('does other work in a file of its own, again over what it wrote, and ends where it is denied', async () => {
    const first = await run('polish', 'initial');
    expect(first.text).toContain('I saw 0 names in the folder and wrote polish.md.');
    expect(await file('polish.md')).toMatch(/^# polish\n/);
    const from = model.requests.length;
    const fresh = await run('polish', 'update');
    expect(fresh.text).toContain('I saw 0 names in the folder and wrote polish.md.');
    const denied = await run('review', 'update', fresh.sessionId, { allowedTools: [] });
    expect(denied.text).toContain('wrote nothing');

    const calls = (step: string) =>
      model.requests
        .slice(from)
        .filter((request) => request.step === step)
        .flatMap(({ response }) => response?.toolCalls ?? [])
        .map(({ name }) => name);
    expect(calls('polish')).toEqual(['Bash', 'Write', 'Read', 'Write']);
    expect(calls('review')).toEqual(['Bash', 'Write']);
    expect(await readdir(workspace)).toEqual(['polish.md']);
  });

  it('disturbs: invalid metadata is corrected, an empty summary fails the compaction', async () => {
    const { sessionId } = await run('build', 'initial');
    const invalid = model.inject({
      when: ({ step }) => step === 'metadata',
      answer: answers.invalidMetadata,
    });
    submitted = undefined;
    const metadata = await run('metadata', 'initial', sessionId);
    expect(invalid.hits).toHaveLength(1);
    expect(submitted).toMatchObject({ name: 'Pocket Tasks' });

    const empty = model.inject({
      when: ({ step }) => step === 'compact',
      times: Infinity,
      answer: answers.nothing,
    });
    expect((await run('compact', 'initial', metadata.sessionId)).compaction).toBe('failed');
    empty.remove();
  });
});

describe('the offline model over HTTP', () => {
  const body = {
    model: 'claude-x',
    max_tokens: 100,
    messages: [{ role: 'user', content: 'What is this about?' }],
  };

  function post(path: string, payload: object, headers: Record<string, string> = { 'x-api-key': 'any' }) {
    return fetch(`${model.url}${path}`, { method: 'POST', headers, body: JSON.stringify(payload) });
  }

  it('answers in one document or as a stream, and counts tokens', async () => {
    const whole = await post('/v1/messages?beta=true', body);
    expect(await whole.json()).toMatchObject({ type: 'message', model: 'claude-x', stop_reason: 'end_turn' });
    expect(whole.headers.get('request-id')).toMatch(/^req_/);

    const streamed = await (await post('/v1/messages', { ...body, stream: true })).text();
    expect(streamed).toMatch(/^event: message_start\n[\s\S]*event: message_stop\n/);

    const count = await post('/v1/messages/count_tokens', body);
    expect(await count.json()).toEqual({ input_tokens: expect.any(Number) as unknown });
    expect((await fetch(model.url, { method: 'HEAD' })).status).toBe(200);
  });

  it('refuses in the form of the API', async () => {
    const failures = await Promise.all([
      post('/v1/models', body),
      post('/v1/messages', body, {}),
      post('/v1/messages', { ...body, messages: [] }),
      post('/v1/messages', body, { 'x-api-key': 'any', 'x-session-chain-step': 'Deploy!' }),
    ]);
    expect(failures.map(({ status }) => status)).toEqual([404, 401, 400, 400]);
    const types = await Promise.all(
      failures.map(async (failure) => ((await failure.json()) as { error: { type: string } }).error.type),
    );
    expect(types).toEqual([
      'not_found_error',
      'authentication_error',
      'invalid_request_error',
      'invalid_request_error',
    ]);
  });

  it('fails, holds and cuts as it is told, and then answers as before', async () => {
    model.inject({ fail: { status: 429, headers: { 'retry-after': '7' } } });
    const limited = await post('/v1/messages', body);
    expect([limited.status, limited.headers.get('retry-after')]).toEqual([429, '7']);

    const held = model.holdNext();
    const waiting = post('/v1/messages', body);
    await held.reached;
    expect(model.requests.at(-1)?.response).toBeUndefined();
    held.release();
    expect((await waiting).status).toBe(200);

    const middle = model.inject({ hold: 'midStream', drop: 'midStream' });
    const cut = await post('/v1/messages', { ...body, stream: true });
    await middle.reached;
    middle.release();
    await expect(cut.text()).rejects.toThrow();
    expect(model.requests.at(-1)?.response).toBeUndefined();

    model.inject({ answer: answers.refusal });
    expect(await (await post('/v1/messages', body)).json()).toMatchObject({ stop_reason: 'refusal' });
    expect((await post('/v1/messages', body)).status).toBe(200);
  });
});
