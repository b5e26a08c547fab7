import { table } from '../cli/format.js';

/** A figure that was measured several times. */
export interface Spread {
  median: number;
  min: number;
  max: number;
  runs: number;
}

export type Unit =
  | 'ms'
  | 'kB'
  | 'kTok'
  | 'ct'
  | '%'
  | 'events'
  | 'x'
  | '/s'
  | 'MB'
  | 'streams'
  | 'connections'
  | 'sessions'
  | 'processes';

/** One line of the report. Two figures that are compared were measured alternately, in the same minutes. */
export interface Row {
  part: string;
  name: string;
  unit: Unit;
  figure: Spread;
  /** What it is compared with. */
  peer: ({ name: string } & Spread) | null;
  /** Figure divided by peer, or the reverse; the row's name says which. */
  ratio: number | null;
  /** Where figure and peer were measured in rounds: lowest and highest ratio of a round; `ratio` is the median of these. */
  ratioRange: { min: number; max: number } | null;
  goal: { text: string; met: boolean } | null;
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const [min, max] = [sorted[0], sorted.at(-1)];
  if (min === undefined || max === undefined) throw new Error('A figure needs at least one run.');
  const middle = (sorted.length - 1) / 2;
  const median = ((sorted[Math.floor(middle)] ?? min) + (sorted[Math.ceil(middle)] ?? max)) / 2;
  return { median, min, max, runs: sorted.length };
}

/** A row from measured values. `goal` looks at the ratio where there is a peer, else at the median, unless it says otherwise. */
export function row(measured: {
  part: string;
  name: string;
  unit: Unit;
  values: readonly number[];
  peer?: { name: string; values: readonly number[] };
  /** One value of each side per round, in the same order: the ratio is that of each round, then the median. */
  inRounds?: boolean;
  /** Default: figure divided by peer. */
  ratioOf?: 'figure/peer' | 'peer/figure';
  goal?: { text: string; met: (value: number) => boolean; of?: 'figure' };
}): Row {
  const { part, name, unit, values, ratioOf = 'figure/peer', goal } = measured;
  const figure = spreadOf(values);
  const peer = measured.peer ? { name: measured.peer.name, ...spreadOf(measured.peer.values) } : null;
  const ratioBetween = (one: number, other: number) =>
    ratioOf === 'figure/peer' ? one / other : other / one;
  const ofRounds =
    measured.inRounds && measured.peer
      ? spreadOf(measured.peer.values.map((other, round) => ratioBetween(values[round] ?? Number.NaN, other)))
      : null;
  const quotient = ofRounds?.median ?? (peer === null ? null : ratioBetween(figure.median, peer.median));
  // By a peer of 0 there is none.
  const ratio = quotient !== null && Number.isFinite(quotient) ? quotient : null;
  return {
    part,
    name,
    unit,
    figure,
    peer,
    ratio,
    ratioRange: ofRounds && ofRounds.runs > 1 ? { min: ofRounds.min, max: ofRounds.max } : null,
    goal: goal
      ? { text: goal.text, met: goal.met(goal.of === 'figure' ? figure.median : (ratio ?? figure.median)) }
      : null,
  };
}

/** The rows for a reader: medians, with the lowest and highest where there were several runs. */
export function reportTable(rows: readonly Row[]): string {
  return table(
    ['part', 'what', 'figure', 'peer', 'ratio', 'goal', 'met'],
    rows.map(({ part, name, unit, figure, peer, ratio, ratioRange, goal }) => [
      part,
      name,
      written(figure, unit),
      peer === null ? '' : `${written(peer, unit)} ${peer.name}`,
      ratio === null ? '' : writtenRatio(ratio, ratioRange),
      goal?.text ?? '',
      goal === null ? '' : goal.met ? 'yes' : 'NO',
    ]),
    { rightAligned: ['ratio'] },
  );
}

function written({ median, min, max, runs }: Spread, unit: Unit): string {
  const range = runs > 1 ? ` (${digits(min)}–${digits(max)}, ${runs} runs)` : '';
  return `${digits(median)} ${unit}${range}`;
}

function writtenRatio(ratio: number, range: Row['ratioRange']): string {
  const decimals = ratio < 0.5 ? 3 : 2;
  const spread = range ? ` (${range.min.toFixed(decimals)}–${range.max.toFixed(decimals)})` : '';
  return `${ratio.toFixed(decimals)}${spread}`;
}

function digits(value: number): string {
  return value >= 100 || Number.isInteger(value) ? String(Math.round(value)) : value.toFixed(1);
}
