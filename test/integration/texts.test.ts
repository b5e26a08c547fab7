import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Failure, failureOfCode } from '../../contracts/failures.js';
import { questionBuildId } from '../../contracts/question.js';
import { keepBrief } from '../../storage/chains/brief.js';
import { noteFailure, noteWaiting, registerChain, requireChain } from '../../storage/chains/chains.js';
import { beginActivityStep, endActivityStep } from '../../storage/operations/activity-steps.js';
import {
  beginOperation,
  commitOperation,
  endOperation,
  quarantineSession,
  submittedValues,
} from '../../storage/operations/operations.js';
import { addLiveText, readLiveText } from '../../storage/live/text.js';
import {
  failQuestion,
  recordQuestion,
  requireQuestion,
  startQuestion,
} from '../../storage/questions/questions.js';
import { begin, beginWithTranscript, newKey, openNew, someMetrics, storeMessage } from '../support/chains.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';

/** Texts that a model, an agent, a tool or an activity of the host may say, and that Postgres does not take for texts. */

const said = 'cut \u0000 here 😀 and \ud83d';
const kept = 'cut \ufffd here 😀 and \ufffd';
const failure: Failure = { ...failureOfCode('AGENT_FAILED'), code: 'AGENT_FAILED', message: said };

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database.drop();
});

async function valueOf(text: string, ...values: unknown[]): Promise<unknown> {
  const { rows } = await database.pool.query<{ value: unknown }>(text, values);
  return rows[0]?.value;
}

describe('what Postgres does not take for a text is kept, but for what it cannot hold', () => {
  it('of a submission: the value, the warnings, the model and its version', async () => {
    const { pool } = database;
    const chain = await openNew(pool);
    const attempt = await beginWithTranscript(pool, chain, 'metadata');
    const metrics = { ...someMetrics, model: said, agentVersion: said };
    await commitOperation(pool, {
      attempt,
      source: 'metadata',
      newSessionId: attempt.sessionId,
      parentSessionId: null,
      metrics: { ...metrics, byModel: { [said]: { ...someMetrics.usage, costUsd: 0.5 } } },
      result: { warnings: [said] },
      value: { name: said, [said]: [said] },
      column: 'ai_metadata',
    });
    const value = { name: kept, [kept]: [kept] };
    expect(await submittedValues(pool, chain.chainId)).toEqual({ metadata: value });
    expect(
      await valueOf(
        'SELECT ai_metadata AS value FROM project_versions WHERE version_id = $1',
        chain.versionId,
      ),
    ).toEqual(value);
    expect(
      await valueOf(
        `SELECT json_build_array(model, agent_version, usage_by_model) AS value FROM project_ai_session_metrics
         WHERE attempt_id = $1`,
        attempt.attemptId,
      ),
    ).toEqual([kept, kept, { [kept]: expect.anything() }]);
  });

  it('of an answer: the question, the reply, a piece of it, a failure', async () => {
    const { pool } = database;
    const { projectId } = await openNew(pool);
    const asked = { projectId, chatId: randomUUID(), messageId: 'm', question: said, when: 'now' as const };
    const { questionId } = await recordQuestion(pool, { ...asked, workspace: `/${said}` });
    // The same question, not one with other words.
    expect((await recordQuestion(pool, asked)).question).toBe(kept);
    await failQuestion(pool, { projectId, questionId }, failure);
    expect((await requireQuestion(pool, questionId)).failure?.message).toBe(kept);

    const begun = await beginOperation(pool, {
      projectId,
      inputDigest: 'digest',
      worker: said,
      leaseMs: 0,
      operation: {
        kind: 'outside',
        versionId: null,
        buildId: questionBuildId(questionId),
        source: 'chat_plan',
        sessionId: null,
      },
    });
    if (begun.outcome !== 'begun') throw new Error(begun.outcome);
    const { attempt } = begun;
    await addLiveText(pool, attempt.attemptId, { message: 1, text: said });
    expect(await readLiveText(pool, attempt.attemptId, 0)).toMatchObject([{ message: 1, text: kept }]);
    await startQuestion(pool, questionId, attempt.head.sessionId);
    await storeMessage(pool, projectId, attempt.sessionId);
    await commitOperation(pool, {
      attempt,
      source: 'chat_plan',
      newSessionId: attempt.sessionId,
      parentSessionId: null,
      metrics: someMetrics,
      result: {},
      answer: { questionId, reply: said },
      beside: 'allowed',
    });
    expect((await requireQuestion(pool, questionId)).reply).toBe(kept);
  });

  it('of a chain: the instruction, the folder, a brief, what it waits for, what failed and why', async () => {
    const { pool } = database;
    const chain = await openNew(pool);
    const registered = { ...newKey(), instruction: said, workspace: `/${said}`, createRows: true };
    await registerChain(pool, registered);
    expect(await requireChain(pool, registered)).toMatchObject({ instruction: kept, workspace: `/${kept}` });
    const { projectId, versionId, chainId, ticket } = chain;
    const headSessionId = randomUUID() as never;
    const parts = [{ part: 'document' as const, from: said, characters: 1 }];
    expect(await keepBrief(pool, chainId, { headSessionId, content: said, parts })).toMatchObject({
      content: kept,
      parts: [{ from: kept }],
    });
    await noteWaiting(
      pool,
      { projectId, chainId, ticket },
      { waitMs: 1, code: 'AGENT_NOT_FOUND', waitingFor: said },
    );
    expect((await requireChain(pool, chain)).waitingFor).toBe(kept);

    const activity = { projectId, versionId, chainId, ticket, step: 'deploy', round: 1 };
    await beginActivityStep(pool, {
      ...activity,
      ...{ role: null, activity: said, taskQueue: said, sessionId: null, seq: null, scheduledAtMs: 1 },
    });
    await endActivityStep(pool, { ...activity, failure, cancelled: false });
    const begun = await begin(pool, chain, 'build');
    if (begun.outcome !== 'begun') throw new Error(begun.outcome);
    await endOperation(pool, begun.attempt, { failure, spent: someMetrics });
    await noteFailure(pool, chain, 'open', failure);
    const { failures } = await requireChain(pool, chain);
    expect(Object.keys(failures).sort()).toEqual(['build', 'deploy', 'open']);
    expect(new Set(Object.values(failures).map(({ message }) => message))).toEqual(new Set([kept]));

    const { sessionId } = begun.attempt;
    await quarantineSession(pool, projectId, sessionId, said);
    expect(
      await valueOf(
        'SELECT quarantine_reason AS value FROM session_chain.sessions WHERE session_id = $1',
        sessionId,
      ),
    ).toBe(kept);
  });
});
