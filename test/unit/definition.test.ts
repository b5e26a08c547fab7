import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ts from 'typescript';
import { afterAll, describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import { SessionChainError } from '../../contracts/failures.js';
import { chainModes, reservedNames } from '../../contracts/steps.js';
import { checkDefinition } from '../../definition/check.js';
import {
  type ChainDefinition,
  type ChainDefinitionInput,
  type StepDefinition,
  type StepInput,
  type SubmissionStep,
  isAgentStep,
} from '../../definition/definition.js';
import { loadChainDefinition } from '../../definition/load.js';
import { promptFor } from '../../definition/prompt.js';
import { resolvePlan } from '../../definition/resolve-plan.js';
import { shippedDefinition } from '../../definition/shipped.js';
import { newKey } from '../support/chains.js';
import { shippedPrompt } from '../support/shipped-prompt.js';
import { codeBlocksOf } from '../support/markdown.js';

const folder = mkdtempSync(join(tmpdir(), 'session-chain-definition-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function failureOf(run: () => unknown): Promise<SessionChainError> {
  try {
    await run();
  } catch (error) {
    if (error instanceof SessionChainError) return error;
    throw error;
  }
  throw new Error('It was expected to fail.');
}

const shippedNames = ['build', 'metadata', 'docs', 'compact'];
const shippedStep = (name: string) => stepOf(shippedDefinition, name);

function stepOf({ steps }: ChainDefinition, name: string): StepDefinition {
  const step = steps.find((one) => one.name === name);
  if (!step) throw new Error(`There is no step ${name}.`);
  return step;
}

/** The only step of a chain that has this one alone. */
function checked(step: StepInput, chain: ChainDefinitionInput = {}): StepDefinition {
  const others = step.kind === 'activity' ? ['docs'] : [];
  return stepOf(checkDefinition({ ...chain, steps: [...others, step] }).definition, step.name);
}

const prompt = () => 'Do it.';
const schema = { type: 'object', properties: { risk: { type: 'string' } }, required: ['risk'] };

describe('the shipped chain', () => {
  it('has four steps, in this order', () => {
    expect(shippedDefinition.steps.map(({ name, kind }) => [name, kind])).toEqual([
      ['build', 'work'],
      ['metadata', 'submission'],
      ['docs', 'work'],
      ['compact', 'compaction'],
    ]);
    expect(shippedDefinition.steps.map(({ critical }) => critical)).toEqual([true, false, false, false]);
  });

  it('has these house rules, word for word', () => {
    expect(shippedDefinition.houseRules).toBe(
      'You work unattended on one project, in a chain of steps: build, metadata, docs, compact.\n' +
        'Each message from the user is one step. Do what it asks, completely, and nothing beyond it.\n' +
        'Nobody can answer questions: decide yourself, and say in your last message what you decided.\n' +
        'Work inside the project folder only. Do not start programs that keep running after a command.\n' +
        'Call mcp__chain__submit_metadata only in a step that asks for it.',
    );
  });

  it.each<[string, 'initial' | 'update', string | null, string]>([
    [
      'build',
      'initial',
      ' A shop. ',
      'Step: build. Make the first working version of this project in the current folder.\n\n' +
        'What is wanted:\n\nA shop.\n\n' +
        'End with a short summary of what you made and which files hold it.',
    ],
    [
      'build',
      'initial',
      null,
      'Step: build. Make the first working version of this project in the current folder.\n\n' +
        'Nothing more is specified: choose a small, complete web app that opens in a browser without a build.\n\n' +
        'End with a short summary of what you made and which files hold it.',
    ],
    [
      'build',
      'update',
      'Blue.',
      'Step: build. Update the project in the current folder; keep what works and change what is asked.\n\n' +
        'What is wanted:\n\nBlue.\n\n' +
        'End with a short summary of what you made and which files hold it.',
    ],
    [
      'build',
      'update',
      null,
      'Step: build. Update the project in the current folder; keep what works and change what is asked.\n\n' +
        'Nothing more is specified: make one improvement that a user of the project would notice.\n\n' +
        'End with a short summary of what you made and which files hold it.',
    ],
    [
      'metadata',
      'update',
      'Blue.',
      'Step: metadata. Describe the project as it is now.\n\n' +
        'Call the tool mcp__chain__submit_metadata once; its fields say what is wanted. ' +
        'If it is not accepted, correct what the answer names and call it again. Change no files.',
    ],
    [
      'docs',
      'update',
      'Blue.',
      'Step: docs. Bring the documentation up to date with the project as it is now.\n\n' +
        'Write README.md: what the project is, how to run it, which file holds what. ' +
        'Longer texts go in the folder docs/. Change no other files.',
    ],
    ['compact', 'update', 'Blue.', '/compact'],
  ])('asks in %s (%s, instruction %j) word for word', async (name, mode, instruction, words) => {
    expect(await shippedPrompt(name, mode, instruction)).toBe(words);
  });

  it('takes a blank instruction for none, and never starts a build with a command', async () => {
    expect(await shippedPrompt('build', 'update', '  \n')).toBe(await shippedPrompt('build', 'update'));
    expect(await shippedPrompt('build', 'initial', '/compact')).toMatch(/^Step: build\./);
  });

  it('allows only tools that every step has, and the submission to its own step, which writes nothing', () => {
    const known = new Set([...shippedDefinition.tools, 'mcp__chain__submit_metadata']);
    const allowed = shippedDefinition.steps.map((step) => ('allowedTools' in step ? step.allowedTools : []));
    expect(allowed.flat().filter((tool) => !known.has(tool))).toEqual([]);
    expect(allowed.map((tools) => tools.includes('mcp__chain__submit_metadata'))).toEqual([
      false,
      true,
      false,
      false,
    ]);
    for (const tool of ['Bash', 'Edit', 'Write']) expect(allowed[1]).not.toContain(tool);
  });
});

describe('a definition', () => {
  it('is the shipped one where nothing is said', () => {
    const shipped = { definition: shippedDefinition, warnings: [] };
    expect(checkDefinition({})).toEqual(shipped);
    expect(checkDefinition({ steps: shippedNames })).toEqual(shipped);
    expect(
      checkDefinition({
        steps: [
          'build',
          { name: 'metadata' },
          { name: 'docs', kind: 'work' },
          { name: 'compact', thresholdTokens: undefined },
        ],
      }),
    ).toEqual(shipped);
  });

  it('changes what it names and leaves the rest as shipped', () => {
    const { definition } = checkDefinition({
      houseRules: 'Be brief.',
      claudeMd: true,
      reset: { operations: 3 },
      steps: [
        { name: 'build', prompt, maxTurns: 7, maxCostUsd: 2 },
        'metadata',
        { name: 'docs', critical: true, writes: ['HANDBOOK.md'] },
        { name: 'compact', instructions: 'Keep the names of files.', thresholdTokens: 5 },
      ],
    });
    expect(definition).toEqual({
      ...shippedDefinition,
      houseRules: 'Be brief.',
      claudeMd: true,
      reset: { ...shippedDefinition.reset, operations: 3 },
      steps: [
        { ...shippedStep('build'), prompt, maxTurns: 7, maxCostUsd: 2 },
        shippedStep('metadata'),
        { ...shippedStep('docs'), critical: true, writes: ['HANDBOOK.md'] },
        { ...shippedStep('compact'), instructions: 'Keep the names of files.', thresholdTokens: 5 },
      ],
    });
  });

  it('has the steps that it lists, in its order, with steps of its own between', () => {
    const { steps } = checkDefinition({
      steps: [
        'docs',
        { name: 'test', kind: 'work', prompt },
        { name: 'build', maxTurns: 9 },
        { name: 'deploy', kind: 'activity', role: 'deploy', activity: 'deployVersion', taskQueue: 'host' },
        { name: 'review', kind: 'submission', prompt, schema },
        { name: 'shorten', kind: 'compaction' },
      ],
    }).definition;
    expect(steps.map(({ name, kind }) => [name, kind])).toEqual([
      ['docs', 'work'],
      ['test', 'work'],
      ['build', 'work'],
      ['deploy', 'activity'],
      ['review', 'submission'],
      ['shorten', 'compaction'],
    ]);
    expect(steps[0]).toEqual(shippedStep('docs'));
    expect(steps[2]).toEqual({ ...shippedStep('build'), maxTurns: 9 });
  });

  it('fills up a step of its own by its kind', () => {
    expect(checked({ name: 'test', kind: 'work', prompt })).toEqual({
      ...{ name: 'test', kind: 'work', prompt, critical: false },
      ...{ timeoutMs: 900_000, maxTurns: 50, maxAttempts: 5 },
      allowedTools: ['Edit', 'Glob', 'Grep', 'Read', 'Write'],
    });
    expect(checked({ name: 'make', kind: 'work', role: 'build', prompt })).toEqual({
      ...{ name: 'make', kind: 'work', role: 'build', prompt, critical: true },
      ...{ timeoutMs: 3_600_000, maxTurns: 200, maxAttempts: 5 },
      allowedTools: shippedDefinition.tools,
    });
    expect(checked({ name: 'review', kind: 'submission', prompt, schema })).toEqual({
      ...{ name: 'review', kind: 'submission', prompt, critical: false },
      ...{ timeoutMs: 900_000, maxTurns: 50, maxAttempts: 5 },
      allowedTools: ['Glob', 'Grep', 'Read', 'mcp__chain__submit_review'],
      schema: expect.objectContaining({ safeParse: expect.any(Function) }),
    });
    expect(checked({ name: 'shorten', kind: 'compaction' })).toEqual({
      ...{ name: 'shorten', kind: 'compaction', critical: false },
      ...{ timeoutMs: 900_000, maxAttempts: 5, thresholdTokens: 20_000 },
    });
    expect(
      checked({ name: 'deploy', kind: 'activity', activity: 'deployVersion', taskQueue: 'host' }),
    ).toEqual({
      ...{ name: 'deploy', kind: 'activity', activity: 'deployVersion', taskQueue: 'host', critical: false },
      ...{ startToCloseTimeoutMs: 600_000, scheduleToStartTimeoutMs: 600_000, maxAttempts: 3 },
    });
  });

  it('keeps all that is said of a step of its own', () => {
    const step: StepInput = {
      name: 'test',
      kind: 'work',
      prompt,
      model: 'claude-a',
      critical: true,
      ...{ timeoutMs: 1_000, maxTurns: 1, maxCostUsd: 0.5, maxAttempts: 1 },
      ...{ allowedTools: ['Read'], writes: ['report.md', 'reports/'] },
    };
    expect(checked(step)).toEqual(step);
    const activity: StepInput = {
      name: 'deploy',
      kind: 'activity',
      role: 'deploy',
      ...{ activity: 'deployVersion', taskQueue: 'host', critical: true, maxAttempts: 7 },
      ...{ startToCloseTimeoutMs: 1_000, scheduleToStartTimeoutMs: 2_000, heartbeatTimeoutMs: 3_000 },
    };
    expect(checked(activity)).toEqual(activity);
    const submission = checked({ name: 'review', kind: 'submission', prompt, schema, column: 'ai_review' });
    expect(submission).toMatchObject({ column: 'ai_review' });
  });

  it('gives a shipped name another kind, and then nothing of it is as shipped', () => {
    expect(checked({ name: 'docs', kind: 'submission', prompt, schema })).toMatchObject({
      kind: 'submission',
      allowedTools: ['Glob', 'Grep', 'Read', 'mcp__chain__submit_docs'],
    });
    expect(checked({ name: 'docs', kind: 'submission', prompt, schema })).not.toHaveProperty('writes');
  });

  it('allows each step what the chain has of the tools by default, and a submission always its own', () => {
    const { definition } = checkDefinition({
      tools: ['Read', 'Write', 'WebFetch'],
      steps: [...shippedNames, { name: 'test', kind: 'work', prompt }],
    });
    const allowed = definition.steps.map((step) => ('allowedTools' in step ? step.allowedTools : null));
    expect(allowed).toEqual([
      ['Read', 'Write', 'WebFetch'],
      ['Read', 'mcp__chain__submit_metadata'],
      ['Read', 'Write'],
      null,
      ['Read', 'Write'],
    ]);
    expect(checked({ name: 'metadata', allowedTools: ['Glob'] })).toMatchObject({
      allowedTools: ['Glob', 'mcp__chain__submit_metadata'],
    });
  });

  it('takes its model, or else the one of the environment', () => {
    const model = (input: object) => checkDefinition(input, { model: 'claude-b' }).definition.model;
    expect([model({}), model({ model: 'claude-a' })]).toEqual(['claude-b', 'claude-a']);
  });

  it('may allow a step a part of a tool, or a server with one or all of its tools', () => {
    const allowedTools = ['Bash(npm test)', 'mcp__search', 'mcp__search__find', 'mcp__my_db__query'];
    const mcpServers = {
      search: { command: 'search' },
      my_db: { type: 'http', url: 'http://localhost:1/mcp' },
    } as const;
    expect(checked({ name: 'build', allowedTools }, { mcpServers })).toMatchObject({ allowedTools });
  });
});

describe('the house rules of a chain that names none', () => {
  const rulesOf = (...steps: (string | StepInput)[]) =>
    checkDefinition({ steps }).definition.houseRules.split('\n');

  it('are the shipped ones for the shipped steps, however they were changed', () => {
    const changed = rulesOf('build', { name: 'metadata', schema }, { name: 'docs', prompt }, 'compact');
    expect(changed.join('\n')).toBe(shippedDefinition.houseRules);
  });

  it('name the steps of the agent and their tools, in their order', () => {
    const rules = rulesOf(
      { name: 'review', kind: 'submission', prompt, schema },
      'build',
      { name: 'deploy', kind: 'activity', activity: 'deployVersion', taskQueue: 'host' },
      { name: 'test', kind: 'work', prompt },
      'metadata',
    );
    expect(rules[0]).toBe(
      'You work unattended on one project, in a chain of steps: review, build, test, metadata.',
    );
    expect(rules.slice(1, 4)).toEqual(shippedDefinition.houseRules.split('\n').slice(1, 4));
    expect(rules[4]).toBe(
      'Call mcp__chain__submit_review, mcp__chain__submit_metadata only in a step that asks for it.',
    );
    expect(rules).toHaveLength(5);
  });

  it('speak of no submission where there is none', () => {
    expect(rulesOf('build', 'docs')).toHaveLength(4);
  });
});

describe('the schema of a submission', () => {
  const accepts = (given: unknown, value: unknown) => {
    const step = checked({ name: 'metadata', schema: given } as StepInput) as SubmissionStep;
    return step.schema.safeParse(value).success;
  };

  it.each([
    ['zod', z.object({ title: z.string().min(3) })],
    [
      'JSON schema',
      { type: 'object', properties: { title: { type: 'string', minLength: 3 } }, required: ['title'] },
    ],
  ])('may be given as %s', (_form, given) => {
    expect([accepts(given, { title: 'Shop' }), accepts(given, { title: 'S' }), accepts(given, {})]).toEqual([
      true,
      false,
      false,
    ]);
  });

  it('may check fields together', () => {
    const given = z.object({ from: z.number(), to: z.number() }).refine(({ from, to }) => from < to);
    expect([accepts(given, { from: 1, to: 2 }), accepts(given, { from: 2, to: 1 })]).toEqual([true, false]);
  });

  it.each([
    ['no object', z.string(), /top level is not an object/],
    ['no schema', 'title', /it is neither/],
    ['a transform', z.object({ n: z.string().transform(Number) }), /Transforms cannot be represented/],
    ['JSON schema of another type', { type: 'array' }, /top level is not an object/],
    ['JSON schema with a mistake', { type: 'objekt' }, /Unsupported type: objekt/],
  ])('is refused where it is %s', async (_what, given, reason) => {
    for (const name of ['metadata', 'review']) {
      const { code, message } = await failureOf(() =>
        checked({ name, kind: 'submission', prompt, schema: given } as StepInput),
      );
      expect(code).toBe('INVALID_CONFIG');
      expect(message).toMatch(
        new RegExp(`^steps\\.${name}\\.schema: must be a zod 4 object or a JSON schema: `),
      );
      expect(message).toMatch(reason);
    }
  });
});

describe('a definition is refused, with file, step and reason, that', () => {
  const file = join(folder, 'refused.config.ts');
  /** The message behind the file's name. */
  const problemOf = async (definition: string) => {
    writeFileSync(file, `export default ${definition};\n`);
    const { code, message } = await failureOf(() =>
      loadChainDefinition({ SESSION_CHAIN_CONFIG: file, SESSION_CHAIN_MODEL: undefined }),
    );
    expect(code).toBe('INVALID_CONFIG');
    expect(message.startsWith(`${file}: `)).toBe(true);
    expect(message).not.toContain('\n');
    return message.slice(file.length + 2);
  };
  const deploy = `kind: 'activity', activity: 'deployVersion', taskQueue: 'host'`;
  const jsonSchema = `{ type: 'object', properties: { a: { type: 'string' } } }`;

  it.each<[string, string, RegExp]>([
    ['is no object', `'build'`, /^the default export: .*expected object/],
    [
      'has a purpose of two lines',
      `{ steps: [{ name: 'docs', purpose: 'Writes\\ndocs' }] }`,
      /^steps\.docs\.purpose: must be one line of 200 characters at most\.$/,
    ],
    ['has an unknown field', `{ modle: 'x' }`, /^modle: unknown field\.$/],
    [
      'has settings of the workspace count',
      `{ settingSources: ['project'] }`,
      /^settingSources: settings of the workspace have no effect, .*claudeMd: true/,
    ],
    [
      'lists its steps by name',
      `{ steps: { build: {} } }`,
      /^steps: must be a list of steps, in their order\.$/,
    ],
    ['has no step', `{ steps: [] }`, /^steps: must have a step\.$/],
    [
      'has a step that is neither name nor object',
      `{ steps: ['build', 7] }`,
      /^steps\[1\]: must be the name of a shipped step or an object\.$/,
    ],
    [
      'names a shipped step that does not exist',
      `{ steps: ['build', 'deploy'] }`,
      /^steps\.deploy: no such shipped step \(build, metadata, docs, compact\); a step of your own is an object with name, kind and prompt\.$/,
    ],
    [
      'has a step without a name',
      `{ steps: [{ kind: 'work', prompt: () => 'x' }] }`,
      /^steps\[0\]\.name: .*expected string/,
    ],
    [
      'has a step of its own without a kind',
      `{ steps: [{ name: 'test', prompt: () => 'x' }] }`,
      /^steps\.test\.kind: must be one of work, submission, compaction, activity\.$/,
    ],
    [
      'has a step of an unknown kind',
      `{ steps: [{ name: 'test', kind: 'wrok' }] }`,
      /^steps\.test\.kind: "wrok" is unknown; the kinds are work, submission, compaction, activity\.$/,
    ],
    [
      'has a question among its steps',
      `{ steps: [{ name: 'ask', kind: 'question', prompt: () => 'x' }] }`,
      /^steps\.ask\.kind: "question" is unknown/,
    ],
    [
      'has two builds',
      `{ steps: ['build', { name: 'more', kind: 'work', role: 'build', prompt: () => 'x' }] }`,
      /^steps\.more\.role: only one step has the role build, and build has it\.$/,
    ],
    [
      'deploys twice',
      `{ steps: [{ name: 'first', role: 'deploy', ${deploy} }, { name: 'second', role: 'deploy', ${deploy} }] }`,
      /^steps\.second\.role: only one step has the role deploy, and first has it\.$/,
    ],
    [
      'deploys what is not built yet',
      `{ steps: [{ name: 'ship', role: 'deploy', ${deploy} }, 'build'] }`,
      /^steps\.ship\.role: a deploy step comes after the build, the step build\.$/,
    ],
    [
      'runs Claude Code in none of its steps',
      `{ steps: [{ name: 'first', ${deploy} }] }`,
      /^steps: none of them runs Claude Code\.$/,
    ],
    [
      'writes two submissions to one column',
      `{ steps: ['metadata', { name: 'second', kind: 'submission', prompt: () => 'x', schema: ${jsonSchema}, column: 'ai_metadata' }] }`,
      /^steps\.second\.column: the step metadata writes to ai_metadata already\.$/,
    ],
    [
      'allows a tool with half a pattern',
      `{ steps: [{ name: 'docs', allowedTools: ['Bash(npm test'] }] }`,
      /^steps\.docs\.allowedTools\[0\]: "Bash\(npm test" is not a tool;/,
    ],
    ...['Read(src/**)', 'Grep(src/**)', 'Write(docs/**)', 'Read()', 'mcp__search__find(a)'].map(
      (tool): [string, string, RegExp] => [
        `would limit ${tool} by its pattern`,
        `{ mcpServers: { search: { command: 'x' } }, steps: [{ name: 'docs', allowedTools: ['${tool}'] }] }`,
        /^steps\.docs\.allowedTools\[0\]: ".+" would have no effect, because a pattern limits only Bash and Agent; list \w+ without one, or leave it out\.$/,
      ],
    ),
    ...['Bash()', 'Bash( )'].map((tool): [string, string, RegExp] => [
      `allows ${tool}`,
      `{ steps: [{ name: 'docs', allowedTools: ['${tool}'] }] }`,
      /^steps\.docs\.allowedTools\[0\]: ".+" names nothing; write Bash for all, or a pattern as in Bash\(npm test\)\.$/,
    ]),
    [
      'has a field that every object has',
      `{ steps: [{ name: 'docs', constructor: 1 }] }`,
      /^steps\.docs\.constructor: unknown field\.$/,
    ],
    [
      'lets an activity build',
      `{ steps: [{ name: 'make', role: 'build', ${deploy} }] }`,
      /^steps\.make\.role: .*expected "deploy"/,
    ],
    [
      'lets the agent deploy',
      `{ steps: [{ name: 'ship', kind: 'work', role: 'deploy', prompt: () => 'x' }] }`,
      /^steps\.ship\.role: .*expected "build"/,
    ],
    [
      'gives a submission a role',
      `{ steps: [{ name: 'metadata', role: 'build' }] }`,
      /^steps\.metadata\.role: unknown field\.$/,
    ],
    ['has a name twice', `{ steps: ['docs', 'build', 'docs'] }`, /^steps\.docs: the name is used twice\.$/],
    [
      'has a name twice, once of its own',
      `{ steps: ['docs', { name: 'docs', kind: 'compaction' }] }`,
      /^steps\.docs: the name is used twice\.$/,
    ],
    [
      'has work of its own without a prompt',
      `{ steps: [{ name: 'test', kind: 'work' }] }`,
      /^steps\.test\.prompt: a step of your own needs one\.$/,
    ],
    [
      'has a submission of its own without a prompt',
      `{ steps: [{ name: 'review', kind: 'submission', schema: { type: 'object', properties: {} } }] }`,
      /^steps\.review\.prompt: a step of your own needs one\.$/,
    ],
    [
      'has a submission without a schema',
      `{ steps: [{ name: 'review', kind: 'submission', prompt: () => 'x' }] }`,
      /^steps\.review\.schema: a submission needs the shape of its value\.$/,
    ],
    [
      'has a submission with a bad JSON schema',
      `{ steps: [{ name: 'metadata', schema: { type: 'objekt' } }] }`,
      /^steps\.metadata\.schema: must be a zod 4 object or a JSON schema: .*objekt/,
    ],
    [
      'names a column that is no name',
      `{ steps: [{ name: 'metadata', column: 'ai metadata; --' }] }`,
      /^steps\.metadata\.column: must be the name of a column\.$/,
    ],
    [
      'has a prompt that is a text',
      `{ steps: [{ name: 'docs', prompt: 'Write.' }] }`,
      /^steps\.docs\.prompt: must be a function/,
    ],
    ['has a limit that is none', `{ steps: [{ name: 'build', maxTurns: 0 }] }`, /^steps\.build\.maxTurns: /],
    [
      'has a time limit that is too short to be in milliseconds',
      `{ steps: [{ name: 'build', timeoutMs: 60 }] }`,
      /^steps\.build\.timeoutMs: /,
    ],
    [
      'gives the compaction a prompt',
      `{ steps: [{ name: 'compact', prompt: () => '' }] }`,
      /^steps\.compact\.prompt: unknown field\.$/,
    ],
    [
      'gives a compaction of its own a prompt',
      `{ steps: [{ name: 'shorten', kind: 'compaction', prompt: () => '' }] }`,
      /^steps\.shorten\.prompt: unknown field\.$/,
    ],
    [
      'calls an activity without a queue',
      `{ steps: [{ name: 'deploy', kind: 'activity', activity: 'deployVersion' }] }`,
      /^steps\.deploy\.taskQueue: /,
    ],
    [
      'calls an activity without a type',
      `{ steps: [{ name: 'deploy', kind: 'activity', taskQueue: 'host' }] }`,
      /^steps\.deploy\.activity: /,
    ],
    [
      'gives an activity a prompt',
      `{ steps: [{ name: 'deploy', ${deploy}, prompt: () => 'x' }] }`,
      /^steps\.deploy\.prompt: unknown field\.$/,
    ],
    [
      'allows a tool that no step has',
      `{ steps: [{ name: 'docs', allowedTools: ['Read', 'WebFetch'] }] }`,
      /^steps\.docs\.allowedTools\[1\]: "WebFetch" is not among tools\.$/,
    ],
    [
      'allows a tool of no server',
      `{ steps: [{ name: 'docs', allowedTools: ['mcp__search__find'] }] }`,
      /^steps\.docs\.allowedTools\[0\]: mcpServers has no server "search"\.$/,
    ],
    [
      'submits the value of another step',
      `{ steps: ['metadata', { name: 'docs', allowedTools: ['mcp__chain__submit_metadata'] }] }`,
      /^steps\.docs\.allowedTools\[0\]: "mcp__chain__submit_metadata" belongs to the step metadata alone\.$/,
    ],
    [
      'lists a part of a tool',
      `{ tools: ['Bash(ls)'] }`,
      /^tools\[0\]: "Bash\(ls\)" must be the name of a built-in tool/,
    ],
    [
      'takes the name of the own server',
      `{ mcpServers: { chain: { command: 'x' } } }`,
      /^mcpServers\.chain: the name is taken/,
    ],
    [
      'names a server so that its tools cannot be told',
      `{ mcpServers: { a__b: { command: 'x' } } }`,
      /^mcpServers\.a__b: a name/,
    ],
    [
      'has a server that is nothing',
      `{ mcpServers: { x: { url: 'http://localhost' } } }`,
      /^mcpServers\.x: must be a program/,
    ],
    [
      'shares one server between agents',
      `{ mcpServers: { x: { type: 'sdk', name: 'x', instance: {} } } }`,
      /^mcpServers\.x: .*serves one agent at a time: give a function/,
    ],
    ['names no queue for its ends', `{ onEnd: { activity: 'ended' } }`, /^onEnd\.taskQueue: /],
    [
      'names no activity for its ends',
      `{ onEnd: { activity: ' ', taskQueue: 'host' } }`,
      /^onEnd\.activity: must not be empty\.$/,
    ],
    ['gives its ends a function', `{ onEnd: () => undefined }`, /^onEnd: .*expected object/],
    [
      'gives its ends a queue of Temporal itself, half a try and less than a second',
      `{ onEnd: { activity: 'ended', taskQueue: '/_sys/host', maxAttempts: 0.5, startToCloseTimeoutMs: 999 } }`,
      /^onEnd\.taskQueue: must not begin with \/_sys\/.*onEnd\.startToCloseTimeoutMs: .*onEnd\.maxAttempts: /,
    ],
    [
      'misspells a field of its ends',
      `{ onEnd: { activity: 'ended', taskQueue: 'host', timeoutMs: 1000 } }`,
      /^onEnd\.timeoutMs: unknown field\.$/,
    ],
    [
      'is wrong in more than one place, which it is told at once',
      `{ steps: ['deploy', { name: 'test', kind: 'work' }, { name: 'docs', maxTurns: 'many' }, 'build', 'build'] }`,
      /^steps\.deploy: no such shipped step .*; steps\.test\.prompt: .*; steps\.docs\.maxTurns: .*; steps\.build: the name is used twice; /,
    ],
    [
      'is wrong in more than one field of the chain',
      `{ model: '', tools: 'all' }`,
      /^model: must not be empty; tools: /,
    ],
  ])('%s', async (_what, definition, reason) => {
    expect(await problemOf(definition)).toMatch(reason);
  });

  it('takes a name that is an activity type or a source of its own', () => {
    expect(reservedNames).toEqual(
      expect.arrayContaining([
        ...['open', 'commit', 'default', 'chat_plan', 'context_reset', 'recovery', 'rewind', 'import'],
        'metadata_generation',
      ]),
    );
  });

  it.each(reservedNames)('calls a step %s, which is reserved', async (name) => {
    const own = `{ steps: [{ name: '${name}', kind: 'work', prompt: () => 'x' }] }`;
    expect(await problemOf(own)).toBe(`steps.${name}: the name is reserved (${reservedNames.join(', ')}).`);
  });

  it.each(['Build', 'my-step', '1st', '_step', 'step.one', 'schritt_ü', 'x'.repeat(41)])(
    'calls a step %j, which is no name',
    async (name) => {
      const own = `{ steps: [{ name: '${name}', kind: 'work', prompt: () => 'x' }] }`;
      expect(await problemOf(own)).toBe(
        `steps.${name}: a name is a lower-case letter, then letters, digits and _, 40 characters at most.`,
      );
    },
  );

  it('and a name of 40 characters is one', () => {
    const name = `a${'_1'.repeat(19)}z`;
    expect(checked({ name, kind: 'work', prompt }).name).toHaveLength(40);
  });

  const ofTheChain = [
    'tools',
    'disallowedTools',
    'houseRules',
    'systemPrompt',
    'mcpServers',
    'claudeMd',
    'outputFormat',
  ];
  it.each(ofTheChain)(
    'differs from step to step in %s, for that would break the prompt cache',
    async (field) => {
      const steps = {
        docs: `{ name: 'docs', ${field}: [] }`,
        test: `{ name: 'test', kind: 'work', prompt: () => 'x', ${field}: [] }`,
        compact: `{ name: 'compact', ${field}: [] }`,
      };
      for (const [name, step] of Object.entries(steps)) {
        expect(await problemOf(`{ steps: ['build', ${step}] }`)).toMatch(
          new RegExp(`^steps\\.${name}\\.${field}: must be the same in every step, .* prompt cache; `),
        );
      }
    },
  );
});

it('calls the tool that starts subagents by its newer name, as Claude Code does', () => {
  const { definition } = checkDefinition({
    tools: ['Task', 'TaskStop'],
    steps: [{ name: 'build', allowedTools: ['Task(Explore)', 'TaskStop'] }],
  });
  expect(definition).toMatchObject({
    tools: ['Agent', 'TaskStop'],
    steps: [{ allowedTools: ['Agent(Explore)', 'TaskStop'] }],
  });
});

describe('a definition is warned about that', () => {
  const warningsOf = (input: object) => checkDefinition(input).warnings;

  it('gives a step another model, which does not share the prompt cache', () => {
    expect(warningsOf({ model: 'a', steps: ['build', { name: 'docs', model: 'b' }] })).toEqual([
      expect.stringMatching(/^steps\.docs\.model: "b" .* do not share the prompt cache/),
    ]);
    expect(warningsOf({ model: 'a', steps: [{ name: 'docs', model: 'a' }] })).toEqual([]);
  });

  it('lets the model start others', () => {
    expect(warningsOf({ tools: ['Task'] })).toEqual([expect.stringMatching(/^tools: .*subagents/)]);
  });
});

describe('a configuration file', () => {
  let count = 0;
  const newFolder = (files: Record<string, string>) => {
    const path = join(folder, String(++count));
    mkdirSync(path);
    for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
    return path;
  };
  const load = async (files: Record<string, string>, named?: string) =>
    await loadChainDefinition(
      { SESSION_CHAIN_CONFIG: named, SESSION_CHAIN_MODEL: undefined },
      newFolder(files),
    );

  it('may be missing: then the shipped definition holds', async () => {
    expect(await load({ 'README.md': '' })).toEqual({ definition: shippedDefinition, warnings: [] });
  });

  it('is TypeScript with modules and packages of its own', async () => {
    const path = newFolder({
      'session-chain.config.ts': `
        import { defineChain, shippedDefinition, type ChainDefinitionInput } from 'session-chain/config';
        import { z } from 'zod';
        import { rules } from './rules.js';
        interface Names { model: string }
        const names: Names = { model: 'claude-a' };
        export default defineChain({
          ...names,
          houseRules: [shippedDefinition.houseRules, rules].join('\\n'),
          steps: ['build', { name: 'metadata', schema: z.object({ title: z.string() }) }],
        } satisfies ChainDefinitionInput);`,
      'rules.ts': `export const rules: string = await Promise.resolve('Be brief.');`,
    });
    symlinkSync(join(process.cwd(), 'node_modules'), join(path, 'node_modules'));
    const before = readdirSync(path);
    const { definition } = await loadChainDefinition(
      { SESSION_CHAIN_CONFIG: undefined, SESSION_CHAIN_MODEL: 'claude-b' },
      path,
    );
    expect(definition).toMatchObject({ model: 'claude-a', file: join(path, 'session-chain.config.ts') });
    expect(definition.houseRules).toMatch(/^You work unattended[^]*\nBe brief\.$/);
    const metadata = stepOf(definition, 'metadata') as SubmissionStep;
    expect(metadata.schema.safeParse({ title: 'Shop' }).success).toBe(true);
    expect(readdirSync(path)).toEqual(before);
  });

  it('of the template that `session-chain init` writes loads, and changes one step', async () => {
    const { definition, warnings } = await load({
      'session-chain.config.ts': readFileSync('cli/templates/session-chain.config.ts', 'utf8'),
    });
    expect(warnings).toEqual([]);
    expect(definition.steps.map(({ name }) => name)).toEqual(shippedNames);
    expect(stepOf(definition, 'docs')).toEqual({ ...shippedStep('docs'), maxTurns: 30, maxCostUsd: 2 });
    for (const name of ['build', 'metadata', 'compact']) {
      expect(stepOf(definition, name)).toEqual(shippedStep(name));
    }
  });

  it('of examples/deploy-activity loads, and deploys after the build', async () => {
    const { definition } = await load({
      'session-chain.config.ts': readFileSync('examples/deploy-activity/session-chain.config.ts', 'utf8'),
    });
    expect(definition.steps.map(({ name }) => name)).toEqual([
      'build',
      'deploy',
      'metadata',
      'docs',
      'compact',
    ]);
    expect(definition.steps[1]).toMatchObject({ kind: 'activity', role: 'deploy', critical: true });
  });

  it.each(['js', 'mjs'])('may be .%s', async (extension) => {
    const { definition } = await load({
      [`session-chain.config.${extension}`]: `
        import { defineChain } from 'session-chain/config';
        export default defineChain({ model: 'claude-a' });`,
    });
    expect(definition.model).toBe('claude-a');
  });

  it('may lie elsewhere', async () => {
    const { definition } = await load(
      { 'other.ts': `export default { model: 'claude-a' as string }`, 'session-chain.config.ts': 'not this' },
      'other.ts',
    );
    expect(definition.model).toBe('claude-a');
  });

  it.each<[string, string, RegExp]>([
    ['does not parse', 'export default {\n  model: ,\n}\n', /Unexpected token.*:2:/],
    [
      'imports what is not there',
      `import './missing.mjs';\nexport default {}\n`,
      /Cannot find module '\.\/missing\.mjs'/,
    ],
    ['throws', `throw new Error('MODEL is not set');\nexport default {}\n`, /MODEL is not set$/],
    ['throws something else', `throw 'no';\nexport default {}\n`, /no$/],
    ['exports nothing', `export const definition = {};\n`, /no default export/],
    [
      'defines nonsense',
      `export default { steps: [{ name: 'build', maxTurns: 'many' }] };\n`,
      /steps\.build\.maxTurns: /,
    ],
  ])('that %s is named with the reason', async (_what, text, reason) => {
    const path = newFolder({ 'session-chain.config.ts': text });
    const { code, message } = await failureOf(() =>
      loadChainDefinition({ SESSION_CHAIN_CONFIG: undefined, SESSION_CHAIN_MODEL: undefined }, path),
    );
    expect(code).toBe('INVALID_CONFIG');
    expect(message.startsWith(`${join(path, 'session-chain.config.ts')}: `)).toBe(true);
    expect(message).toMatch(reason);
    expect(message).not.toContain('\n');
  });

  it('that is named and not there is told', async () => {
    expect(await failureOf(() => load({}, 'gone.ts'))).toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringMatching(/^SESSION_CHAIN_CONFIG names .*\/gone\.ts, which does not exist/),
    });
  });
});

describe('docs/configuration.md', () => {
  const root = process.cwd();
  const text = readFileSync(join(root, 'docs/configuration.md'), 'utf8');
  const examples = [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code]) => code ?? '');
  const load = async (example: string) => {
    const file = join(folder, 'example.config.ts');
    writeFileSync(file, example);
    return await loadChainDefinition({ SESSION_CHAIN_CONFIG: file, SESSION_CHAIN_MODEL: undefined });
  };

  it('shows the shipped definition in full', async () => {
    const shown = examples.find((example) => example.includes('thresholdTokens')) ?? '';
    const { definition, warnings } = await load(shown);
    expect(warnings).toEqual([]);
    // Of the prompts the words are compared below, of the schema what the model is told: in zod the fields are trimmed, too.
    const fields = (one: ChainDefinition) =>
      z.toJSONSchema((stepOf(one, 'metadata') as SubmissionStep).schema).properties;
    expect(fields(definition)).toEqual(fields(shippedDefinition));
    const asShown = ({ steps, ...chain }: ChainDefinition) => ({
      ...chain,
      file: null,
      steps: steps.map((step) => ({ ...step, prompt: null, schema: null })),
    });
    expect(asShown(definition)).toEqual(asShown(shippedDefinition));
    const planned = (one: ChainDefinition) =>
      resolvePlan(one, []).plan.steps.map((step) => ({ ...step, digest: null }));
    expect(planned(definition)).toEqual(planned(shippedDefinition));
    const key = newKey();
    for (const step of definition.steps.filter(isAgentStep)) {
      for (const mode of chainModes) {
        for (const instruction of [null, ' A shop. ']) {
          const context = { ...key, workspace: '/srv/shop', mode, instruction, values: {} };
          expect([step.name, await promptFor(definition, step, context)]).toEqual([
            step.name,
            await shippedPrompt(step.name, mode, instruction),
          ]);
        }
      }
    }
  });

  it('gives examples that load', async () => {
    const definitions = examples.filter((example) => example.includes('defineChain'));
    expect(definitions).toHaveLength(3);
    for (const example of definitions) await load(example);
  });

  it('is what the recipe of own steps keeps to', async () => {
    const recipe = codeBlocksOf(readFileSync(join(root, 'docs/recipes/own-steps.md'), 'utf8'));
    const config = recipe.find(({ comment }) => comment === 'file: session-chain.config.ts');
    const { definition, warnings } = await load(config?.code ?? '');
    expect(warnings).toEqual([]);
    expect(definition.steps.map(({ name, kind }) => [name, kind])).toEqual([
      ['build', 'work'],
      ['test', 'work'],
      ['deploy', 'activity'],
      ['metadata', 'submission'],
      ['docs', 'work'],
      ['compact', 'compaction'],
    ]);
  });

  it('gives examples that compile', () => {
    const own = join(folder, 'examples');
    mkdirSync(own);
    writeFileSync(join(own, 'package.json'), '{ "type": "module" }');
    const names = examples.map((example, index) => {
      const file = join(own, `example-${index}.ts`);
      writeFileSync(file, example);
      return file;
    });
    const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), (path) => ts.sys.readFile(path)) as {
      config: unknown;
    };
    const { rootDir: _, ...options } = ts.parseJsonConfigFileContent(config, ts.sys, root).options;
    symlinkSync(join(root, 'node_modules'), join(own, 'node_modules'));
    const program = ts.createProgram(names, {
      ...options,
      typeRoots: [join(root, 'node_modules/@types')],
      paths: { 'session-chain/config': [join(root, 'definition/define-chain.ts')] },
    });
    const errors = names.flatMap((name) => ts.getPreEmitDiagnostics(program, program.getSourceFile(name)));
    expect(errors.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))).toEqual([]);
  });
});
