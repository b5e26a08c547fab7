import { describe, expect, test } from '@jest/globals';
import { chainSpans } from '../../client/chain-spans.js';
import { savedOf } from '../../client/saved.js';
import { boundedChanges, fileChanges } from '../../transcript/changes.js';
import { attemptSpans, mergedSpans, totalsOf } from '../../transcript/timeline.js';

/** Seconds after noon. */
const at = (seconds: number) => new Date(Date.UTC(2026, 10, 26, 12, 0, 0, 1_000 * seconds));
const entry = (seconds: number, rest: { type: string; [field: string]: unknown }) => ({
  timestamp: at(seconds).toISOString(),
  ...rest,
});
const asked = (seconds: number) =>
  entry(seconds, { type: 'user', uuid: `u${seconds}`, message: { content: 'Go' } });
const said = (seconds: number, id: string, ...blocks: object[]) =>
  entry(seconds, { type: 'assistant', uuid: `a${seconds}`, message: { id, content: blocks } });
const text = { type: 'text', text: 'Well.' };
const called = (id: string, name: string, input: object = {}) => ({ type: 'tool_use', id, name, input });
const result = (seconds: number, id: string, rest: object = {}) =>
  entry(seconds, {
    type: 'user',
    uuid: `r${seconds}`,
    message: { content: [{ type: 'tool_result', tool_use_id: id, content: 'ok' }] },
    ...rest,
  });
const times = {
  startedAt: at(0),
  endedAt: at(20) as Date | null,
  isCommitted: true,
  seenAt: at(18),
  leaseUntil: at(60),
};
const brief = (spans: ReturnType<typeof attemptSpans>) =>
  spans.map(({ kind, label, startedAt, endedAt }) =>
    [
      kind,
      (Number(startedAt) - Number(at(0))) / 1_000,
      endedAt && (Number(endedAt) - Number(at(0))) / 1_000,
      label,
    ]
      .filter((part) => part !== '')
      .join(' '),
  );
const work = [
  asked(2),
  said(4, 'm1', text),
  said(5, 'm1', called('t1', 'Write'), called('t2', 'Write')),
  said(5.5, 'm1', called('t3', 'Bash')),
  result(6, 't1'),
  result(7, 't2'),
  result(9, 't3'),
  said(12, 'm2', text),
];

describe('the spans of an attempt', () => {
  test('the start, the model, tools of one answer together, and the end', () => {
    const spans = attemptSpans(work, times);
    expect(brief(spans)).toEqual([
      'start 0 2',
      'model 2 5.5',
      'tool 5.5 9 Write ×2, Bash',
      'model 9 12',
      'end 12 20',
    ]);
    expect(spans.map(({ entryId }) => entryId)).toEqual([null, 'a4', 'a4', 'a12', null]);
    expect(totalsOf(spans, at(20))).toEqual({ start: 2_000, model: 6_500, tool: 3_500, end: 8_000 });
  });

  test('what runs has an open end: the start, the model, tools', () => {
    const running = { ...times, endedAt: null, isCommitted: false };
    expect(brief(attemptSpans([], running))).toEqual(['start 0 ']);
    expect(brief(attemptSpans(work.slice(0, 1), running))).toEqual(['start 0 2', 'model 2 ']);
    expect(brief(attemptSpans(work.slice(0, 5), running)).at(-1)).toBe('tool 5.5  Write ×2, Bash');
    expect(brief(attemptSpans(work.slice(0, 7), running)).at(-1)).toBe('model 9 ');
  });

  test('one that died did what it did until its last sign of life, and is lost until its lease had expired', () => {
    const died = { ...times, isCommitted: false, endedAt: at(60), seenAt: at(15) };
    expect(brief(attemptSpans(work.slice(0, 7), died)).slice(-2)).toEqual(['model 9 15', 'lost 15 60']);
    const stopped = { ...died, endedAt: at(16) };
    expect(brief(attemptSpans(work.slice(0, 7), stopped)).at(-1)).toBe('model 9 16');
  });

  test('a compaction, a clock that is ahead, and entries of another shape', () => {
    const boundary = entry(6, { type: 'system', subtype: 'compact_boundary', uuid: 'b' });
    expect(brief(attemptSpans([{ type: 'mode' }, boundary, asked(2), { type: 'user' }], times))).toEqual([
      'start 0 2',
      'compaction 2 6',
      'end 6 20',
    ]);
    // Between being asked and the boundary the model wrote the summary, whatever Claude Code noted meanwhile.
    expect(brief(attemptSpans([asked(2), asked(5), boundary], times))).toContain('compaction 2 6');
    const interrupted = entry(1, {
      type: 'assistant',
      message: { id: 's', model: '<synthetic>', content: [text] },
    });
    expect(brief(attemptSpans([interrupted, ...work], times))[0]).toBe('start 0 2');
    expect(brief(attemptSpans([asked(25), said(30, 'm', text)], times))).toEqual([
      'start 0 20',
      'model 20 20',
    ]);
  });

  test('short neighbours are merged, long ones and the totals stay', () => {
    const many = [asked(0)];
    for (let turn = 1; turn <= 2_500; turn++)
      many.push(said(2 * turn - 1, `m${turn}`, called(`t${turn}`, 'Read')), result(2 * turn, `t${turn}`));
    many.push(said(9_000, 'last', text));
    const spans = attemptSpans(many, { ...times, endedAt: at(9_010) });
    expect(spans).toHaveLength(5_002);
    const merged = mergedSpans(spans, 100, at(9_010));
    expect(merged.length).toBeLessThanOrEqual(200);
    expect(merged.reduce((sum, { count }) => sum + count, 0)).toBe(5_002);
    expect(totalsOf(merged, at(9_010))).not.toEqual({});
    expect(brief(merged).slice(-2)).toEqual(['model 5000 9000', 'end 9000 9010']);
    expect(merged[0]?.label).toMatch(/^\d+ answers, \d+ times tools$/);
    expect(mergedSpans(spans.slice(0, 5), 100, at(10))).toEqual(spans.slice(0, 5));
  });
});

describe('what a chain does outside attempts', () => {
  const event = (seconds: number, type: string, data: object = {}) =>
    ({ type, at: at(seconds).toISOString(), data }) as never;
  const attempt = (
    attemptId: string,
    [scheduled, started, ended]: [number, number, number | null],
    rest = {},
  ) =>
    ({
      ...{ step: 'build', attemptId, round: 1, state: ended === null ? 'running' : 'failed' },
      ...{ scheduledAt: at(scheduled), startedAt: at(started), endedAt: ended === null ? null : at(ended) },
      seenAt: at(started),
      ...rest,
    }) as never;
  const chain = {
    status: 'completed',
    plan: [{ name: 'build', kind: 'work' }],
    ...{ requestedAt: at(0), openedAt: at(3), closedAt: at(60), waitsFor: null },
  } as never;

  test('the queue, the opening, a retry, a wait, and the close', () => {
    const waits = event(20, 'step.failed', { step: 'build', attemptId: '2', waits: true });
    const { runs, spans } = chainSpans({
      chain,
      events: [
        event(0, 'chain.queued'),
        event(3, 'chain.opened'),
        event(20, 'chain.waiting', { for: 'MODEL_UNAVAILABLE' }),
        waits,
        event(45, 'step.started', { step: 'build', attemptId: '3' }),
        event(60, 'chain.closed'),
      ],
      attempts: [
        attempt('1', [4, 5, 10]),
        attempt('2', [12, 13, 45], { state: 'failed' }),
        attempt('3', [44, 45, 55], { state: 'committed' }),
      ],
      calls: [],
    });
    expect(runs).toEqual([{ queuedAt: at(0), openedAt: at(3), closedAt: at(60) }]);
    expect(brief(spans)).toEqual([
      'queued 0 3',
      'opening 3 4',
      'worker 4 5',
      'retry 10 12',
      'worker 12 13',
      'waiting 20 44 MODEL_UNAVAILABLE',
      'worker 44 45',
      'closing 55 60',
    ]);
  });

  test('one that was asked for again has two runs; without events the row tells the last', () => {
    const again = [
      event(0, 'chain.queued'),
      event(3, 'chain.opened'),
      event(10, 'chain.closed'),
      event(30, 'chain.queued'),
    ];
    const open = {
      ...(chain as object),
      status: 'queued',
      openedAt: at(3),
      closedAt: null,
      waitsFor: 'chain/p/v/b',
    } as never;
    const { runs, spans } = chainSpans({ chain: open, events: again, attempts: [], calls: [] });
    expect(runs).toHaveLength(2);
    expect(brief(spans).at(-1)).toBe('queued 30  chain/p/v/b');
    expect(chainSpans({ chain, events: [], attempts: [], calls: [] }).runs).toHaveLength(1);
  });

  test('a step that no worker takes', () => {
    const open = {
      ...(chain as object),
      ...{ status: 'running', closedAt: null, plan: [{ name: 'build' }, { name: 'docs' }] },
    } as never;
    const { spans } = chainSpans({
      chain: open,
      events: [event(0, 'chain.queued'), event(3, 'chain.opened')],
      attempts: [attempt('1', [4, 4, 10], { state: 'committed' })],
      calls: [],
    });
    expect(brief(spans).at(-1)).toBe('worker 10 ');
    expect(spans.at(-1)?.step).toBe('docs');
  });
});

describe('what recovery has saved', () => {
  const attempt = (sessionId: string, rest: object = {}) =>
    ({ round: 1, sessionId, parentSessionId: 'base', adopts: null, costUsd: 1, turns: 2, ...rest }) as never;
  test('nothing where nothing was used, or it was not used in the end', () => {
    expect(savedOf([])).toMatchObject({ costUsd: 0, turns: 0, adopted: 0, continued: 0 });
    const dropped = [attempt('1'), attempt('2', { parentSessionId: '1' }), attempt('3')];
    expect(savedOf(dropped)).toMatchObject({ costUsd: 0, continued: 0 });
  });
  test('what was adopted, and what that had continued; of a round of its own as well', () => {
    const used = [
      attempt('1', { costUsd: 0.1 }),
      attempt('2', { parentSessionId: '1', costUsd: null }),
      attempt('3', { adopts: '2', costUsd: 0, turns: 0 }),
      attempt('4', { round: 2, costUsd: 5 }),
      attempt('5', { round: 2, parentSessionId: '4' }),
    ];
    expect(savedOf(used)).toEqual({
      costUsd: 5.1,
      attemptsOfUnknownCost: 1,
      turns: 6,
      adopted: 1,
      continued: 2,
    });
  });
  test('a session that names itself ends the search', () => {
    expect(savedOf([attempt('1', { parentSessionId: '1', adopts: '1' })])).toMatchObject({ adopted: 0 });
  });
});

describe('what was written', () => {
  const write = (id: string, name: string, input: object, told?: object) => [
    { ...said(1, id, called(id, name, input)), cwd: '/w' },
    result(2, id, told ? { toolUseResult: told } : {}),
  ];
  test('by the account of the tool, else by its input', () => {
    const patch = [{ oldStart: 3, oldLines: 1, newStart: 3, newLines: 1, lines: ['-a', '+b'] }];
    const changes = fileChanges([
      ...write(
        '1',
        'Edit',
        { file_path: '/w/a.ts', old_string: 'a', new_string: 'b' },
        { structuredPatch: patch },
      ),
      ...write(
        '2',
        'Write',
        { file_path: 'b.ts', content: 'x\ny\n' },
        { type: 'create', structuredPatch: [] },
      ),
      ...write('3', 'Edit', { file_path: '/elsewhere', old_string: 'a', new_string: '' }),
      ...write('4', 'Bash', { command: 'rm' }),
      ...write('5', 'Write', { file_path: 7 }),
      { ...said(1, '6', called('6', 'Write', { file_path: 'c', content: 'c' })), cwd: '/w' },
    ]);
    expect(changes.map(({ path, tool, isNew, hunks }) => [path, tool, isNew, hunks])).toEqual([
      ['a.ts', 'Edit', false, [{ oldStart: 3, newStart: 3, lines: ['-a', '+b'] }]],
      ['b.ts', 'Write', true, [{ oldStart: 0, newStart: 1, lines: ['+x', '+y'] }]],
      ['/elsewhere', 'Edit', false, [{ oldStart: null, newStart: null, lines: ['-a'] }]],
    ]);
  });
  test('within bounds: long lines, many lines, many files', () => {
    const content = `${'x'.repeat(5_000)}\n${'y\n'.repeat(2_000)}`;
    const all = Array.from({ length: 40 }, (_, n) =>
      fileChanges(write(String(n), 'Write', { file_path: `f${n}`, content })),
    ).flat();
    const { changes, bytes, leftOut } = boundedChanges(all, 20_000);
    expect(bytes).toBeLessThanOrEqual(20_000);
    expect(changes.length + leftOut).toBe(40);
    expect(changes[0]).toMatchObject({ isCut: true });
    expect(changes[0]?.hunks[0]?.lines).toHaveLength(400);
    expect(changes[0]?.hunks[0]?.lines[0]).toHaveLength(400);
  });
});
