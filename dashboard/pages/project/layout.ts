import type { components } from '../../../http/client.js';
import { inOrder } from './order.js';

export type Tree = components['schemas']['Tree'];
export type LineageNode = Tree['nodes'][number];
export type LineageChain = Tree['chains'][number];

/** A place in the picture: a session, or several that are folded into one. */
export interface Cell {
  /** Its session, or `fold` and the first of its sessions. */
  id: string;
  /** In their order; several where they are folded. */
  nodes: LineageNode[];
  /** What names the fold in the address; null for a single session. */
  fold: string | null;
  /** 0 is the line of heads; what was forked beside it is below. */
  row: number;
  column: number;
}

/**
 * `line`: the head moved on and remembers where it comes from. `forgotten`: the same, taken back by a rewind. `rewind`: back to an
 * earlier head. `jump`: a head that comes from another than the one before it. `fork`: beside the line. `break`: the head moved on
 * and does not remember the one before it.
 */
export type LinkKind = 'line' | 'forgotten' | 'rewind' | 'jump' | 'fork' | 'break';

export interface Link {
  from: Cell;
  to: Cell;
  kind: LinkKind;
}

/** From where to where a chain reaches, in columns. */
export interface Band {
  chain: LineageChain;
  first: number;
  last: number;
}

export interface Layout {
  /** From left to right. */
  cells: Cell[];
  links: Link[];
  bands: Band[];
  /** When the first session of each column began, and how long nothing had begun before that. */
  columns: { at: string; afterMs: number }[];
  rows: number;
}

export interface LayoutOptions {
  /** Folds that are shown unfolded, or `all`. */
  unfold?: ReadonlySet<string> | 'all';
  /** A session that is shown by itself. */
  selected?: string | null;
  /** With more columns than this, older chains and runs are folded. */
  roomFor?: number;
}

/** So many columns stay unfolded at the right, where chains and runs are folded. */
const newest = 14;
/** More attempts than this that led nowhere are folded. */
const attemptsShown = 2;
/** Fewer operations in a row that belong to no chain are not folded. */
const shortestRun = 4;

/** Where each session of a lineage is drawn. */
export function layOut(
  { nodes, chains }: Pick<Tree, 'nodes' | 'chains'>,
  { unfold = new Set(), selected = null, roomFor = 36 }: LayoutOptions = {},
): Layout {
  const ordered = inOrder(nodes);
  const parents = new Set(nodes.map(({ parentSessionId }) => parentSessionId));
  const operations = operationsOf(ordered).map((operation) => columnsOf(operation));
  const isOpen = (fold: string, folded: readonly LineageNode[]) =>
    unfold === 'all' || unfold.has(fold) || folded.some(({ sessionId }) => sessionId === selected);
  const total = operations.reduce((sum, columns) => sum + columns.length, 0);

  const cells: Cell[] = [];
  let column = 0;
  for (const run of runsOf(operations)) {
    const isNew = total - column <= newest;
    const folded = run.operations.flat(2);
    column += run.operations.flat().length;
    if (total > roomFor && !isNew && run.isLong && !isOpen(run.fold, folded)) {
      cells.push(cellOf(folded, run.fold, 0));
      continue;
    }
    for (const columns of run.operations) {
      for (const stack of columns) cells.push(...stackOf(stack, parents, isOpen));
    }
  }
  return arranged(cells, chains, ordered);
}

/** The attempts of one operation that follow each other, with what they led to. */
function operationsOf(ordered: readonly LineageNode[]): LineageNode[][] {
  const operations: LineageNode[][] = [];
  for (const node of ordered) {
    const last = operations.at(-1);
    const isSame = last?.[0] !== undefined && operationOf(last[0]) === operationOf(node);
    const hasHead = last?.some(({ seq }) => seq !== null) ?? false;
    if (last && isSame && !(hasHead && node.seq !== null)) last.push(node);
    else operations.push([node]);
  }
  return operations;
}

function operationOf({ sessionId, chainId, buildId, step }: LineageNode): string {
  return buildId === null ? sessionId : `${chainId ?? ''}/${buildId}/${step ?? ''}`;
}

/** The columns of an operation: an attempt that goes on from another one of the operation is right of that. */
function columnsOf(operation: readonly LineageNode[]): LineageNode[][] {
  const depths = new Map<string, number>();
  for (const { sessionId, parentSessionId } of operation)
    depths.set(sessionId, (depths.get(parentSessionId ?? '') ?? -1) + 1);
  const columns: LineageNode[][] = [];
  for (const node of operation) (columns[depths.get(node.sessionId) ?? 0] ??= []).push(node);
  return columns;
}

interface Run {
  operations: LineageNode[][][];
  fold: string;
  isLong: boolean;
}

/** Operations of one chain that follow each other, and such that belong to none. */
function runsOf(operations: readonly LineageNode[][][]): Run[] {
  const runs: (Run & { chainId: string | null })[] = [];
  for (const operation of operations) {
    const first = operation[0]?.[0];
    if (first === undefined) continue;
    const { chainId, sessionId } = first;
    const last = runs.at(-1);
    if (last?.chainId === chainId) last.operations.push(operation);
    else runs.push({ chainId, operations: [operation], fold: chainId ?? sessionId, isLong: false });
  }
  for (const run of runs)
    run.isLong =
      run.chainId === null ? run.operations.length >= shortestRun : run.operations.flat(2).length > 1;
  return runs;
}

/** The cells of one column of an operation: the head, and what led nowhere below it. */
function stackOf(
  stack: readonly LineageNode[],
  parents: ReadonlySet<string | null>,
  isOpen: (fold: string, folded: readonly LineageNode[]) => boolean,
): Cell[] {
  const isLeaf = ({ seq, state, kind, sessionId }: LineageNode) =>
    seq === null &&
    kind === 'attempt' &&
    state !== 'running' &&
    state !== 'waiting' &&
    !parents.has(sessionId);
  const leaves = stack.filter(isLeaf);
  const [first] = leaves;
  const isFolded =
    leaves.length > attemptsShown && first !== undefined && !isOpen(`attempts-${first.sessionId}`, leaves);
  const single = isFolded ? stack.filter((node) => !isLeaf(node)) : stack;
  return [
    ...[...single]
      .sort((one, other) => Number(one.seq === null) - Number(other.seq === null))
      .map((node, index) => cellOf([node], null, index === 0 ? 0 : 1)),
    ...(isFolded ? [cellOf(leaves, `attempts-${first.sessionId}`, single.length === 0 ? 0 : 1)] : []),
  ];
}

/** `column` is 0 for the first of its column here, and 1 for what shares the column of the cell before. */
function cellOf(nodes: LineageNode[], fold: string | null, column: 0 | 1): Cell {
  const [first] = nodes;
  const id = fold === null ? (first?.sessionId ?? '') : `fold ${first?.sessionId ?? ''}`;
  return { id, nodes, fold, row: isOnLine(nodes) ? 0 : -1, column };
}

function isOnLine(nodes: readonly LineageNode[]): boolean {
  return nodes.some(({ seq }) => seq !== null);
}

function arranged(cells: Cell[], chains: readonly LineageChain[], ordered: readonly LineageNode[]): Layout {
  let count = 0;
  for (const cell of cells) cell.column = cell.column === 0 ? count++ : count - 1;
  const cellOfSession = new Map(
    cells.flatMap((cell) => cell.nodes.map(({ sessionId }) => [sessionId, cell] as const)),
  );
  const parentCellOf = (cell: Cell) =>
    cell.nodes
      .map(({ parentSessionId }) => cellOfSession.get(parentSessionId ?? ''))
      .find((parent) => parent !== undefined && parent !== cell);

  // A row is taken from where its line leaves the parent to the cell itself, so that lines cross no cell.
  const takenUpTo: number[] = [Infinity];
  for (const cell of cells) {
    if (cell.row === 0) continue;
    const parent = parentCellOf(cell);
    const from = Math.min(parent?.column ?? cell.column - 1, cell.column - 1);
    const isFree = (row: number) => (takenUpTo[row] ?? -1) <= from;
    const preferred = parent?.row ?? 0;
    cell.row =
      preferred > 0 && isFree(preferred)
        ? preferred
        : [...takenUpTo, -1].findIndex((_, row) => row > 0 && isFree(row));
    takenUpTo[cell.row] = cell.column;
  }
  return {
    cells,
    links: linksOf(cells, cellOfSession),
    bands: bandsOf(cells, chains),
    columns: timesOf(cells, ordered, count),
    rows: Math.max(takenUpTo.length, 1),
  };
}

function linksOf(cells: readonly Cell[], cellOfSession: ReadonlyMap<string, Cell>): Link[] {
  const links = new Map<string, Link>();
  const add = (from: Cell, to: Cell, kind: LinkKind) =>
    links.set(`${from.id} ${to.id} ${kind}`, { from, to, kind });
  let before: Cell | null = null;
  for (const cell of cells) {
    const [first] = cell.nodes.filter(({ seq }) => seq !== null);
    for (const node of cell.nodes) {
      const parent = cellOfSession.get(node.parentSessionId ?? '');
      if (parent === undefined || parent === cell) continue;
      add(parent, cell, kindOf(node, parent, before));
    }
    if (first === undefined) continue;
    if (
      before &&
      cellOfSession.get(first.parentSessionId ?? '') !== before &&
      !goesOnBelow(first, before, cellOfSession)
    )
      add(before, cell, 'break');
    before = cell;
  }
  return [...links.values()];
}

function kindOf(node: LineageNode, parent: Cell, before: Cell | null): LinkKind {
  if (node.seq === null || parent.row > 0) return 'fork';
  if (node.rewoundTo !== null) return 'rewind';
  if (parent !== before) return 'jump';
  return node.kind === 'rewound' ? 'forgotten' : 'line';
}

/** Whether a head comes from the one before it by way of an attempt beside the line. */
function goesOnBelow(node: LineageNode, before: Cell, cellOfSession: ReadonlyMap<string, Cell>): boolean {
  const seen = new Set<Cell>();
  for (let cell = cellOfSession.get(node.parentSessionId ?? ''); cell && !seen.has(cell);) {
    if (cell === before) return true;
    if (cell.row === 0) return false;
    seen.add(cell);
    cell = cellOfSession.get(cell.nodes[0]?.parentSessionId ?? '');
  }
  return false;
}

function bandsOf(cells: readonly Cell[], chains: readonly LineageChain[]): Band[] {
  const byId = new Map(chains.map((chain) => [chain.chainId, chain]));
  const bands: Band[] = [];
  for (const cell of cells) {
    const chain = byId.get(cell.nodes[0]?.chainId ?? '');
    if (chain === undefined) continue;
    const last = bands.at(-1);
    if (last?.chain === chain) last.last = cell.column;
    else bands.push({ chain, first: cell.column, last: cell.column });
  }
  return bands;
}

function timesOf(cells: readonly Cell[], ordered: readonly LineageNode[], count: number): Layout['columns'] {
  const columns = Array.from({ length: count }, () => ({ at: '', afterMs: 0 }));
  const order = new Map(ordered.map((node, index) => [node, index]));
  let ended = NaN;
  for (const cell of [...cells].sort((one, other) => one.column - other.column)) {
    const column = columns[cell.column];
    const first = cell.nodes.reduce((one, other) =>
      (order.get(other) ?? 0) < (order.get(one) ?? 0) ? other : one,
    );
    if (column === undefined) continue;
    if (column.at === '') {
      column.at = first.createdAt;
      column.afterMs = Number.isNaN(ended) ? 0 : Math.max(0, Date.parse(first.createdAt) - ended);
    }
    for (const { createdAt, endedAt } of cell.nodes) {
      const end = Date.parse(endedAt ?? createdAt);
      ended = Number.isNaN(ended) ? end : Math.max(ended, end);
    }
  }
  return columns;
}
