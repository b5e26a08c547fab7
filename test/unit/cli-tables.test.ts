import { randomUUID } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { chainReport } from '../../cli/chain-report.js';
import { chainTable } from '../../cli/chain-table.js';
import { entry } from '../../cli/commands/doctor.js';
import { transitionTable } from '../../cli/commands/read.js';
import { forgottenTable } from '../../cli/commands/rewind.js';
import { syncText } from '../../cli/commands/sync.js';
import {
  formatAge,
  oneLine,
  shellWord,
  stepTable,
  table,
  wrapped,
  wrappedStepLine,
} from '../../cli/format.js';
import { lineageTree } from '../../cli/lineage-tree.js';
import { durationMs, fitting, pointInTime } from '../../cli/output.js';
import { createProgram } from '../../cli/program.js';
import type { ChainSummary } from '../../client/chains.js';
import type { ChainState, StepState } from '../../contracts/chain.js';
import { type FailureCode, failureCodes, failureOfCode } from '../../contracts/failures.js';
import { parseBuildId, parseProjectId, parseSessionId, parseVersionId } from '../../contracts/ids.js';
import { chainStatuses } from '../../contracts/steps.js';
import type { Transition } from '../../storage/heads/heads.js';
import { chainWorkflowId } from '../../temporal/names.js';

/** Tables fit a screen of 80 columns, whatever ids they are given. */

const width = 80;
const sizes: [string, () => string][] = [
  ['short', () => 'v2'],
  ['a uuid', () => randomUUID()],
  ['a long name', () => 'customer-portal-2026-v12'],
  ['as long as they may be', () => `x${'-abcdefgh'.repeat(28)}`],
];

function summary(newId: () => string, changes: Partial<ChainSummary> = {}): ChainSummary {
  const key = {
    projectId: parseProjectId(newId()),
    versionId: parseVersionId(newId()),
    buildId: parseBuildId(newId()),
  };
  return {
    ...key,
    workflowId: chainWorkflowId(key),
    mode: 'initial',
    status: 'completed_with_warnings',
    step: 'review_of_a_step_with_a_long_name',
    steps: [],
    reason: 'Something that takes a whole sentence to say, and then some more words so that it is long.',
    failure: null,
    warnings: [],
    firstLine: 'Add a search field',
    costUsd: 1234.5,
    attemptsOfUnknownCost: 1,
    createdAt: new Date(Date.now() - 100 * 86_400_000),
    openedAt: null,
    closedAt: null,
    progressAt: new Date(),
    waitingUntil: null,
    queue: null,
    waitingFor: null,
    sessionId: parseSessionId(randomUUID()),
    missingWorker: null,
    failingTask: null,
    ...changes,
  };
}

const widest = (text: string) =>
  Math.max(...text.split('\n').map((line) => line.replace(/\x1b\[\d+m/g, '').length));

describe.each(sizes)('with ids that are %s', (_, newId) => {
  const waitsFor = () => `chain/${newId()}/${newId()}/${newId()}`;
  const every: ChainSummary[] = [
    ...chainStatuses.map((status) => summary(newId, { status })),
    ...failureCodes.map((code: FailureCode) =>
      summary(newId, { status: 'failed', failure: failureOfCode(code), reason: failureOfCode(code).message }),
    ),
    summary(newId, { status: 'queued', queue: { position: 123, waitsFor: waitsFor() } }),
    summary(newId, {
      status: 'running',
      missingWorker: { taskQueue: newId().slice(0, 200), since: new Date(0), othersOnly: null },
    }),
    summary(newId, { status: 'waiting', reason: `a worker that has the folder /${newId()}` }),
  ];

  it('a list of chains fits, of one project and of all, and says why below each', () => {
    for (const ofProject of [true, false]) {
      for (const colour of [true, false]) {
        const text = chainTable(every, { colour, width }, { ofProject });
        expect(widest(text)).toBeLessThanOrEqual(width);
        expect(text).toMatch(/\n {2}(no worker polls|position 123, behind)/);
      }
    }
  });

  it('the transitions fit, and name a version once', () => {
    const versionId = parseVersionId(newId());
    const moves: Transition[] = [true, false].map((isFork, index) => ({
      seq: 12_345 + index,
      source: 'context_reset',
      step: 'build',
      versionId,
      oldSessionId: parseSessionId(randomUUID()),
      newSessionId: parseSessionId(randomUUID()),
      parentSessionId: isFork ? parseSessionId(randomUUID()) : null,
      rewoundTo: null,
      createdAt: new Date(),
    }));
    const text = transitionTable(moves, width);
    expect(widest(text)).toBeLessThanOrEqual(width);
    const [, first = '', second = ''] = text.split('\n');
    expect(second).not.toContain(first.split(/ +/)[2]);
  });

  it('what a rewind forgets fits, and names a version once', () => {
    const versionId = parseVersionId(newId());
    const one = { source: 'recovery', versionId, createdAt: new Date(0) };
    const text = forgottenTable(
      [9, 10, 11].map((seq) => ({ ...one, seq })),
      width,
    );
    expect(widest(text)).toBeLessThanOrEqual(width);
    const [head = '', first = '', second = ''] = text.split('\n');
    expect(head).toMatch(/^forgotten +source +version +at$/);
    expect(first).toMatch(/^ +9 {2}recovery +\S+ +1970-01-01 00:00:00Z$/);
    expect(second).toMatch(/^ +10 {2}recovery +1970-01-01 00:00:00Z$/);
  });

  it('the tree of the sessions fits', () => {
    const node = {
      ...{ kind: 'head', seq: 1, source: 'build', step: 'build', versionId: newId(), rewoundTo: null },
      ...{ sessionId: randomUUID(), parentSessionId: null, oldSessionId: null, createdAt: new Date(0) },
      condition: 'whole',
    };
    const lineage = { nodes: [node], headSessionId: node.sessionId, isCut: false };
    expect(
      widest(lineageTree(lineage as unknown as Parameters<typeof lineageTree>[0], width)),
    ).toBeLessThanOrEqual(width);
  });

  it('what sync found fits', () => {
    const one = {
      projectId: parseProjectId(newId()),
      versionId: parseVersionId(newId()),
      head: parseSessionId(newId()),
      versionSession: parseSessionId(newId()),
      inSync: false,
      reasons: ['version_not_opened', 'head_moved_outside', 'broken_lineage', 'checkpoint_differs'] as const,
    };
    const text = syncText(
      {
        ...{ projects: 1, inSync: 0, share: 0, withoutVersion: 0, more: true },
        drifted: [{ ...one, reasons: [...one.reasons] }],
        checkpoints: { status: 'off' },
      } as unknown as Parameters<typeof syncText>[0],
      width,
    );
    expect(widest(text)).toBeLessThanOrEqual(width);
  });
});

describe('the steps of a chain', () => {
  const step = (name: string, changes: Partial<StepState> = {}): StepState => ({
    step: name,
    kind: 'work',
    status: 'committed',
    attempts: 12,
    oldSessionId: parseSessionId(randomUUID()),
    newSessionId: parseSessionId(randomUUID()),
    turns: 1_234,
    usage: { inputTokens: 0, outputTokens: 999_900, cacheReadTokens: 999_900, cacheWriteTokens: 0 },
    costUsd: 1_234.5,
    durationMs: 59 * 60_000 + 59_000,
    ...changes,
  });

  it('fit, with names as long as a step may have and figures that grow', () => {
    expect(widest(stepTable([step('build'), step('a'.repeat(40))]))).toBeLessThanOrEqual(width);
  });

  it('in the report of a chain no id is cut or broken, and everything else fits', () => {
    const ids = { project: randomUUID(), version: randomUUID(), build: randomUUID() };
    const state: ChainState = {
      projectId: parseProjectId(ids.project),
      versionId: parseVersionId(ids.version),
      buildId: parseBuildId(ids.build),
      mode: 'update',
      status: 'queued',
      head: { sessionId: parseSessionId(randomUUID()), seq: 1 },
      baseSessionId: parseSessionId(randomUUID()),
      resumedFrom: `The transcript of the head ${randomUUID()} is lost: it goes on from ${randomUUID()}, the nearest ancestor that is whole.`,
      steps: [step('build')],
      warnings: [],
      queue: { position: 2, waitsFor: `chain/${ids.project}/${randomUUID()}/${randomUUID()}` },
    };
    const text = chainReport(state, { width });
    expect(widest(text)).toBeLessThanOrEqual(width);
    for (const id of Object.values(ids)) expect(text).toContain(id);
    expect(text.replaceAll(/\n +/g, ' ')).toContain(state.resumedFrom);
    const sentence = `Of the session ${randomUUID()} it says what takes more than a line of a terminal, and then some more.`;
    const { queue: _queue, ...ended } = state;
    const failed = chainReport(
      {
        ...ended,
        status: 'failed',
        warnings: [sentence, sentence],
        failure: { code: 'STEP_TIMED_OUT', message: sentence, remedy: sentence },
        steps: [step('build'), step('compact', { status: 'skipped', reason: sentence })],
      },
      { width },
    );
    expect(widest(failed)).toBeLessThanOrEqual(width);
    expect(failed.replaceAll(/\n +/g, ' ').split(sentence)).toHaveLength(6);
  });
});

describe('a table', () => {
  it('shortens the widest ids first, and only what it has to', () => {
    const long = 'customer-portal-2026-v12';
    expect(table(['id', 'n'], [[long, '1']], { elastic: ['id'], width: 40 })).toContain(long);
    expect(
      table(['id', 'other', 'n'], [[long, 'short', '1']], { elastic: ['id', 'other'], width: 25 }).split(
        '\n',
      )[1],
    ).toBe('custome…026-v12  short  1');
    const uuid = '0f3c1a52-5a0e-4a53-9d0b-3a7f5d0f6c11';
    expect(table(['id', 'n'], [[uuid, '1']], { elastic: ['id'], width: 20 })).toContain('\n0f3c1a52  ');
  });

  it('uses a wider screen', () => {
    expect(widest(table(['id'], [[randomUUID()]], { elastic: ['id'], width: 36 }))).toBe(36);
  });
});

describe('a text', () => {
  it('is wrapped between words, and a link is never broken', () => {
    const link = `http://127.0.0.1:8233/${'a'.repeat(90)}`;
    expect(wrapped(`See ${link} for more`, 20)).toBe(`See\n${link}\nfor more`);
    expect(wrapped('one two three', 7)).toBe('one two\nthree');
  });
  it.each([
    ['one two three', 20, 'one two three'],
    ['one two three', 9, 'one two …'],
    ['one\ntwo', 20, 'one …'],
    ['abcdefghij', 6, 'abcd …'],
  ])('%j in one line of %d is %j', (text, columns, line) => {
    expect(oneLine(text, columns)).toBe(line);
    expect(line.length).toBeLessThanOrEqual(columns);
  });
  it.each([
    [0, '0 s'],
    [59_999, '59 s'],
    [200_000, '3 min'],
    [7_300_000, '2 h'],
    [90 * 3_600_000, '3 d'],
  ])('an age of %d ms is %s', (ms, text) => expect(formatAge(ms)).toBe(text));
});

describe('a time on the command line', () => {
  it.each([
    ['90s', 90_000],
    ['10min', 600_000],
    ['2h', 7_200_000],
    ['1d', 86_400_000],
  ])('%s', (text, ms) => {
    expect(durationMs(text)).toBe(ms);
    const before = Date.now();
    const time = pointInTime(text).getTime();
    expect(time).toBeGreaterThanOrEqual(before - ms);
    expect(time).toBeLessThanOrEqual(Date.now() - ms);
  });
  it.each(['', '5', '0s', '1m', 'h', '-1h', '1.5h', '1w', '2026-99-99', 'yesterday'])(
    '%j is none',
    (text) => {
      expect(() => pointInTime(text)).toThrow(/It must be a date, .* or so long ago/);
      expect(() => durationMs(text)).toThrow(/It must be a time such as 90s/);
    },
  );
  it('may be a date', () => {
    expect(pointInTime('2026-11-22').toISOString()).toBe('2026-11-22T00:00:00.000Z');
    expect(pointInTime('2026-11-22T16:00:00+02:00').toISOString()).toBe('2026-11-22T14:00:00.000Z');
  });
});

describe('on a terminal', () => {
  const sentence =
    'The workspace lies outside the workspace roots (/srv/projects, /var/lib/projects, /home/builder).';
  it.each([
    ['an error is wrapped', sentence, true],
    [
      'a line with a command stays whole',
      `${sentence} Run: session-chain status --project ${'a'.repeat(80)}`,
      false,
    ],
  ])('%s', (_what, text, isWrapped) => {
    const told = fitting(text, { isTTY: true, columns: 60 });
    expect(told.includes('\n')).toBe(isWrapped);
    expect(told.replaceAll('\n', ' ')).toBe(text);
    expect(fitting(text, { isTTY: false, columns: 60 })).toBe(text);
  });
  it.each([80, 120])('a check of doctor fits into %d columns, with what to do', (columns) => {
    const text = entry('fail', 'search-attributes', [sentence, `What to do: ${sentence}`], {
      width: columns,
    });
    expect(widest(text)).toBeLessThanOrEqual(columns);
    expect(text.split('\n')[1]).toMatch(/^ {26}\S/);
  });
  it('a step that failed is told in lines that fit, in a log in one', () => {
    const step: StepState = {
      ...{
        step: 'build',
        kind: 'work',
        status: 'failed',
        attempts: 1,
        oldSessionId: null,
        newSessionId: null,
      },
      ...{ turns: 0, costUsd: 0, durationMs: 0 },
      usage: { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 },
      failure: { code: 'WORKSPACE_NOT_ALLOWED', message: sentence, remedy: sentence },
    };
    expect(widest(wrappedStepLine(step, 80))).toBeLessThanOrEqual(80);
    expect(wrappedStepLine(step, Infinity)).not.toContain('\n');
  });
  it.each([
    ['/srv/shop', '/srv/shop'],
    ['/srv/my shop', "'/srv/my shop'"],
    ["/srv/it's; rm", "'/srv/it'\\''s; rm'"],
    ['', "''"],
    ['~/shop', "'~/shop'"],
  ])('%s in a command that is to be copied is %s', (path, word) => {
    expect(shellWord(path)).toBe(word);
  });
});

describe('the help of a command', () => {
  const { commands } = createProgram(() => undefined);
  it.each(['', ...commands.map((command) => command.name())])('fits a terminal: %s', (name) => {
    let text = '';
    const program = createProgram(() => undefined);
    const command = program.commands.find((one) => one.name() === name) ?? program;
    command.configureOutput({ writeOut: (part) => (text += part), getOutHelpWidth: () => 80 }).outputHelp();
    const [told = ''] = text.split('\nExample:\n');
    expect(widest(told)).toBeLessThanOrEqual(80);
  });
});
