import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { exitCodeMeanings, exitCodeOf, exitCodes, reportError } from '../../cli/errors.js';
import {
  facts,
  formatCost,
  formatDuration,
  formatStatus,
  formatTokens,
  shortId,
  stepLine,
  stepTable,
  table,
} from '../../cli/format.js';
import { chainReport } from '../../cli/chain-report.js';
import { nodeVersion } from '../../cli/doctor-checks.js';
import { liveLine } from '../../cli/follow.js';
import { jsonText, outputFormatOf } from '../../cli/output.js';
import type { ChainState, StepState } from '../../contracts/chain.js';
import {
  type FailureCode,
  SessionChainError,
  categoryOf,
  failureCodes,
  failureOfCode,
  remedyFor,
} from '../../contracts/failures.js';
import { limitRemedy } from '../../contracts/limits.js';
import { createProgram } from '../../cli/program.js';
import { cliRemedies, remedyInWords } from '../../cli/remedies.js';
import { parseBuildId, parseProjectId, parseSessionId, parseVersionId } from '../../contracts/ids.js';

const first = parseSessionId('11111111-aaaa-4aaa-8aaa-aaaaaaaaaaaa');
const second = parseSessionId('22222222-bbbb-4bbb-8bbb-bbbbbbbbbbbb');

const build: StepState = {
  step: 'build',
  kind: 'work',
  role: 'build',
  status: 'committed',
  attempts: 1,
  oldSessionId: null,
  newSessionId: first,
  turns: 4,
  usage: { inputTokens: 100, outputTokens: 1_500, cacheReadTokens: 20_000, cacheWriteTokens: 2_000 },
  costUsd: 0.25,
  durationMs: 61_000,
};
const { role: _, ...ofNoRole } = build;
const metadata: StepState = {
  ...ofNoRole,
  step: 'metadata',
  kind: 'submission',
  attempts: 2,
  oldSessionId: first,
  newSessionId: second,
  turns: 1,
  costUsd: 1.5,
  durationMs: 900,
};
const nothing = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 };
const docs: StepState = {
  ...ofNoRole,
  step: 'docs',
  status: 'pending',
  attempts: 0,
  newSessionId: null,
  turns: 0,
  usage: nothing,
  costUsd: 0,
  durationMs: 0,
};

describe('figures', () => {
  it.each([
    [0, '0 ms'],
    [999, '999 ms'],
    [1_000, '1.0 s'],
    [59_949, '59.9 s'],
    [59_950, '1 min 00 s'],
    [65_400, '1 min 05 s'],
    [3_600_000, '1 h 00 min'],
    [7_380_000, '2 h 03 min'],
    [100 * 3_600_000, '4 d 04 h'],
  ])('%d ms is %s', (durationMs, text) => expect(formatDuration(durationMs)).toBe(text));

  it.each([
    [0, '$0.00'],
    [0.0001, '$0.0001'],
    [0.25, '$0.2500'],
    [12.345, '$12.35'],
  ])('%d US dollars are %s', (costUsd, text) => expect(formatCost(costUsd)).toBe(text));

  it.each([
    [0, '0'],
    [999, '999'],
    [12_345, '12.3k'],
    [999_949, '999.9k'],
    [999_950, '1.00M'],
  ])('%d tokens are %s', (tokens, text) => expect(formatTokens(tokens)).toBe(text));

  it('shortens ids to what tells them apart', () => {
    expect(shortId(first)).toBe('11111111');
    expect(shortId(null)).toBe('-');
  });
});

describe('tables', () => {
  it('show the steps with their new sessions and their sum, and nothing for what has not run', () => {
    expect(stepTable([build, metadata, docs]).split('\n')).toEqual([
      'step      status     session   turns     in  cached   out     cost        time',
      'build     committed  11111111      4  22.1k    90 %  1.5k  $0.2500  1 min 01 s',
      'metadata  committed  22222222      1  22.1k    90 %  1.5k    $1.50      900 ms',
      'docs      pending    -             -      -       -     -        -           -',
      'total                              5  44.2k    90 %  3.0k    $1.75  1 min 02 s',
    ]);
  });

  it('keep their columns when states are coloured', () => {
    const plain = stepTable([build, docs]);
    const coloured = stepTable([build, docs], { colour: true });
    expect(coloured).not.toBe(plain);
    expect(coloured.replace(/\x1b\[\d+m/g, '')).toBe(plain);
  });

  it('have neither lines nor trailing spaces', () => {
    expect(
      table(
        ['a', 'b'],
        [
          ['1', ''],
          ['long', '2'],
        ],
      ),
    ).toBe('a     b\n1\nlong  2');
  });

  it('list facts, and leave out what is not known', () => {
    expect(
      facts([
        ['a', '1'],
        ['bcd', null],
        ['ef', '2'],
      ]),
    ).toBe('a   1\nef  2');
  });
});

describe('a step in one line', () => {
  it('names the move of the session, what it took and what it cost', () => {
    expect(stepLine(metadata)).toBe(
      'metadata  11111111 -> 22222222  1 turn  22.1k tokens in (20.0k cached), 1.5k out  $1.50  900 ms',
    );
  });
  it('says of an activity of the host only how it ended', () => {
    const deploy: StepState = { ...docs, step: 'deploy', kind: 'activity', role: 'deploy' };
    expect(stepLine({ ...deploy, status: 'completed' })).toBe('deploy    completed');
  });
  it('says why it failed or was skipped', () => {
    const failure = { code: 'MODEL_REFUSED', message: 'No.', remedy: 'Ask otherwise.' } as const;
    expect(stepLine({ ...docs, status: 'failed', failure })).toBe('docs      failed  MODEL_REFUSED: No.');
    expect(stepLine({ ...docs, status: 'skipped', reason: 'Too small.' })).toBe(
      'docs      skipped  Too small.',
    );
  });
});

describe('a chain as text', () => {
  const state: ChainState = {
    projectId: parseProjectId('shop'),
    versionId: parseVersionId('v1'),
    buildId: parseBuildId('b1'),
    mode: 'initial',
    status: 'failed',
    head: { sessionId: first, seq: 1 },
    baseSessionId: null,
    steps: [build],
    warnings: ['docs: README.md was not touched'],
    failure: { code: 'MODEL_REFUSED', message: 'No.', remedy: 'Ask otherwise.' },
  };
  it('tells where it stands, what went wrong and what to do', () => {
    const text = chainReport(state);
    expect(text).toMatch(
      /^status +failed\nfailure +MODEL_REFUSED: No\.\nwhat to do +Ask otherwise\.\nwarning +docs: README\.md was not touched\nproject +shop\nversion +v1\nbuild +b1\n/,
    );
    expect(text).toContain(`head          ${first}\n`);
    expect(chainReport({ ...state, steps: [build, metadata] })).toContain('\nattempts: metadata 2');
  });
  it('has no table of steps before there are steps, and says why nothing works', () => {
    const { failure: _failure, ...open } = state;
    const queued = chainReport({ ...open, status: 'queued', warnings: [], steps: [] });
    expect(queued).toMatch(/^status +queued\nreason +no worker has taken it up yet\nproject/);
    expect(queued).not.toContain('total');
    const waiting = { ...docs, status: 'waiting', reason: 'The model is overloaded.' } as const;
    const text = chainReport({ ...open, status: 'waiting', warnings: [], steps: [build, waiting] });
    expect(text).toMatch(/^status +waiting\nreason +The model is overloaded\.\n/);
    expect(text.match(/overloaded/g)).toHaveLength(1);
  });
});

describe('a queued chain', () => {
  const state: ChainState = {
    projectId: parseProjectId('shop'),
    versionId: parseVersionId('v2'),
    buildId: parseBuildId('v2'),
    mode: 'update',
    status: 'queued',
    head: { sessionId: first, seq: 1 },
    baseSessionId: null,
    steps: [docs],
    warnings: [],
    queue: { position: 2, waitsFor: 'chain/shop/v1/v1' },
  };
  it('tells its position and what it waits for, in the report and while it is followed', () => {
    expect(chainReport(state)).toMatch(/^status +queued\nqueue +position 2, behind v1\n/);
    expect(liveLine(state, null)).toBe('queued  position 2, behind v1');
    const build = { ...state, queue: { position: 2, waitsFor: 'chain/shop/v1/b7' } };
    expect(liveLine(build, null)).toBe('queued  position 2, behind v1, build b7');
  });
});

describe('states', () => {
  it('are coloured on demand only', () => {
    expect(formatStatus('failed')).toBe('failed');
    expect(formatStatus('failed', { colour: true })).toBe('\x1b[31mfailed\x1b[39m');
    expect(formatStatus('pending', { colour: true })).toBe('pending');
  });
});

describe('exit codes', () => {
  it('are distinct, explained, and follow from the category of every failure', () => {
    const codes = Object.values(exitCodes);
    expect(new Set(codes).size).toBe(codes.length);
    expect(Object.keys(exitCodeMeanings)).toEqual(Object.keys(exitCodes));
    const byCategory = new Map(failureCodes.map((code) => [categoryOf(code), exitCodeOf(code)]));
    for (const code of failureCodes) expect(exitCodeOf(code)).toBe(byCategory.get(categoryOf(code)));
    expect(Object.fromEntries(byCategory)).toEqual({
      ...{ input: 2, not_found: 3, conflict: 4, setup: 7, unavailable: 6, internal: 1 },
      ...{ model: 5, agent: 5, budget: 5, ended: 5 },
    });
  });
});

describe('remedies of the command line', () => {
  it('name only commands and options that there are, and say more than the common ones', () => {
    const { commands } = createProgram(() => undefined);
    const options = new Set(commands.flatMap((command) => command.options.map(({ long }) => long)));
    const names = commands.map((command) => command.name());
    for (const [code, remedy] of Object.entries(cliRemedies)) {
      expect(remedy).not.toBe(remedyFor(code as FailureCode));
      for (const [, name] of remedy.matchAll(/session-chain ([a-z]+)/g)) expect(names).toContain(name);
      for (const [option] of remedy.matchAll(/--[a-z-]+/g)) expect(options).toContain(option);
    }
  });

  it('stand for the common one of a code, and leave any other with the options of the command line', () => {
    const failure = failureOfCode('WORKSPACE_CHANGED');
    expect(remedyInWords(failure)).toContain('session-chain unbind');
    expect(remedyInWords({ ...failure, remedy: 'Look.' })).toBe('Look.');
    expect(remedyInWords({ code: 'CHAIN_TERMINATED', remedy: 'Cancel it with `force`, not `more`.' })).toBe(
      'Cancel it with --force, not `more`.',
    );
    const limits = (['cost', 'turns', 'time'] as const).map((limit) =>
      limitRemedy({ limit, owner: 'chain' }),
    );
    expect(limits.map((remedy) => remedyInWords({ code: 'BUDGET_EXCEEDED', remedy }))).toEqual(
      ['--max-cost-usd', '--max-turns', '--max-time'].map((option) => expect.stringContaining(`(${option})`)),
    );
    // Limits of a step are in the configuration file.
    expect(
      remedyInWords({ code: 'BUDGET_EXCEEDED', remedy: limitRemedy({ limit: 'turns', owner: 'step' }) }),
    ).toBe(limitRemedy({ limit: 'turns', owner: 'step' }));
    expect(remedyInWords({ code: 'SESSION_NOT_IN_STORE', remedy: 'Look at it (`tree`).' })).toBe(
      'Look at it (session-chain tree).',
    );
    expect(remedyInWords(failureOfCode('MODEL_REFUSED'))).toBe(remedyFor('MODEL_REFUSED'));
  });

  it('are those of every failure in a document', () => {
    const document = {
      failure: failureOfCode('SESSION_NOT_IN_STORE'),
      steps: [failureOfCode('WORKER_LOST')],
    };
    expect(JSON.parse(jsonText(document))).toEqual({
      failure: { ...document.failure, remedy: cliRemedies.SESSION_NOT_IN_STORE },
      steps: document.steps,
    });
    // What only looks like one stays.
    expect(JSON.parse(jsonText({ code: 'SOMETHING', remedy: 'Rest.' }))).toEqual({
      code: 'SOMETHING',
      remedy: 'Rest.',
    });
  });
});

describe('errors', () => {
  let printed: string[];
  beforeEach(() => {
    printed = [];
    jest.spyOn(console, 'error').mockImplementation((line: unknown) => void printed.push(String(line)));
  });
  afterEach(() => {
    jest.restoreAllMocks();
  });

  const error = new SessionChainError('PROJECT_BUSY', 'A chain works.');

  it('are one block of text with code and remedy', () => {
    expect(reportError(error, 'text', false)).toBe(exitCodes.conflict);
    expect(printed).toEqual([`error PROJECT_BUSY: A chain works.\nwhat to do: ${cliRemedies.PROJECT_BUSY}`]);
  });
  it('are one document with -o json', () => {
    reportError(error, 'json', false);
    expect(printed.map((line) => JSON.parse(line) as unknown)).toEqual([
      { error: { code: 'PROJECT_BUSY', message: 'A chain works.', remedy: cliRemedies.PROJECT_BUSY } },
    ]);
  });
  it('show no stack, not even unforeseen ones, unless debugging', () => {
    expect(reportError(new TypeError('x is not a function'), 'text', false)).toBe(exitCodes.unexpected);
    expect(printed).toEqual([
      `error INTERNAL: TypeError: x is not a function\nwhat to do: ${cliRemedies.INTERNAL}`,
    ]);
    reportError(new TypeError('x is not a function'), 'text', true);
    expect(printed).toHaveLength(3);
  });
});

describe('the output format', () => {
  it.each([
    [['head', '-o', 'json'], 'json'],
    [['head', '--output=json'], 'json'],
    [['head', '--output', 'json', '--bogus'], 'json'],
    [['head', '-o', 'text'], 'text'],
    [['head', '--project', 'json'], 'text'],
  ])('of %j is %s, before the options are parsed', (args, format) =>
    expect(outputFormatOf(args)).toBe(format),
  );
});

describe('the check of Node', () => {
  it.each([
    ['18.20.4', 'fail'],
    ['20.19.9', 'fail'],
    ['20.20.0', 'ok'],
    ['22.0.0', 'ok'],
  ])('%s: %s', (version, status) => expect(nodeVersion(version).status).toBe(status));
});
