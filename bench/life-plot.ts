/** One move of the head. */
export interface Operation {
  seq: number;
  source: string;
  /** The growth of the project's transcripts, spread over the moves of one chain. */
  storedBytes: number;
  /** Tokens in the context of the new session; null where it is not known. */
  contextTokens: number | null;
  costUsd: number;
}

const width = 960;
const panelHeight = 150;
const left = 64;
const right = 16;
const top = 44;
const gap = 42;

interface Panel {
  title: string;
  unit: string;
  of: (operation: Operation) => number | null;
}

const panels: Panel[] = [
  { title: 'Stored per operation', unit: 'kB', of: ({ storedBytes }) => storedBytes / 1_000 },
  {
    title: 'Context of the new session',
    unit: 'thousand tokens',
    of: ({ contextTokens }) => (contextTokens === null ? null : contextTokens / 1_000),
  },
  { title: 'Cost per operation', unit: 'US cents', of: ({ costUsd }) => 100 * costUsd },
];

const marks: Record<string, string> = {
  context_reset: '#2f7d4f',
  recovery: '#c2410c',
  import: '#7c3aed',
};

/** A life as an SVG: one dot an operation, with a running mean over 20; fresh starts and accidents are marked. */
export function lifePlot(operations: readonly Operation[]): string {
  const height = top + panels.length * (panelHeight + gap);
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="${left}" y="20" font-size="15" font-weight="600">${operations.length} operations on one project</text>`,
    legend(),
    ...panels.flatMap((panel, index) => draw(panel, operations, top + index * (panelHeight + gap))),
    '</svg>',
  ].join('\n')}\n`;
}

function legend(): string {
  return Object.entries(marks)
    .map(
      ([source, colour], index) =>
        `<text x="${width - 330 + 120 * index}" y="20" fill="${colour}">| ${source}</text>`,
    )
    .join('');
}

function draw({ title, unit, of }: Panel, operations: readonly Operation[], y: number): string[] {
  const values = operations.map(of);
  const known = values.flatMap((value) => value ?? []);
  const highest = roundUp(Math.max(...known, 0.001));
  const last = Math.max(operations.length, 2);
  const xOf = (index: number) => left + (index / (last - 1)) * (width - left - right);
  const yOf = (value: number) => y + panelHeight - (value / highest) * panelHeight;
  const at = (index: number, value: number) => `${xOf(index).toFixed(1)},${yOf(value).toFixed(1)}`;
  const dots = values.flatMap((value, index) => {
    if (value === null) return [];
    const [cx = '', cy = ''] = at(index, value).split(',');
    return [`<circle cx="${cx}" cy="${cy}" r="1.8" fill="#64748b" opacity="0.55"/>`];
  });
  const line = runningMean(values).flatMap((value, index) => (value === null ? [] : [at(index, value)]));
  return [
    `<text x="${left}" y="${y - 8}" font-weight="600">${title}, ${unit}</text>`,
    ...[0, highest / 2, highest].map(
      (value) =>
        `<line x1="${left}" x2="${width - right}" y1="${yOf(value)}" y2="${yOf(value)}" stroke="#e2e8f0"/>` +
        `<text x="${left - 8}" y="${yOf(value) + 4}" text-anchor="end" fill="#475569">${written(value)}</text>`,
    ),
    ...operations.flatMap(({ source }, index) => {
      const colour = marks[source];
      return colour === undefined
        ? []
        : [
            `<line x1="${xOf(index)}" x2="${xOf(index)}" y1="${y}" y2="${y + panelHeight}" stroke="${colour}" opacity="0.55"/>`,
          ];
    }),
    ...dots,
    `<polyline points="${line.join(' ')}" fill="none" stroke="#1d4ed8" stroke-width="2"/>`,
    ...[0, Math.floor((last - 1) / 2), last - 1].map(
      (index) =>
        `<text x="${xOf(index)}" y="${y + panelHeight + 16}" text-anchor="middle" fill="#475569">${index + 1}</text>`,
    ),
  ];
}

/** Over the twenty operations that end with each; null before there are twenty. */
function runningMean(values: readonly (number | null)[]): (number | null)[] {
  const over = Math.min(20, values.length);
  return values.map((_, index) => {
    if (index < over - 1) return null;
    const known = values.slice(index - over + 1, index + 1).flatMap((value) => value ?? []);
    return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0) / known.length;
  });
}

function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((step) => step * power >= value) ?? 10) * power;
}

function written(value: number): string {
  return value === 0
    ? '0'
    : value >= 10
      ? value.toFixed(0)
      : value >= 1
        ? value.toFixed(1)
        : value.toPrecision(2);
}
