import { type StepName, stepNames } from '../../contracts/steps.js';

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
  step: StepName;
  fault: FaultName;
}

const without = {
  compact: {
    'mid-tool': 'a compaction uses no tools',
    'tool-result-stored': 'a compaction uses no tools',
  },
  'sigkill-agent': {
    'before-agent': 'there is no agent yet',
    'before-commit': 'the agent has ended: a run returns only when it is dead',
    'after-commit': 'the agent has ended: a run returns only when it is dead',
  },
} as const satisfies Partial<Record<StepName | FaultName, Partial<Record<MomentName, string>>>>;

/** Why a cell cannot exist; null for one that can. */
export function notApplicable({ moment, step, fault }: Cell): string | null {
  const reasons: Partial<Record<string, Partial<Record<MomentName, string>>>> = without;
  return reasons[step]?.[moment] ?? reasons[fault]?.[moment] ?? null;
}

/** The whole table, row by row. */
export function allCells(): Cell[] {
  return faultNames.flatMap((fault) =>
    stepNames.flatMap((step) => momentNames.map((moment) => ({ moment, step, fault }))),
  );
}

export function nameOf({ moment, step, fault }: Cell): string {
  return `${step}: ${faults[fault]} ${moments[moment]}`;
}

/** A spread over all moments, steps and faults that is short enough for every run of the tests. */
export const sample: Cell[] = [
  { moment: 'before-commit', step: 'build', fault: 'sigkill-worker' },
  { moment: 'mid-stream', step: 'compact', fault: 'sigkill-agent' },
  { moment: 'tool-result-stored', step: 'docs', fault: 'sigterm-worker' },
  { moment: 'mid-tool', step: 'build', fault: 'freeze-worker' },
  { moment: 'before-request', step: 'docs', fault: 'sigkill-temporal' },
  { moment: 'final-stored', step: 'build', fault: 'sigkill-postgres' },
  { moment: 'after-commit', step: 'metadata', fault: 'stall-postgres' },
  { moment: 'before-agent', step: 'compact', fault: 'stop-redis' },
];
