import { type MatrixStep, stepNames } from './definition.js';

/**
 * The kill matrix: at each of these moments of each step each of these faults strikes. A cell that cannot exist says why.
 */
export const moments = {
  'before-agent': 'before the agent starts',
  'before-request': 'before the first model request is answered',
  'mid-stream': 'in mid-stream',
  'mid-tool': 'in mid-tool',
  'tool-result-stored': 'after a tool result is stored',
  'final-stored': 'after the final message is stored, before the result arrives',
  'before-commit': 'after the result, before the commit',
  'after-commit': 'after the commit, before the activity completes',
} as const;
export type MomentName = keyof typeof moments;

/** The same for a step that is an activity of the host: its call stands in the place of the agent. */
const momentsOfCall: Partial<Record<MomentName, string>> = {
  'before-agent': 'before its call is journalled',
  'mid-tool': 'while the host works',
  'before-commit': 'after the call, before its end is stored',
  'after-commit': 'after its end is stored, before the activity completes',
};

export const momentNames = Object.keys(moments) as MomentName[];

export const faults = {
  'sigkill-worker': 'SIGKILL the worker',
  'sigkill-agent': 'SIGKILL the agent',
  'sigterm-worker': 'SIGTERM the worker',
  'freeze-worker': 'SIGSTOP the worker past its heartbeat timeout, then SIGCONT',
  'sigkill-temporal': 'SIGKILL Temporal',
  'sigkill-postgres': 'SIGKILL Postgres',
  'stall-postgres': 'stall Postgres',
  'stop-redis': 'stop Redis',
} as const;
export type FaultName = keyof typeof faults;
export const faultNames = Object.keys(faults) as FaultName[];

export interface Cell {
  moment: MomentName;
  step: MatrixStep;
  fault: FaultName;
}

const without = {
  compact: {
    'mid-tool': 'a compaction uses no tools',
    'tool-result-stored': 'a compaction uses no tools',
  },
  deploy: {
    'before-request': 'an activity of the host asks no model',
    'mid-stream': 'an activity of the host asks no model',
    'tool-result-stored': 'an activity of the host has no transcript',
    'final-stored': 'an activity of the host has no transcript',
  },
  'sigkill-agent': {
    'before-agent': 'there is no agent yet',
    'before-commit': 'the agent has ended: a run returns only when it is dead',
    'after-commit': 'the agent has ended: a run returns only when it is dead',
  },
} as const satisfies Partial<Record<MatrixStep | FaultName, Partial<Record<MomentName, string>>>>;

/** Why a cell cannot exist; null for one that can. */
export function notApplicable({ moment, step, fault }: Cell): string | null {
  const reasons: Partial<Record<string, Partial<Record<MomentName, string>>>> = without;
  if (step === 'deploy' && fault === 'sigkill-agent') return 'an activity of the host has no agent';
  return reasons[step]?.[moment] ?? reasons[fault]?.[moment] ?? null;
}

/** The whole table, row by row. */
export function allCells(): Cell[] {
  return faultNames.flatMap((fault) =>
    stepNames.flatMap((step) => momentNames.map((moment) => ({ moment, step, fault }))),
  );
}

export function nameOf({ moment, step, fault }: Cell): string {
  const when = (step === 'deploy' ? momentsOfCall[moment] : undefined) ?? moments[moment];
  return `${step}: ${faults[fault]} ${when}`;
}

/**
 * A spread over all steps, moments and faults that is short enough for every run of the tests; three lanes that take one cell
 * each in turn take about as long.
 */
export const sample: Cell[] = [
  { moment: 'before-commit', step: 'build', fault: 'sigkill-worker' },
  { moment: 'mid-tool', step: 'build', fault: 'freeze-worker' },
  { moment: 'tool-result-stored', step: 'test', fault: 'sigterm-worker' },
  { moment: 'before-agent', step: 'compact', fault: 'stop-redis' },
  { moment: 'mid-stream', step: 'compact', fault: 'sigkill-agent' },
  { moment: 'after-commit', step: 'metadata', fault: 'stall-postgres' },
  { moment: 'before-request', step: 'docs', fault: 'sigkill-temporal' },
  { moment: 'final-stored', step: 'review', fault: 'sigkill-postgres' },
  { moment: 'mid-tool', step: 'deploy', fault: 'sigkill-worker' },
];
