import type { ChainBudget, StepLimits } from '../contracts/limits.js';
import { SessionChainError } from '../contracts/failures.js';
import type { ResetPolicy } from '../contracts/origin.js';
import { type ChainOverrides, type ChainPlan, type StepPlan, payloadVersion } from '../contracts/plan.js';
import type { StepName } from '../contracts/steps.js';
import {
  type AgentStepDefinition,
  type ChainDefinition,
  type StepDefinition,
  isAgentStep,
} from './definition.js';
import { stepDigest } from './digest.js';

export interface ResolvedPlan {
  plan: ChainPlan;
  reset: ResetPolicy;
}

/**
 * The one place that resolves limits, models, thresholds, budget and reset of a chain: field by field from the start,
 * else from the step, else from the chain. `only` names a subset of the steps. Throws INVALID_INPUT for a step that the
 * definition does not have.
 */
export function resolvePlan(
  definition: ChainDefinition,
  overrides: readonly ChainOverrides[],
  only: readonly StepName[] | null = null,
): ResolvedPlan {
  const limits: Record<StepName, Partial<StepLimits>> = {};
  for (const [name, given] of overrides.flatMap((one) => Object.entries(one.limits ?? {}))) {
    limits[name] = { ...limits[name], ...given };
  }
  requireSteps(definition, definition.steps, only ?? []);
  requireSteps(definition, definition.steps, Object.keys(limits));
  const activity = definition.steps.find((step) => !isAgentStep(step) && limits[step.name]);
  if (activity) {
    throw new SessionChainError(
      'INVALID_INPUT',
      `The step ${activity.name} is an activity of the host, which a start gives no limits.`,
      `Set them where the step is defined: ${definition.file ?? 'the shipped definition'}.`,
    );
  }
  const named = <Field extends keyof ChainOverrides>(field: Field) =>
    overrides.map((one) => one[field]).findLast((value) => value !== undefined);
  const steps = definition.steps
    .filter(({ name }) => only === null || only.includes(name))
    .map((step) =>
      planned(definition, step, limits[step.name] ?? {}, named('model'), named('compactThresholdTokens')),
    );
  return {
    plan: {
      version: payloadVersion,
      steps,
      ...(definition.steps.some((step) => 'role' in step && step.role === 'deploy') ? { deploys: true } : {}),
      budget: Object.assign({}, ...overrides.map(({ budget }) => budget)) as ChainBudget,
    },
    reset: { ...definition.reset, ...(Object.assign({}, ...overrides.map(({ reset }) => reset)) as object) },
  };
}

// Claude Code does not count a compaction as a turn.
const compactionTurns = 50;

function planned(
  definition: ChainDefinition,
  step: StepDefinition,
  override: Partial<StepLimits>,
  model: string | undefined,
  thresholdTokens: number | undefined,
): StepPlan {
  const { name, purpose, critical } = step;
  if (step.kind === 'activity') return step;
  return {
    name,
    ...(purpose === undefined ? {} : { purpose }),
    kind: step.kind,
    critical,
    ...(step.kind === 'work' && step.role ? { role: step.role } : {}),
    limits: { ...limitsOf(step), ...override },
    model: model ?? (step.kind === 'compaction' ? undefined : step.model) ?? chainModel(definition),
    ...(step.kind === 'compaction' ? { thresholdTokens: thresholdTokens ?? step.thresholdTokens } : {}),
    digest: stepDigest(definition, step),
  };
}

/**
 * The model of a step that names none. Always set: a fork without a model continues with the one that its base last
 * used. `default` is Claude Code's name for its own choice.
 */
export function chainModel({ model = 'default' }: Pick<ChainDefinition, 'model'>): string {
  return model;
}

function limitsOf(step: AgentStepDefinition): StepLimits {
  const { timeoutMs, maxCostUsd, maxAttempts } = step;
  const maxTurns = step.kind === 'compaction' ? compactionTurns : step.maxTurns;
  return { timeoutMs, maxTurns, maxAttempts, ...(maxCostUsd === undefined ? {} : { maxCostUsd }) };
}

function requireSteps(
  { file }: ChainDefinition,
  steps: readonly StepDefinition[],
  names: readonly StepName[],
): void {
  const unknown = names.filter((name) => !steps.some((step) => step.name === name));
  if (unknown.length === 0) return;
  throw new SessionChainError(
    'INVALID_INPUT',
    `The chain has no step ${unknown.join(', ')}; ${file ?? 'the shipped definition'} has ${steps.map(({ name }) => name).join(', ')}.`,
    'Name steps of the definition that the workers have loaded.',
  );
}
