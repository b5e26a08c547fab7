import type { Operation } from './history.js';

/**
 * Decides from a recorded history and the rows that it left whether the heads were linearizable and every session had a
 * single predecessor. Every commit brings a session id that no other brings, so the lineage in the database is the
 * order of the writes, and what remains is to compare it with what every caller was told, and when: linear in the number
 * of operations. An operation without an answer may have happened at any time since it was sent, or never.
 */

/** A row of `session_transitions`, with what the journal knows of the attempt that wrote it. */
export interface FinalTransition {
  project: string;
  seq: number;
  prevSeq: number | null;
  old: string | null;
  new: string;
  /** What the attempt worked for: a chain, or an operation outside one. */
  chain: string | null;
  step: string | null;
  /** Under which its chain held the project; null outside a chain. */
  ticket: number | null;
  /** The project's epoch that the commit expected. */
  epoch: number | null;
  /** Written under the lock of the project's row, by the server's clock. */
  atUs: number;
}

/** A row of the journal that was given an epoch. */
export interface FinalAttempt {
  project: string;
  epoch: number;
  /** When it was, under the same lock by the same clock. */
  atUs: number;
}

/** A row of `projects`. */
export interface FinalHead {
  project: string;
  sessionId: string | null;
  seq: number | null;
}

export interface FinalState {
  heads: FinalHead[];
  transitions: FinalTransition[];
  attempts: FinalAttempt[];
}

/** What must hold, and what the history shows against it. */
export interface Rule {
  name: string;
  violations: string[];
}

/** `commitsAreRecorded`: false where the history holds what readers saw, and no commits. */
export function check(
  history: readonly Operation[],
  final: FinalState,
  { commitsAreRecorded = true } = {},
): Rule[] {
  const applied = checks.filter(({ needsCommits }) => commitsAreRecorded || !needsCommits);
  const rules = applied.map(({ name }): Rule => ({ name, violations: [] }));
  const byProject = groupBy(history, ({ project }) => project);
  const rowsByProject = groupBy(final.transitions, ({ project }) => project);
  const attemptsByProject = groupBy(final.attempts, ({ project }) => project);
  for (const head of final.heads) {
    const rows = [...(rowsByProject.get(head.project) ?? [])].sort((a, b) => a.seq - b.seq);
    const project = summarise(
      head,
      rows,
      attemptsByProject.get(head.project) ?? [],
      byProject.get(head.project) ?? [],
    );
    applied.forEach(({ find }, index) => rules[index]?.violations.push(...find(project)));
  }
  return rules;
}

/** One project: its lineage, and its operations sorted by what they can say about it. */
interface Project {
  head: FinalHead;
  rows: FinalTransition[];
  attempts: FinalAttempt[];
  operations: Operation[];
  /** Every delivery of a commit, by the session that it brings. */
  commits: Map<string, Operation[]>;
  /** Answers that told the head at one moment between invocation and response. */
  sightings: Sighting[];
}

interface Sighting {
  operation: Operation;
  sessionId: string | null;
  seq: number | null;
}

function summarise(
  head: FinalHead,
  rows: FinalTransition[],
  attempts: FinalAttempt[],
  operations: Operation[],
): Project {
  const commits = new Map<string, Operation[]>();
  const sightings: Sighting[] = [];
  for (const operation of operations) {
    const { call, answer } = operation;
    if (call.kind === 'commit' || call.kind === 'commit_outside') {
      commits.set(call.new, [...(commits.get(call.new) ?? []), operation]);
    }
    if (call.kind === 'rewind' && (!answer || answer.transition)) {
      const session = rows.find(({ chain }) => chain === call.chain)?.new ?? answer?.transition?.new;
      if (session !== undefined) commits.set(session, [...(commits.get(session) ?? []), operation]);
    }
    if (answer?.head) sightings.push({ operation, ...answer.head });
  }
  return { head, rows, attempts, operations, commits, sightings };
}

type Find = (project: Project) => string[];

/** Transition n+1 starts where transition n ended, no session was there before, and the last one is the head. */
const lineage: Find = ({ head, rows }) => {
  const violations: string[] = [];
  const seen = new Set<string>();
  rows.forEach((row, index) => {
    const before = rows[index - 1];
    const name = `${row.project}: transition ${row.seq} (${String(row.old)} -> ${row.new})`;
    if (row.seq !== index + 1) violations.push(`${name} has the number of another one or follows a gap`);
    if (row.prevSeq !== (before ? before.seq : null))
      violations.push(`${name} names ${String(row.prevSeq)} as its predecessor`);
    if (row.old !== (before ? before.new : null))
      violations.push(`${name} starts elsewhere than at ${before?.new ?? 'nothing'}`);
    if (seen.has(row.new)) violations.push(`${name} brings a session for the second time`);
    seen.add(row.new);
  });
  const last = rows.at(-1);
  if (head.sessionId !== (last?.new ?? null) || head.seq !== (last?.seq ?? null))
    violations.push(
      `${head.project}: the head is ${String(head.sessionId)} with number ${String(head.seq)}, the lineage ends at ${last?.new ?? 'nothing'}`,
    );
  return violations;
};

/** An acknowledged commit is in the lineage as acknowledged, a refused one is not, and nothing is there unasked. */
const commits: Find = ({ rows, commits: asked, operations }) => {
  const violations: string[] = [];
  const rowsOf = groupBy(rows, (row) => row.new);
  for (const [session, deliveries] of asked) {
    const [{ project, call } = { project: '', call: undefined }] = deliveries;
    const found = rowsOf.get(session) ?? [];
    const name = `${project}: the commit of ${session}`;
    const acknowledged = deliveries.flatMap(({ answer }) => answer?.transition ?? []);
    if (acknowledged.length > 0 && found.length !== 1)
      violations.push(`${name} was acknowledged and is in the lineage ${found.length} times`);
    if (acknowledged.some(({ seq, new: ended }) => seq !== found[0]?.seq || ended !== session))
      violations.push(`${name} was acknowledged as another transition than the one that is there`);
    if (found.length > 1) violations.push(`${name} is in the lineage ${found.length} times`);
    if (deliveries.some(({ answer }) => answer?.outcome === 'beside') && found.length > 0)
      violations.push(`${name} was told to stay beside the lineage and is in it`);
    if (deliveries.some(({ answer }) => answer?.outcome === 'refused')) {
      if (found.length > 0) violations.push(`${name} was refused and is in the lineage`);
      if (acknowledged.length > 0) violations.push(`${name} was refused and acknowledged`);
    }
    if (found.some((row) => call && 'old' in call && row.old !== call.old))
      violations.push(`${name} expected another head than the one that it replaced`);
  }
  for (const row of rows) {
    if (!asked.has(row.new))
      violations.push(`${row.project}: no commit asked for transition ${row.seq} to ${row.new}`);
  }
  // An operation that was done before is told with the transition that it made.
  for (const { call, answer, project } of operations) {
    if (!answer?.transition || (call.kind !== 'begin' && call.kind !== 'begin_outside')) continue;
    const { seq, new: ended } = answer.transition;
    if (rows[seq - 1]?.new !== ended)
      violations.push(`${project}: ${call.chain} was said to have committed ${ended}, which is not there`);
  }
  return violations;
};

/**
 * Writes in the order of the lineage, each followed by the reads that saw its head: in that order none may have been
 * answered before an earlier one was even asked.
 */
const linearizable: Find = ({ rows, commits: asked, sightings, head }) => {
  const violations: string[] = [];
  const seenAt = groupBy(sightings, ({ seq }) => seq ?? 0);
  for (const { sessionId, seq, operation } of sightings) {
    if (sessionId !== (seq === null ? null : rows[seq - 1]?.new))
      violations.push(
        `${head.project}: ${operation.client} saw the head ${String(sessionId)} with number ${String(seq)}, which never was`,
      );
  }
  /** The earliest answer of all that comes later in the order. */
  let answeredAtUs = Infinity;
  let answered = '';
  const later = (atUs: number, what: string) => {
    if (atUs < answeredAtUs) [answeredAtUs, answered] = [atUs, what];
  };
  for (let seq = rows.length; seq >= 0; seq--) {
    const readers = seenAt.get(seq) ?? [];
    for (const { operation } of readers) {
      if (operation.invokedAtUs > answeredAtUs)
        violations.push(
          `${head.project}: ${operation.client} was told head ${seq} by a ${operation.call.kind} that began after ${answered}`,
        );
    }
    for (const { operation } of readers)
      later(operation.respondedAtUs, `${operation.client} had seen head ${seq}`);
    const session = rows[seq - 1]?.new;
    const deliveries = (session === undefined ? undefined : asked.get(session)) ?? [];
    if (deliveries.length === 0) continue;
    const invokedAtUs = Math.min(...deliveries.map((delivery) => delivery.invokedAtUs));
    const respondedAtUs = Math.min(...deliveries.map((delivery) => delivery.respondedAtUs));
    if (invokedAtUs > answeredAtUs)
      violations.push(`${head.project}: transition ${seq} was asked for after ${answered}`);
    later(respondedAtUs, `transition ${seq} was acknowledged`);
  }
  return violations;
};

/** No client sees an older head after a newer one. */
const monotonic: Find = ({ sightings, head }) => {
  const violations: string[] = [];
  const newest = new Map<string, Sighting>();
  for (const sighting of [...sightings].sort((a, b) => a.operation.invokedAtUs - b.operation.invokedAtUs)) {
    const { client } = sighting.operation;
    const before = newest.get(client);
    // Calls of one client that overlap have no order.
    if (before && before.operation.respondedAtUs > sighting.operation.invokedAtUs) continue;
    if (before && (before.seq ?? 0) > (sighting.seq ?? 0))
      violations.push(
        `${head.project}: ${client} saw head ${String(sighting.seq)} after head ${String(before.seq)}`,
      );
    newest.set(client, sighting);
  }
  return violations;
};

/** At most one transition per step of a chain, and per operation outside one. */
const once: Find = ({ rows }) =>
  [...groupBy(rows, ({ chain, step }) => `${String(chain)}, step ${String(step)}`)].flatMap(([name, all]) =>
    all.length > 1 && all[0]?.chain
      ? [`${all[0].project}: ${name} has the transitions ${all.map(({ seq }) => seq).join(', ')}`]
      : [],
  );

/**
 * A chain that is told that it holds the project has the lowest ticket of those that had not begun to leave: so no two
 * hold it at a time, and none is overtaken. In the lineage, too, tickets only grow.
 */
const tickets: Find = ({ operations, rows, head }) => {
  const violations: string[] = [];
  const runOf = new Map<number, string>();
  const openedAtUs = new Map<number, number>();
  for (const { call, answer, respondedAtUs } of operations) {
    if (call.kind !== 'open' || typeof answer?.ticket !== 'number') continue;
    const other = runOf.get(answer.ticket);
    if (other !== undefined && other !== call.runId)
      violations.push(`${head.project}: ${other} and ${call.runId} both drew the ticket ${answer.ticket}`);
    runOf.set(answer.ticket, call.runId);
    if (answer.outcome === 'opened')
      openedAtUs.set(answer.ticket, Math.min(respondedAtUs, openedAtUs.get(answer.ticket) ?? Infinity));
  }
  const leavesAtUs = leavesOf(operations);
  let latest = { ticket: 0, leavesAtUs: -Infinity };
  for (const [ticket, runId] of [...runOf].sort(([a], [b]) => a - b)) {
    const opened = openedAtUs.get(ticket);
    if (opened !== undefined && latest.leavesAtUs > opened)
      violations.push(
        `${head.project}: ticket ${ticket} was told that it holds the project before ticket ${latest.ticket} had begun to leave`,
      );
    const atUs = leavesAtUs.get(runId) ?? Infinity;
    if (atUs > latest.leavesAtUs) latest = { ticket, leavesAtUs: atUs };
  }
  let highest = 0;
  for (const { ticket, seq } of rows) {
    if (ticket !== null && ticket < highest)
      violations.push(
        `${head.project}: transition ${seq} of ticket ${ticket} follows one of ticket ${highest}`,
      );
    highest = Math.max(ticket ?? 0, highest);
  }
  return violations;
};

/** When first was sent what could end a run's hold of the project. */
function leavesOf(operations: readonly Operation[]): Map<string, number> {
  const leavesAtUs = new Map<string, number>();
  for (const { call, invokedAtUs } of operations) {
    const runId =
      call.kind === 'close' || call.kind === 'release'
        ? call.runId
        : call.kind === 'open'
          ? call.goneRunId
          : null;
    if (runId !== null) leavesAtUs.set(runId, Math.min(invokedAtUs, leavesAtUs.get(runId) ?? Infinity));
  }
  return leavesAtUs;
}

/**
 * Nothing moves the head for a ticket or an epoch that is over. A chain that is told the head as it takes the project is
 * behind every transition of an earlier ticket; a head that is seen after an epoch was handed out is behind all of earlier epochs;
 * and what is sent after its epoch is known to be over, or its chain closed, is never there.
 */
const fenced: Find = ({ operations, rows, sightings, commits: asked, head }) => {
  const violations: string[] = [];
  /** The lowest ticket from each transition on, and the highest up to it. */
  const lowestFrom: number[] = [];
  const highestUpTo: number[] = [];
  for (let index = rows.length - 1, lowest = Infinity; index >= 0; index--)
    lowestFrom[index] = lowest = Math.min(lowest, rows[index]?.ticket ?? Infinity);
  rows.forEach((row, index) => {
    highestUpTo[index] = Math.max(row.ticket ?? 0, highestUpTo[index - 1] ?? 0);
    const former = rows[index - 1];
    if (row.epoch !== null && former && former.epoch !== null && former.epoch > row.epoch)
      violations.push(`${head.project}: transition ${row.seq} is of an older epoch than the one before it`);
  });

  const epochs: { epoch: number; knownAtUs: number }[] = [];
  for (const { call, answer, respondedAtUs, client } of operations) {
    if (
      call.kind === 'open' &&
      answer?.outcome === 'opened' &&
      answer.head &&
      typeof answer.ticket === 'number'
    ) {
      const { ticket } = answer;
      const seq = answer.head.seq ?? 0;
      // A repeated question of the same ticket is told the present head: its own transitions may lie on both sides.
      if ((lowestFrom[seq] ?? Infinity) < ticket)
        violations.push(
          `${head.project}: after ${client} took the project with ticket ${ticket} at head ${seq}, ticket ${String(lowestFrom[seq])} moved it`,
        );
      if ((highestUpTo[seq - 1] ?? 0) > ticket)
        violations.push(
          `${head.project}: ${client} took the project with ticket ${ticket} at head ${seq}, which a later ticket made`,
        );
    }
    if ((call.kind === 'begin' || call.kind === 'begin_outside') && typeof answer?.epoch === 'number')
      epochs.push({ epoch: answer.epoch, knownAtUs: respondedAtUs });
  }

  const sent = rows.flatMap((row) => {
    const deliveries = asked.get(row.new) ?? [];
    return row.epoch === null || deliveries.length === 0
      ? []
      : [{ row, epoch: row.epoch, atUs: Math.min(...deliveries.map(({ invokedAtUs }) => invokedAtUs)) }];
  });
  const seen = sightings.flatMap(({ seq, operation }) => {
    const row = rows[seq ?? 0];
    return !row || row.epoch === null ? [] : [{ row, epoch: row.epoch, atUs: operation.invokedAtUs }];
  });
  epochs.sort((a, b) => a.knownAtUs - b.knownAtUs);
  let next = 0;
  let newest = 0;
  for (const { row, epoch, atUs } of [...sent, ...seen].sort((a, b) => a.atUs - b.atUs)) {
    for (; (epochs[next]?.knownAtUs ?? Infinity) < atUs; next++)
      newest = Math.max(newest, epochs[next]?.epoch ?? 0);
    if (epoch < newest)
      violations.push(
        `${head.project}: transition ${row.seq} is of epoch ${epoch}, though ${newest} was handed out before it`,
      );
  }
  return violations;
};

/** By the server's own clock: once the journal has given out an epoch, no transition of an earlier one is written. */
const journal: Find = ({ rows, attempts, head }) => {
  const violations: string[] = [];
  const given = [...attempts].sort((a, b) => a.atUs - b.atUs);
  let next = 0;
  let newest = 0;
  for (const row of [...rows].sort((a, b) => a.atUs - b.atUs)) {
    for (; (given[next]?.atUs ?? Infinity) < row.atUs; next++)
      newest = Math.max(newest, given[next]?.epoch ?? 0);
    if (row.epoch !== null && row.epoch < newest)
      violations.push(
        `${head.project}: transition ${row.seq} is of epoch ${row.epoch}, written after the journal had given out ${newest}`,
      );
  }
  return violations;
};

const checks: { name: string; find: Find; needsCommits: boolean }[] = [
  {
    name: 'lineage: gapless, one predecessor each, ends at the head',
    find: lineage,
    needsCommits: false,
  },
  {
    name: 'commits: acknowledged ones are there once, refused ones never, nothing unasked',
    find: commits,
    needsCommits: true,
  },
  {
    name: 'linearizable: the lineage and all that saw a head respect real time',
    find: linearizable,
    needsCommits: false,
  },
  {
    name: 'monotonic: no client saw an older head after a newer one',
    find: monotonic,
    needsCommits: false,
  },
  { name: 'once: one transition per step of a chain', find: once, needsCommits: false },
  { name: 'tickets: one chain at a time, in the order of their tickets', find: tickets, needsCommits: false },
  {
    name: 'fenced: nothing of a ticket or epoch that is known to be over',
    find: fenced,
    needsCommits: false,
  },
  { name: 'journal: nothing of an epoch before the newest', find: journal, needsCommits: false },
];
function groupBy<Item, Key>(items: readonly Item[], keyOf: (item: Item) => Key): Map<Key, Item[]> {
  const groups = new Map<Key, Item[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group) group.push(item);
    else groups.set(keyOf(item), [item]);
  }
  return groups;
}
