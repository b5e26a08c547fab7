import { z } from 'zod';
import { defaultDefinition } from './shipped.js';
import type {
  AfterActivityInput,
  ChainDefinition,
  ChainDefinitionInput,
  JsonSchema,
  MetadataSchema,
  PromptedStep,
} from './definition.js';
import { SessionChainError } from '../contracts/failures.js';
import { metadataServerName, metadataTool } from './metadata.js';
import type { AfterActivity } from '../contracts/plan.js';
import { type StepName, stepNames } from '../contracts/steps.js';

export interface CompletedDefinition {
  definition: ChainDefinition;
  /** What works and is not what one would want: most of it costs the prompt cache. */
  warnings: string[];
}

/**
 * Checks what a person wrote and fills it up from the shipped definition. Throws INVALID_CONFIG that names every field
 * that is wrong, and for what would break the prompt cache the reason.
 */
export function completeDefinition(
  input: unknown,
  { file = null, model }: { file?: string | null; model?: string | undefined } = {},
): CompletedDefinition {
  const parsed = definitionSchema.safeParse(input);
  if (!parsed.success) throw invalid(parsed.error.issues.flatMap(problemsOf));
  const definition = merge(parsed.data as ChainDefinitionInput, file, model);
  const problems = [...troubleWithTools(definition), ...troubleWithServers(definition)];
  if (problems.length > 0) throw invalid(problems);
  return { definition, warnings: warningsOf(definition) };
}

function invalid(problems: string[]): SessionChainError {
  return new SessionChainError('INVALID_CONFIG', `${problems.join('; ')}.`);
}

const text = z.string().refine((value) => value.trim() !== '', 'must not be empty');
const durationMs = z.number().int().min(1_000);
const functionOf = <Type>(what: string) =>
  z.custom<Type>((value) => typeof value === 'function', `must be a function ${what}`);

const limits = {
  timeoutMs: durationMs.optional(),
  maxTurns: z.number().int().min(1).optional(),
  maxCostUsd: z.number().positive().optional(),
  maxAttempts: z.number().int().min(1).optional(),
};
const step = {
  ...limits,
  prompt: functionOf('that returns the text of the message').optional(),
  allowedTools: z.array(text).optional(),
  model: text.optional(),
  critical: z.boolean().optional(),
};
const mcpServer = z.union(
  [
    functionOf('that makes a server'),
    z.strictObject({
      type: z.literal('stdio').optional(),
      command: text,
      args: z.array(z.string()).optional(),
      env: z.record(z.string(), z.string()).optional(),
      timeout: durationMs.optional(),
    }),
    z.strictObject({
      type: z.enum(['http', 'sse']),
      url: z.url(),
      headers: z.record(z.string(), z.string()).optional(),
      timeout: durationMs.optional(),
    }),
  ],
  {
    error: ({ input }) =>
      hasType(input, 'sdk')
        ? 'is a server inside the worker, and one such server serves one agent at a time: give a function that makes it'
        : 'must be a program ({ command, args, env }), an address ({ type, url, headers }) or a function that makes a server',
  },
);
const afterActivity = z.strictObject({
  activity: text,
  taskQueue: text,
  startToCloseTimeoutMs: durationMs.optional(),
  scheduleToStartTimeoutMs: durationMs.optional(),
  heartbeatTimeoutMs: durationMs.optional(),
  maxAttempts: z.number().int().min(1).optional(),
  critical: z.boolean().optional(),
});

const definitionSchema = z.strictObject({
  model: text.optional(),
  tools: z.array(text).optional(),
  houseRules: z.string().optional(),
  settingSources: z.array(z.enum(['user', 'project', 'local'])).optional(),
  mcpServers: z.record(z.string(), mcpServer).optional(),
  steps: z
    .strictObject({
      build: z.strictObject(step).optional(),
      metadata: z
        .strictObject({ ...step, schema: z.unknown().transform(metadataSchemaOf).optional() })
        .optional(),
      docs: z.strictObject(step).optional(),
      compact: z
        .strictObject({
          timeoutMs: limits.timeoutMs,
          maxCostUsd: limits.maxCostUsd,
          maxAttempts: limits.maxAttempts,
          instructions: text.optional(),
          thresholdTokens: z.number().int().min(0).optional(),
          critical: z.boolean().optional(),
        })
        .optional(),
    })
    .optional(),
  reset: z
    .strictObject({
      operations: z.number().int().min(0).optional(),
      contextTokens: z.number().int().min(0).optional(),
    })
    .optional(),
  after: z
    .strictObject(Object.fromEntries(stepNames.map((name) => [name, afterActivity.optional()])))
    .optional(),
});

function hasType(value: unknown, type: string): boolean {
  return typeof value === 'object' && value !== null && 'type' in value && value.type === type;
}

/** A zod object as it is, a JSON schema as a zod object. The field's own issue says what is wrong with it. */
function metadataSchemaOf(value: unknown, context: z.RefinementCtx): MetadataSchema | undefined {
  if (value === undefined) return undefined;
  try {
    if (typeof value !== 'object' || value === null) throw new Error('it is neither.');
    const schema = '_zod' in value ? (value as z.ZodType) : z.fromJSONSchema(value as JsonSchema);
    // The model is told the schema in this form; a transform has none.
    z.toJSONSchema(schema);
    if (schema._zod.def.type === 'object') return schema as MetadataSchema;
    throw new Error('its top level is no object with properties.');
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    context.addIssue({ code: 'custom', message: `must be a zod 4 object or a JSON schema: ${why}` });
    return z.NEVER;
  }
}

/** What belongs to the whole chain, and what a step that differs in it costs. */
const ofTheChain: Readonly<Record<string, string>> = {
  tools: 'use allowedTools of the step',
  disallowedTools: 'use allowedTools of the step',
  mcpServers: 'use allowedTools of the step',
  houseRules: 'what one step needs belongs in its prompt',
  systemPrompt: 'what one step needs belongs in its prompt, what all need in houseRules',
  settingSources: 'set it for the chain',
  outputFormat: 'use steps.metadata.schema',
};

function problemsOf(issue: z.core.$ZodIssue): string[] {
  if (issue.code !== 'unrecognized_keys') return [`${pathOf(issue.path)}: ${issue.message}`];
  const where = issue.path.map(String);
  return issue.keys.map((key) => {
    const path = pathOf([...issue.path, key]);
    if (where[0] === 'steps' && where.length === 1) {
      return `${path}: no such step; the steps are ${stepNames.join(', ')}, and activities of your own go in after`;
    }
    if (where[0] === 'after' && where.length === 1) {
      return `${path}: no such step; the steps are ${stepNames.join(', ')}`;
    }
    const instead = where[0] === 'steps' ? ofTheChain[key] : undefined;
    if (instead !== undefined) {
      return `${path}: must be the same in every step, for a step that differs in it reads nothing from the prompt cache; ${instead}`;
    }
    return `${path}: unknown field`;
  });
}

function pathOf(path: readonly PropertyKey[]): string {
  return (
    path
      .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
      .join('')
      .replace(/^\./, '') || 'the default export'
  );
}

function merge(
  input: ChainDefinitionInput,
  file: string | null,
  modelByDefault: string | undefined,
): ChainDefinition {
  const { tools = defaultDefinition.tools, steps = {}, reset = {}, after = {}, ...whole } = input;
  const model = whole.model ?? modelByDefault;
  const merged = <Name extends PromptedStep>(name: Name): ChainDefinition['steps'][Name] => {
    const shipped: ChainDefinition['steps'][Name] = defaultDefinition.steps[name];
    const given: Partial<ChainDefinition['steps'][PromptedStep]> = withoutUndefined(steps[name] ?? {});
    return { ...shipped, ...given, allowedTools: allowedToolsOf(name, given.allowedTools, tools) };
  };
  return {
    ...defaultDefinition,
    ...withoutUndefined(whole),
    ...(model === undefined ? {} : { model }),
    file,
    tools,
    steps: {
      build: merged('build'),
      metadata: merged('metadata'),
      docs: merged('docs'),
      compact: { ...defaultDefinition.steps.compact, ...withoutUndefined(steps.compact ?? {}) },
    },
    reset: { ...defaultDefinition.reset, ...withoutUndefined(reset) },
    after: Object.fromEntries(
      stepNames.flatMap((name) => {
        const activity = after[name];
        return activity ? [[name, completeAfter(activity)]] : [];
      }),
    ),
  };
}

/** As given; else as shipped, as far as the chain has these tools, which a build may use all of. */
function allowedToolsOf(
  name: PromptedStep,
  given: readonly string[] | undefined,
  tools: readonly string[],
): readonly string[] {
  const shipped =
    name === 'build'
      ? tools
      : defaultDefinition.steps[name].allowedTools.filter((tool) => tools.includes(tool));
  const allowed = given ?? shipped;
  return name === 'metadata' && !allowed.includes(metadataTool) ? [...allowed, metadataTool] : allowed;
}

const minutes = 60_000;

function completeAfter(input: AfterActivityInput): AfterActivity {
  return {
    startToCloseTimeoutMs: 10 * minutes,
    scheduleToStartTimeoutMs: 10 * minutes,
    maxAttempts: 3,
    critical: false,
    ...withoutUndefined(input),
  };
}

function troubleWithTools({ tools, mcpServers, steps }: ChainDefinition): string[] {
  const servers = new Set(Object.keys(mcpServers));
  const listed = tools.flatMap((tool, index) =>
    /^\w+$/.test(tool) && !tool.startsWith('mcp__')
      ? []
      : [
          `tools[${index}]: "${tool}" must be the name of a built-in tool; tools of a server come with the server`,
        ],
  );
  const allowed = (['build', 'metadata', 'docs'] as const).flatMap((name) =>
    steps[name].allowedTools.flatMap((tool, index) => {
      const path = `steps.${name}.allowedTools[${index}]`;
      if (tool === metadataTool) {
        return name === 'metadata' ? [] : [`${path}: "${tool}" belongs to the step metadata alone`];
      }
      const [, server] = /^mcp__(.+?)(?:__|$)/.exec(tool) ?? [];
      if (server !== undefined) {
        return servers.has(server) ? [] : [`${path}: mcpServers has no server "${server}"`];
      }
      const builtIn = tool.replace(/\(.*$/s, '');
      return tools.includes(builtIn) ? [] : [`${path}: "${builtIn}" is not among tools`];
    }),
  );
  return [...listed, ...allowed];
}

function troubleWithServers({ mcpServers }: ChainDefinition): string[] {
  return Object.keys(mcpServers).flatMap((name) => {
    if (name === metadataServerName) return [`mcpServers.${name}: the name is taken by the chain itself`];
    return /^[A-Za-z0-9-]+(_[A-Za-z0-9-]+)*$/.test(name)
      ? []
      : [`mcpServers.${name}: a name is made of letters, digits, - and single _`];
  });
}

function warningsOf({ model, tools, settingSources, steps }: ChainDefinition): string[] {
  const ofModels = (['build', 'metadata', 'docs'] as const).flatMap((name: StepName & PromptedStep) => {
    const own = steps[name].model;
    return own === undefined || own === model
      ? []
      : [
          `steps.${name}.model: "${own}" is not the chain's model (${model ?? "Claude Code's own"}), and models do not share the prompt cache: the step, and the one after it, pay for the whole context.`,
        ];
  });
  const ofAgents = tools.some((tool) => tool === 'Task' || tool === 'Agent')
    ? [
        'tools: the transcripts of subagents are not copied into the session of the next step, which knows their replies only.',
      ]
    : [];
  const ofSources = [
    ...(settingSources.includes('user')
      ? ['settingSources: "user" reads nothing, for every run has an empty home of its own.']
      : []),
    ...(settingSources.includes('local')
      ? [
          'settingSources: "local" lets a step allow later steps more than their allowedTools, by writing .claude/settings.local.json.',
        ]
      : []),
  ];
  return [...ofModels, ...ofAgents, ...ofSources];
}

/** What is given as undefined is left out, as if it had not been named. */
function withoutUndefined<Value extends object>(value: Value): Value {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as Value;
}
