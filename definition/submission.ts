import type { StepName } from '../contracts/steps.js';

/** The in-process server through which the model submits values. */
export const submissionServerName = 'chain';

/** The tool of a submission step, as its server knows it. */
export function submissionToolName(step: StepName): string {
  return `submit_${step}`;
}

/** The same tool, as the model knows it. */
export function submissionTool(step: StepName): string {
  return `mcp__${submissionServerName}__${submissionToolName(step)}`;
}
