import type { IncomingHttpHeaders } from 'node:http';
import {
  agentStepKinds,
  chainModes,
  stepNamePattern,
  type AgentTaskKind,
  type ChainMode,
} from '../../contracts/steps.js';

/** What the agent is working on, according to its custom headers; the wording of a prompt never decides. */
export interface StepHint {
  /** The name of a step, `chat_plan` for a question; undefined for plain use, which is played as a free prompt. */
  step: string | undefined;
  /** What the step is, whatever its name. */
  kind: AgentTaskKind | undefined;
  /** `build` in the step that builds the app. */
  role: 'build' | undefined;
  mode: ChainMode;
  /** `none` plays the scripted app, `free` makes a small change that follows the prompt. */
  instruction: 'free' | 'none';
}

/** The request headers that carry a {@link StepHint}; send them with ANTHROPIC_CUSTOM_HEADERS. */
const stepHeaderNames = {
  step: 'x-session-chain-step',
  kind: 'x-session-chain-kind',
  role: 'x-session-chain-role',
  mode: 'x-session-chain-mode',
  instruction: 'x-session-chain-instruction',
} as const satisfies Record<keyof StepHint, string>;

/** The hint as the value of ANTHROPIC_CUSTOM_HEADERS: one `name: value` a line. */
export function stepHeaderLines(hint: StepHint): string {
  return (['step', 'kind', 'role', 'mode', 'instruction'] as const)
    .flatMap((field) => (hint[field] === undefined ? [] : [`${stepHeaderNames[field]}: ${hint[field]}`]))
    .join('\n');
}

/**
 * Reads the hint of a request; for a step without a kind, the kind follows from its name. Throws a
 * RangeError that names the header whose value is not known.
 */
export function readStepHint(headers: IncomingHttpHeaders): StepHint {
  const step = readStepName(headers);
  const kind = readHeader(headers, stepHeaderNames.kind, [...agentStepKinds, 'question'] as const);
  const role = readHeader(headers, stepHeaderNames.role, ['build'] as const);
  const mode = readHeader(headers, stepHeaderNames.mode, chainModes);
  const instruction = readHeader(headers, stepHeaderNames.instruction, ['free', 'none'] as const);
  return {
    ...(kind === undefined && step !== undefined ? meaningOf(step) : { kind, role: undefined }),
    ...(role && { role }),
    step,
    mode: mode ?? 'update',
    instruction: instruction ?? (step ? 'none' : 'free'),
  };
}

/** The session that the request belongs to, where the process that sends it goes by the id of an earlier one. */
export function readSession(headers: IncomingHttpHeaders): string | undefined {
  const value = headers['x-session-chain-session'];
  return typeof value === 'string' ? value : undefined;
}

/** The id by which Claude Code marks the requests of a subagent; undefined for those of the agent itself. */
export function readSubagent(headers: IncomingHttpHeaders): string | undefined {
  const value = headers['x-claude-code-agent-id'];
  return typeof value === 'string' ? value : undefined;
}

/** So that a single header is enough in manual use. */
function meaningOf(step: string): Pick<StepHint, 'kind' | 'role'> {
  switch (step) {
    case 'build':
      return { kind: 'work', role: 'build' };
    case 'metadata':
      return { kind: 'submission', role: undefined };
    case 'compact':
      return { kind: 'compaction', role: undefined };
    case 'chat':
    case 'chat_plan':
      return { kind: 'question', role: undefined };
    default:
      return { kind: 'work', role: undefined };
  }
}

function readStepName(headers: IncomingHttpHeaders): string | undefined {
  const value = headers[stepHeaderNames.step];
  if (value === undefined || (typeof value === 'string' && stepNamePattern.test(value))) return value;
  throw new RangeError(
    `${stepHeaderNames.step}: ${JSON.stringify(value)} does not match ${stepNamePattern.source}.`,
  );
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
