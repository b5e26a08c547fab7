import { describe, expect, it } from '@jest/globals';
import {
  type Layout,
  type LineageChain,
  type LineageNode,
  layOut,
} from '../../dashboard/pages/project/layout.js';
import { fc } from '../support/properties.js';

const at = (minute: number) => new Date(Date.UTC(2026, 10, 1) + minute * 60_000).toISOString();

function node(given: Partial<LineageNode> & { sessionId: string }): LineageNode {
  return {
    ...{
      parentSessionId: null,
      kind: given.seq === undefined ? 'attempt' : 'head',
      seq: null,
      rewoundTo: null,
    },
    ...{ source: null, oldSessionId: null, versionId: null, step: 'build', stepKind: 'work', chainId: null },
    ...{ question: null, buildId: null, state: 'committed', attempt: 1, failureCode: null, adopts: null },
    ...{
      condition: 'whole',
      entries: 1,
      contextTokens: null,
      costUsd: null,
      createdAt: at(0),
      endedAt: null,
    },
    ...given,
  };
}

function chain(chainId: string): LineageChain {
  return {
    ...{ chainId, versionId: `v${chainId}`, buildId: `v${chainId}`, status: 'completed', failureCode: null },
    ...{ createdAt: at(0), openedAt: at(0), closedAt: at(1), workspace: '/srv' },
  };
}

/** `heads` of a line, each of `perChain` from one chain. */
function lineOf(heads: number, perChain = 4): { nodes: LineageNode[]; chains: LineageChain[] } {
  const nodes = Array.from({ length: heads }, (_, index) =>
    node({
      ...{ sessionId: `s${index}`, parentSessionId: index === 0 ? null : `s${index - 1}`, seq: index + 1 },
      ...{ oldSessionId: index === 0 ? null : `s${index - 1}`, step: `step${index % perChain}` },
      ...{ chainId: String(Math.floor(index / perChain)), buildId: `v${Math.floor(index / perChain)}` },
      createdAt: at(index),
    }),
  );
  return { nodes, chains: [...new Set(nodes.map(({ chainId }) => chainId))].map((id) => chain(String(id))) };
}

/** Any history: each session comes from an earlier one, from none or from one that is not there; clocks may differ. */
const histories = fc
  .array(
    fc.record({
      parent: fc.nat(),
      isHead: fc.boolean(),
      isFresh: fc.boolean(),
      chain: fc.option(fc.nat(4)),
      step: fc.constantFrom('build', 'docs', 'chat_plan'),
      minute: fc.nat(500),
      state: fc.constantFrom('running' as const, 'failed' as const, 'committed' as const),
    }),
    { maxLength: 60 },
  )
  .map((given) => {
    let [seq, old] = [0, null as string | null];
    return given.map(({ parent, isHead, isFresh, chain, step, minute, state }, index) => {
      const from = isFresh ? null : parent % 9 === 8 ? 'elsewhere' : `s${parent % Math.max(index, 1)}`;
      const one = node({
        ...{ sessionId: `s${index}`, parentSessionId: index === 0 ? null : from, step, state },
        ...{
          chainId: chain === null ? null : String(chain),
          buildId: chain === null ? `chat:${parent}` : `v${chain}`,
        },
        ...(isHead ? { seq: ++seq, oldSessionId: old, kind: 'head' as const } : {}),
        createdAt: at(minute),
      });
      if (isHead) old = one.sessionId;
      return one;
    });
  });
const options = fc.record({
  roomFor: fc.constantFrom(0, 8, 1_000),
  unfold: fc.constantFrom('all' as const, new Set<string>(), new Set(['1', '2'])),
  selected: fc.option(fc.nat(59).map((index) => `s${index}`)),
});
const chains = ['0', '1', '2', '3', '4'].map(chain);

function faultsOf({ cells, links, columns, rows }: Layout, nodes: readonly LineageNode[]): string[] {
  const placed = cells.flatMap((cell) => cell.nodes.map(({ sessionId }) => sessionId));
  const places = cells.map(({ row, column }) => `${row}/${column}`);
  const heads = cells
    .filter(({ row }) => row === 0)
    .flatMap((cell) => cell.nodes.flatMap(({ seq }) => seq ?? []));
  const runs = cells.map((cell) => {
    const from = links
      .filter(({ to, kind }) => to === cell && kind === 'fork')
      .map(({ from: { column } }) => column);
    return { row: cell.row, low: Math.min(cell.column, ...from), high: cell.column };
  });
  return [
    ...(placed.length === nodes.length && new Set(placed).size === nodes.length ? [] : ['not placed once']),
    ...(new Set(places).size === cells.length ? [] : ['overlapping']),
    ...(new Set(cells.map(({ id }) => id)).size === cells.length ? [] : ['ids twice']),
    ...links
      .filter(({ from, to }) => from.column >= to.column)
      .map(({ from, to }) => `${from.id} not left of ${to.id}`),
    ...(heads.every((seq, index) => index === 0 || seq > Number(heads[index - 1]))
      ? []
      : ['heads out of order']),
    ...(cells.every(({ row, column }) => row >= 0 && row < rows && column < columns.length)
      ? []
      : ['outside']),
    ...(columns.every(({ at: begun }) => begun !== '') ? [] : ['an empty column']),
    // Where a line runs along a row, no other session is.
    ...runs.flatMap(({ row, low, high }) =>
      row === 0
        ? []
        : cells
            .filter((cell) => cell.row === row && cell.column > low && cell.column < high)
            .filter(
              (cell) => !links.some(({ to, from }) => to.column === high && to.row === row && from === cell),
            )
            .map(({ id }) => `a line crosses ${id}`),
    ),
  ];
}

describe('the lineage picture', () => {
  it('places every session once, after what it forked, over no other one, whatever is folded', () => {
    fc.assert(
      fc.property(histories, options, (nodes, given) => {
        expect(faultsOf(layOut({ nodes, chains }, given), nodes)).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  it('of 1,000 sessions folds the older chains, and unfolds one by its name', () => {
    const tree = lineOf(1_000);
    const folded = layOut(tree);
    expect(folded.columns.length).toBeLessThan(280);
    expect(folded.cells.slice(-8).every(({ fold }) => fold === null)).toBe(true);
    expect(folded.bands).toHaveLength(250);
    const { cells } = layOut(tree, { unfold: new Set(['3']) });
    expect(cells.slice(3, 7).map(({ id }) => id)).toEqual(['s12', 's13', 's14', 's15']);
    expect(layOut(tree, { unfold: 'all' }).cells).toHaveLength(1_000);
    expect(layOut(tree, { selected: 's21' }).cells.map(({ id }) => id)).toContain('s21');
  });

  it('draws a short lineage without folds, and its chains behind it', () => {
    const { cells, bands, links, rows } = layOut(lineOf(8));
    expect(cells.map(({ row, column, fold }) => [row, column, fold])).toEqual(
      Array.from({ length: 8 }, (_, index) => [0, index, null]),
    );
    expect(bands.map(({ first, last }) => [first, last])).toEqual([
      [0, 3],
      [4, 7],
    ]);
    expect([new Set(links.map(({ kind }) => kind)), rows]).toEqual([new Set(['line']), 1]);
  });

  it('shows a rewind as a way back over what the head forgot', () => {
    const { nodes, chains } = lineOf(3);
    const forgotten = nodes.map((one) => ({
      ...one,
      kind: one.seq === 1 ? ('head' as const) : ('rewound' as const),
    }));
    const copy = node({
      ...{ sessionId: 'copy', parentSessionId: 's0', oldSessionId: 's2', seq: 4, rewoundTo: 1 },
      ...{ buildId: 'rewind:1', step: 'rewind', createdAt: at(9) },
    });
    const { links } = layOut({ nodes: [...forgotten, copy], chains });
    expect(links.map(({ from, to, kind }) => [from.id, to.id, kind])).toEqual([
      ['s0', 's1', 'forgotten'],
      ['s1', 's2', 'forgotten'],
      ['s0', 'copy', 'rewind'],
      ['s2', 'copy', 'break'],
    ]);
  });

  it('stacks attempts that led nowhere below what came of them, and folds many', () => {
    const { nodes, chains } = lineOf(2);
    const tries = (count: number) =>
      Array.from({ length: count }, (_, index) =>
        node({
          ...{ sessionId: `t${index}`, parentSessionId: 's0', chainId: '0', buildId: 'v0', step: 'step1' },
          ...{ state: 'failed', createdAt: new Date(Date.parse(at(0)) + 1_000 * (index + 1)).toISOString() },
        }),
      );
    const two = layOut({ nodes: [...nodes, ...tries(2)], chains });
    expect(two.cells.map(({ id, row, column }) => [id, row, column])).toEqual([
      ['s0', 0, 0],
      ['s1', 0, 1],
      ['t0', 1, 1],
      ['t1', 2, 1],
    ]);
    const many = layOut({ nodes: [...nodes, ...tries(5)], chains });
    expect(many.cells.slice(2).map(({ fold, nodes: { length } }) => [fold, length])).toEqual([
      ['attempts-t0', 5],
    ]);
    expect(layOut({ nodes: [...nodes, ...tries(5)], chains }, { selected: 't3' }).cells).toHaveLength(7);
  });

  it('of nothing is nothing', () => {
    expect(layOut({ nodes: [], chains: [] })).toMatchObject({ cells: [], columns: [], rows: 1 });
  });
});
