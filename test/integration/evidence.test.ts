import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { chainKey } from '../../client/session-chain.js';
import type { StartRequest } from '../../client/start-request.js';
import type { ChainResult } from '../../contracts/chain.js';
import { answers } from '../../dev/offline-model/injections.js';
import {
  type ChainStack,
  type TestWorker,
  longHeartbeatTimeoutMs,
  startChainStack,
  until,
} from '../support/chain-stack.js';
import { answered, attemptsOf, requestsOf, storedToolCalls } from '../support/project-facts.js';

/** What the next attempt makes of what an earlier one left. A chain that failed is started again, for it waits for no retry. */
let stack: ChainStack;
let worker: TestWorker;
beforeAll(async () => {
  stack = await startChainStack('evidence', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  worker = await stack.startWorker();
});
afterEach(async () => {
  // The process of an answer waits a while for the next question.
  await until(() => worker.agentProcesses().length === 0);
});
afterAll(async () => {
  await stack.stop();
});

const run = async (request: StartRequest): Promise<ChainResult> =>
  await stack.sessionChain.wait(await stack.sessionChain.start(request));
const sql = async (text: string, ...values: unknown[]) =>
  (await stack.database.pool.query(text, values)).rows as Record<string, unknown>[];
const buildOnce = (projectId?: string) => ({
  ...stack.request(projectId),
  steps: ['build' as const],
  limits: { build: { maxAttempts: 1 } },
});
const afterFirstTool = (projectId: string) => (request: { bodyText: string }) =>
  request.bodyText.includes(projectId) && request.bodyText.includes('tool_result');

describe('a turn that did not end the work', () => {
  it.each([
    ['max_tokens', answers.maxTokens, 'output token maximum'],
    ['pause_turn', answers.pauseTurn, 'pause_turn'],
  ])('%s: the attempt failed, the next one goes on from what it left', async (_ending, answer, says) => {
    const request = buildOnce();
    const injected = stack.model.inject({ when: afterFirstTool(request.projectId), times: Infinity, answer });
    const failed = await run(request);
    injected.remove();
    expect(failed).toMatchObject({
      status: 'failed',
      failure: { code: 'ANSWER_UNFINISHED', message: expect.stringContaining(says) },
      head: { sessionId: null },
    });
    const before = answered(await requestsOf(stack, request.projectId)).length;
    expect(await run(request)).toMatchObject({ status: 'completed', head: { seq: 1 } });
    const [left] = await attemptsOf(stack, request.projectId);
    const next = answered(await requestsOf(stack, request.projectId))[before];
    const calls = await storedToolCalls(stack, request.projectId, left?.sessionId ?? '');
    expect(calls).toHaveLength(1);
    expect(next?.bodyText).toContain(calls[0]);
    const { steps, saved } = await stack.sessionChain.chain(chainKey(request));
    const [used] = steps[0]?.journal ?? [];
    expect(saved).toEqual({
      ...{ costUsd: used?.costUsd ?? 0, attemptsOfUnknownCost: used?.costUsd === null ? 1 : 0 },
      ...{ turns: used?.turns, adopted: 0, continued: 1 },
    });
    expect(steps[0]?.saved).toEqual(saved);
    expect(steps[0]?.journal).toMatchObject([
      { state: 'failed', evidence: { kind: 'partial', rule: 'model turns, but none that ended the work' } },
      { state: 'committed', evidence: null },
    ]);
  });

  it('stays good though a chat was answered as a side branch meanwhile', async () => {
    const { projectId } = await run(buildOnce());
    const request = buildOnce(projectId);
    let asked = 0;
    const held = stack.model.holdNext(({ step }) => step === 'build');
    const injected = stack.model.inject({
      when: ({ step }) => step === 'build' && (asked += 1) > 1,
      times: Infinity,
      answer: answers.pauseTurn,
    });
    const started = await stack.sessionChain.start(request);
    await held.reached;
    const reply = await stack.sessionChain.ask({ projectId, text: 'What is this?' });
    expect(reply).toMatchObject({ kind: 'side_branch' });
    held.release();
    expect(await stack.sessionChain.wait(started)).toMatchObject({ status: 'failed' });
    injected.remove();
    const before = answered(await requestsOf(stack, projectId)).length;
    expect(await run(request)).toMatchObject({ status: 'completed', head: { seq: 2 } });
    const left = (await attemptsOf(stack, projectId)).find(({ state }) => state === 'failed');
    expect(left?.step).toBe('build');
    const next = answered(await requestsOf(stack, projectId))[before];
    const stored = await storedToolCalls(stack, projectId, left?.sessionId ?? '');
    expect(stored).not.toEqual([]);
    for (const call of stored) expect(next?.bodyText).toContain(call);
  });

  it('refusal: the attempt failed, and nothing goes on from it', async () => {
    const request = buildOnce();
    const injected = stack.model.inject({
      when: afterFirstTool(request.projectId),
      times: Infinity,
      answer: answers.refusal,
    });
    expect(await run(request)).toMatchObject({ status: 'failed', failure: { code: 'MODEL_REFUSED' } });
    injected.remove();
    expect(await run(request)).toMatchObject({ status: 'completed' });
    const [refused] = await attemptsOf(stack, request.projectId);
    const [call = ''] = await storedToolCalls(stack, request.projectId, refused?.sessionId ?? '');
    const later = (await requestsOf(stack, request.projectId)).filter(
      ({ sessionId }) => sessionId !== refused?.sessionId,
    );
    expect(later.some(({ bodyText }) => bodyText.includes(call))).toBe(false);
  });
});

describe('a transcript that is broken', () => {
  /** Takes the last tool result, or another entry of a kind, out of a session's stored transcript. */
  const breakTranscript = async (projectId: string, sessionId: string | undefined, like: string) =>
    await sql(
      `WITH broken AS (
         SELECT b.session, b.ordinal, t.id FROM session_chain.sessions s
         JOIN session_chain.transcript_batches b ON b.session = s.id
         JOIN session_chain.transcript_texts t ON t.id = ANY (b.entry_ids)
         WHERE s.project_id = $1 AND s.session_id = $2 AND t.content LIKE $3 ORDER BY b.ordinal, t.id LIMIT 1)
       UPDATE session_chain.transcript_batches b SET entry_ids = array_replace(b.entry_ids, broken.id,
         CASE WHEN $4 THEN -1 ELSE (SELECT min(t.id) FROM session_chain.transcript_texts t WHERE t.content LIKE '%"type":"queue-operation"%') END)
       FROM broken WHERE b.session = broken.session AND b.ordinal = broken.ordinal RETURNING b.session`,
      projectId,
      sessionId,
      like,
      false,
    );

  it('is quarantined and gone past: the next attempt starts from the base', async () => {
    const request = buildOnce();
    const injected = stack.model.inject({
      when: afterFirstTool(request.projectId),
      times: Infinity,
      answer: answers.pauseTurn,
    });
    await run(request);
    injected.remove();
    const [left] = await attemptsOf(stack, request.projectId);
    const [call = ''] = await storedToolCalls(stack, request.projectId, left?.sessionId ?? '');
    expect(await breakTranscript(request.projectId, left?.sessionId, '%"tool_result"%')).toHaveLength(1);

    expect(await run(request)).toMatchObject({ status: 'completed' });
    const [session] = await sql(
      'SELECT quarantine_reason FROM session_chain.sessions WHERE project_id = $1 AND session_id = $2',
      request.projectId,
      left?.sessionId,
    );
    expect(session?.['quarantine_reason']).toMatch(/missing/);
    const { steps } = await stack.sessionChain.chain(chainKey(request));
    expect(steps[0]?.journal[0]?.evidence).toEqual({ kind: 'nothing', rule: session?.['quarantine_reason'] });
    const later = (await requestsOf(stack, request.projectId)).filter(
      ({ sessionId }) => sessionId !== left?.sessionId,
    );
    expect(later.some(({ bodyText }) => bodyText.includes(call))).toBe(false);
  });

  it('as the head is SESSION_NOT_IN_STORE before money is spent; the head stays, and the next chain recovers', async () => {
    const first = buildOnce();
    const { head } = await run(first);
    expect(await breakTranscript(first.projectId, head.sessionId ?? '', '%"tool_result"%')).toHaveLength(1);
    const asked = stack.model.requests.length;
    expect(await run(buildOnce(first.projectId))).toMatchObject({
      status: 'failed',
      failure: { code: 'SESSION_NOT_IN_STORE', remedy: expect.any(String) },
    });
    expect(stack.model.requests).toHaveLength(asked);
    expect(await stack.sessionChain.head(first.projectId)).toEqual(head);
    const { rows } = await stack.database.pool.query(
      'SELECT FROM session_chain.sessions WHERE session_id = $1 AND quarantined_at IS NOT NULL',
      [head.sessionId],
    );
    expect(rows).toHaveLength(1);
    expect(await run(buildOnce(first.projectId))).toMatchObject({
      status: 'completed_with_warnings',
      origin: { kind: 'recovery', headSessionId: head.sessionId },
    });
  });

  it('that was deleted under a head is recovered from, and not in silence', async () => {
    const first = buildOnce();
    const { head } = await run(first);
    await sql(
      `WITH gone AS (DELETE FROM session_chain.transcript_batches b USING session_chain.sessions s
         WHERE s.id = b.session AND s.session_id = $1 RETURNING s.id)
       UPDATE session_chain.sessions SET messages = 0, entries = 0 WHERE id IN (SELECT id FROM gone)`,
      head.sessionId,
    );
    expect(await run(buildOnce(first.projectId))).toMatchObject({
      status: 'completed_with_warnings',
      warnings: [expect.stringContaining(`The transcript of the session ${head.sessionId ?? ''} is lost`)],
      origin: { kind: 'recovery', headSessionId: head.sessionId },
      head: { seq: 2 },
    });
  });
});

describe('a store that refuses in mid-run', () => {
  it('stops the agent with STORE_REFUSED; what was stored is gone on from once it accepts again', async () => {
    const request = buildOnce();
    await sql(`
      CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        IF NEW.ordinal > 6 THEN RAISE EXCEPTION 'no space left for this test'; END IF;
        RETURN NEW;
      END $$`);
    await sql(`CREATE TRIGGER refuse BEFORE INSERT ON session_chain.transcript_batches
      FOR EACH ROW EXECUTE FUNCTION refuse()`);
    const refused = await run(request);
    await sql('DROP FUNCTION refuse CASCADE');
    expect(refused).toMatchObject({
      status: 'failed',
      failure: { code: 'STORE_REFUSED', message: expect.stringContaining('no space left') },
      head: { sessionId: null },
    });
    expect(await run(request)).toMatchObject({ status: 'completed', head: { seq: 1 } });
  });
});

describe('a tool call that ran on its note, whose entry the store does not have when the worker is killed', () => {
  /** While it is held, the store takes no entry of the project. */
  const holdStore = async (projectId: string) => {
    const client = await stack.database.pool.connect();
    await client.query(`SELECT pg_advisory_lock(hashtextextended('session_chain texts ' || $1, 0))`, [
      projectId,
    ]);
    return {
      /** What waits for it, or is about to, goes with the worker. */
      async loseAppends() {
        await client.query(`SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name = 'session-chain worker'`);
        client.release(true);
      },
    };
  };

  it.each([
    ['alone', 1],
    ['after a call that is stored', 2],
  ])('%s: the next attempt is told that it may have run', async (_when, nth) => {
    const request = { ...stack.request(), steps: ['build' as const] };
    const { projectId, workspace } = request;
    const command = 'echo ran >> ran.txt';
    let asked = 0;
    const isIt = ({ bodyText }: { bodyText: string }) => bodyText.includes(projectId) && (asked += 1) === nth;
    const held = stack.model.inject({
      when: isIt,
      hold: 'before',
      answer: () => ({
        content: [{ type: 'tool_use', name: 'Bash', input: { command, description: 'Runs' } }],
        stopReason: 'tool_use',
      }),
    });
    const started = await stack.sessionChain.start(request);
    await held.reached;
    const storedBefore = async () => {
      const [attempt] = await attemptsOf(stack, projectId);
      return await storedToolCalls(stack, projectId, attempt?.sessionId ?? '');
    };
    await until(async () => (await storedBefore()).length === nth - 1);
    const store = await holdStore(projectId);
    held.release();
    await until(() => existsSync(join(workspace, 'ran.txt')));
    await worker.kill('SIGKILL');
    await store.loseAppends();
    const before = await storedBefore();
    expect(before).toHaveLength(nth - 1);
    const noted = async () =>
      await sql(
        'SELECT state, calls FROM session_chain.attempts WHERE project_id = $1 AND calls IS NOT NULL',
        projectId,
      );
    expect(await noted()).toMatchObject([
      { calls: [{ name: 'Bash', input: expect.stringContaining(command) }] },
    ]);

    worker = await stack.startWorker();
    expect(await stack.sessionChain.wait(started)).toMatchObject({ status: 'completed' });
    const told = answered(await requestsOf(stack, projectId)).filter(({ bodyText }) =>
      bodyText.includes('Each may have run'),
    );
    expect(told[0]?.bodyText).toContain(command);
    for (const call of before) expect(told[0]?.bodyText).toContain(call);
    expect(await noted()).toEqual([]);
  });
});
