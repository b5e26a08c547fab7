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
import { digestOf, promptFor, serversOf } from '../../agent/steps.js';
import { loadChainDefinition } from '../../definition/load.js';
import { completeDefinition } from '../../definition/check.js';
import { defaultDefinition } from '../../definition/shipped.js';
import { planOf } from '../../definition/definition.js';
import { SessionChainError } from '../../contracts/failures.js';
import { metadataTool } from '../../definition/metadata.js';
import { chainModes, stepNames } from '../../contracts/steps.js';
import { newKey } from '../support/chains.js';

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

const problemOf = async (input: unknown) => {
  const { code, message } = await failureOf(() => completeDefinition(input));
  expect(code).toBe('INVALID_CONFIG');
  return message;
};

describe('a definition', () => {
  it('is the shipped one where nothing is said', () => {
    expect(completeDefinition({})).toEqual({ definition: defaultDefinition, warnings: [] });
    expect(completeDefinition({ steps: { build: {}, compact: { thresholdTokens: undefined } } })).toEqual({
      definition: defaultDefinition,
      warnings: [],
    });
  });

  it('changes what it names and leaves the rest as shipped', () => {
    const prompt = () => 'Make it.';
    const { definition } = completeDefinition({
      houseRules: 'Be brief.',
      settingSources: ['project'],
      steps: {
        build: { prompt, maxTurns: 7, maxCostUsd: 2 },
        docs: { critical: true },
        compact: { instructions: 'Keep the names of files.', thresholdTokens: 5 },
      },
    });
    const { build, metadata, docs, compact } = defaultDefinition.steps;
    expect(definition).toEqual({
      ...defaultDefinition,
      houseRules: 'Be brief.',
      settingSources: ['project'],
      steps: {
        build: { ...build, prompt, maxTurns: 7, maxCostUsd: 2 },
        metadata,
        docs: { ...docs, critical: true },
        compact: { ...compact, instructions: 'Keep the names of files.', thresholdTokens: 5 },
      },
    });
    const plan = planOf(definition);
    expect(plan.steps.build).toEqual({
      limits: { timeoutMs: build.timeoutMs, maxTurns: 7, maxAttempts: 5, maxCostUsd: 2 },
      critical: true,
    });
    expect(plan.steps.docs.critical).toBe(true);
    expect(plan.compactThresholdTokens).toBe(5);
  });

  it('allows each step what the chain has of the shipped tools, and metadata always its own', () => {
    const { steps } = completeDefinition({ tools: ['Read', 'Write', 'WebFetch'] }).definition;
    expect(steps.build.allowedTools).toEqual(['Read', 'Write', 'WebFetch']);
    expect(steps.metadata.allowedTools).toEqual(['Read', metadataTool]);
    expect(steps.docs.allowedTools).toEqual(['Read', 'Write']);
    const given = completeDefinition({ steps: { metadata: { allowedTools: ['Glob'] } } }).definition;
    expect(given.steps.metadata.allowedTools).toEqual(['Glob', metadataTool]);
  });

  it('takes its model, or else the one of the environment', () => {
    const model = (input: object) => completeDefinition(input, { model: 'claude-b' }).definition.model;
    expect([model({}), model({ model: 'claude-a' })]).toEqual(['claude-b', 'claude-a']);
  });

  it('may allow a step a part of a tool, or a server with one or all of its tools', () => {
    const allowedTools = ['Bash(npm test)', 'mcp__search', 'mcp__search__find', 'mcp__my_db__query'];
    const { definition } = completeDefinition({
      mcpServers: { search: { command: 'search' }, my_db: { type: 'http', url: 'http://localhost:1/mcp' } },
      steps: { build: { allowedTools } },
    });
    expect(definition.steps.build.allowedTools).toEqual(allowedTools);
  });

  it('fills up an activity of the host', () => {
    const { definition } = completeDefinition({
      after: { build: { activity: 'deployVersion', taskQueue: 'deploy', critical: true } },
    });
    expect(planOf(definition).steps.build.after).toEqual({
      activity: 'deployVersion',
      taskQueue: 'deploy',
      startToCloseTimeoutMs: 600_000,
      scheduleToStartTimeoutMs: 600_000,
      maxAttempts: 3,
      critical: true,
    });
  });
});

describe('the schema of the metadata', () => {
  const accepts = (schema: unknown, value: unknown) => {
    const { definition } = completeDefinition({ steps: { metadata: { schema } } });
    return definition.steps.metadata.schema.safeParse(value).success;
  };

  it.each([
    ['zod', z.object({ title: z.string().min(3) })],
    [
      'JSON schema',
      { type: 'object', properties: { title: { type: 'string', minLength: 3 } }, required: ['title'] },
    ],
  ])('may be given as %s', (_form, schema) => {
    expect([
      accepts(schema, { title: 'Shop' }),
      accepts(schema, { title: 'S' }),
      accepts(schema, {}),
    ]).toEqual([true, false, false]);
  });

  it.each([
    ['no object', z.string(), /top level is no object/],
    ['no schema', 'title', /it is neither/],
    ['a transform', z.object({ n: z.string().transform(Number) }), /Transforms cannot be represented/],
    ['JSON schema of another type', { type: 'array' }, /top level is no object/],
    ['JSON schema with a mistake', { type: 'objekt' }, /Unsupported type: objekt/],
  ])('is refused where it is %s', async (_what, schema, reason) => {
    const message = await problemOf({ steps: { metadata: { schema } } });
    expect(message).toMatch(/^steps\.metadata\.schema: must be a zod 4 object or a JSON schema: /);
    expect(message).toMatch(reason);
  });
});

describe('a definition is refused that', () => {
  it.each<[string, unknown, RegExp]>([
    ['is no object', 'build', /^the default export: .*expected object/],
    [
      'names a step that is none',
      { steps: { deploy: {} } },
      /^steps\.deploy: no such step; the steps are build/,
    ],
    ['calls something after no step', { after: { deploy: {} } }, /^after\.deploy: no such step/],
    ['has an unknown field', { modle: 'x' }, /^modle: unknown field/],
    [
      'has a prompt that is a text',
      { steps: { docs: { prompt: 'Write.' } } },
      /^steps\.docs\.prompt: must be a function/,
    ],
    ['has a limit that is none', { steps: { build: { maxTurns: 0 } } }, /^steps\.build\.maxTurns: /],
    [
      'gives the compaction a prompt',
      { steps: { compact: { prompt: () => '' } } },
      /^steps\.compact\.prompt: unknown/,
    ],
    [
      'calls an activity without a queue',
      { after: { build: { activity: 'deploy' } } },
      /^after\.build\.taskQueue: /,
    ],
    [
      'allows a tool that no step has',
      { steps: { docs: { allowedTools: ['Read', 'WebFetch'] } } },
      /^steps\.docs\.allowedTools\[1\]: "WebFetch" is not among tools/,
    ],
    [
      'allows a tool of no server',
      { steps: { docs: { allowedTools: ['mcp__search__find'] } } },
      /^steps\.docs\.allowedTools\[0\]: mcpServers has no server "search"/,
    ],
    [
      'hands in metadata elsewhere',
      { steps: { docs: { allowedTools: [metadataTool] } } },
      /^steps\.docs\.allowedTools\[0\]: .* belongs to the step metadata alone/,
    ],
    [
      'lists a part of a tool',
      { tools: ['Bash(ls)'] },
      /^tools\[0\]: "Bash\(ls\)" must be the name of a built-in/,
    ],
    [
      'takes the name of the own server',
      { mcpServers: { chain: { command: 'x' } } },
      /^mcpServers\.chain: the name is taken/,
    ],
    [
      'names a server so that its tools cannot be told',
      { mcpServers: { a__b: { command: 'x' } } },
      /^mcpServers\.a__b: a name/,
    ],
    [
      'has a server that is nothing',
      { mcpServers: { x: { url: 'http://localhost' } } },
      /^mcpServers\.x: must be a program/,
    ],
    [
      'shares one server between agents',
      { mcpServers: { x: { type: 'sdk', name: 'x', instance: {} } } },
      /^mcpServers\.x: .*serves one agent at a time: give a function/,
    ],
  ])('%s', async (_what, input, reason) => {
    expect(await problemOf(input)).toMatch(reason);
  });

  it.each([
    'tools',
    'disallowedTools',
    'houseRules',
    'systemPrompt',
    'mcpServers',
    'settingSources',
    'outputFormat',
  ])('differs from step to step in %s, for that would break the prompt cache', async (field) => {
    expect(await problemOf({ steps: { docs: { [field]: [] } } })).toMatch(
      new RegExp(`^steps\\.docs\\.${field}: must be the same in every step, .* prompt cache; `),
    );
  });

  it('is wrong in more than one place, which it is told at once', async () => {
    expect(await problemOf({ model: '', tools: 'all', steps: { deploy: {} } })).toMatch(
      /model: must not be empty; tools: .*; steps\.deploy: no such step/,
    );
  });
});

describe('a definition is warned about that', () => {
  const warningsOf = (input: object) => completeDefinition(input).warnings;

  it('gives a step another model, which does not share the prompt cache', () => {
    expect(warningsOf({ model: 'a', steps: { docs: { model: 'b' } } })).toEqual([
      expect.stringMatching(/^steps\.docs\.model: "b" .* do not share the prompt cache/),
    ]);
    expect(warningsOf({ model: 'a', steps: { docs: { model: 'a' } } })).toEqual([]);
  });

  it('lets the model start others, or reads the settings of a user that there is not', () => {
    expect(warningsOf({ tools: ['Task'], settingSources: ['user', 'project', 'local'] })).toEqual([
      expect.stringMatching(/^tools: .*subagents/),
      expect.stringMatching(/^settingSources: "user" reads nothing/),
      expect.stringMatching(/^settingSources: "local" lets a step allow later steps more/),
    ]);
  });
});

describe('the prompt of a step', () => {
  const ask = async (prompt: unknown) => {
    const { definition } = completeDefinition({ steps: { docs: { prompt } } }, { file: '/srv/my.config.ts' });
    return await promptFor(definition, {
      ...newKey(),
      step: 'docs',
      mode: 'update',
      instruction: 'Blue.',
      workspace: '/srv/shop',
    });
  };

  it('is made of what is known of the chain, at once or later', async () => {
    type Context = Parameters<typeof defaultDefinition.steps.docs.prompt>[0];
    const prompt = ({ step, mode, instruction, workspace }: Context) =>
      `${step} ${mode} ${instruction} ${workspace}`;
    expect(await ask(prompt)).toBe('docs update Blue. /srv/shop');
    expect(await ask(async (context: Context) => prompt(context))).toBe('docs update Blue. /srv/shop');
  });

  it('of a compaction carries its instructions', async () => {
    const { definition } = completeDefinition({ steps: { compact: { instructions: 'Keep names.' } } });
    const context = { ...newKey(), mode: 'update', instruction: null, workspace: '/srv/shop' } as const;
    expect(await promptFor(definition, { ...context, step: 'compact' })).toBe('/compact Keep names.');
  });

  it.each<[string, unknown, RegExp]>([
    [
      'throws',
      () => {
        throw new Error('no such template');
      },
      /failed: no such template/,
    ],
    ['rejects', () => Promise.reject(new Error('no such template')), /failed: no such template/],
    ['gives no text', () => undefined, /gave undefined, not a text/],
    ['gives an empty text', () => ' \n', /gave an empty text/],
    [
      'gives a command',
      ({ instruction }: { instruction: string }) => `  /clear ${instruction}`,
      /starts with "\/"/,
    ],
    ['gives a library', () => 'x'.repeat(1_000_001), /more than 1000000 characters/],
  ])('that %s names file, step and reason', async (_how, prompt, reason) => {
    const { code, message } = await failureOf(() => ask(prompt));
    expect(code).toBe('PROMPT_FAILED');
    expect(message).toMatch(/^\/srv\/my\.config\.ts: steps\.docs\.prompt /);
    expect(message).toMatch(reason);
  });
});

describe('the servers of a run', () => {
  it('are there before the first request, and the own one beside them', () => {
    const { definition } = completeDefinition({ mcpServers: { search: { command: 'search' } } });
    expect(serversOf(definition)).toEqual({
      search: { command: 'search', alwaysLoad: true },
      chain: expect.objectContaining({ type: 'sdk', name: 'chain' }),
    });
  });

  it('are made by functions, one for each run; one that throws is named', async () => {
    let made = 0;
    const make = () => ({ type: 'sdk', name: 'db', instance: { number: ++made } });
    const { definition } = completeDefinition({ mcpServers: { db: make } });
    expect([serversOf(definition).db, serversOf(definition).db]).toMatchObject([
      { instance: { number: 1 } },
      { instance: { number: 2 } },
    ]);
    const broken = completeDefinition(
      {
        mcpServers: {
          db: () => {
            throw new Error('no socket');
          },
        },
      },
      { file: '/srv/my.config.ts' },
    ).definition;
    expect(await failureOf(() => serversOf(broken))).toMatchObject({
      code: 'INVALID_CONFIG',
      message: '/srv/my.config.ts: mcpServers.db failed: no socket.',
    });
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
    expect(await load({ 'README.md': '' })).toEqual({ definition: defaultDefinition, warnings: [] });
  });

  it('is TypeScript with modules and packages of its own', async () => {
    const path = newFolder({
      'session-chain.config.ts': `
        import { defineChain, defaultDefinition, type ChainDefinitionInput } from 'session-chain/config';
        import { z } from 'zod';
        import { rules } from './rules.js';
        interface Names { model: string }
        const names: Names = { model: 'claude-a' };
        export default defineChain({
          ...names,
          houseRules: [defaultDefinition.houseRules, rules].join('\\n'),
          steps: { metadata: { schema: z.object({ title: z.string() }) } },
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
    expect(definition.steps.metadata.schema.safeParse({ title: 'Shop' }).success).toBe(true);
    expect(readdirSync(path)).toEqual(before);
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
      `export default { steps: { build: { maxTurns: 'many' } } };\n`,
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
    expect(planOf(definition)).toEqual(planOf(defaultDefinition));
    // As the model is told it; in zod the fields are trimmed, too.
    const { metadata } = defaultDefinition.steps;
    const fields = (schema: z.ZodType) => z.toJSONSchema(schema).properties;
    expect(fields(definition.steps.metadata.schema)).toEqual(fields(metadata.schema));
    definition.steps.metadata.schema = metadata.schema;
    const { workspace, ...key } = { ...newKey(), workspace: '/srv/shop' };
    for (const step of stepNames) {
      for (const mode of chainModes) {
        for (const instruction of [null, ' A shop. ']) {
          const context = { ...key, workspace, step, mode, instruction };
          const [ours, theirs] = await Promise.all(
            [defaultDefinition, definition].map(async (one) =>
              digestOf(one, { step, prompt: await promptFor(one, context), model: undefined }),
            ),
          );
          expect([step, theirs]).toEqual([step, ours]);
        }
      }
    }
  });

  it('gives examples that load', async () => {
    const definitions = examples.filter((example) => example.includes('defineChain'));
    expect(definitions).toHaveLength(3);
    for (const example of definitions) await load(example);
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
  }, 60_000);
});
