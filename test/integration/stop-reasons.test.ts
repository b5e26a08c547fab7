import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { AgentTaskKind } from '../../contracts/steps.js';
import { type Injection, type InjectionHandle, answers } from '../../dev/offline-model/injections.js';
import type { OfflineRequest } from '../../dev/offline-model/request-log.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
} from '../support/chain-stack.js';
import { answered, attemptsOf, loggedUsage, requestsOf } from '../support/project-facts.js';

/**
 * Every way in which the Messages API ends an answer, in every kind of task: what it means, how many answers are paid and
 * what the caller gets. The table stands in docs/guarantees.md; here each of its rows is run.
 */
let stack: ChainStack;
let worker: TestWorker;
beforeAll(async () => {
  stack = await startChainStack('stop-reasons', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  worker = await stack.startWorker();
});
afterAll(async () => {
  await stack.stop();
});

const isSummary = ({ bodyText }: OfflineRequest) => bodyText.includes('CRITICAL: Respond with TEXT ONLY');
const isCompacted = ({ bodyText }: OfflineRequest) =>
  bodyText.includes('This session is being continued from a previous conversation');
const beforeCompaction = (request: OfflineRequest) => !isSummary(request) && !isCompacted(request);
const ending = (stopReason: string): Injection => ({ answer: answers.ending(stopReason) });
const full = ending('model_context_window_exceeded');
const tooLong: Injection = {
  fail: { status: 400, message: 'prompt is too long: 205000 tokens > 200000 maximum' },
};

const stepOfKind = { work: 'build', submission: 'metadata', compaction: 'compact', question: 'chat_plan' };

/** Disturbs a task of one project: for ever, and from the first tool call on, unless the injection says otherwise. */
function disturb(kind: AgentTaskKind, projectId: string, injection: Injection): InjectionHandle {
  const {
    when = ({ bodyText }) => kind === 'compaction' || kind === 'question' || bodyText.includes('tool_result'),
    times = Infinity,
  } = injection;
  const applies = (request: OfflineRequest) =>
    request.kind === kind && request.bodyText.includes(projectId) && when(request);
  return stack.model.inject({ ...injection, times, when: applies });
}

/** What came of a task: `done` or the code of its failure, its attempts, and the answers that it was paid for. */
async function factsOf(kind: AgentTaskKind, projectId: string) {
  const attempts = (await attemptsOf(stack, projectId)).filter(({ step }) => step === stepOfKind[kind]);
  const requests = (await requestsOf(stack, projectId)).filter((request) => request.kind === kind);
  return {
    outcomes: attempts.map(({ state, failure }) => (state === 'committed' ? 'done' : failure)),
    paid: answered(requests).length,
    requests,
  };
}

async function runStep(kind: 'work' | 'submission' | 'compaction', ...injections: Injection[]) {
  const request = stack.request();
  const { projectId } = request;
  const disturbances = injections.map((injection) => disturb(kind, projectId, injection));
  const steps = kind === 'compaction' ? ['build', 'compact'] : [stepOfKind[kind]];
  const result = await stack.sessionChain.wait(await stack.sessionChain.start({ ...request, steps }));
  for (const disturbance of disturbances) disturbance.remove();
  return { request, result, ...(await factsOf(kind, projectId)) };
}

async function ask(...injections: Injection[]) {
  const { projectId, workspace } = stack.request();
  await stack.database.pool.query('INSERT INTO projects (project_id) VALUES ($1)', [projectId]);
  const disturbances = injections.map((injection) => disturb('question', projectId, injection));
  const asked = await stack.sessionChain
    .ask({ projectId, workspace, text: 'What is this?' })
    .catch((error: unknown) => error);
  for (const disturbance of disturbances) disturbance.remove();
  return { asked, ...(await factsOf('question', projectId)) };
}

/** One after the other in one task; each costs one answer more. */
const onceEach: Injection[] = [
  { answer: answers.refusal },
  ending('tool_use'),
  { answer: answers.nothing },
  { answer: answers.onlyThinking },
  ...['max_tokens', 'stop_sequence', 'pause_turn', 'of_a_later_api', 'model_context_window_exceeded'].map(
    (stopReason): Injection => ({ answer: answers.ending(stopReason, `${stopReason}, `) }),
  ),
].map((injection) => ({ ...injection, times: 1 }));

describe('an ending that comes once', () => {
  it('is gone on from in the same attempt: a build and a submission are done', async () => {
    const [build, metadata] = await Promise.all([
      runStep('work', ...onceEach),
      // Before the value is submitted; after it the step is done.
      runStep('submission', ...onceEach.map((injection) => ({ ...injection, when: () => true }))),
    ]);
    expect([build.outcomes, build.paid]).toEqual([['done'], 4 + onceEach.length]);
    expect([metadata.outcomes, metadata.paid]).toEqual([['done'], 2 + onceEach.length]);
  });

  it('of a question leaves one answer: the reply is all of it', async () => {
    const { asked, outcomes, paid } = await ask(...onceEach);
    expect([outcomes, paid]).toEqual([['done'], 1 + onceEach.length]);
    expect(asked).toMatchObject({
      reply: expect.stringMatching(
        /^max_tokens, stop_sequence, pause_turn, of_a_later_api, model_context_window_exceeded, You asked: “What is this\?”/,
      ),
    });
  });
});

describe('an ending that comes for ever', () => {
  /** The answers that are paid for it, beside those before it. */
  const rows: [string, Injection, string, number][] = [
    ['max_tokens', ending('max_tokens'), 'ANSWER_UNFINISHED', 4],
    ['max_tokens, of thinking alone', { answer: answers.onlyThinking }, 'ANSWER_UNFINISHED', 4],
    ['stop_sequence', ending('stop_sequence'), 'ANSWER_UNFINISHED', 4],
    ['pause_turn', ending('pause_turn'), 'ANSWER_UNFINISHED', 4],
    ['a reason that is not known', ending('of_a_later_api'), 'ANSWER_UNFINISHED', 4],
    ['tool_use without a tool', ending('tool_use'), 'ANSWER_UNFINISHED', 3],
    ['refusal', { answer: answers.refusal }, 'MODEL_REFUSED', 2],
    ['end_turn without a word', { answer: answers.nothing }, 'done', 2],
    ['model_context_window_exceeded, in the summary as well', full, 'CONTEXT_FULL', 8],
    ['a prompt that is too long, in the summary as well', tooLong, 'CONTEXT_FULL', 0],
  ];

  describe('in work', () => {
    let built: Awaited<ReturnType<typeof runStep>>[];
    beforeAll(async () => {
      built = await Promise.all(rows.map(async ([, injection]) => await runStep('work', injection)));
    });

    it.each(rows.map(([name, , outcome, paid], index) => ({ name, outcome, paid, index })))(
      '$name: $outcome, after $paid answers and no second attempt',
      ({ outcome, paid, index }) => {
        const { outcomes, paid: all, result, request } = built[index] as (typeof built)[number];
        expect([outcomes, all]).toEqual([[outcome], 1 + paid]);
        expect(result.status).toBe(outcome === 'done' ? 'completed' : 'failed');
        // What it wrote is there in any case.
        expect(readFileSync(`${request.workspace}/index.html`, 'utf8')).toContain('<html');
      },
    );
  });

  it('in a submission is the same, but for one after the accepted call: that is done', async () => {
    const [wordless, cut, silent, talking, invalid] = await Promise.all([
      runStep('submission', { answer: answers.nothing }),
      runStep('submission', ending('max_tokens')),
      runStep('submission', { answer: answers.nothing, when: () => true }),
      runStep('submission', { answer: answers.textOnly, when: () => true }),
      runStep('submission', { answer: answers.invalidMetadata, when: () => true }),
    ]);
    expect([wordless.outcomes, wordless.paid]).toEqual([['done'], 1 + 2]);
    expect([cut.outcomes, cut.paid]).toEqual([['done'], 1 + 4]);
    expect([silent.outcomes, silent.paid]).toEqual([['ANSWER_UNFINISHED'], 2]);
    expect([talking.outcomes, talking.paid]).toEqual([['SUBMISSION_INVALID'], 1 + 3]);
    expect(invalid.outcomes).toEqual(['SUBMISSION_INVALID']);
  });

  it('in a compaction fails it at once and leaves the head; what text there is counts as the summary', async () => {
    const compactions: [Injection, string, number][] = [
      [full, 'COMPACTION_FAILED', 4],
      [ending('max_tokens'), 'COMPACTION_FAILED', 4],
      [ending('tool_use'), 'COMPACTION_FAILED', 3],
      [{ answer: answers.refusal }, 'COMPACTION_FAILED', 1],
      [{ answer: answers.nothing }, 'COMPACTION_FAILED', 1],
      [{ fail: { status: 401 } }, 'MODEL_UNAUTHORIZED', 0],
      [ending('pause_turn'), 'done', 2],
    ];
    const all = await Promise.all(
      compactions.map(async ([injection]) => await runStep('compaction', injection)),
    );
    expect(all.map(({ outcomes, paid }) => [outcomes, paid])).toEqual(
      compactions.map(([, outcome, paid]) => [[outcome], paid]),
    );
    for (const { result, outcomes } of all) {
      expect(result.head.seq).toBe(outcomes[0] === 'done' ? 2 : 1);
    }
  });

  it('in a question fails it at once', async () => {
    const questions: [Injection, string, number][] = [
      [full, 'CONTEXT_FULL', 8],
      [ending('pause_turn'), 'ANSWER_UNFINISHED', 4],
      [{ answer: answers.nothing }, 'ANSWER_UNFINISHED', 2],
    ];
    const all = await Promise.all(questions.map(async ([injection]) => await ask(injection)));
    expect(all.map(({ asked, outcomes, paid }) => [asked, outcomes, paid])).toEqual(
      questions.map(([, code, paid]) => [
        expect.objectContaining({ code, remedy: expect.any(String) }),
        [code],
        paid,
      ]),
    );
  });
});

describe('a context that is full', () => {
  const untilCompacted: Injection = {
    ...full,
    when: (request) => request.bodyText.includes('tool_result') && beforeCompaction(request),
  };
  const butForSummaries: Injection = {
    ...full,
    when: (request) =>
      !isSummary(request) && (isCompacted(request) || request.bodyText.includes('tool_result')),
  };

  it('is compacted in the middle of the step, which then is done: one attempt, one session, paid and counted once', async () => {
    const [build, metadata, question, again] = await Promise.all([
      runStep('work', untilCompacted),
      runStep('submission', { ...full, when: beforeCompaction }),
      ask({ ...full, when: beforeCompaction }),
      runStep('work', butForSummaries),
    ]);
    for (const { outcomes, requests } of [build, metadata, question]) {
      expect(outcomes).toEqual(['done']);
      expect(requests.filter(isSummary)).toHaveLength(1);
      expect(new Set(requests.map(({ sessionId }) => sessionId)).size).toBe(1);
    }
    expect(build.result.status).toBe('completed');
    expect(build.result.steps[0]?.usage).toEqual(loggedUsage(build.requests));
    expect(question.asked).toMatchObject({ reply: expect.stringMatching(/^You asked: “What is this\?”/) });
    expect([again.outcomes, again.paid]).toEqual([['CONTEXT_FULL'], 1 + 4 + 1 + 4]);
    // The way on that the failure names.
    const next = { ...stack.request(again.request.projectId), steps: ['build'] };
    expect(await stack.sessionChain.wait(await stack.sessionChain.start(next))).toMatchObject({
      status: 'completed',
    });
  });

  it('is gone on with after a kill: compacted first, and not again once it was', async () => {
    const [before, after] = [stack.request(), stack.request()];
    const disturbances = [before, after].map(({ projectId }) => disturb('work', projectId, untilCompacted));
    const heldBefore = disturb('work', before.projectId, { hold: 'before', times: 1, when: isSummary });
    const heldAfter = disturb('work', after.projectId, { hold: 'before', times: 1, when: isCompacted });
    const started = await Promise.all(
      [before, after].map(
        async (request) => await stack.sessionChain.start({ ...request, steps: ['build'] }),
      ),
    );
    await Promise.all([heldBefore.reached, heldAfter.reached]);
    await worker.kill('SIGKILL');
    for (const held of [heldBefore, heldAfter]) held.remove();
    worker = await stack.startWorker();
    const results = await Promise.all(started.map(async (chain) => await stack.sessionChain.wait(chain)));
    expect(results.map(({ status }) => status)).toEqual(['completed', 'completed']);
    for (const disturbance of disturbances) disturbance.remove();

    const goesOn = await Promise.all(
      [before, after].map(async ({ projectId }) => {
        const { requests, outcomes } = await factsOf('work', projectId);
        expect(outcomes).toHaveLength(2);
        const second = requests.filter(({ sessionId }) => sessionId !== requests[0]?.sessionId);
        return { first: second[0], summaries: second.filter(isSummary).length };
      }),
    );
    expect(goesOn.map(({ summaries }) => summaries)).toEqual([1, 0]);
    expect(goesOn.map(({ first }) => first && [isSummary(first), isCompacted(first)])).toEqual([
      [true, false],
      [false, true],
    ]);
    // The summary need not hold what was asked for.
    expect(goesOn[1]?.first?.bodyText).toMatch(/Step: build, continued\.[\s\S]*Step: build\. Make the first/);
  });
});
