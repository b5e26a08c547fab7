import type { ChainState, StepState } from '../contracts/chain.js';
import { cacheShare } from '../contracts/usage.js';

/** The chain as markdown, for the details that Temporal's Web UI shows of a running workflow. */
export function chainDetails(state: ChainState): string {
  return [
    `**${state.status}** · head ${code(state.head.sessionId)} · base ${code(state.baseSessionId)}`,
    ...(state.resumedFrom === undefined ? [] : [`\n${state.resumedFrom}`]),
    ...(state.queue
      ? [`\n⏳ Position ${state.queue.position} in the queue, behind ${code(state.queue.waitsFor)}.`]
      : []),
    '',
    '| step | status | old session | new session | turns | from the cache | cost |',
    '|---|---|---|---|---:|---:|---:|',
    ...state.steps.map(stepRow),
    ...state.steps.flatMap(({ step, status, reason }) =>
      status === 'waiting' && reason ? [`\n⏳ ${step}: ${reason}`] : [],
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
