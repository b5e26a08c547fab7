import type { ChainState, StepState } from '../contracts/chain.js';
import { cacheShare } from '../contracts/usage.js';

/** The chain as markdown, for the details that Temporal's Web UI shows of a running workflow. */
export function chainDetails(state: ChainState): string {
  return [
    `**${state.status}** · head ${code(state.head.sessionId)} · base ${code(state.baseSessionId)}`,
    ...(state.resumedFrom === undefined ? [] : [`\n${state.resumedFrom}`]),
    ...(state.line ? [`\n⏳ Place ${state.line.place} in line, behind ${code(state.line.waitsFor)}.`] : []),
    '',
    '| step | status | old session | new session | turns | from the cache | cost |',
    '|---|---|---|---|---:|---:|---:|',
    ...state.steps.map(stepRow),
    ...state.steps.flatMap(({ step, status, reason }) =>
      status === 'waiting' && reason ? [`\n⏳ ${step}: ${reason}`] : [],
    ),
    ...state.steps.flatMap(({ step, after }) =>
      after?.status === 'running'
        ? [`\n⏳ ${step}: ${after.activity} on the task queue ${code(after.taskQueue)}`]
        : [],
    ),
    ...state.warnings.map((warning) => `\n⚠ ${warning}`),
    ...(state.failure
      ? [`\n**${state.failure.code}**: ${state.failure.message} ${state.failure.remedy}`]
      : []),
  ].join('\n');
}

function stepRow(step: StepState): string {
  return `| ${step.step} | ${step.status} | ${code(step.oldSessionId)} | ${code(step.newSessionId)} | ${step.turns} | ${cacheShare(step.usage)} | $${step.costUsd.toFixed(4)} |`;
}

function code(sessionId: string | null): string {
  return sessionId ? `\`${sessionId}\`` : 'none';
}
