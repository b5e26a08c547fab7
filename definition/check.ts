import { z } from 'zod';
import { sandboxSchema } from '../config/sandbox.js';
import { SessionChainError } from '../contracts/failures.js';
import type { HostActivity } from '../contracts/plan.js';
import { reservedNames, stepNamePattern } from '../contracts/steps.js';
import { unstorable } from '../contracts/text.js';
import {
  type ChainDefinition,
  type ChainDefinitionInput,
  type JsonSchema,
  type StepDefinition,
  type StepInput,
  type SubmissionSchema,
  isAgentStep,
  subagentTool,
} from './definition.js';
import { hostActivityShape, onEndSchema } from './host-activity.js';
import { houseRulesFor, shippedDefinition } from './shipped.js';
import { submissionServerName, submissionTool } from './submission.js';

export interface CheckedDefinition {
  definition: ChainDefinition;
  /** Settings that work and may be unintended: most of them lose the prompt cache. */
  warnings: string[];
}

/**
 * Checks what a person wrote and completes it from the shipped definition. Throws INVALID_CONFIG that names every
 * wrong field, and gives the reason where the prompt cache would be lost.
 */
export function checkDefinition(
  input: unknown,
  { file = null, model }: { file?: string | null; model?: string | undefined } = {},
): CheckedDefinition {
  const parsed = definitionSchema.safeParse(input);
  if (!parsed.success) throw invalid(parsed.error.issues.flatMap((issue) => problemsOf(issue, '')));
  const {
    steps: listed,
    onEnd = null,
    ...whole
  } = parsed.data as Omit<ChainDefinitionInput, 'onEnd'> & { onEnd?: HostActivity };
  const tools = whole.tools ?? shippedDefinition.tools;
  const problems: string[] = [];
  const steps = (listed ?? shippedDefinition.steps.map(({ name }) => name)).flatMap((step, index) => {
    const checked = checkStep(step, index, tools);
    if (Array.isArray(checked)) problems.push(...checked);
    return Array.isArray(checked) ? [] : [checked];
  });
  const definition = { ...complete(whole, steps, file, model), onEnd };
  problems.push(
    ...troubleWithNames(listed ?? []),
    ...troubleWithRoles(steps),
    ...troubleWithColumns(steps),
    ...troubleWithTools(definition),
    ...troubleWithServers(definition),
  );
  if (problems.length > 0) throw invalid(problems);
  if (!steps.some(isAgentStep)) throw invalid(['steps: none of them runs Claude Code']);
  return { definition, warnings: warningsOf(definition) };
}

function invalid(problems: string[]): SessionChainError {
  return new SessionChainError('INVALID_CONFIG', `${problems.join('; ')}.`);
}

// A program argument cannot hold these, and the name of a model is stored.
const anyText = z.string().refine((value) => unstorable(value) === null, {
  error: ({ input }) => `must not hold ${unstorable(String(input))}`,
});
const text = anyText.refine((value) => value.trim() !== '', 'must not be empty');
/** Claude Code accepts the older name of a tool and uses the newer one from then on. */
const toolName = text.transform((tool) => tool.replace(/^Task(?=$|\()/, subagentTool));
const durationMs = z.number().int().min(1_000);
const functionOf = <Type>(what: string) =>
  z.custom<Type>((value) => typeof value === 'function', `must be a function ${what}`);

const mcpServer = z.union(
  [
    functionOf('that makes a server'),
    z.strictObject({
      type: z.literal('stdio').optional(),
      command: text,
      args: z.array(anyText).optional(),
      env: z.record(anyText, anyText).optional(),
      timeout: durationMs.optional(),
    }),
    z.strictObject({
      type: z.enum(['http', 'sse']),
      url: z.url(),
      headers: z.record(anyText, anyText).optional(),
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
const definitionSchema = z.strictObject({
  model: text.optional(),
  tools: z.array(toolName).optional(),
  houseRules: anyText.optional(),
  claudeMd: z.boolean().optional(),
  mcpServers: z.record(z.string(), mcpServer).optional(),
  steps: z
    .array(
      z.union([z.string(), z.looseObject({})], { error: 'must be the name of a shipped step or an object' }),
      {
        error: 'must be a list of steps, in their order',
      },
    )
    .min(1, 'must have a step')
    .optional(),
  reset: z
    .strictObject({
      operations: z.number().int().min(0).optional(),
      contextTokens: z.number().int().min(0).optional(),
    })
    .optional(),
  sandbox: sandboxSchema.optional(),
  onEnd: onEndSchema.optional(),
});

const named = {
  name: text,
  purpose: text.regex(/^.{1,200}$/, 'must be one line of 200 characters at most').optional(),
  critical: z.boolean().optional(),
};
const limits = {
  timeoutMs: durationMs.optional(),
  maxCostUsd: z.number().positive().optional(),
  maxAttempts: z.number().int().min(1).optional(),
};
const prompted = {
  ...named,
  ...limits,
  maxTurns: z.number().int().min(1).optional(),
  prompt: functionOf('that returns the text of the message').optional(),
  allowedTools: z.array(toolName).optional(),
  model: text.optional(),
};
const stepSchemas = {
  work: z.strictObject({
    ...prompted,
    kind: z.literal('work'),
    role: z.literal('build').optional(),
    writes: z.array(text).optional(),
  }),
  submission: z.strictObject({
    ...prompted,
    kind: z.literal('submission'),
    schema: z.unknown().transform(submissionSchemaOf).optional(),
    column: z
      .string()
      .regex(/^[a-z_][a-z0-9_]{0,62}$/, 'must be the name of a column')
      .optional(),
  }),
  compaction: z.strictObject({
    ...named,
    ...limits,
    kind: z.literal('compaction'),
    instructions: text.optional(),
    thresholdTokens: z.number().int().min(0).optional(),
  }),
  activity: z.strictObject({
    ...named,
    kind: z.literal('activity'),
    role: z.literal('deploy').optional(),
    ...hostActivityShape,
  }),
};

function hasType(value: unknown, type: string): boolean {
  return typeof value === 'object' && value !== null && 'type' in value && value.type === type;
}

/**
 * A completed step: from the shipped one of its name, else from the defaults of its kind; or what is wrong with it.
 */
function checkStep(
  listed: StepInput | string,
  index: number,
  tools: readonly string[],
): StepDefinition | string[] {
  const given: Record<string, unknown> =
    typeof listed === 'string' ? { name: listed } : { ...withoutUndefined(listed) };
  const { name } = given;
  const where = typeof name === 'string' && name !== '' ? `steps.${name}` : `steps[${index}]`;
  const shipped = shippedDefinition.steps.find((step) => step.name === name);
  const kind = given['kind'] ?? shipped?.kind;
  if (kind === undefined) {
    return typeof listed === 'string'
      ? [
          `${where}: no such shipped step (${shippedDefinition.steps.map((step) => step.name).join(', ')}); a step of your own is an object with name, kind and prompt`,
        ]
      : [`${where}.kind: must be one of ${Object.keys(stepSchemas).join(', ')}`];
  }
  if (!isKind(kind)) {
    return [
      `${where}.kind: ${JSON.stringify(kind)} is unknown; the kinds are ${Object.keys(stepSchemas).join(', ')}`,
    ];
  }
  const parsed = stepSchemas[kind].safeParse({ ...given, kind });
  if (!parsed.success) return parsed.error.issues.flatMap((issue) => problemsOf(issue, where));
  const own = withoutUndefined(parsed.data) as Partial<StepDefinition>;
  const base = shipped?.kind === kind ? shipped : undefined;
  const step = {
    ...(base ?? defaultsOf(kind, 'role' in own && own.role === 'build')),
    ...own,
  } as StepDefinition;
  if (step.kind === 'work' || step.kind === 'submission') {
    if (typeof step.prompt !== 'function') return [`${where}.prompt: a step of your own needs one`];
    step.allowedTools = allowedToolsOf(step, (own as typeof step).allowedTools, base, tools);
  }
  return step.kind === 'submission' && !('schema' in step)
    ? [`${where}.schema: a submission needs the shape of its value`]
    : step;
}

function isKind(kind: unknown): kind is keyof typeof stepSchemas {
  return typeof kind === 'string' && Object.hasOwn(stepSchemas, kind);
}

const minutes = 60_000;

/** The defaults of a host's own step. */
function defaultsOf(kind: keyof typeof stepSchemas, isBuild: boolean): object {
  switch (kind) {
    case 'work':
    case 'submission':
      return {
        critical: isBuild,
        timeoutMs: (isBuild ? 60 : 15) * minutes,
        maxTurns: isBuild ? 200 : 50,
        maxAttempts: 5,
      };
    case 'compaction':
      return { critical: false, timeoutMs: 15 * minutes, maxAttempts: 5, thresholdTokens: 20_000 };
    case 'activity':
      return {
        critical: false,
        startToCloseTimeoutMs: 10 * minutes,
        scheduleToStartTimeoutMs: 10 * minutes,
        maxAttempts: 3,
      };
  }
}

/**
 * As given; else as shipped, or what the kind needs, as far as the chain has these tools. A build may use all of them,
 * a submission always its own tool.
 */
function allowedToolsOf(
  step: Extract<StepDefinition, { prompt: unknown }>,
  given: readonly string[] | undefined,
  shipped: StepDefinition | undefined,
  tools: readonly string[],
): readonly string[] {
  const own = step.kind === 'submission' ? [submissionTool(step.name)] : [];
  const byDefault = shipped && 'allowedTools' in shipped ? shipped.allowedTools : toolsByDefault[step.kind];
  const isBuild = step.kind === 'work' && step.role === 'build';
  const allowed = given ?? (isBuild ? tools : byDefault.filter((tool) => tools.includes(tool)));
  return [...allowed, ...own.filter((tool) => !allowed.includes(tool))];
}

const toolsByDefault = {
  work: ['Edit', 'Glob', 'Grep', 'Read', 'Write'],
  submission: ['Glob', 'Grep', 'Read'],
};

/** A zod object as it is, a JSON schema as a zod object. The field's own issue says what is wrong with it. */
function submissionSchemaOf(value: unknown, context: z.RefinementCtx): SubmissionSchema | undefined {
  if (value === undefined) return undefined;
  try {
    if (typeof value !== 'object' || value === null) throw new Error('it is neither');
    const schema = '_zod' in value ? (value as z.ZodType) : z.fromJSONSchema(value as JsonSchema);
    // The model gets the schema in this form, which a transform does not have.
    z.toJSONSchema(schema);
    if (schema._zod.def.type === 'object') return schema as SubmissionSchema;
    throw new Error('its top level is not an object with properties');
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    context.addIssue({
      code: 'custom',
      message: `must be a zod 4 object or a JSON schema: ${why.replace(/\.$/, '')}`,
    });
    return z.NEVER;
  }
}

/** Fields that belong to the whole chain, and what to use in a step instead. */
const ofTheChain: Readonly<Record<string, string>> = {
  tools: 'use allowedTools of the step',
  disallowedTools: 'use allowedTools of the step',
  mcpServers: 'use allowedTools of the step',
  houseRules: 'what one step needs belongs in its prompt',
  systemPrompt: 'what one step needs belongs in its prompt, what all need in houseRules',
  claudeMd: 'set it for the chain',
  outputFormat: 'make it a step of the kind submission',
};

function problemsOf(issue: z.core.$ZodIssue, where: string): string[] {
  if (issue.code !== 'unrecognized_keys') return [`${pathOf(where, issue.path)}: ${issue.message}`];
  return issue.keys.map((key) => {
    const path = pathOf(where, [...issue.path, key]);
    const instead = where.startsWith('steps') && Object.hasOwn(ofTheChain, key) ? ofTheChain[key] : undefined;
    if (instead !== undefined) {
      return `${path}: must be the same in every step, because a step that differs in it reads nothing from the prompt cache; ${instead}`;
    }
    if (path === 'settingSources') {
      return `${path}: settings of the workspace have no effect, because whatever writes them would decide where requests go and what runs; claudeMd: true makes Claude Code read CLAUDE.md`;
    }
    return `${path}: unknown field`;
  });
}

function pathOf(where: string, path: readonly PropertyKey[]): string {
  const way = path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`)).join('');
  return `${where}${way}`.replace(/^\./, '') || 'the default export';
}

function complete(
  whole: Omit<ChainDefinitionInput, 'steps' | 'onEnd'>,
  steps: StepDefinition[],
  file: string | null,
  modelByDefault: string | undefined,
): Omit<ChainDefinition, 'onEnd'> {
  const { reset = {}, ...given } = whole;
  const model = given.model ?? modelByDefault;
  return {
    ...shippedDefinition,
    houseRules: houseRulesFor(steps),
    ...withoutUndefined(given),
    ...(model === undefined ? {} : { model }),
    file,
    steps,
    reset: { ...shippedDefinition.reset, ...withoutUndefined(reset) },
  };
}

function troubleWithNames(listed: NonNullable<ChainDefinitionInput['steps']>): string[] {
  const names = listed.map((step) => (typeof step === 'string' ? step : step.name));
  return names.flatMap((name, index) => {
    if (typeof name !== 'string' || name === '') return [];
    if (!stepNamePattern.test(name)) {
      return [
        `steps.${name}: a name is a lower-case letter, then letters, digits and _, 40 characters at most`,
      ];
    }
    if (reservedNames.includes(name)) {
      return [`steps.${name}: the name is reserved (${reservedNames.join(', ')})`];
    }
    return names.indexOf(name) < index ? [`steps.${name}: the name is used twice`] : [];
  });
}

function troubleWithRoles(steps: readonly StepDefinition[]): string[] {
  const having = (role: 'build' | 'deploy') => steps.filter((step) => 'role' in step && step.role === role);
  const twice = (['build', 'deploy'] as const).flatMap((role) => {
    const [first, second] = having(role);
    return first && second
      ? [`steps.${second.name}.role: only one step has the role ${role}, and ${first.name} has it`]
      : [];
  });
  const [[build], [deploy]] = [having('build'), having('deploy')];
  return build && deploy && steps.indexOf(deploy) < steps.indexOf(build)
    ? [...twice, `steps.${deploy.name}.role: a deploy step comes after the build, the step ${build.name}`]
    : twice;
}

function troubleWithColumns(steps: readonly StepDefinition[]): string[] {
  const writing = steps.flatMap((step) =>
    step.kind === 'submission' && step.column !== undefined ? [{ name: step.name, column: step.column }] : [],
  );
  return writing.flatMap(({ name, column }, index) => {
    const first = writing.findIndex((one) => one.column === column);
    return first < index
      ? [`steps.${name}.column: the step ${writing[first]?.name ?? ''} writes to ${column} already`]
      : [];
  });
}

/** The tools that a pattern can allow in part; see isAllowed in agent/allowed-tools.ts. */
const patternExamples: ReadonlyMap<string, string> = new Map([
  ['Bash', 'Bash(npm test)'],
  [subagentTool, `${subagentTool}(Explore)`],
]);

function troubleWithTools({ tools, mcpServers, steps }: ChainDefinition): string[] {
  const servers = new Set(Object.keys(mcpServers));
  const listed = tools.flatMap((tool, index) =>
    /^\w+$/.test(tool) && !tool.startsWith('mcp__')
      ? []
      : [
          `tools[${index}]: "${tool}" must be the name of a built-in tool; tools of a server come with the server`,
        ],
  );
  const submissions = new Map(
    steps.filter(({ kind }) => kind === 'submission').map(({ name }) => [submissionTool(name), name]),
  );
  const allowed = steps.flatMap((step) =>
    ('allowedTools' in step ? step.allowedTools : []).flatMap((tool, index) => {
      const path = `steps.${step.name}.allowedTools[${index}]`;
      const owner = submissions.get(tool);
      if (owner !== undefined) {
        return owner === step.name ? [] : [`${path}: "${tool}" belongs to the step ${owner} alone`];
      }
      if (!/^[^()]+(\(.*\))?$/s.test(tool)) {
        return [`${path}: "${tool}" is not a tool; one with a pattern is written as Bash(npm test)`];
      }
      const [, name = tool, pattern] = /^([^(]+)\((.*)\)$/s.exec(tool) ?? [];
      const example = patternExamples.get(name);
      if (pattern !== undefined && example === undefined) {
        return [
          `${path}: "${tool}" would have no effect, because a pattern limits only ${[...patternExamples.keys()].join(' and ')}; list ${name} without one, or leave it out`,
        ];
      }
      if (pattern?.trim() === '') {
        return [
          `${path}: "${tool}" names nothing; write ${name} for all, or a pattern as in ${example ?? ''}`,
        ];
      }
      const [, server] = /^mcp__(.+?)(?:__|$)/.exec(tool) ?? [];
      if (server !== undefined) {
        return servers.has(server) ? [] : [`${path}: mcpServers has no server "${server}"`];
      }
      return tools.includes(name) ? [] : [`${path}: "${name}" is not among tools`];
    }),
  );
  return [...listed, ...allowed];
}

function troubleWithServers({ mcpServers }: ChainDefinition): string[] {
  return Object.keys(mcpServers).flatMap((name) => {
    if (name === submissionServerName) return [`mcpServers.${name}: the name is taken by the chain itself`];
    return /^[A-Za-z0-9-]+(_[A-Za-z0-9-]+)*$/.test(name)
      ? []
      : [`mcpServers.${name}: a name is made of letters, digits, - and single _`];
  });
}

function warningsOf({ model, tools, steps }: ChainDefinition): string[] {
  const ofModels = steps.filter(isAgentStep).flatMap((step) => {
    const own = 'model' in step ? step.model : undefined;
    return own === undefined || own === model
      ? []
      : [
          `steps.${step.name}.model: "${own}" is not the chain's model (${model ?? "Claude Code's own"}), and models do not share the prompt cache: the step, and the one after it, pay for the whole context.`,
        ];
  });
  const ofAgents = tools.includes(subagentTool)
    ? [
        'tools: the transcripts of subagents are not copied into the session of the next step, which knows only their replies.',
      ]
    : [];
  return [...ofModels, ...ofAgents];
}

/** A field given as undefined is left out, as if it had not been named. */
function withoutUndefined<Value extends object>(value: Value): Value {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as Value;
}
