import { describe, expect, it } from '@jest/globals';
import type { ChainCost, ChainState, StepState } from '../../contracts/chain.js';
import { type Failure, failureOfCode } from '../../contracts/failures.js';
import type { BuildId, SessionId } from '../../contracts/ids.js';
import { createChainDetails, stepSummary } from '../../workflows/details.js';
import { pendingStep, resultOf } from '../../workflows/reducer.js';
import { newKey } from '../support/chains.js';

const session = (start: string) => `${start}-83c4-43ba-8a89-a06b9031e69e` as SessionId;
const step = (name: string, change: Partial<StepState> = {}): StepState => ({
  ...pendingStep({ name, kind: 'work' }),
  ...change,
});
const built = step('build', {
  status: 'committed',
  attempts: 1,
  newSessionId: session('708489ba'),
  turns: 4,
  usage: { inputTokens: 10, outputTokens: 5, cacheReadTokens: 90, cacheWriteTokens: 0 },
  costUsd: 0.0922,
});
const state = (change: Partial<ChainState>): ChainState => ({
  ...newKey('project'),
  mode: 'initial',
  status: 'running',
  head: { sessionId: session('708489ba'), seq: 1 },
  baseSessionId: null,
  steps: [built, step('docs', { status: 'running' }), step('compact')],
  warnings: [],
  ...change,
});
const failure = (code: 'BUDGET_EXCEEDED' | 'AGENT_FAILED') => ({
  code,
  message: 'So it is.',
  remedy: 'Do this.',
});

/** The details of one chain, with a clock that is set by hand. */
function detailsOfChain() {
  let time = '';
  const details = createChainDetails(() => new Date(`2026-11-22T${time}.5Z`));
  return (at: string, change: Partial<ChainState>, show = state, cost?: ChainCost) => {
    time = at;
    return details(show(change), cost);
  };
}
const head = (details: string) => details.split('\n\n')[0]?.split('  \n');

describe('the details of a chain in the Web UI', () => {
  it('say in their first lines the status, since when, what it cost, why, and what is next', () => {
    const details = detailsOfChain();
    const queue = { position: 2, waitsFor: 'chain/p/v/b' };
    const nothing = { steps: [], head: { sessionId: null, seq: null }, status: 'queued' as const };
    expect(head(details('16:00:00', nothing))).toEqual([
      '**queued** since 2026-11-22 16:00:00 UTC · $0.0000 so far',
      'Next: it opens on a worker of the chains.',
    ]);
    expect(head(details('16:10:00', { ...nothing, queue }))).toEqual([
      '**queued** since 2026-11-22 16:00:00 UTC · $0.0000 so far',
      'Position 2 in the queue, behind `chain/p/v/b`.',
      'Next: it asks for the project when that chain ends.',
    ]);
    expect(details('16:20:01', {})).toBe(
      [
        '**running** in docs since 2026-11-22 16:20:01 UTC · $0.0922 so far  ',
        'Next: compact, commit of the chain.',
        '',
        '| step | status | from | to | turns | cached | cost |',
        '|---|---|---|---|---:|---:|---:|',
        '| build | committed | none | `708489ba` | 4 | 90 % | $0.0922 |',
        '| docs | running |  |  |  |  |  |',
        '| compact | pending |  |  |  |  |  |',
        '',
        'Head `708489ba`.',
      ].join('\n'),
    );
  });

  it('count the waits of a step, and keep when the first began', () => {
    const details = detailsOfChain();
    const waiting = {
      status: 'waiting' as const,
      steps: [built, step('docs', { status: 'waiting', reason: 'Waits 15 s. The service is overloaded.' })],
    };
    details('16:00:00', {});
    expect(head(details('16:01:00', waiting))).toEqual([
      '**waiting** in docs since 2026-11-22 16:01:00 UTC · $0.0922 so far',
      'Waits 15 s. The service is overloaded.',
      'Next: docs again, commit of the chain.',
    ]);
    expect(head(details('16:01:15', {}))?.[0]).toContain('**running** in docs since 2026-11-22 16:01:15 UTC');
    expect(head(details('16:01:16', waiting))?.[0]).toBe(
      '**waiting** in docs since 2026-11-22 16:01:16 UTC (wait 2, the first at 2026-11-22 16:01:00 UTC) · $0.0922 so far',
    );
    const compacts = { ...waiting, steps: [built, step('compact', { status: 'waiting', reason: 'Waits.' })] };
    expect(head(details('16:02:00', compacts))?.[0]).not.toContain('first');
  });

  it.each([
    ['BUDGET_EXCEEDED', '**budget exceeded** in docs'],
    ['AGENT_FAILED', '**failed** in docs'],
  ] as const)('tell a chain that ended with %s by its status', (code, status) => {
    const details = detailsOfChain();
    const ended = {
      steps: [built, step('docs', { status: 'failed', failure: failure(code) })],
      failure: failure(code),
    };
    expect(head(details('16:00:00', ended))?.[0]).toContain('**closing** in docs');
    const closed = (attemptsOfUnknownCost: number) =>
      details('16:00:01', ended, (change) => resultOf(state(change)), {
        costUsd: 0.1234,
        attemptsOfUnknownCost,
      });
    expect(head(closed(0))).toEqual([
      `${status} since 2026-11-22 16:00:01 UTC · $0.1234`,
      `${code}: So it is.`,
      'Next: Do this.',
    ]);
    expect(head(closed(1))?.[0]).toMatch(/ · at least \$0\.1234$/);
  });

  it('say where the whole message of a failure is, of which only the code is known', () => {
    const ofFailure = (failure: Failure, more: Partial<ChainState> = {}) =>
      head(detailsOfChain()('16:00:00', { failure, ...more }))?.[1];
    const key = { projectId: 'shop', versionId: 'v2', buildId: 'v2' } as Partial<ChainState>;
    const refused = failureOfCode('MODEL_REJECTED');
    expect(ofFailure(refused, key)).toBe(
      `MODEL_REJECTED: ${refused.message} In full: \`session-chain status --project shop --version v2\``,
    );
    expect(ofFailure(refused, { ...key, buildId: 'b7' as BuildId })).toMatch(/ --version v2 --build b7`$/);
    expect(ofFailure(failureOfCode('CANCELLED'), key)).toBe('CANCELLED: The chain was cancelled.');
    expect(ofFailure({ ...refused, message: 'So it is.' }, key)).toBe('MODEL_REJECTED: So it is.');
  });

  it('keep warnings below the table, and end without a next step', () => {
    const details = detailsOfChain();
    const ended = details(
      '16:00:00',
      { steps: [built], warnings: ['docs: It wrote nothing.'] },
      (change) => resultOf(state(change)),
      { costUsd: 0.0922, attemptsOfUnknownCost: 0 },
    );
    expect(head(ended)).toEqual(['**completed with warnings** since 2026-11-22 16:00:00 UTC · $0.0922']);
    expect(ended).toMatch(/Head `708489ba`\.\n\n⚠ docs: It wrote nothing\.$/);
  });
});

describe('the summary of a step', () => {
  it.each([
    [{ name: 'review' }, 'review'],
    [{ name: 'review', purpose: 'Reads what was built' }, 'Reads what was built'],
    [
      { name: 'review', purpose: `Reads what was built, and ${'writes down '.repeat(9)}` },
      'Reads what was built, and writes down writes down writes …',
    ],
    [{ name: 'review', purpose: 'x'.repeat(200) }, `${'x'.repeat(60)} …`],
  ])('of %j is its first words', (plan, summary) => {
    expect(stepSummary(plan)).toBe(summary);
  });
});
