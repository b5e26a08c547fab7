import { table } from '../cli/format.js';

/** A figure that was measured several times. */
export interface Spread {
  median: number;
  min: number;
  max: number;
  runs: number;
}

export type Unit =
  'ms' | 'kB' | 'kTok' | 'ct' | '%' | 'events' | 'x' | '/s' | 'MB' | 'streams' | 'connections' | 'sessions';

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

/** A row from measured values. `goal` looks at the ratio where there is a peer, else at the median. */
export function row(measured: {
  part: string;
  name: string;
  unit: Unit;
  values: readonly number[];
  peer?: { name: string; values: readonly number[] };
  /** Default: figure divided by peer. */
  ratioOf?: 'figure/peer' | 'peer/figure';
  goal?: { text: string; met: (value: number) => boolean };
}): Row {
  const { part, name, unit, values, ratioOf = 'figure/peer', goal } = measured;
  const figure = spreadOf(values);
  const peer = measured.peer ? { name: measured.peer.name, ...spreadOf(measured.peer.values) } : null;
  const quotient = peer === null ? null : figure.median / peer.median;
  const ratio = quotient === null || ratioOf === 'figure/peer' ? quotient : 1 / quotient;
  return {
    part,
    name,
    unit,
    figure,
    peer,
    ratio,
    goal: goal ? { text: goal.text, met: goal.met(ratio ?? figure.median) } : null,
  };
}

/** The rows for a reader: medians, with the lowest and highest where there were several runs. */
export function reportTable(rows: readonly Row[]): string {
  return table(
    ['part', 'what', 'figure', 'peer', 'ratio', 'goal', 'met'],
    rows.map(({ part, name, unit, figure, peer, ratio, goal }) => [
      part,
      name,
      written(figure, unit),
      peer === null ? '' : `${written(peer, unit)} ${peer.name}`,
      ratio === null ? '' : ratio.toFixed(ratio < 0.5 ? 3 : 2),
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

function digits(value: number): string {
  return value >= 100 || Number.isInteger(value) ? String(Math.round(value)) : value.toFixed(1);
}
