import { type MatrixStep, stepNames } from './definition.js';

/**
 * The kill matrix: at each of these moments of each step each of these faults strikes, where processes go on with the next
 * step and where each step starts its own. A cell that cannot exist says why.
 */
export const modes = {
  warm: 'processes go on with the next step',
  cold: 'each step starts its own process',
} as const;
export type Mode = keyof typeof modes;
export const modeNames = Object.keys(modes) as Mode[];

export const moments = {
  parked: 'while the process of the step before waits',
  'before-agent': 'before the agent starts',
  'not-copied': 'after it began in a process that waited, before anything of it is stored',
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
  mode: Mode;
  moment: MomentName;
  step: MatrixStep;
  fault: FaultName;
}

/** The steps of a cell's chain that run Claude Code, around the step itself. */
function neighboursOf(step: MatrixStep): { before: MatrixStep | undefined; after: MatrixStep | undefined } {
  const agents = stepNames.filter((name) => name !== 'deploy' || name === step);
  const at = agents.indexOf(step);
  return { before: agents[at - 1], after: agents[at + 1] };
}

/**
 * The steps of a cell's chain: the step alone; and where processes go on, one from whose process it does, or, from the moment at
 * which its own process waits, one that goes on from it.
 */
export function chainOf({ mode, moment, step }: Cell): MatrixStep[] {
  if (mode === 'cold') return [step];
  const { before, after } = neighboursOf(step);
  // The process waits while the host works.
  if (step === 'deploy') return [before, step, after].filter((name) => name !== undefined);
  if (after && (!before || isAtCommit(moment))) return [step, after];
  return before ? [before, step] : [step];
}

function isAtCommit(moment: MomentName): boolean {
  return moment === 'before-commit' || moment === 'after-commit';
}

const without = {
  build: {
    parked: 'no step comes before it',
    'not-copied': 'no step comes before it',
  },
  compact: {
    'mid-tool': 'a compaction uses no tools',
    'tool-result-stored': 'a compaction uses no tools',
  },
  deploy: {
    parked: 'it needs no process',
    'not-copied': 'it needs no process',
    'before-request': 'an activity of the host asks no model',
    'mid-stream': 'an activity of the host asks no model',
    'tool-result-stored': 'an activity of the host has no transcript',
    'final-stored': 'an activity of the host has no transcript',
  },
} as const satisfies Partial<Record<MatrixStep, Partial<Record<MomentName, string>>>>;

/** Why a cell cannot exist; null for one that can. */
export function notApplicable(cell: Cell): string | null {
  const { mode, moment, step, fault } = cell;
  const reasons: Partial<Record<MatrixStep, Partial<Record<MomentName, string>>>> = without;
  if (mode === 'cold' && (moment === 'parked' || moment === 'not-copied')) return 'no process waits';
  const reason = reasons[step]?.[moment];
  if (reason !== undefined) return reason;
  return fault === 'sigkill-agent' ? whyNoAgent(cell) : null;
}

function whyNoAgent(cell: Cell): string | null {
  const { mode, moment, step } = cell;
  if (step === 'deploy') return 'an activity of the host has no agent';
  if (moment === 'before-agent' && (mode === 'cold' || step === 'build')) return 'there is no agent yet';
  // Where another step follows, it waits.
  if (isAtCommit(moment) && chainOf(cell).at(-1) === step) return 'the agent has ended';
  return null;
}

/** The whole table, row by row. */
export function allCells(): Cell[] {
  return modeNames.flatMap((mode) =>
    faultNames.flatMap((fault) =>
      stepNames.flatMap((step) => momentNames.map((moment) => ({ mode, moment, step, fault }))),
    ),
  );
}

export function nameOf({ mode, moment, step, fault }: Cell): string {
  const when = (step === 'deploy' ? momentsOfCall[moment] : undefined) ?? moments[moment];
  return `${mode} ${step}: ${faults[fault]} ${when}`;
}

/**
 * A spread over all steps, moments and faults that is short enough for every run of the tests; three lanes that take one cell
 * each in turn take about as long.
 */
export const sample: Cell[] = [
  { mode: 'warm', moment: 'before-commit', step: 'build', fault: 'sigkill-worker' },
  { mode: 'cold', moment: 'mid-tool', step: 'build', fault: 'freeze-worker' },
  { mode: 'warm', moment: 'tool-result-stored', step: 'test', fault: 'sigterm-worker' },
  { mode: 'cold', moment: 'before-agent', step: 'compact', fault: 'stop-redis' },
  { mode: 'warm', moment: 'mid-stream', step: 'compact', fault: 'sigkill-agent' },
  { mode: 'warm', moment: 'parked', step: 'metadata', fault: 'sigkill-agent' },
  { mode: 'cold', moment: 'after-commit', step: 'metadata', fault: 'stall-postgres' },
  { mode: 'cold', moment: 'before-request', step: 'docs', fault: 'sigkill-temporal' },
  { mode: 'warm', moment: 'not-copied', step: 'docs', fault: 'sigkill-worker' },
  { mode: 'cold', moment: 'final-stored', step: 'review', fault: 'sigkill-postgres' },
  { mode: 'cold', moment: 'mid-tool', step: 'deploy', fault: 'sigkill-worker' },
];
