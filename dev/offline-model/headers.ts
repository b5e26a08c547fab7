import type { IncomingHttpHeaders } from 'node:http';
import { stepNames, type ChainMode, type StepName } from '../../contracts/steps.js';

/** What the agent is working on, as its custom headers say it; wording never decides. */
export interface StepHint {
  /** Undefined for plain use, which is played as a free prompt. */
  step: StepName | 'chat' | undefined;
  mode: ChainMode;
  /** `none` plays the scripted app, `free` makes a small change that follows the prompt. */
  instruction: 'free' | 'none';
}

/** The request headers that carry a {@link StepHint}; send them with ANTHROPIC_CUSTOM_HEADERS. */
const stepHeaderNames = {
  step: 'x-session-chain-step',
  mode: 'x-session-chain-mode',
  instruction: 'x-session-chain-instruction',
} as const;

/** The hint as the value of ANTHROPIC_CUSTOM_HEADERS: one `name: value` a line. */
export function stepHeaderLines(hint: Required<StepHint>): string {
  return [
    ...(hint.step ? [`${stepHeaderNames.step}: ${hint.step}`] : []),
    `${stepHeaderNames.mode}: ${hint.mode}`,
    `${stepHeaderNames.instruction}: ${hint.instruction}`,
  ].join('\n');
}

/** Reads the hint of a request. Throws a RangeError that names the header whose value is not known. */
export function readStepHint(headers: IncomingHttpHeaders): StepHint {
  const step = readHeader(headers, stepHeaderNames.step, [...stepNames, 'chat'] as const);
  const mode = readHeader(headers, stepHeaderNames.mode, ['initial', 'update'] as const);
  const instruction = readHeader(headers, stepHeaderNames.instruction, ['free', 'none'] as const);
  return { step, mode: mode ?? 'update', instruction: instruction ?? (step ? 'none' : 'free') };
}

function readHeader<Value extends string>(
  headers: IncomingHttpHeaders,
  name: string,
  known: readonly Value[],
): Value | undefined {
  const value = headers[name];
  if (value === undefined) return undefined;
  const match = known.find((candidate) => candidate === value);
  if (match) return match;
  throw new RangeError(`${name}: ${JSON.stringify(value)} is not one of ${known.join(', ')}.`);
}
