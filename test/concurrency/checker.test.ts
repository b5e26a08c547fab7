import { describe, expect, it } from '@jest/globals';
import { type FinalTransition, check } from './checker.js';
import type { Answer, Call, Operation } from './history.js';

/** Histories made by hand: good ones pass, and each way of being wrong is named by the rule that it breaks. */

const project = 'p';

/** A call that takes from one moment to another; without an answer it is unknown. */
function call(
  client: string,
  [invoked, responded]: [number, number],
  what: Call,
  answer?: Answer,
): Operation {
  return {
    client,
    project,
    call: what,
    invokedAtUs: invoked,
    respondedAtUs: answer ? responded : Infinity,
    answer: answer ?? null,
  };
}

const head = (seq: number | null) => ({ sessionId: seq === null ? null : `s${seq}`, seq }) as Answer['head'];

const read = (client: string, at: [number, number], seq: number | null) =>
  call(client, at, { kind: 'read' }, { outcome: 'read', head: head(seq) } as Answer);

function commit(
  at: [number, number],
  seq: number,
  answer: 'committed' | 'refused' | 'unknown',
  epoch = 1,
): Operation {
  const what: Call = {
    kind: 'commit',
    chain: 'chain/1',
    attemptId: `a${seq}`,
    epoch,
    old: seq === 1 ? null : `s${seq - 1}`,
    new: `s${seq}`,
  };
  if (answer === 'unknown') return call('w', at, what);
  return call(
    'w',
    at,
    what,
    answer === 'refused'
      ? { outcome: 'refused', code: 'FENCED' }
      : { outcome: 'committed', transition: { seq, new: `s${seq}` } },
  );
}

const open = (run: string, at: [number, number], ticket: number, seq: number | null = null) =>
  call(run, at, { kind: 'open', chain: `chain/${run}`, runId: run, ticket: null, goneRunId: null }, {
    outcome: 'opened',
    ticket,
    head: head(seq),
  } as Answer);

const queued = (run: string, at: [number, number], ticket: number) =>
  call(
    run,
    at,
    { kind: 'open', chain: `chain/${run}`, runId: run, ticket: null, goneRunId: null },
    { outcome: 'queued', ticket },
  );

const close = (run: string, at: [number, number], ticket: number) =>
  call(run, at, { kind: 'close', chain: `chain/${run}`, runId: run, ticket }, { outcome: 'closed' });

const begin = (run: string, at: [number, number], epoch: number) =>
  call(
    run,
    at,
    { kind: 'begin', chain: `chain/${run}`, step: 'build', ticket: 1 },
    { outcome: 'begun', attemptId: 'a', epoch },
  );

function row(seq: number, change: Partial<FinalTransition> = {}): FinalTransition {
  return {
    project,
    seq,
    prevSeq: seq === 1 ? null : seq - 1,
    old: seq === 1 ? null : `s${seq - 1}`,
    new: `s${seq}`,
    chain: 'chain/1',
    step: `step ${seq}`,
    ticket: 1,
    epoch: 1,
    atUs: seq,
    ...change,
  };
}

/** The names of the rules that are broken, up to their colon. */
function broken(
  history: Operation[],
  transitions: FinalTransition[],
  change: { head?: number; attempts?: { epoch: number; atUs: number }[] } = {},
): string[] {
  const seq = change.head ?? transitions.at(-1)?.seq ?? null;
  const sessionId = seq === null ? null : (transitions.find((one) => one.seq === seq)?.new ?? null);
  const attempts = (change.attempts ?? []).map((attempt) => ({ project, ...attempt }));
  return check(history, { heads: [{ project, sessionId, seq }], transitions, attempts })
    .filter(({ violations }) => violations.length > 0)
    .map(({ name }) => name.split(':')[0] ?? '');
}

describe('the checker accepts', () => {
  it('nothing at all', () => {
    expect(broken([read('r', [1, 2], null)], [])).toEqual([]);
  });

  it('commits one after the other, and reads that overlap one and see either side of it', () => {
    const history = [
      commit([10, 20], 1, 'committed'),
      read('a', [11, 13], 1),
      read('b', [12, 19], null),
      commit([30, 40], 2, 'committed'),
      read('a', [31, 39], 1),
      read('b', [32, 38], 2),
    ];
    expect(broken([...history, commit([50, 60], 9, 'refused')], [row(1), row(2)])).toEqual([]);
  });

  it('a commit without an answer, whether it happened or not, and one that was delivered three times', () => {
    expect(broken([commit([10, 20], 1, 'unknown')], [row(1)])).toEqual([]);
    expect(broken([commit([10, 20], 1, 'unknown')], [])).toEqual([]);
    const thrice = [
      commit([10, 20], 1, 'committed'),
      commit([11, 30], 1, 'committed'),
      commit([12, 0], 1, 'unknown'),
    ];
    expect(broken(thrice, [row(1)])).toEqual([]);
  });

  it('a rewind that was delivered twice, refused before or not answered', () => {
    const told = (at: [number, number], answer?: Answer) =>
      call('r', at, { kind: 'rewind', chain: 'rewind:k' }, answer);
    const done: Answer = { outcome: 'rewound', transition: { seq: 2, new: 's2' } };
    const rows = [row(1), row(2, { chain: 'rewind:k', step: 'rewind', ticket: null })];
    const first = commit([1, 2], 1, 'committed');
    expect(
      broken([first, told([3, 4], { outcome: 'refused' }), told([5, 9], done), told([6, 10], done)], rows),
    ).toEqual([]);
    expect(broken([first, told([3, 4])], rows)).toEqual([]);
    expect(broken([first, told([3, 4])], [row(1)])).toEqual([]);
    // And neither one that nothing asked for, nor one that is not there.
    expect(broken([first, told([3, 4], { outcome: 'refused' })], rows)).toContain('commits');
    expect(broken([first, told([3, 4], done)], [row(1)])).toContain('commits');
  });

  it('a chain after the one before it has begun to leave, and a position in the queue that was left', () => {
    const history = [
      open('1', [1, 2], 1),
      queued('2', [3, 4], 2),
      queued('3', [5, 6], 3),
      commit([6, 8], 1, 'committed'),
      close('2', [7, 8], 2),
      close('1', [9, 20], 1),
      open('3', [10, 12], 3, 1),
    ];
    expect(broken(history, [row(1)])).toEqual([]);
  });
});

describe('the checker finds', () => {
  it('a lost update: an acknowledged commit that another one of the same head replaced', () => {
    const lost = commit([10, 20], 2, 'committed');
    const winner = { ...row(2), new: 'other' };
    const other = call(
      'x',
      [10, 20],
      { kind: 'commit', chain: 'chain/2', attemptId: 'x', epoch: 1, old: 's1', new: 'other' },
      { outcome: 'committed', transition: { seq: 2, new: 'other' } },
    );
    expect(broken([commit([1, 2], 1, 'committed'), lost, other], [row(1), winner])).toContain('commits');
  });

  it('siblings: two sessions with the same predecessor', () => {
    const sibling = { ...row(3), prevSeq: 1, old: 's1' };
    const history = [1, 2, 3].map((seq) => commit([seq, seq + 1], seq, 'committed'));
    expect(broken(history, [row(1), row(2), sibling])).toContain('lineage');
  });

  it('a gap, a second root, a session that comes twice, and a head that is not the last', () => {
    expect(broken([], [row(1), row(3)])).toContain('lineage');
    expect(broken([], [row(1), { ...row(2), prevSeq: null, old: null }])).toContain('lineage');
    expect(broken([], [row(1), row(2), { ...row(3), new: 's1' }])).toContain('lineage');
    expect(broken([], [row(1), row(2)], { head: 1 })).toContain('lineage');
  });

  it('a phantom transition, of a commit that was refused, that was told to stay beside, or that was never asked for', () => {
    expect(broken([commit([1, 2], 1, 'refused')], [row(1)])).toEqual(['commits']);
    const beside = commit([1, 2], 1, 'committed');
    beside.answer = { outcome: 'beside' };
    expect(broken([beside], [])).toEqual([]);
    expect(broken([beside], [row(1)])).toEqual(['commits']);
    expect(broken([], [row(1)])).toEqual(['commits']);
  });

  it('a repeated commit that is answered otherwise than the first', () => {
    expect(broken([commit([1, 2], 1, 'committed'), commit([3, 4], 1, 'refused')], [row(1)])).toEqual([
      'commits',
    ]);
    const elsewhere = commit([3, 4], 1, 'committed');
    elsewhere.answer = { outcome: 'committed', transition: { seq: 7, new: 's1' } };
    expect(broken([elsewhere], [row(1)])).toEqual(['commits']);
  });

  it('a stale read: the former head, after its successor was acknowledged', () => {
    const history = [
      commit([10, 20], 1, 'committed'),
      commit([30, 40], 2, 'committed'),
      read('r', [41, 42], 1),
    ];
    expect(broken(history, [row(1), row(2)])).toEqual(['linearizable']);
  });

  it('a read from the future, and a head that never was', () => {
    expect(broken([read('r', [1, 2], 1), commit([3, 4], 1, 'committed')], [row(1)])).toEqual([
      'linearizable',
    ]);
    const never = read('r', [5, 6], 2);
    expect(broken([commit([3, 4], 1, 'committed'), never], [row(1)])).toEqual(['linearizable']);
  });

  it('two readers that see an unanswered commit and then do not', () => {
    const history = [commit([10, 0], 1, 'unknown'), read('a', [11, 12], 1), read('b', [13, 14], null)];
    expect(broken(history, [row(1)])).toEqual(['linearizable']);
    const one = [commit([10, 0], 1, 'unknown'), read('a', [11, 12], 1), read('a', [13, 14], null)];
    expect(broken(one, [row(1)])).toEqual(['linearizable', 'monotonic']);
  });

  it('reordered commits: the later one was acknowledged before the earlier one was asked for', () => {
    const history = [commit([30, 40], 1, 'committed'), commit([10, 20], 2, 'committed')];
    expect(broken(history, [row(1), row(2)])).toEqual(['linearizable']);
  });

  it('a step that was committed twice', () => {
    const history = [commit([1, 2], 1, 'committed'), commit([3, 4], 2, 'committed')];
    expect(broken(history, [row(1, { step: 'build' }), row(2, { step: 'build' })])).toEqual(['once']);
  });

  it('a step that was said to be committed with another transition', () => {
    const told = begin('1', [3, 4], 1);
    told.answer = { outcome: 'committed', transition: { seq: 1, new: 'other' } };
    expect(broken([commit([1, 2], 1, 'committed'), told], [row(1)])).toEqual(['commits']);
  });

  it('two that hold the project, one that was overtaken, and one ticket for two', () => {
    expect(broken([open('1', [1, 2], 1), open('2', [3, 4], 2)], [])).toEqual(['tickets']);
    expect(broken([queued('1', [1, 2], 1), open('2', [3, 4], 2)], [])).toEqual(['tickets']);
    expect(broken([queued('1', [1, 2], 1), queued('2', [3, 4], 1)], [])).toEqual(['tickets']);
  });

  it('steps of two tickets that alternate', () => {
    const history = [1, 2, 3].map((seq) => commit([seq, seq + 1], seq, 'committed'));
    expect(broken(history, [row(1), row(2, { ticket: 2 }), row(3)])).toEqual(['tickets']);
  });

  it('a zombie: a transition of an earlier ticket behind the head with which a later one began', () => {
    const history = [
      open('1', [1, 2], 1),
      close('1', [3, 4], 1),
      commit([3, 9], 1, 'committed'),
      open('2', [4, 5], 2),
    ];
    expect(broken(history, [row(1)])).toEqual(['fenced']);
  });

  it('a zombie: a commit that was sent, or a head that was left, when its epoch was known to be over', () => {
    expect(broken([begin('1', [1, 2], 2), commit([3, 4], 1, 'committed')], [row(1)])).toEqual(['fenced']);
    const seen = [commit([1, 9], 1, 'committed'), begin('1', [2, 3], 2), read('r', [4, 5], null)];
    expect(broken(seen, [row(1)])).toEqual(['fenced']);
  });

  it('a zombie by the clock of the server: written after a later epoch was given out', () => {
    const history = [commit([1, 2], 1, 'committed')];
    expect(broken(history, [row(1)], { attempts: [{ epoch: 2, atUs: 9 }] })).toEqual([]);
    expect(broken(history, [row(1)], { attempts: [{ epoch: 2, atUs: 0 }] })).toEqual(['journal']);
  });
});
