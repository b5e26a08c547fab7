import { describe, expect, it } from '@jest/globals';
import { SessionChainError } from '../../contracts/failures.js';
import { type ChainOverrides, type StepPlan, payloadVersion } from '../../contracts/plan.js';
import type { StepName } from '../../contracts/steps.js';
import { checkDefinition } from '../../definition/check.js';
import type { ChainDefinition, ChainDefinitionInput, StepInput } from '../../definition/definition.js';
import { stepOfDigest } from '../../definition/digest.js';
import { chainModel, resolvePlan } from '../../definition/resolve-plan.js';
import { shippedDefinition } from '../../definition/shipped.js';

const define = (input: ChainDefinitionInput): ChainDefinition => checkDefinition(input).definition;

function stepOf(steps: readonly StepPlan[], name: StepName): StepPlan {
  const step = steps.find((one) => one.name === name);
  if (!step) throw new Error(`The plan has no step ${name}.`);
  return step;
}

/** A step of the plan that runs Claude Code. */
function agentStep(definition: ChainDefinition, name: StepName, ...overrides: ChainOverrides[]) {
  const step = stepOf(resolvePlan(definition, overrides).plan.steps, name);
  if (step.kind === 'activity') throw new Error(`The step ${name} is an activity.`);
  return step;
}

function refusalOf(run: () => unknown): SessionChainError {
  try {
    run();
  } catch (error) {
    if (error instanceof SessionChainError) return error;
    throw error;
  }
  throw new Error('It was expected to be refused.');
}

const deploy = {
  name: 'deploy',
  kind: 'activity',
  role: 'deploy',
  activity: 'deployVersion',
  taskQueue: 'host',
} as const;

describe('the plan of a chain', () => {
  it('has the steps of the definition, in their order, with all that decides how they run', () => {
    const digest = expect.stringMatching(/^[0-9a-f]{64}$/);
    const minutes = 60_000;
    const { plan, reset } = resolvePlan(shippedDefinition, []);
    expect(plan).toEqual({
      version: payloadVersion,
      budget: {},
      steps: [
        {
          purpose: 'Builds what the instruction asks for',
          ...{ name: 'build', kind: 'work', role: 'build', critical: true, model: 'default', digest },
          limits: { timeoutMs: 60 * minutes, maxTurns: 200, maxAttempts: 5 },
        },
        {
          purpose: 'Describes the project in a few fields',
          ...{ name: 'metadata', kind: 'submission', critical: false, model: 'default', digest },
          limits: { timeoutMs: 15 * minutes, maxTurns: 50, maxAttempts: 5 },
        },
        {
          purpose: 'Brings the documentation up to date',
          ...{ name: 'docs', kind: 'work', critical: false, model: 'default', digest },
          limits: { timeoutMs: 15 * minutes, maxTurns: 50, maxAttempts: 5 },
        },
        {
          purpose: 'Replaces the context by a summary',
          ...{ name: 'compact', kind: 'compaction', critical: false, model: 'default', digest },
          limits: { timeoutMs: 15 * minutes, maxTurns: 50, maxAttempts: 5 },
          thresholdTokens: 20_000,
        },
      ],
    });
    expect(reset).toEqual({ operations: 20, contextTokens: 150_000 });
    expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
  });

  it('has an activity of the host as the definition has it', () => {
    const definition = define({ steps: ['build', { ...deploy, heartbeatTimeoutMs: 5_000 }, 'docs'] });
    const overrides = { model: 'claude-z', compactThresholdTokens: 5 };
    expect(stepOf(resolvePlan(definition, [overrides]).plan.steps, 'deploy')).toEqual({
      ...deploy,
      ...{ critical: false, maxAttempts: 3, heartbeatTimeoutMs: 5_000 },
      ...{ startToCloseTimeoutMs: 600_000, scheduleToStartTimeoutMs: 600_000 },
    });
  });

  it('says that a definition deploys by a step, also without that step', () => {
    const definition = define({ steps: ['build', { ...deploy, role: 'deploy' }] });
    expect(resolvePlan(definition, [], ['build']).plan).toMatchObject({ deploys: true });
    expect(resolvePlan(shippedDefinition, []).plan).not.toHaveProperty('deploys');
  });

  it('of a subset keeps the order of the definition', () => {
    const definition = define({ steps: ['build', deploy, 'metadata', 'docs', 'compact'] });
    const namesOf = (only: StepName[] | null) =>
      resolvePlan(definition, [], only).plan.steps.map(({ name }) => name);
    expect(namesOf(['docs', 'deploy', 'build'])).toEqual(['build', 'deploy', 'docs']);
    expect(namesOf(['compact', 'compact'])).toEqual(['compact']);
    expect(namesOf(null)).toEqual(['build', 'deploy', 'metadata', 'docs', 'compact']);
  });

  it('of a subset has the same digests: a step is what it is', () => {
    const all = resolvePlan(shippedDefinition, []).plan.steps;
    const some = resolvePlan(shippedDefinition, [], ['docs']).plan.steps;
    expect(some).toEqual([all[2]]);
  });

  it('is refused for a step that the definition does not have, which is named with those that it has', () => {
    const named = refusalOf(() => resolvePlan(shippedDefinition, [], ['build', 'test', 'review']));
    expect(named).toMatchObject({
      code: 'INVALID_INPUT',
      message:
        'The chain has no step test, review; the shipped definition has build, metadata, docs, compact.',
    });
    const { definition } = checkDefinition({ steps: ['build'] }, { file: '/srv/my.config.ts' });
    const limited = refusalOf(() => resolvePlan(definition, [{}, { limits: { docs: { maxTurns: 3 } } }]));
    expect(limited).toMatchObject({
      code: 'INVALID_INPUT',
      message: 'The chain has no step docs; /srv/my.config.ts has build.',
    });
    const activity = define({ steps: ['build', deploy] });
    expect(
      refusalOf(() => resolvePlan(activity, [{ limits: { deploy: { maxAttempts: 3 } } }])),
    ).toMatchObject({
      code: 'INVALID_INPUT',
      message: 'The step deploy is an activity of the host, which a start gives no limits.',
    });
  });

  it('takes limits of a step that this chain leaves out', () => {
    const overrides = [{ limits: { docs: { maxTurns: 3 } } }];
    expect(resolvePlan(shippedDefinition, overrides, ['build']).plan.steps).toHaveLength(1);
  });
});

describe('what a start says', () => {
  it('counts before the definition, field by field, and the later before the earlier', () => {
    const definition = define({ steps: [{ name: 'build', maxTurns: 90, maxCostUsd: 4 }, 'docs'] });
    const overrides: ChainOverrides[] = [
      { limits: { build: { maxTurns: 9, timeoutMs: 5_000 }, docs: { maxAttempts: 1 } } },
      {},
      { limits: { build: { maxTurns: 7 } } },
    ];
    expect(agentStep(definition, 'build', ...overrides).limits).toEqual({
      timeoutMs: 5_000,
      maxTurns: 7,
      maxCostUsd: 4,
      maxAttempts: 5,
    });
    expect(agentStep(definition, 'docs', ...overrides).limits).toEqual({
      timeoutMs: 900_000,
      maxTurns: 50,
      maxAttempts: 1,
    });
    expect(agentStep(definition, 'build').limits).toMatchObject({ maxTurns: 90, maxCostUsd: 4 });
  });

  it('of a model counts before the step, and the step before the chain; it is always in the plan', () => {
    const steps: StepInput[] = [
      { name: 'build' },
      { name: 'docs', model: 'claude-step' },
      { name: 'compact' },
    ];
    const models = (definition: ChainDefinition, ...overrides: ChainOverrides[]) =>
      ['build', 'docs', 'compact'].map((name) => agentStep(definition, name, ...overrides).model);
    expect(models(define({ steps }))).toEqual(['default', 'claude-step', 'default']);
    const chain = define({ model: 'claude-chain', steps });
    expect(models(chain)).toEqual(['claude-chain', 'claude-step', 'claude-chain']);
    const [first, last] = [{ model: 'claude-first' }, { model: 'claude-last' }];
    expect(models(chain, first)).toEqual(['claude-first', 'claude-first', 'claude-first']);
    expect(models(chain, first, last, {})).toEqual(['claude-last', 'claude-last', 'claude-last']);
    expect([chainModel(chain), chainModel(shippedDefinition)]).toEqual(['claude-chain', 'default']);
  });

  it('of the threshold counts for compactions alone', () => {
    const definition = define({
      steps: ['build', { name: 'shorten', kind: 'compaction', thresholdTokens: 7 }, 'compact'],
    });
    const thresholds = (...overrides: ChainOverrides[]) =>
      ['build', 'shorten', 'compact'].map(
        (name) => agentStep(definition, name, ...overrides).thresholdTokens,
      );
    expect(thresholds()).toEqual([undefined, 7, 20_000]);
    expect(thresholds({ compactThresholdTokens: 100 }, { compactThresholdTokens: 0 })).toEqual([
      undefined,
      0,
      0,
    ]);
  });

  it('of the budget and of the reset is put together field by field', () => {
    const definition = define({ reset: { operations: 3 } });
    const { plan, reset } = resolvePlan(definition, [
      { budget: { maxCostUsd: 1, maxTurns: 5 }, reset: { contextTokens: 9, operations: 8 } },
      { budget: { maxTurns: 9 } },
      { reset: { operations: 0 } },
    ]);
    expect(plan.budget).toEqual({ maxCostUsd: 1, maxTurns: 9 });
    expect(reset).toEqual({ operations: 0, contextTokens: 9 });
    expect(resolvePlan(definition, []).reset).toEqual({ operations: 3, contextTokens: 150_000 });
  });

  it('is taken in without being changed, as is the definition', () => {
    const overrides: ChainOverrides[] = [
      { limits: { build: { maxTurns: 1 } }, budget: { maxTurns: 2 }, reset: { operations: 3 } },
      { limits: { build: { maxTurns: 4 } }, budget: { maxTurns: 5 }, reset: { operations: 6 } },
    ];
    const before = JSON.stringify([overrides, shippedDefinition]);
    resolvePlan(shippedDefinition, overrides);
    expect(JSON.stringify([overrides, shippedDefinition])).toBe(before);
  });
});

describe('the digest of a step', () => {
  const prompt = () => 'Write docs.';
  const review = (properties: object) =>
    ({
      name: 'review',
      kind: 'submission',
      prompt,
      schema: { type: 'object', properties },
      column: 'ai_review',
    }) as const;
  /** House rules of its own: the default ones name the steps. */
  const chain = { houseRules: 'Be brief.' };
  const plain: ChainDefinitionInput = {
    ...chain,
    steps: ['build', review({ risk: { type: 'string' } }), { name: 'docs', prompt }, 'compact'],
  };
  const digest = (input: ChainDefinitionInput, name = 'docs') => agentStep(define(input), name).digest;
  /** The plain chain with one of its steps in place of the one of its name. */
  const withStep = (step: StepInput): ChainDefinitionInput => ({
    ...plain,
    steps: (plain.steps ?? []).map((one) => (typeof one !== 'string' && one.name === step.name ? step : one)),
  });
  const docs = (change: object) => withStep({ name: 'docs', prompt, ...change });

  it.each<[string, ChainDefinitionInput]>([
    ['its prompt', docs({ prompt: () => 'Write more.' })],
    ['what it may use', docs({ allowedTools: ['Read', 'Write'] })],
    ['the files that it should write', docs({ writes: ['HANDBOOK.md'] })],
    ['the tools of the chain', { ...plain, tools: [...shippedDefinition.tools, 'WebFetch'] }],
    ['the house rules', { ...plain, houseRules: 'Be long.' }],
    ['CLAUDE.md', { ...plain, claudeMd: true }],
    ['the servers', { ...plain, mcpServers: { search: { command: 'search' } } }],
    ['the schema of any submission', withStep(review({ risk: { type: 'number' } }))],
    ['a submission more', { ...plain, steps: [...(plain.steps ?? []), 'metadata'] }],
  ])('changes with %s', (_what, input) => {
    expect(digest(input)).not.toBe(digest(plain));
  });

  it('changes with the role of work, the column of a submission and the instructions of a compaction', () => {
    const makes = (role: object) =>
      digest(
        { ...chain, steps: [{ name: 'make', kind: 'work', prompt, allowedTools: [], ...role }] },
        'make',
      );
    expect(makes({ role: 'build' })).not.toBe(makes({}));
    const elsewhere = withStep({ ...review({ risk: { type: 'string' } }), column: 'ai_risk' });
    expect(digest(elsewhere, 'review')).not.toBe(digest(plain, 'review'));
    const kept = { ...plain, steps: [{ name: 'compact', instructions: 'Keep names.' }] };
    expect(digest(kept, 'compact')).not.toBe(digest({ ...kept, steps: ['compact'] }, 'compact'));
  });

  it('changes with name and kind', () => {
    const steps: StepInput[] = [
      { name: 'one', kind: 'compaction' },
      { name: 'two', kind: 'compaction' },
    ];
    expect(digest({ ...chain, steps }, 'one')).not.toBe(digest({ ...chain, steps }, 'two'));
    const digests = resolvePlan(define(plain), []).plan.steps.map((step) => 'digest' in step && step.digest);
    expect(new Set(digests).size).toBe(digests.length);
  });

  it.each<[string, ChainDefinitionInput]>([
    ['its limits', docs({ timeoutMs: 5_000, maxTurns: 3, maxCostUsd: 1, maxAttempts: 1 })],
    ['its model', docs({ model: 'claude-a' })],
    ['the model of the chain', { ...plain, model: 'claude-a' }],
    ['what its failure means', docs({ critical: true })],
    ['when a build starts afresh', { ...plain, reset: { operations: 1 } }],
    [
      'the prompt of another step',
      withStep({ ...review({ risk: { type: 'string' } }), prompt: () => 'Look.' }),
    ],
    ['an activity of the host', { ...plain, steps: [...(plain.steps ?? []), deploy] }],
    ['the order of the steps', { ...plain, steps: [...(plain.steps ?? [])].reverse() }],
  ])('does not change with %s', (_what, input) => {
    expect(digest(input)).toBe(digest(plain));
  });

  it('does not change with what a start says, nor with the threshold of a compaction', () => {
    const overrides = { limits: { docs: { maxTurns: 1 } }, model: 'claude-a', compactThresholdTokens: 1 };
    for (const name of ['docs', 'compact']) {
      expect(agentStep(define(plain), name, overrides).digest).toBe(digest(plain, name));
    }
    const lower = { ...plain, steps: [{ name: 'compact', thresholdTokens: 1 }] };
    expect(digest(lower, 'compact')).toBe(digest({ ...lower, steps: ['compact'] }, 'compact'));
  });

  it('finds the step in the definition that it was planned with, and in no other', () => {
    const definition = define(plain);
    const planned = { name: 'docs', digest: digest(plain) };
    expect(stepOfDigest(definition, planned)).toBe(definition.steps[2]);
    expect(stepOfDigest(define(docs({ maxTurns: 1 })), planned)).toMatchObject({ maxTurns: 1 });
    expect(stepOfDigest(define(docs({ prompt: () => 'Write more.' })), planned)).toBeUndefined();
    expect(stepOfDigest(define({ steps: ['build', deploy] }), planned)).toBeUndefined();
    expect(stepOfDigest(definition, { ...planned, name: 'build' })).toBeUndefined();
  });
});
