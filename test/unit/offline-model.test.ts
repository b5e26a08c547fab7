import { describe, expect, it } from '@jest/globals';
import { Script } from 'node:vm';
import { featureOf, firstVersion } from '../../dev/offline-model/app.js';
import { nextTurn } from '../../dev/offline-model/builder.js';
import { readStepHint, stepHeaderLines, type StepHint } from '../../dev/offline-model/headers.js';
import {
  InvalidRequestError,
  parseMessagesRequest,
  textOf,
  type MessagesRequest,
} from '../../dev/offline-model/messages.js';
import { fillSchema } from '../../dev/offline-model/plans/fill-schema.js';
import { encodeEvent, toStreamEvents, type Message } from '../../dev/offline-model/sse.js';
import { countTokens, createPromptCache } from '../../dev/offline-model/usage.js';

type Messages = MessagesRequest['messages'];
type Block = Record<string, unknown> & { type: string };

const metadataSchema = {
  type: 'object',
  required: ['name', 'description', 'tags', 'recommendations'],
  properties: {
    name: { type: 'string', maxLength: 80 },
    description: { type: 'string' },
    tags: { type: 'array', items: { type: 'string' } },
    recommendations: { type: 'array', items: { type: 'string' } },
  },
};
const tools = ['Bash', 'Edit', 'Read', 'Write', 'mcp__chain__submit_metadata'].map((name) => ({
  name,
  input_schema: name.startsWith('mcp__') ? metadataSchema : {},
}));
const update: StepHint = {
  step: 'build',
  kind: 'work',
  role: 'build',
  mode: 'update',
  instruction: 'none',
};
const initial: StepHint = { ...update, mode: 'initial' };
const metadata = hintOf('metadata', 'submission');

function hintOf(step: string, kind: StepHint['kind'] = 'work'): StepHint {
  return { ...update, step, kind, role: undefined };
}

function request(messages: Messages, offered: object[] = tools): MessagesRequest {
  return parseMessagesRequest(
    JSON.stringify({ model: 'claude-sonnet-4-5', max_tokens: 32_000, messages, tools: offered }),
  );
}

function user(...texts: string[]): Messages[number] {
  return { role: 'user', content: texts.map((text) => ({ type: 'text', text })) };
}

/** How the agent tells where it works. */
function environment(cwd: string): string {
  return `<system-reminder>\n# Environment\n - Primary working directory: ${cwd}\n - Platform: linux\n</system-reminder>`;
}

/** A workspace in memory whose tools answer in the words of the agent's own. */
class Workspace {
  readonly files = new Map<string, string>();
  readonly messages: Messages = [];
  private calls = 0;
  private readonly read = new Set<string>();
  /** Tools that may not be used. */
  readonly denied = new Set<string>();
  readonly called: unknown[] = [];

  constructor(readonly cwd = '/work space/app') {}

  /** Lets the model work on a prompt until it ends its turn, or for a number of requests; returns its last text. */
  run(hint: StepHint, prompt: string, requests = 20): string {
    const isFirst = this.messages.length === 0;
    this.messages.push(user(...(isFirst ? [environment(this.cwd)] : []), prompt));
    for (let count = 0; count < requests; count += 1) {
      const turn = nextTurn(request(this.messages), hint);
      const content = turn.content.map((block): Block =>
        block.type === 'text' ? block : { ...block, id: `toolu_${(this.calls += 1)}` },
      );
      this.messages.push({ role: 'assistant', content });
      if (turn.stopReason === 'end_turn') return content.map(textOf).join('');
      this.messages.push({ role: 'user', content: content.flatMap((block) => this.call(block)) });
    }
    return '';
  }

  private call({ type, id, name, input }: Block): Block[] {
    if (type !== 'tool_use') return [];
    const { file_path, content, old_string, new_string } = input as Record<string, string>;
    const path = file_path ?? '';
    const known = this.files.get(path);
    const result = (text: string, isError = false): Block[] => [
      { type: 'tool_result', tool_use_id: id, content: text, is_error: isError },
    ];
    this.called.push(name);
    if (this.denied.has(String(name))) return result(`Permission to use ${String(name)} was denied.`, true);
    if (name === 'Bash') {
      const names = [...this.files.keys()].map((file) => file.slice(this.cwd.length + 1));
      return result(names.length > 0 ? names.join('\n') : '(Bash completed with no output)');
    }
    if (name === 'Read' && known === undefined) return result('File does not exist.', true);
    if (name === 'Read') {
      this.read.add(path);
      return result(
        (known ?? '')
          .split('\n')
          .map((line, index) => `${index + 1}\t${line}`)
          .join('\n'),
      );
    }
    if (name === 'Write' && known !== undefined && !this.read.has(path)) {
      return result('<tool_use_error>File has not been read yet.</tool_use_error>', true);
    }
    if (name === 'Write') this.files.set(path, content ?? '');
    if (name === 'Edit' && !known?.includes(old_string ?? ''))
      return result('String to replace not found.', true);
    if (name === 'Edit')
      this.files.set(
        path,
        (known ?? '').replace(old_string ?? '', () => new_string ?? ''),
      );
    this.read.add(path);
    return result('done');
  }

  file(name: string): string {
    return this.files.get(`${this.cwd}/${name}`) ?? '';
  }

  /** Replaces the history as a compaction does: the summary, the last reply, the environment. */
  compact(): string {
    const last = this.messages.pop();
    if (last?.role !== 'assistant') throw new Error('Nothing to compact.');
    const asked = this.messages.at(-1)?.content as Block[];
    asked.push({ type: 'text', text: 'CRITICAL: Respond with TEXT ONLY.' });
    const turn = nextTurn(request(this.messages), hintOf('compact', 'compaction'));
    const text = turn.content.map((block) => (block.type === 'text' ? block.text : '')).join('');
    const summary = /<summary>([\s\S]*)<\/summary>/.exec(text)?.[1] ?? '';
    const opening = 'This session is being continued from a previous conversation that ran out of context.';
    this.messages.splice(
      0,
      Infinity,
      user(`${opening}\n\nSummary:${summary}`),
      last,
      user(
        environment(this.cwd),
        '<command-name>/compact</command-name>',
        '<local-command-stdout>Compacted</local-command-stdout>',
      ),
    );
    return summary;
  }
}

describe('the builder', () => {
  it('writes an app whose page, scripts and ids fit together', () => {
    const workspace = new Workspace();
    const reply = workspace.run(initial, 'Build it.');

    expect([...workspace.files.keys()]).toEqual(
      ['index.html', 'style.css', 'app.js'].map((name) => `${workspace.cwd}/${name}`),
    );
    expect(reply).toContain('Version 1');
    const page = workspace.file('index.html');
    const withFeatures = [2, 3, 4, 5, 6, 7]
      .map((version) => featureOf(version).html)
      .reduce((html, feature) => html + feature, page);
    const scripts = [
      workspace.file('app.js'),
      ...[...withFeatures.matchAll(/<script>([\s\S]*?)<\/script>/g)].map(([, code]) => code ?? ''),
    ];
    for (const code of scripts) expect(() => new Script(code)).not.toThrow();
    const used = scripts.flatMap((code) =>
      [...code.matchAll(/getElementById\('([^']+)'\)/g)].map(([, id]) => id),
    );
    for (const id of used) expect(withFeatures).toContain(`id="${id}"`);
    const ids = [...withFeatures.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('edits the page visibly in update after update, and counts what it remembers', () => {
    const workspace = new Workspace();
    workspace.run(initial, 'Build it.');
    for (const version of [2, 3, 4, 5, 6, 7]) {
      const reply = workspace.run(update, 'Go on.');
      expect(reply).toContain(`Version ${version}`);
      expect(reply).toContain(`${version - 1} earlier remembered`);
      expect(workspace.file('index.html')).toContain(`id="version">Version ${version}</span>`);
      expect(workspace.file('index.html')).toContain(`id="feature-${version}"`);
    }
  });

  it('says so when it has no memory, and goes by the folder', () => {
    const workspace = new Workspace();
    workspace.run(initial, 'Build it.');
    workspace.messages.length = 0;
    const reply = workspace.run(update, 'Go on.');

    expect(JSON.stringify(workspace.messages[1])).toContain('I have no memory of this project');
    expect(reply).toContain('I had no memory of the project');
    expect(reply).toContain('0 earlier remembered');
    expect(workspace.file('index.html')).toContain('id="version">Version 2</span>');
  });

  it('carries its memory over one compaction and the next', () => {
    const workspace = new Workspace();
    workspace.run(initial, 'Build it.');
    workspace.run(metadata, 'Describe it.');
    workspace.run(hintOf('docs'), 'Document it.');
    expect(workspace.compact()).toContain('index.html');
    expect(workspace.run(update, 'Go on.')).toContain('Version 2');
    workspace.compact();
    const reply = workspace.run(update, 'Go on.');

    expect(reply).toContain('I remembered Version 2');
    expect(reply).toContain('4 earlier remembered');
    const chat = nextTurn(
      request([...workspace.messages, user('What do you know?')]),
      hintOf('chat_plan', 'question'),
    );
    expect(JSON.stringify(chat.content)).toContain('README.md');
  });

  it('goes on where an interrupted operation stopped', () => {
    const workspace = new Workspace();
    workspace.run(initial, 'Build it.', 1);
    workspace.messages.push({
      role: 'assistant',
      content: [{ type: 'text', text: 'No response requested.' }],
    });
    const before = workspace.messages.length;
    const reply = workspace.run(initial, 'Go on.');

    const later = JSON.stringify(workspace.messages.slice(before));
    expect(later).not.toContain('index.html","content"');
    expect(later).toContain('style.css');
    expect(reply).toContain('operation 1; 0 earlier');
  });

  it('repeats a call whose outcome is unknown and reads a file that it may not overwrite', () => {
    const workspace = new Workspace();
    workspace.run(initial, 'Build it.', 1);
    const results = workspace.messages.at(-1)?.content as Block[];
    results[0] = {
      ...results[0],
      type: 'tool_result',
      is_error: true,
      content: '[Tool call interrupted: outcome unknown]',
    };
    const reply = workspace.run(initial, 'Go on.');

    expect(reply).toContain('Version 1');
    expect(workspace.files.size).toBe(3);
  });

  it('does not take the agent’s own continuation for a new operation', () => {
    const workspace = new Workspace();
    workspace.run(initial, 'Build it.', 2);
    workspace.messages.push({ role: 'assistant', content: [{ type: 'text', text: 'I begin with the' }] });
    const reply = workspace.run(initial, 'Output token limit hit. Resume directly.');

    expect(reply).toContain('operation 1; 0 earlier');
  });

  it('gives up when a tool is refused again and again', () => {
    const refused: Messages = [user(environment('/app'), 'Build it.')];
    for (const index of [1, 2, 3, 4]) {
      refused.push(
        {
          role: 'assistant',
          content: [
            { type: 'tool_use', id: `t${index}`, name: 'Write', input: { file_path: '/app/index.html' } },
          ],
        },
        {
          role: 'user',
          content: [{ type: 'tool_result', tool_use_id: `t${index}`, content: 'Denied.', is_error: true }],
        },
      );
    }

    expect(nextTurn(request(refused), initial)).toMatchObject({ stopReason: 'end_turn' });
  });

  it('works in the folder that was named last', () => {
    const workspace = new Workspace('/first');
    workspace.run(initial, 'Build it.');
    const moved =
      '<system-reminder>\n# Environment update\n - Primary working directory: /second (was /first)\n</system-reminder>';
    const turn = nextTurn(request([...workspace.messages, user(moved, 'Go on.')]), update);

    expect(turn.content[1]).toMatchObject({ name: 'Read', input: { file_path: '/second/index.html' } });
  });

  it('submits metadata of the app that it remembers, and again when refused', () => {
    const workspace = new Workspace();
    workspace.run(initial, 'Build it.');
    const asked = [...workspace.messages, user('Describe it.')];
    const turn = nextTurn(request(asked), metadata);
    expect(turn.content[1]).toMatchObject({
      name: 'mcp__chain__submit_metadata',
      input: { name: 'Pocket Tasks' },
    });

    const refused: Messages = [
      ...asked,
      {
        role: 'assistant',
        content: [
          { type: 'tool_use', id: 'm', name: 'mcp__chain__submit_metadata', input: { tags: 'none' } },
        ],
      },
      {
        role: 'user',
        content: [{ type: 'tool_result', tool_use_id: 'm', content: 'Invalid arguments', is_error: true }],
      },
    ];
    expect(nextTurn(request(refused), metadata).content[1]).toEqual(turn.content[1]);
  });

  it('submits to the tool of the step, whatever its name, what its schema asks for', () => {
    const review = {
      name: 'mcp__chain__submit_review',
      input_schema: {
        type: 'object',
        required: ['title', 'verdict', 'findings', 'score', 'passed'],
        properties: {
          title: { type: 'string', maxLength: 80 },
          verdict: { type: 'string', enum: ['good', 'bad'] },
          findings: { type: 'array', items: { type: 'string' }, minItems: 1 },
          score: { type: 'integer', minimum: Number.MIN_SAFE_INTEGER, maximum: 10 },
          passed: { type: 'boolean' },
        },
      },
    };
    const workspace = new Workspace();
    workspace.run(initial, 'Build it.');
    const asked = [...workspace.messages, user('Review it.')];
    const turn = nextTurn(request(asked, [...tools, review]), hintOf('review', 'submission'));
    expect(turn.content[1]).toMatchObject({
      name: review.name,
      input: {
        title: 'Pocket Tasks',
        verdict: 'good',
        findings: [expect.stringContaining('to-do list')],
        score: 1,
        passed: false,
      },
    });
    expect(nextTurn(request(asked), hintOf('review', 'submission'))).toMatchObject({
      content: [{ text: expect.stringContaining('no tool to submit review') }],
      stopReason: 'end_turn',
    });
  });

  it('plays any other work: a look at the folder, then a file named after the step', () => {
    const workspace = new Workspace();
    workspace.run(initial, 'Build it.');
    workspace.called.length = 0;
    const prompt = 'Step: plan.\n\nValues:\n{"audience": {"age": "6 {or more}"}}\n\nEnd with {a summary}.';
    const reply = workspace.run(hintOf('plan'), prompt);

    expect(workspace.called).toEqual(['Bash', 'Write']);
    expect(workspace.file('plan.md')).toBe(
      '# plan\n\n- `index.html`\n- `style.css`\n- `app.js`\n\nValues: {"audience":{"age":"6 {or more}"}}\n',
    );
    expect(reply).toBe('I saw 3 names in the folder and wrote plan.md. (operation 2; 1 earlier remembered)');
  });

  it('reads a file of the step’s name before it writes it again', () => {
    const workspace = new Workspace();
    workspace.files.set(`${workspace.cwd}/plan.md`, 'An older plan.');
    const reply = workspace.run(hintOf('plan'), 'Plan it.');

    expect(workspace.called).toEqual(['Bash', 'Write', 'Read', 'Write']);
    expect(workspace.file('plan.md')).toBe('# plan\n\nNothing was seen in the folder.\n');
    expect(reply).toContain('wrote plan.md');
  });

  it.each([
    {
      denied: ['Write'],
      called: ['Bash', 'Write'],
      reply: 'I saw one name in the folder and wrote nothing.',
    },
    { denied: ['Bash', 'Read', 'Write'], called: ['Bash', 'Write'], reply: 'I could not look at the folder' },
    { denied: ['Bash'], called: ['Bash', 'Write', 'Read', 'Write'], reply: 'and wrote plan.md.' },
    // Then the file, which is there and was not read, is refused for good.
    { denied: ['Read'], called: ['Bash', 'Write', 'Read', 'Write'], reply: 'and wrote nothing.' },
  ])('ends other work where $denied may not be used', ({ denied, called, reply }) => {
    const workspace = new Workspace();
    workspace.files.set(`${workspace.cwd}/plan.md`, 'An older plan.');
    workspace.files.set(`${workspace.cwd}/main.py`, 'print(1)');
    for (const name of denied) workspace.denied.add(name);

    expect(workspace.run(hintOf('plan'), 'Plan it.')).toContain(reply);
    expect(workspace.called).toEqual(called);
  });

  it('does other work without the tools that are not on offer', () => {
    const asked = request([user(environment('/app'), 'Plan it.')], [{ name: 'Read' }]);
    expect(nextTurn(asked, hintOf('plan'))).toMatchObject({ stopReason: 'end_turn' });
    const writes = request([user(environment('/app'), 'Plan it.')], [{ name: 'Write' }]);
    expect(nextTurn(writes, hintOf('plan')).content[1]).toMatchObject({
      name: 'Write',
      input: { file_path: '/app/plan.md' },
    });
  });

  it('has a step done by two subagents where there are some, and does it itself where they may not be used', () => {
    const withSubagents = [...tools, { name: 'Agent', input_schema: {} }];
    const asked = [user(environment('/project'), 'Step: review.')];
    const delegated = nextTurn(request(asked, withSubagents), hintOf('review'));
    const calls = delegated.content.slice(1).map((block, index) => ({ ...block, id: `toolu_${index}` }));
    expect(calls).toEqual(
      ['review-one', 'review-two'].map((part) =>
        expect.objectContaining({
          name: 'Agent',
          input: expect.objectContaining({ prompt: expect.stringContaining(part) }),
        }),
      ),
    );
    const after = (isError: boolean) =>
      nextTurn(
        request(
          [
            ...asked,
            { role: 'assistant', content: calls },
            {
              role: 'user',
              content: calls.map(({ id }) => ({
                type: 'tool_result',
                tool_use_id: id,
                is_error: isError,
                content: 'It is over.',
              })),
            },
          ],
          withSubagents,
        ),
        hintOf('review'),
      );
    expect(after(false)).toMatchObject({ stopReason: 'end_turn' });
    expect(after(true).content[1]).toMatchObject({ name: 'Bash' });
  });

  it('plays a subagent: the part of the step that its prompt names', () => {
    const asked = [user(environment('/project'), 'Look. The part: review-one')];
    const withSubagents = [{ name: 'Write' }, { name: 'Agent' }];
    expect(nextTurn(request(asked, withSubagents), hintOf('build'), true).content[1]).toMatchObject({
      name: 'Write',
      input: { file_path: '/project/review-one.md' },
    });
  });

  it('goes by the role and the kind, not by the name of a step', () => {
    const workspace = new Workspace();
    workspace.run({ ...initial, step: 'make' }, 'Make it.');
    expect(workspace.file('index.html')).toContain('Version 1');
    expect(workspace.run(hintOf('build'), 'Build it.')).toContain('wrote build.md');
  });

  it('follows a free prompt with a small change that quotes it', () => {
    const free: StepHint = { ...update, instruction: 'free' };
    const foreign = new Workspace();
    foreign.files.set(`${foreign.cwd}/main.py`, 'print(1)');
    foreign.run(free, 'Please: <instruction>Add a licence</instruction>');
    foreign.run(free, '<instruction>And a changelog</instruction>');
    expect(foreign.file('NOTES.md')).toMatch(
      /> Add a licence\n\nLooked at: main\.py\.[\s\S]*> And a changelog/,
    );

    const own = new Workspace();
    own.run(initial, 'Build it.');
    own.run(free, 'Step: build.\n\nWhat is wanted:\n\nAdd <b>bold</b>\n\nEnd with a short summary.');
    expect(own.file('index.html')).toContain('<p class="note">Add &lt;b&gt;bold&lt;/b&gt;</p>');

    const empty = new Workspace();
    empty.run({ ...initial, instruction: 'free' }, 'A list for the garden');
    expect(empty.file('index.html')).toContain('A list for the garden');
  });
});

describe('step headers', () => {
  function sent(hint: StepHint): Record<string, string> {
    return Object.fromEntries(
      stepHeaderLines(hint)
        .split('\n')
        .map((line) => line.split(': ') as [string, string]),
    );
  }

  it.each<StepHint>([
    { step: 'polish_2', kind: 'work', role: undefined, mode: 'initial', instruction: 'free' },
    { step: 'make', kind: 'work', role: 'build', mode: 'update', instruction: 'none' },
    { step: 'build', kind: 'submission', role: undefined, mode: 'update', instruction: 'none' },
    { step: 'chat_plan', kind: 'question', role: undefined, mode: 'update', instruction: 'none' },
    { step: undefined, kind: undefined, role: undefined, mode: 'update', instruction: 'free' },
  ])('travel as custom header lines: $step', (hint) => {
    expect(readStepHint(sent(hint))).toEqual(hint);
  });

  it('may leave the kind to the name of the step', () => {
    expect(readStepHint({})).toEqual({
      step: undefined,
      kind: undefined,
      role: undefined,
      mode: 'update',
      instruction: 'free',
    });
    const names = ['build', 'metadata', 'docs', 'compact', 'chat', 'chat_plan', 'deploy'];
    expect(
      names.map((name) => {
        const { step, kind, role } = readStepHint({ 'x-session-chain-step': name });
        return [step, kind, role];
      }),
    ).toEqual([
      ['build', 'work', 'build'],
      ['metadata', 'submission', undefined],
      ['docs', 'work', undefined],
      ['compact', 'compaction', undefined],
      ['chat', 'question', undefined],
      ['chat_plan', 'question', undefined],
      ['deploy', 'work', undefined],
    ]);
  });

  it('refuse values that are not known, by the name of the header', () => {
    expect(() => readStepHint({ 'x-session-chain-step': '../etc' })).toThrow(
      /x-session-chain-step: "\.\.\/etc" does not match/,
    );
    expect(() => readStepHint({ 'x-session-chain-kind': 'activity' })).toThrow(
      /x-session-chain-kind: "activity" is not one of work, submission/,
    );
    expect(() => readStepHint({ 'x-session-chain-role': 'deploy' })).toThrow(RangeError);
  });
});

describe('requests', () => {
  it('refuses a transcript in which a tool call has no result', () => {
    const broken: Messages = [
      user('Build it.'),
      { role: 'assistant', content: [{ type: 'tool_use', id: 't1', name: 'Read', input: {} }] },
      user('Go on.'),
    ];
    expect(() => request(broken)).toThrow(InvalidRequestError);
    expect(() => request(broken)).toThrow('t1');
    expect(() => parseMessagesRequest('{"model":')).toThrow('not valid JSON');
    expect(() => parseMessagesRequest('{"model":"m","messages":[]}')).toThrow('messages');
  });
});

describe('fillSchema', () => {
  it('fits values to objects, enums and limits', () => {
    const schema = {
      type: 'array',
      minItems: 2,
      items: {
        type: 'object',
        required: ['title', 'priority'],
        properties: {
          title: { type: 'string', maxLength: 5 },
          priority: { enum: ['low', 'high'] },
          more: { type: 'string' },
        },
      },
    };
    expect(fillSchema(schema, ['Export'])).toEqual([
      { title: 'Expor', priority: 'low' },
      { title: 'Expor', priority: 'low' },
    ]);
  });
});

describe('usage', () => {
  const long = 'x'.repeat(8_000);
  const cached = (ttl?: '1h') => ({ cache_control: { type: 'ephemeral', ...(ttl && { ttl }) } });
  const ask = (texts: string[], ttl?: '1h'): MessagesRequest => ({
    model: 'm',
    system: [{ type: 'text', text: long, ...cached(ttl) }],
    messages: texts.map((text, index) => ({
      role: index % 2 === 0 ? 'user' : 'assistant',
      content: [{ type: 'text', text, ...(index === texts.length - 1 ? cached(ttl) : {}) }],
    })),
  });

  it('reads what an earlier request stored and writes the rest', () => {
    const cache = createPromptCache();
    const first = cache.account(ask(['one']), 0);
    expect(first).toMatchObject({
      cache_read_input_tokens: 0,
      cache_creation_input_tokens: countTokens(ask(['one'])),
      input_tokens: 0,
    });
    const second = cache.account(ask(['one', 'two', 'three']), 1);
    expect(second.cache_read_input_tokens).toBe(first.cache_creation_input_tokens);
    expect(second.cache_creation.ephemeral_5m_input_tokens).toBeGreaterThan(0);
    expect(second.cache_read_input_tokens + second.cache_creation_input_tokens).toBe(
      countTokens(ask(['one', 'two', 'three'])),
    );
  });

  it('forgets after the time to live, unless a hit renewed it', () => {
    const minuteMs = 60_000;
    const cache = createPromptCache();
    cache.account(ask(['one']), 0);
    expect(cache.account(ask(['one']), 4 * minuteMs).cache_read_input_tokens).toBeGreaterThan(0);
    expect(cache.account(ask(['one']), 8 * minuteMs).cache_read_input_tokens).toBeGreaterThan(0);
    expect(cache.account(ask(['one']), 14 * minuteMs).cache_read_input_tokens).toBe(0);
    const hour = cache.account(ask(['hour'], '1h'), 30 * minuteMs);
    expect(hour.cache_creation.ephemeral_1h_input_tokens).toBe(hour.cache_creation_input_tokens);
    expect(cache.account(ask(['hour'], '1h'), 80 * minuteMs).cache_read_input_tokens).toBe(
      hour.cache_creation_input_tokens,
    );
  });

  it('reads nothing for another model, other tools, or a short prefix', () => {
    const cache = createPromptCache();
    cache.account(ask(['one']), 0);
    expect(cache.account({ ...ask(['one']), model: 'other' }, 1).cache_read_input_tokens).toBe(0);
    expect(cache.account({ ...ask(['one']), tools: [{ name: 'Read' }] }, 1).cache_read_input_tokens).toBe(0);
    const short: MessagesRequest = {
      model: 'm',
      messages: [{ role: 'user', content: [{ type: 'text', text: 'hi', ...cached() }] }],
    };
    expect(cache.account(short, 1)).toMatchObject({
      cache_creation_input_tokens: 0,
      input_tokens: countTokens(short),
    });
  });

  it('looks back twenty blocks and no further', () => {
    const texts = (count: number) => Array.from({ length: count }, (_, index) => `message ${index}`);
    const noSystem = (count: number): MessagesRequest => {
      const { system: _system, ...rest } = ask([long, ...texts(count - 1)]);
      return rest;
    };
    const near = createPromptCache();
    near.account(noSystem(1), 0);
    expect(near.account(noSystem(21), 1).cache_read_input_tokens).toBeGreaterThan(0);
    const far = createPromptCache();
    far.account(noSystem(1), 0);
    expect(far.account(noSystem(22), 1).cache_read_input_tokens).toBe(0);
  });
});

describe('the stream', () => {
  it('carries every block in several deltas that add up', () => {
    const message: Message = {
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      model: 'm',
      content: [
        { type: 'text', text: 'Grüße an alle 👋 die hier mitlesen' },
        {
          type: 'tool_use',
          id: 'toolu_1',
          name: 'Write',
          input: { file_path: '/a/b', content: 'c'.repeat(500) },
        },
      ],
      stop_reason: 'tool_use',
      stop_sequence: null,
      usage: {
        input_tokens: 1,
        cache_creation_input_tokens: 0,
        cache_read_input_tokens: 0,
        cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 0 },
        output_tokens: 9,
      },
    };
    const events = toStreamEvents(message);
    const deltas = (index: number) =>
      events
        .filter((event) => event.type === 'content_block_delta' && event.index === index)
        .map((event) => event.delta as Record<string, string>);

    expect(events.map(({ type }) => type).filter((type) => type !== 'content_block_delta')).toEqual([
      'message_start',
      'ping',
      'content_block_start',
      'content_block_stop',
      'content_block_start',
      'content_block_stop',
      'message_delta',
      'message_stop',
    ]);
    expect(deltas(0).length).toBeGreaterThan(1);
    expect(
      deltas(0)
        .map(({ text }) => text)
        .join(''),
    ).toBe(message.content[0]?.type === 'text' && message.content[0].text);
    expect(
      JSON.parse(
        deltas(1)
          .map(({ partial_json }) => partial_json)
          .join(''),
      ),
    ).toEqual({ file_path: '/a/b', content: 'c'.repeat(500) });
    expect(encodeEvent({ type: 'ping' })).toBe('event: ping\ndata: {"type":"ping"}\n\n');
  });
});

it('the first version quotes a tagline as text, never as markup', () => {
  expect(firstVersion('<script>')[0]?.content).toContain('&lt;script&gt;');
});
