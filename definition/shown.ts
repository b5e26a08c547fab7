import type { AgentStepPlan, HostActivity } from '../contracts/plan.js';
import { withoutCredentials } from '../contracts/secrets.js';
import type { ShownDefinition, ShownStep } from '../contracts/workers.js';
import type { ActivityStep, AgentStepDefinition, ChainDefinition, StepDefinition } from './definition.js';
import { digest } from './digest.js';
import { chainModel, resolvePlan } from './resolve-plan.js';

/**
 * A definition as it may be shown and stored: of prompts and house rules nothing but a size, of servers the names. Texts lose what
 * looks like a credential, such as one in `Bash(curl https://user:password@…)`. `digest` is the same for workers whose chains are
 * the same, prompts and house rules included.
 */
export function showDefinition(
  definition: ChainDefinition,
  onEnd: HostActivity | null = definition.onEnd,
): { shown: ShownDefinition; digest: string } {
  const { tools, houseRules, claudeMd, mcpServers, reset } = definition;
  const { plan } = resolvePlan(definition, []);
  const shown: ShownDefinition = {
    model: chainModel(definition),
    tools: tools.map(withoutCredentials),
    houseRulesCharacters: houseRules.length,
    claudeMd,
    mcpServers: Object.keys(mcpServers).sort(),
    steps: definition.steps.map((step) =>
      step.kind === 'activity'
        ? shownActivity(step)
        : shownAgentStep(step, plan.steps.find(({ name }) => name === step.name) as AgentStepPlan),
    ),
    reset: { operations: reset.operations, contextTokens: reset.contextTokens },
    onEnd: onEnd && { activity: onEnd.activity, taskQueue: onEnd.taskQueue },
  };
  return { shown, digest: digest({ plan, model: definition.model ?? null, houseRules, reset, onEnd }) };
}

function shownAgentStep(step: AgentStepDefinition, { limits, model }: AgentStepPlan): ShownStep {
  return {
    ...common(step),
    role: step.kind === 'work' ? (step.role ?? null) : null,
    model,
    allowedTools: step.kind === 'compaction' ? [] : step.allowedTools.map(withoutCredentials),
    timeoutMs: limits.timeoutMs,
    maxTurns: step.kind === 'compaction' ? null : limits.maxTurns,
    maxCostUsd: limits.maxCostUsd ?? null,
    maxAttempts: limits.maxAttempts,
    writes: step.kind === 'work' ? [...(step.writes ?? [])] : [],
    column: step.kind === 'submission' ? (step.column ?? null) : null,
    thresholdTokens: step.kind === 'compaction' ? step.thresholdTokens : null,
    activity: null,
    taskQueue: null,
  };
}

function shownActivity(step: ActivityStep): ShownStep {
  return {
    ...common(step),
    role: step.role ?? null,
    model: null,
    allowedTools: [],
    timeoutMs: step.startToCloseTimeoutMs,
    maxTurns: null,
    maxCostUsd: null,
    maxAttempts: step.maxAttempts,
    writes: [],
    column: null,
    thresholdTokens: null,
    activity: step.activity,
    taskQueue: step.taskQueue,
  };
}

function common({ name, purpose, kind, critical }: StepDefinition) {
  const said = purpose === undefined ? null : withoutCredentials(purpose);
  return { name, purpose: said, kind, critical };
}
