import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Failure, failureOfCode } from '../../contracts/failures.js';
import type { ProjectId, SessionId } from '../../contracts/ids.js';
import { type Question, questionBuildId } from '../../contracts/question.js';
import { readChainState } from '../../storage/chains/chain-state.js';
import {
  closeChain,
  noteFailure,
  noteWaiting,
  openChain,
  readChain,
  releaseChain,
  requireChain,
} from '../../storage/chains/chains.js';
import type { Pool } from '../../storage/db/pool.js';
import { listTransitions, readHead } from '../../storage/heads/heads.js';
import {
  type ActivityCall,
  beginActivityStep,
  endActivityStep,
} from '../../storage/operations/activity-steps.js';
import {
  type Attempt,
  type OperationCommit,
  adoptSession,
  beginOperation,
  callsNotedBefore,
  commitOperation,
  countWaits,
  endOperation,
  noteCalls,
  quarantineSession,
  renewLease,
  settleStep,
  submittedValues,
} from '../../storage/operations/operations.js';
import {
  failQuestion,
  recordQuestion,
  requireQuestion,
  startQuestion,
} from '../../storage/questions/questions.js';
import { chainWorkflowId } from '../../temporal/names.js';
import {
  type OpenedChain,
  begin,
  newKey,
  noStatus,
  openNew,
  openerOf,
  plan,
  register,
  runStep,
  someMetrics,
  storeMessage,
} from '../support/chains.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';
import { until } from '../support/until.js';

/** How operations end: what a commit writes and what fences it, waits, failures, and the activities of the host. */

let database: TestDatabase;
let pool: Pool;
beforeAll(async () => {
  database = await createTestDatabase();
  ({ pool } = database);
  await pool.query(
    `ALTER TABLE project_versions ADD COLUMN "order" jsonb, ADD COLUMN "Meta ""data""" jsonb, ADD COLUMN as_json json`,
  );
});
afterAll(async () => {
  await database.drop();
});

describe('what a submission hands in', () => {
  it.each(['ai_metadata', 'order', 'Meta "data"', 'as_json'])(
    'is journalled, and is in the column %s of its version and no other',
    async (column) => {
      const chain = await openBuilt();
      const other = newKey(chain.projectId);
      await register(pool, other);
      const value = { title: 'A shop', tags: ['a', "it's"], price: { net: 1.5, vat: null } };
      const attempt = await submit(chain, 'metadata', value, { column });
      expect(await journalOf(attempt)).toMatchObject({ state: 'committed', value, result: { seq: 2 } });
      expect(await versionOf(chain)).toMatchObject({ [column]: value, ai_session_id: attempt.sessionId });
      expect(await versionOf(other)).toMatchObject({ [column]: null, ai_session_id: null });
      expect(await submittedValues(pool, chain.chainId)).toEqual({ metadata: value });
    },
  );

  it('is in no column where none is named', async () => {
    const chain = await openBuilt();
    const before = { order: { by: 'hand' }, ai_metadata: null, 'Meta "data"': null, as_json: null };
    await pool.query('UPDATE project_versions SET "order" = $2 WHERE version_id = $1', [
      chain.versionId,
      before.order,
    ]);
    const attempt = await submit(chain, 'metadata', { title: 'A shop' });
    expect(await journalOf(attempt)).toMatchObject({ value: { title: 'A shop' } });
    expect(await versionOf(chain)).toMatchObject(before);
  });

  it('is in no column where the head does not move', async () => {
    const { projectId } = await openClosed();
    const { attempt } = await ask(projectId);
    await storeMessage(pool, projectId, attempt.sessionId);
    const value = { title: 'A shop' };
    expect(await commit(attempt, { value, column: 'order', beside: 'always' })).toMatchObject({
      outcome: 'beside',
    });
    expect(await journalOf(attempt)).toMatchObject({ state: 'committed', value });
    const { rows } = await pool.query('SELECT "order" FROM project_versions WHERE project_id = $1', [
      projectId,
    ]);
    expect(rows).toEqual([{ order: null }]);
  });

  it('is told by step, of several rounds the last one that was committed', async () => {
    const chain = await openBuilt();
    const another = await openBuilt();
    await submit(another, 'metadata', { of: 'another chain' });
    expect(await submittedValues(pool, chain.chainId)).toEqual({});
    await submit(chain, 'metadata', { round: 1 });
    await submit(chain, 'docs', { pages: 3 });
    await submit(chain, 'metadata', { round: 2 }, { round: 2 });
    await submit(chain, 'metadata', { round: 10 }, { round: 10 });
    await tryStep(chain, 'metadata', { round: 11 });
    expect(await submittedValues(pool, chain.chainId)).toEqual({
      metadata: { round: 10 },
      docs: { pages: 3 },
    });
  });
});

describe('an attempt that adopts the finished session of an earlier one', () => {
  it('commits it in place of its own, and its metrics say `adopted`', async () => {
    const chain = await openBuilt();
    const built = chain.head;
    const former = await beginStored(chain, 'docs');
    const latter = await beginStored(chain, 'docs');
    // Without a word in the journal it is not the attempt's to commit.
    await expectFenced(chain.projectId, () => commit(latter, { newSessionId: former.sessionId }));
    await adoptSession(pool, latter, former.sessionId);
    expect(await commit(latter, { newSessionId: former.sessionId })).toMatchObject({ outcome: 'moved' });

    expect(await readHead(pool, chain.projectId)).toEqual({ sessionId: former.sessionId, seq: 2 });
    const [transition] = await listTransitions(pool, chain.projectId, 1);
    expect(transition).toMatchObject({ source: 'docs', oldSessionId: built, newSessionId: former.sessionId });
    expect(await versionOf(chain)).toMatchObject({ ai_session_id: former.sessionId });
    expect(await journalOf(former)).toMatchObject({ state: 'failed', value: null, result: null });
    expect(await journalOf(latter)).toMatchObject({ state: 'committed', session_id: latter.sessionId });
    expect(await metricsOf(latter)).toMatchObject([{ outcome: 'adopted', session_id: latter.sessionId }]);
    for (const { sessionId } of [former, latter])
      await expect(storeMessage(pool, chain.projectId, sessionId)).rejects.toMatchObject({
        code: 'FENCED',
        message: expect.stringMatching(
          /takes no further entry: the attempt (2 of the same operation began|was committed) at/,
        ),
      });

    chain.head = former.sessionId;
    const own = await submit(chain, 'compact', {});
    expect(await metricsOf(own)).toMatchObject([{ outcome: 'committed', session_id: own.sessionId }]);
  });
});

describe('a head that an outside writer moves while a chain works', () => {
  let host: TestDatabase;
  beforeAll(async () => {
    host = await createTestDatabase();
    // As on a host's database, where old writers may still move heads.
    await host.pool.query('ALTER TABLE projects DROP CONSTRAINT projects_head_is_last_transition');
  });
  afterAll(async () => {
    await host.drop();
  });

  const moveOutside = async (projectId: ProjectId, sessionId: string | null) =>
    await host.pool.query('UPDATE projects SET last_ai_session_id = $2 WHERE project_id = $1', [
      projectId,
      sessionId,
    ]);

  it.each([
    ['before the attempt', true, 'outside'],
    ['during the attempt', false, 'outside'],
    ['before the attempt, to none', true, null],
    ['during the attempt, to none', false, null],
  ])('fences the commit: %s', async (_when, isBefore, outside) => {
    const chain = await openNew(host.pool);
    await runStep(host.pool, chain, 'build');
    const { head } = chain;
    if (isBefore) await moveOutside(chain.projectId, outside);
    const attempt = await beginStored(chain, 'metadata', host.pool);
    expect(attempt.head).toEqual({ sessionId: head, seq: 1 });
    if (!isBefore) await moveOutside(chain.projectId, outside);
    const full = { value: { a: 1 }, column: 'ai_metadata' };
    await expectFenced(chain.projectId, () => commit(attempt, full, host.pool), undefined, host.pool);
    expect(await readHead(host.pool, chain.projectId)).toEqual({ sessionId: outside, seq: 1 });

    // Once the head is what it was, nothing else keeps the attempt from committing.
    await moveOutside(chain.projectId, head);
    expect(await commit(attempt, full, host.pool)).toMatchObject({ outcome: 'moved', result: { seq: 2 } });
  });

  it('fences the commit of the first step of a project, too', async () => {
    const chain = await openNew(host.pool);
    await moveOutside(chain.projectId, 'outside');
    const attempt = await beginStored(chain, 'build', host.pool);
    expect(attempt.head).toEqual({ sessionId: null, seq: null });
    await expectFenced(chain.projectId, () => commit(attempt, {}, host.pool), undefined, host.pool);
  });
});

describe('a commit that is repeated', () => {
  it('returns the stored result and writes nothing twice: a step', async () => {
    const chain = await openBuilt();
    const attempt = await beginStored(chain, 'metadata');
    const stored = await commit(attempt, { value: { title: 'first' }, column: 'ai_metadata' });
    expect(stored).toEqual({ outcome: 'moved', result: { newSessionId: attempt.sessionId, seq: 2 } });
    expect(await metricsOf(attempt)).toMatchObject([
      { outcome: 'committed', turns: 1, cost_usd: 0.5, input_tokens: 1, output_tokens: 2 },
    ]);
    const differently = {
      value: { title: 'second' },
      column: 'ai_metadata',
      result: { other: true },
      metrics: { ...someMetrics, turns: 7 },
    };
    await expectUnchanged(chain.projectId, async () => {
      expect(await commit(attempt, differently)).toEqual(stored);
    });
    chain.head = attempt.sessionId;
    await submit(chain, 'docs', {});
    // Others have moved the head by now, and the chain is closed.
    await close(chain);
    await expectUnchanged(chain.projectId, async () => {
      expect(await commit(attempt, differently)).toEqual(stored);
      expect(await commit(attempt, { ...differently, beside: 'always' })).toEqual(stored);
    });
  });

  it.each([
    ['that moved the head', 'allowed', 'moved'],
    ['that stayed beside', 'always', 'beside'],
  ] as const)(
    'returns the stored result and writes nothing twice: an answer %s',
    async (_what, beside, outcome) => {
      const { projectId } = await openClosed();
      const { attempt, question } = await ask(projectId);
      await storeMessage(pool, projectId, attempt.sessionId);
      const stored = await commit(attempt, { beside, ...answerOf(question, 'The first.') });
      expect(stored.outcome).toBe(outcome);
      await expectUnchanged(projectId, async () => {
        for (const again of ['never', 'allowed', 'always'] as const)
          expect(await commit(attempt, { beside: again, ...answerOf(question, 'Another.') })).toEqual(stored);
      });
      expect(await requireQuestion(pool, question.questionId)).toMatchObject({ reply: 'The first.' });
    },
  );
});

describe('an answer', () => {
  it('moves the head, and its question is answered by a transition', async () => {
    const { projectId, head } = await openClosed();
    const { attempt, question } = await ask(projectId);
    await failQuestion(pool, question, failure('AGENT_FAILED', 'The first try.'));
    const { question: unasked } = await ask(projectId, question.chatId);
    await storeMessage(pool, projectId, attempt.sessionId);
    await startQuestion(pool, question.questionId, head);
    const said = answerOf(question, 'Because of "x" — \u2028 and `y`.');
    expect(await commit(attempt, { beside: 'allowed', ...said })).toEqual({
      outcome: 'moved',
      result: { newSessionId: attempt.sessionId, seq: 2 },
    });
    expect(await readHead(pool, projectId)).toEqual({ sessionId: attempt.sessionId, seq: 2 });
    const [transition] = await listTransitions(pool, projectId, 1);
    expect(transition).toMatchObject({ source: 'chat_plan', oldSessionId: head });
    expect(await requireQuestion(pool, question.questionId)).toMatchObject({
      state: 'answered',
      kind: 'transition',
      reply: said.answer.reply,
      headSessionId: head,
      sessionId: attempt.sessionId,
      failure: null,
      answeredAt: expect.any(Date),
    });
    // Another question of the chat still waits for its own.
    expect(await requireQuestion(pool, unasked.questionId)).toMatchObject({ state: 'running', reply: null });
  });

  it.each([
    ['where the head moved meanwhile and it is allowed to', 'allowed', true, false],
    ['where it has to, though the head is what it was', 'always', false, false],
    ['where it was asked aside and allowed to', 'allowed', false, true],
    ['where it was asked aside, though its commit says that it may not', 'never', false, true],
    ['where it was asked aside and the head moved meanwhile', 'never', true, true],
  ] as const)('stays beside %s', async (_why, beside, movesMeanwhile, aside) => {
    const { projectId, head: built } = await openClosed();
    const { attempt, question } = await ask(projectId, undefined, aside);
    let head = built;
    if (movesMeanwhile) {
      const { attempt: faster } = await ask(projectId);
      await storeMessage(pool, projectId, faster.sessionId);
      expect(await commit(faster, { beside: 'allowed' })).toMatchObject({ outcome: 'moved' });
      head = faster.sessionId;
    }
    const transitions = await listTransitions(pool, projectId, 10);
    await storeMessage(pool, projectId, attempt.sessionId);
    expect(await commit(attempt, { beside, ...answerOf(question, 'Because.') })).toEqual({
      outcome: 'beside',
      result: { newSessionId: attempt.sessionId },
    });
    expect((await readHead(pool, projectId)).sessionId).toBe(head);
    expect(await listTransitions(pool, projectId, 10)).toEqual(transitions);
    expect(await journalOf(attempt)).toMatchObject({ state: 'committed', ended_at: expect.any(Date) });
    expect(await metricsOf(attempt)).toMatchObject([{ outcome: 'committed', cost_usd: 0.5 }]);
    await expect(storeMessage(pool, projectId, attempt.sessionId)).rejects.toMatchObject({
      code: 'FENCED',
      message: expect.stringMatching(/the attempt was committed at/),
    });
    expect(await requireQuestion(pool, question.questionId)).toMatchObject({
      state: 'answered',
      kind: 'side_branch',
      aside,
      reply: 'Because.',
      headSessionId: built,
      sessionId: attempt.sessionId,
      answeredAt: expect.any(Date),
    });
  });

  it('asked aside cannot be a transition, whatever writes', async () => {
    const { projectId, head } = await openClosed();
    const { question } = await ask(projectId, undefined, true);
    const answered = `UPDATE project_chat_log_minimal SET state = 'answered', kind = $2, reply = 'x', ai_session_id = $3,
      answered_at = now() WHERE question_id = $1`;
    await expect(pool.query(answered, [question.questionId, 'transition', head])).rejects.toMatchObject({
      constraint: 'project_chat_log_minimal_aside',
    });
    await pool.query(answered, [question.questionId, 'side_branch', head]);
  });

  it('that may not stay beside is fenced where the head moved meanwhile', async () => {
    const { projectId } = await openClosed();
    const [slow, fast] = [await ask(projectId), await ask(projectId)];
    for (const { attempt } of [slow, fast]) await storeMessage(pool, projectId, attempt.sessionId);
    await commit(fast.attempt);
    const late = () => commit(slow.attempt, answerOf(slow.question, 'Because.'));
    await expectFenced(projectId, late, /the transition 2 \(chat_plan\) moved the head to .* at 20/);
    // As a writer that knows no transitions, in a database without the key.
    const moveTo = async (head: string) =>
      await pool.query(
        `BEGIN; SET LOCAL session_replication_role = replica;
         UPDATE projects SET last_ai_session_id = '${head}' WHERE project_id = '${projectId}'; COMMIT`,
      );
    await moveTo('elsewhere');
    await expectFenced(projectId, late, /the head was set to elsewhere without a transition, from outside/);
    await moveTo(fast.attempt.sessionId);
    const chain = await openNew(pool, newKey(projectId));
    await expectFenced(
      projectId,
      late,
      new RegExp(`the chain ${chainWorkflowId(chain)} took the project at`),
    );
    expect(await requireQuestion(pool, slow.question.questionId)).toMatchObject({ state: 'running' });
  });

  it('of a question that has failed comes too late: nothing is written, and it stays failed', async () => {
    const { projectId } = await openClosed();
    for (const beside of ['never', 'allowed', 'always'] as const) {
      const { attempt, question } = await ask(projectId);
      await storeMessage(pool, projectId, attempt.sessionId);
      await failQuestion(pool, question, failure('WORKER_LOST', 'Gone.'));
      await expectFenced(
        projectId,
        () => commit(attempt, { beside, ...answerOf(question, 'Late.') }),
        /the question \d+ was marked as failed/,
      );
    }
  });

  it('is decided with the failure of its question under one lock: whichever comes first stays', async () => {
    const { projectId } = await openClosed();
    const { attempt, question } = await ask(projectId);
    await storeMessage(pool, projectId, attempt.sessionId);
    const connection = await pool.connect();
    try {
      await connection.query('BEGIN');
      await connection.query(
        `UPDATE project_chat_log_minimal SET state = 'failed', failure = '{"code": "WORKER_LOST"}' WHERE question_id = $1`,
        [question.questionId],
      );
      const late = commit(attempt, { beside: 'allowed', ...answerOf(question, 'Late.') });
      const refused = expect(late).rejects.toMatchObject({ code: 'FENCED' });
      await until(isAnyoneLocked);
      await connection.query('COMMIT');
      await refused;
    } finally {
      connection.release();
    }
    expect(await requireQuestion(pool, question.questionId)).toMatchObject({ state: 'failed', reply: null });
  });

  it('of a question that another operation has answered leaves the first answer', async () => {
    const { projectId } = await openClosed();
    const { attempt: first, question } = await ask(projectId);
    const second = await beginQuestion(projectId, `${questionBuildId(question.questionId)}-again`);
    for (const { sessionId } of [first, second]) await storeMessage(pool, projectId, sessionId);
    await commit(first, answerOf(question, 'The first.'));
    const answered = await requireQuestion(pool, question.questionId);
    const late = { beside: 'allowed', ...answerOf(question, 'The second.') } as const;
    expect(await commit(second, late)).toMatchObject({ outcome: 'beside' });
    expect(answered).toMatchObject({ kind: 'transition', reply: 'The first.', sessionId: first.sessionId });
    expect(await requireQuestion(pool, question.questionId)).toEqual(answered);
  });
});

describe('a step that its chain gives up', () => {
  const settle = async (chain: OpenedChain, step: string, scheduledAtMs = Date.now()) =>
    await settleStep(pool, { ...chain, step, round: 1, scheduledAtMs });

  it('is committed, or never will be: a late commit is refused, and so is a late try', async () => {
    const chain = await openBuilt();
    expect(await settle(chain, 'build')).toMatchObject({ seq: 1, newSessionId: chain.head });
    const before = Date.now() - 1_000;
    const frozen = await beginStored(chain, 'metadata');
    expect(await settle(chain, 'metadata')).toBeNull();
    await expectFenced(chain.projectId, () => commit(frozen), /its chain gave the step up at/);
    await expect(begin(pool, chain, 'metadata', { scheduledAtMs: before })).rejects.toMatchObject({
      code: 'FENCED',
      message: expect.stringMatching(/tried again, or given up by its chain/),
    });
    expect(await settle(chain, 'metadata')).toBeNull();
    await runStep(pool, chain, 'docs');
    expect(await readHead(pool, chain.projectId)).toEqual({ sessionId: chain.head, seq: 2 });
  });

  it('has an agent that lives by its lease, for which the next step waits', async () => {
    const chain = await openBuilt();
    const frozen = begunOf(await begin(pool, chain, 'metadata', { leaseMs: 60_000 }));
    await settle(chain, 'metadata');
    expect(await renewLease(pool, frozen)).toBe('held');
    expect(await begin(pool, chain, 'docs')).toMatchObject({ outcome: 'former_agent_alive' });
  });

  it('is not settled again by a late question: neither the next step nor the next run is disturbed', async () => {
    const chain = await openBuilt();
    const given = await beginStored(chain, 'metadata');
    const docs = await beginStored(chain, 'docs');
    await settle(chain, 'metadata');
    expect(await commit(docs)).toMatchObject({ outcome: 'moved' });
    await expectFenced(chain.projectId, () => commit(given));
    await close(chain, 'failed');
    const again = await restart(chain);
    const anew = await beginStored(again, 'metadata');
    await settle(chain, 'metadata');
    expect(await commit(anew)).toMatchObject({ outcome: 'moved' });
  });
});

describe('a session whose transcript is', () => {
  const spoilt: [string, (projectId: ProjectId, sessionId: SessionId) => Promise<unknown>][] = [
    ['not in the store', async () => undefined],
    [
      'quarantined',
      async (projectId, sessionId) => {
        await storeMessage(pool, projectId, sessionId);
        await quarantineSession(pool, projectId, sessionId, 'It could not be loaded.');
      },
    ],
    [
      'in the store with a hole',
      async (projectId, sessionId) => {
        await storeMessage(pool, projectId, sessionId);
        await storeMessage(pool, projectId, sessionId);
        await pool.query(
          `DELETE FROM session_chain.transcript_batches b USING session_chain.sessions s
           WHERE b.session = s.id AND s.project_id = $1 AND s.session_id = $2 AND b.ordinal = 1`,
          [projectId, sessionId],
        );
      },
    ],
  ];

  it.each(spoilt)('%s is committed by no step, as its own or adopted', async (_what, spoil) => {
    const chain = await openBuilt();
    const former = await begunStep(chain, 'metadata');
    await spoil(chain.projectId, former.sessionId);
    const latter = await begunStep(chain, 'metadata');
    await adoptSession(pool, latter, former.sessionId);
    const full = { value: { a: 1 }, column: 'ai_metadata' };
    await expectFenced(chain.projectId, () => commit(latter, { ...full, newSessionId: former.sessionId }));
    await spoil(chain.projectId, latter.sessionId);
    await expectFenced(chain.projectId, () => commit(latter, full));
    expect(await readHead(pool, chain.projectId)).toEqual({ sessionId: chain.head, seq: 1 });
  });

  it.each(spoilt)('%s is committed by no answer, moved or beside', async (_what, spoil) => {
    const { projectId, head } = await openClosed();
    const { attempt, question } = await ask(projectId);
    await spoil(projectId, attempt.sessionId);
    for (const beside of ['never', 'allowed', 'always'] as const)
      await expectFenced(projectId, () => commit(attempt, { beside, ...answerOf(question, 'Because.') }));
    expect(await readHead(pool, projectId)).toEqual({ sessionId: head, seq: 1 });
  });

  it('not in the store is committed by an operation that ran elsewhere and says so, and stays open for its import', async () => {
    const { projectId } = await openClosed();
    const { attempt } = await ask(projectId);
    expect(await commit(attempt, { requireTranscript: false })).toMatchObject({ outcome: 'moved' });
    expect(await readHead(pool, projectId)).toEqual({ sessionId: attempt.sessionId, seq: 2 });
    await storeMessage(pool, projectId, attempt.sessionId);
  });
});

describe('tool calls that an attempt notes', () => {
  const calls = [{ id: 'toolu_1', name: 'Bash', input: { command: `rm \0 ${'x'.repeat(10_000)}` } }];
  const begunWith = async (chain: OpenedChain, leaseMs: number) =>
    begunOf(await begin(pool, chain, 'docs', { leaseMs }));
  const end = async (attempt: Attempt, hasOpenCalls: boolean) =>
    await endOperation(pool, attempt, {
      failure: failure('AGENT_FAILED', 'It fell over.'),
      spent: someMetrics,
      hasOpenCalls,
    });

  it('are told to later attempts of the operation until it is committed, shortened and in a form that is storable', async () => {
    const chain = await openBuilt();
    const first = await begunWith(chain, 60_000);
    await noteCalls(pool, first, [{ id: 'toolu_0', name: 'Read', input: undefined }]);
    await noteCalls(pool, first, calls);
    expect(await callsNotedBefore(pool, first)).toEqual([]);
    await end(first, true);
    const second = await begunWith(chain, 60_000);
    const [told, ...more] = await callsNotedBefore(pool, second);
    expect(told).toMatchObject({
      id: 'toolu_1',
      name: 'Bash',
      input: expect.stringContaining('{"command":"rm '),
    });
    expect([more, (told?.input.length ?? 0) < 600]).toEqual([[], true]);
    await noteCalls(pool, second, calls);
    await end(second, false);
    const third = await begunWith(chain, 60_000);
    expect(await callsNotedBefore(pool, third)).toHaveLength(1);
    await noteCalls(pool, third, calls);
    await storeMessage(pool, chain.projectId, third.sessionId);
    await commit(third);
    expect(await journalOf(first)).toMatchObject({ calls: null });
    expect(await journalOf(third)).toMatchObject({ state: 'committed', calls: null });
  });

  it('are refused where the attempt has no lease, is sealed, or has ended', async () => {
    const chain = await openBuilt();
    const refused = async (attempt: Attempt) =>
      await expect(noteCalls(pool, attempt, calls)).rejects.toMatchObject({ code: 'FENCED' });
    await refused(await begunWith(chain, 0));
    const attempt = await begunWith(chain, 60_000);
    await noteCalls(pool, attempt, calls);
    // It stops the one before, whose agent may be alive.
    expect(await begin(pool, chain, 'docs')).toMatchObject({ outcome: 'former_agent_alive' });
    await refused(attempt);
    await end(attempt, true);
    await refused(attempt);
  });
});

describe('a step that waits', () => {
  const unavailable = failure('MODEL_UNAVAILABLE', 'The model service is overloaded.');
  const wait = async (attempt: Attempt) =>
    await endOperation(pool, attempt, { failure: unavailable, spent: someMetrics, waitMs: 599_999.5 });

  it('makes its chain waiting, with what for and until when, and the next attempt sets it running', async () => {
    const chain = await openBuilt();
    const attempt = await beginStored(chain, 'docs');
    await wait(attempt);
    expect(await waitOf(chain)).toMatchObject({ status: 'waiting', waiting_for: 'MODEL_UNAVAILABLE' });
    const { leftMs } = await waitOf(chain);
    expect(leftMs).toBeGreaterThan(500_000);
    expect(leftMs).toBeLessThanOrEqual(600_000);
    expect(await journalOf(attempt)).toMatchObject({
      state: 'waiting',
      ended_at: null,
      failure: unavailable,
      result: null,
    });
    expect(await metricsOf(attempt)).toMatchObject([{ outcome: 'waiting', cost_usd: 0.5 }]);
    await expect(storeMessage(pool, chain.projectId, attempt.sessionId)).rejects.toMatchObject({
      code: 'FENCED',
      message: expect.stringMatching(/ended at .* with MODEL_UNAVAILABLE/),
    });
    // It has not failed.
    expect((await requireChain(pool, chain)).failures).toEqual({});

    await expect(tryStep({ ...chain, ticket: chain.ticket - 1 }, 'docs')).rejects.toMatchObject({
      code: 'FENCED',
    });
    expect(await waitOf(chain)).toMatchObject({ status: 'waiting', waiting_for: 'MODEL_UNAVAILABLE' });
    await begunStep(chain, 'docs');
    expect(await waitOf(chain)).toEqual({ status: 'running', waiting_for: null, leftMs: null });
  });

  it('has its waits counted in a row: of this step, this round and this chain, up to another failure', async () => {
    const chain = await openBuilt();
    const counted = [];
    for (const waits of [true, true, false, true]) {
      const attempt = await begunStep(chain, 'docs');
      counted.push(await countWaits(pool, attempt));
      if (waits) await wait(attempt);
      else
        await endOperation(pool, attempt, {
          failure: failure('AGENT_FAILED', 'It fell over.'),
          spent: someMetrics,
        });
    }
    const last = await begunStep(chain, 'docs');
    expect([...counted, await countWaits(pool, last)]).toEqual([0, 1, 2, 0, 1]);

    const afterOneWait = async (chain: OpenedChain, step: string, round = 1) => {
      await wait(await begunStep(chain, step, { round }));
      return await countWaits(pool, await begunStep(chain, step, { round }));
    };
    expect(await afterOneWait(chain, 'docs', 2)).toBe(1);
    expect(await afterOneWait(chain, 'compact')).toBe(1);
    await close(chain);
    expect(await afterOneWait(await openNew(pool, newKey(chain.projectId)), 'docs')).toBe(1);
  });

  it('makes no chain waiting where it was superseded, or is none of its steps', async () => {
    const chain = await openBuilt();
    const superseded = await begunStep(chain, 'docs');
    await begunStep(chain, 'docs');
    await wait(superseded);
    const { attempt: question } = await ask(chain.projectId);
    await wait(question);
    expect(await journalOf(question)).toMatchObject({ state: 'waiting' });
    expect(await waitOf(chain)).toEqual({ status: 'running', waiting_for: null, leftMs: null });
  });
});

describe('a chain that waits without an attempt', () => {
  it('is noted with what it waits for, as often as it says so, until an operation begins', async () => {
    const chain = await openBuilt();
    await noteWaiting(pool, chain, {
      waitMs: 60_000,
      code: 'AGENT_NOT_FOUND',
      waitingFor: 'a worker with its definition',
    });
    expect(await waitOf(chain)).toMatchObject({
      status: 'waiting',
      waiting_for: 'a worker with its definition',
    });
    expect((await waitOf(chain)).leftMs).toBeLessThanOrEqual(60_000);
    await noteWaiting(pool, chain, { waitMs: 599_999.5, code: 'AGENT_NOT_FOUND', waitingFor: 'a worker' });
    expect(await waitOf(chain)).toMatchObject({ status: 'waiting', waiting_for: 'a worker' });
    expect((await waitOf(chain)).leftMs).toBeGreaterThan(500_000);
    await begunStep(chain, 'docs');
    expect(await waitOf(chain)).toEqual({ status: 'running', waiting_for: null, leftMs: null });

    await noteWaiting(pool, chain, { waitMs: 60_000, code: 'AGENT_NOT_FOUND', waitingFor: 'a worker' });
    await beginActivityStep(pool, deployOf(chain));
    expect(await waitOf(chain)).toEqual({ status: 'running', waiting_for: null, leftMs: null });
  });

  it('is not noted unless it holds its project', async () => {
    const holder = await openBuilt();
    const key = newKey(holder.projectId);
    const queued = { ...key, ...(await register(pool, key)), ticket: holder.ticket + 1 };
    const closed = await openClosed();
    for (const chain of [queued, closed, { ...holder, ticket: holder.ticket - 1 }]) {
      const before = await readChain(pool, chain);
      await noteWaiting(pool, chain, { waitMs: 60_000, code: 'AGENT_NOT_FOUND', waitingFor: 'a worker' });
      expect(await readChain(pool, chain)).toEqual(before);
    }
    const { projectId } = closed;
    await noteWaiting(
      pool,
      { ...holder, projectId },
      { waitMs: 60_000, code: 'AGENT_NOT_FOUND', waitingFor: 'a worker' },
    );
    expect(await waitOf(holder)).toMatchObject({ status: 'running' });
  });
});

describe('what the steps of a chain failed with', () => {
  const ofDocs = failure('AGENT_FAILED', 'Claude Code ended with exit code 7: "no space left".');
  const ofBuild = failure('PROMPT_FAILED', "The prompt's brief is not there.");

  it('is kept in full, of each step the last one, until the chain is registered anew', async () => {
    const chain = await openBuilt();
    expect((await requireChain(pool, chain)).failures).toEqual({});
    const ofOpen = failure('SESSION_NOT_IN_STORE', 'The head is the session s.');
    await noteFailure(pool, chain, 'open', ofOpen);
    for (const message of ['At first something else.', ofDocs.message]) {
      const attempt = await begunStep(chain, 'docs');
      await endOperation(pool, attempt, { failure: { ...ofDocs, message }, spent: someMetrics });
      expect(await journalOf(attempt)).toMatchObject({ state: 'failed', failure: { ...ofDocs, message } });
      expect(await metricsOf(attempt)).toMatchObject([{ outcome: 'failed' }]);
    }
    await noteFailure(pool, chain, 'build', { ...ofBuild, message: 'At first.' });
    await noteFailure(pool, chain, 'build', ofBuild);
    const failures = { docs: ofDocs, build: ofBuild, open: ofOpen };
    expect((await requireChain(pool, chain)).failures).toEqual(failures);

    // An open chain is returned as it is.
    expect(await register(pool, chain)).toMatchObject({ isNew: false });
    expect((await requireChain(pool, chain)).failures).toEqual(failures);
    await close(chain, 'failed');
    expect((await requireChain(pool, chain)).failures).toEqual(failures);
    expect(await register(pool, chain)).toMatchObject({ isNew: true, chainId: chain.chainId });
    expect((await requireChain(pool, chain)).failures).toEqual({});
  });

  it('is not what a superseded attempt says, or one outside the chain', async () => {
    const chain = await openBuilt();
    const superseded = await begunStep(chain, 'docs');
    await begunStep(chain, 'docs');
    const { attempt: question } = await ask(chain.projectId);
    for (const attempt of [superseded, question])
      await endOperation(pool, attempt, { failure: ofDocs, spent: someMetrics });
    expect((await requireChain(pool, chain)).failures).toEqual({});
    expect(await journalOf(superseded)).toMatchObject({ failure: { code: 'WORKER_LOST' } });
    // What it spent counts all the same.
    expect(await metricsOf(superseded)).toMatchObject([{ outcome: 'interrupted', cost_usd: 0.5 }]);
    expect(await journalOf(question)).toMatchObject({ failure: ofDocs });
  });
});

describe('a step that is an activity of the host', () => {
  const failed = failure('ACTIVITY_STEP_FAILED', 'The deployment was rejected: quota.');

  it('has one key at every call of its round, also after a restart of the chain, and is called no more once completed', async () => {
    const chain = await openBuilt();
    const first = await beginActivityStep(pool, deployOf(chain));
    if (first.outcome !== 'call') throw new Error('unreachable');
    expect(first.key).toMatch(/^[0-9a-f-]{36}$/);
    expect(await beginActivityStep(pool, deployOf(chain))).toEqual(first);
    expect(await activityOf(chain)).toMatchObject({
      key: first.key,
      state: 'running',
      calls: 1,
      role: 'deploy',
      activity: 'deployShop',
      task_queue: 'host',
      session_id: chain.head,
      seq: 1,
    });
    await endActivityStep(pool, endOf(chain, failed));
    expect(await activityOf(chain)).toMatchObject({ state: 'failed', failure: failed, calls: 1 });

    await close(chain, 'failed');
    const restarted = await restart(chain);
    await runStep(pool, restarted, 'docs');
    expect(
      await beginActivityStep(pool, { ...deployOf(restarted), activity: 'deployAgain', seq: 2 }),
    ).toEqual(first);
    expect(await activityOf(chain)).toMatchObject({
      state: 'running',
      calls: 2,
      activity: 'deployAgain',
      session_id: restarted.head,
      seq: 2,
      failure: null,
      ended_at: null,
    });
    await endActivityStep(pool, endOf(restarted));
    const completed = await activityOf(chain);
    expect(completed).toMatchObject({ state: 'completed', failure: null, ended_at: expect.any(Date) });
    expect(await beginActivityStep(pool, { ...deployOf(restarted), sessionId: null })).toEqual({
      outcome: 'completed',
    });
    expect(await activityOf(chain)).toEqual(completed);

    const others = [
      await beginActivityStep(pool, { ...deployOf(restarted), round: 2 }),
      await beginActivityStep(pool, { ...deployOf(restarted), step: 'announce' }),
    ];
    expect(others).toMatchObject([{ outcome: 'call' }, { outcome: 'call' }]);
    expect(new Set([first, ...others].map((one) => 'key' in one && one.key)).size).toBe(3);
  });

  it('is fenced, and its end changes nothing, without the ticket of the chain that holds the project', async () => {
    const chain = await openBuilt();
    const other = await openBuilt();
    const refused = [
      { code: 'FENCED', one: { ...chain, ticket: chain.ticket - 1 } },
      { code: 'DATABASE_WENT_BACK', one: { ...chain, ticket: chain.ticket + 1 } },
      { code: 'REQUEST_LOST', one: { ...chain, projectId: other.projectId } },
      { code: 'REQUEST_LOST', one: { ...chain, projectId: other.projectId, ticket: other.ticket } },
    ];
    for (const { code, one } of refused)
      await expect(beginActivityStep(pool, deployOf(one))).rejects.toMatchObject({ code });
    expect(await activityOf(chain)).toBeUndefined();

    await beginActivityStep(pool, deployOf(chain));
    const running = await activityOf(chain);
    for (const { code, one } of refused) {
      await expect(beginActivityStep(pool, deployOf(one))).rejects.toMatchObject({ code });
      await endActivityStep(pool, endOf(one, failed));
    }
    expect(await activityOf(chain)).toEqual(running);
    expect((await requireChain(pool, chain)).failures).toEqual({});

    await close(chain, 'failed');
    const restarted = await restart(chain);
    await beginActivityStep(pool, deployOf(restarted));
    const again = await activityOf(chain);
    await expect(beginActivityStep(pool, deployOf(chain))).rejects.toMatchObject({
      code: 'FENCED',
      message: expect.stringMatching(/has drawn the ticket/),
    });
    await endActivityStep(pool, endOf(chain, failed));
    expect(await activityOf(chain)).toEqual(again);
    await close(restarted);
    await expect(beginActivityStep(pool, deployOf(restarted))).rejects.toMatchObject({
      code: 'FENCED',
      message: expect.stringMatching(/was closed at/),
    });
  });

  it('is not begun again by a try that comes late; the clock of another ticket counts for nothing', async () => {
    const chain = await openBuilt();
    const late = deployOf(chain);
    await beginActivityStep(pool, { ...late, scheduledAtMs: late.scheduledAtMs + 1_000 });
    await endActivityStep(pool, endOf(chain, failed));
    const ended = await activityOf(chain);
    await expect(beginActivityStep(pool, late)).rejects.toMatchObject({
      code: 'FENCED',
      message: expect.stringMatching(/tried again, or given up/),
    });
    expect(await activityOf(chain)).toEqual(ended);

    await close(chain, 'failed');
    const restarted = await restart(chain);
    const behind = { ...deployOf(restarted), scheduledAtMs: late.scheduledAtMs - 60_000 };
    expect(await beginActivityStep(pool, behind)).toMatchObject({ outcome: 'call' });
  });

  it("has what it failed with among the chain's failures, and its first end stays", async () => {
    const chain = await openBuilt();
    const ofDocs = failure('AGENT_FAILED', 'It fell over.');
    await noteFailure(pool, chain, 'docs', ofDocs);
    await beginActivityStep(pool, deployOf(chain));
    await endActivityStep(pool, endOf(chain, failed));
    const failures = { docs: ofDocs, deploy: failed };
    expect((await requireChain(pool, chain)).failures).toEqual(failures);
    const ended = await activityOf(chain);
    await endActivityStep(pool, endOf(chain, failure('INTERNAL', 'A later word.')));
    await endActivityStep(pool, endOf(chain));
    expect(await activityOf(chain)).toEqual(ended);
    expect((await requireChain(pool, chain)).failures).toEqual(failures);

    await beginActivityStep(pool, deployOf(chain));
    const cancelled = failure('CANCELLED', 'The chain was cancelled.');
    await endActivityStep(pool, { ...endOf(chain, cancelled), cancelled: true });
    expect(await activityOf(chain)).toMatchObject({ state: 'cancelled', failure: cancelled, calls: 2 });
    expect((await requireChain(pool, chain)).failures).toEqual({ ...failures, deploy: cancelled });
    await beginActivityStep(pool, deployOf(chain));
    await endActivityStep(pool, { ...endOf(chain), cancelled: true });
    expect(await activityOf(chain)).toMatchObject({ state: 'cancelled', failure: null, calls: 3 });
  });

  it.each([
    ['closed', async (chain: OpenedChain) => await close(chain)],
    [
      'released',
      async (chain: OpenedChain) => {
        const run = { workflowId: chainWorkflowId(chain), runId: chain.runId, home: 'test' };
        expect(await releaseChain(pool, chain.projectId, run)).toMatchObject({ outcome: 'released' });
      },
    ],
    [
      'taken over by its next run',
      async (chain: OpenedChain) => {
        const opener = openerOf(randomUUID());
        expect(await openChain(pool, chain, opener, chain.runId, { plan })).toMatchObject({
          outcome: 'opened',
        });
      },
    ],
  ])('is cancelled while it runs when its chain is %s; what has ended stays', async (_how, end) => {
    const [chain, bystander] = [await openBuilt(), await openBuilt()];
    const ended = { completed: null, failed } as const;
    for (const [step, failure] of Object.entries(ended)) {
      await beginActivityStep(pool, { ...deployOf(chain), step });
      await endActivityStep(pool, { ...endOf(chain, failure), step });
    }
    for (const one of [chain, bystander]) await beginActivityStep(pool, deployOf(one));
    await end(chain);
    expect(await activityOf(chain)).toMatchObject({ state: 'cancelled', ended_at: expect.any(Date) });
    for (const step of Object.keys(ended))
      expect(await activityOf(chain, step)).toMatchObject({ state: step });
    expect(await activityOf(bystander)).toMatchObject({ state: 'running' });
  });
});

/** A chain that holds a new project and has committed its build. */
async function openBuilt(): Promise<OpenedChain> {
  const chain = await openNew(pool);
  await runStep(pool, chain, 'build');
  return chain;
}

/** As {@link openBuilt}, and closed: no chain holds the project. */
async function openClosed(): Promise<OpenedChain> {
  const chain = await openBuilt();
  await close(chain);
  return chain;
}

async function close(chain: OpenedChain, status: 'completed' | 'failed' = 'completed'): Promise<void> {
  const { ticket, runId } = chain;
  const result = { ...(await readChainState(pool, chain)), status };
  const { outcome } = await closeChain(pool, chain, { ticket, runId, result, versionStatus: noStatus });
  if (outcome !== 'closed') throw new Error(`Not closed: ${outcome}.`);
}

/** The next run of a chain that has failed. */
async function restart(chain: OpenedChain): Promise<OpenedChain> {
  await register(pool, chain);
  const runId = randomUUID();
  const opened = await openChain(pool, chain, openerOf(runId), null, { plan });
  if (opened.outcome !== 'opened') throw new Error(`Not opened: ${opened.outcome}.`);
  return { ...chain, runId, ticket: opened.ticket, head: opened.head.sessionId };
}

async function tryStep(chain: OpenedChain, step: string, { round = 1 } = {}) {
  return await beginOperation(pool, {
    projectId: chain.projectId,
    inputDigest: 'digest',
    worker: 'test',
    leaseMs: 0,
    operation: {
      kind: 'step',
      chainId: chain.chainId,
      ticket: chain.ticket,
      ...{ step, round },
      role: null,
      headSessionId: null,
      baseSessionId: chain.head,
      scheduledAtMs: Date.now(),
    },
  });
}

async function begunStep(chain: OpenedChain, step: string, options: { round?: number } = {}) {
  return begunOf(await tryStep(chain, step, options));
}

/** A new attempt, and a transcript under its session. */
async function beginStored(chain: OpenedChain, step: string, on = pool): Promise<Attempt> {
  const attempt = begunOf(await begin(on, chain, step));
  await storeMessage(on, chain.projectId, attempt.sessionId);
  return attempt;
}

/** One whole step that hands something in; the chain's head moves along. */
async function submit(
  chain: OpenedChain,
  step: string,
  value: Record<string, unknown>,
  { round = 1, ...options }: { round?: number; column?: string } = {},
): Promise<Attempt> {
  const attempt = await begunStep(chain, step, { round });
  await storeMessage(pool, chain.projectId, attempt.sessionId);
  await commit(attempt, { value, ...options });
  chain.head = attempt.sessionId;
  return attempt;
}

/** Commits the attempt's own session, unless the options say otherwise. */
async function commit(attempt: Attempt, options: Partial<OperationCommit> = {}, on = pool) {
  return await commitOperation<{ newSessionId: SessionId; seq?: number }>(on, {
    attempt,
    source: attempt.step,
    newSessionId: attempt.sessionId,
    parentSessionId: attempt.baseSessionId,
    metrics: someMetrics,
    result: { newSessionId: attempt.sessionId },
    ...options,
  });
}

/** A question that is worked on, and the attempt to answer it. */
async function ask(
  projectId: ProjectId,
  chatId = `chat-${randomUUID()}`,
  aside = false,
): Promise<{ attempt: Attempt; question: Question }> {
  const messageId = randomUUID();
  const question = await recordQuestion(pool, {
    ...{ projectId, chatId, messageId },
    question: 'Why?',
    when: 'now',
    aside,
  });
  const attempt = await beginQuestion(projectId, questionBuildId(question.questionId));
  await startQuestion(pool, question.questionId, attempt.head.sessionId);
  return { attempt, question };
}

async function beginQuestion(projectId: ProjectId, buildId: string): Promise<Attempt> {
  return begunOf(
    await beginOperation(pool, {
      projectId,
      inputDigest: 'digest',
      worker: 'test',
      leaseMs: 0,
      operation: { kind: 'outside', versionId: null, buildId, source: 'chat_plan', sessionId: null },
    }),
  );
}

function answerOf({ questionId }: Question, reply: string) {
  return { answer: { questionId, reply } };
}

function begunOf(answer: Awaited<ReturnType<typeof beginOperation>>): Attempt {
  if (answer.outcome !== 'begun') throw new Error(`Not begun: ${answer.outcome}.`);
  return answer.attempt;
}

function failure(code: Failure['code'], message: string): Failure {
  return { ...failureOfCode(code), message };
}

function deployOf(chain: OpenedChain): ActivityCall {
  return {
    projectId: chain.projectId,
    versionId: chain.versionId,
    chainId: chain.chainId,
    ticket: chain.ticket,
    step: 'deploy',
    round: 1,
    role: 'deploy',
    activity: 'deployShop',
    taskQueue: 'host',
    sessionId: chain.head,
    seq: 1,
    scheduledAtMs: Date.now(),
  };
}

function endOf(chain: OpenedChain, failure: Failure | null = null) {
  return { ...deployOf(chain), failure, cancelled: false };
}

async function expectFenced(
  projectId: ProjectId,
  work: () => Promise<unknown>,
  why = /: .{10,}\.$/,
  on: Pool = pool,
): Promise<void> {
  await expectUnchanged(
    projectId,
    async () =>
      await expect(work()).rejects.toMatchObject({ code: 'FENCED', message: expect.stringMatching(why) }),
    on,
  );
}

/** Not a row of the project is another afterwards. */
async function expectUnchanged(
  projectId: ProjectId,
  work: () => Promise<unknown>,
  on: Pool = pool,
): Promise<void> {
  const before = await rowsOf(projectId, on);
  await work();
  expect(await rowsOf(projectId, on)).toEqual(before);
}

const tables = [
  'projects',
  'project_versions',
  'project_ai_session_metrics',
  'project_chat_log_minimal',
  'session_transitions',
  'session_chain.attempts',
  'session_chain.chains',
  'session_chain.sessions',
];

async function rowsOf(projectId: ProjectId, on: Pool): Promise<Record<string, unknown[]>> {
  const rows: Record<string, unknown[]> = {};
  for (const table of tables) {
    const found = await on.query<{ row: unknown }>(
      `SELECT to_jsonb(t) AS row FROM ${table} t WHERE t.project_id = $1 ORDER BY to_jsonb(t)::text`,
      [projectId],
    );
    rows[table] = found.rows.map(({ row }) => row);
  }
  return rows;
}

async function journalOf({ attemptId }: Attempt): Promise<unknown> {
  const { rows } = await pool.query<object>('SELECT * FROM session_chain.attempts WHERE id = $1', [
    attemptId,
  ]);
  return rows[0];
}

async function metricsOf({ attemptId }: Attempt): Promise<unknown[]> {
  const { rows } = await pool.query<object>(
    'SELECT *, cost_usd::double precision AS cost_usd FROM project_ai_session_metrics WHERE attempt_id = $1',
    [attemptId],
  );
  return rows;
}

async function isAnyoneLocked(): Promise<boolean> {
  const { rows } = await pool.query(
    `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
  );
  return rows.length > 0;
}

async function versionOf({ versionId }: { versionId: string }): Promise<unknown> {
  const { rows } = await pool.query<object>('SELECT * FROM project_versions WHERE version_id = $1', [
    versionId,
  ]);
  return rows[0];
}

async function waitOf({ chainId }: OpenedChain) {
  const { rows } = await pool.query<{ status: string; waiting_for: string | null; leftMs: number | null }>(
    `SELECT status, waiting_for,
       (extract(epoch FROM waiting_until - clock_timestamp()) * 1000)::double precision AS "leftMs"
     FROM session_chain.chains WHERE id = $1`,
    [chainId],
  );
  if (!rows[0]) throw new Error(`There is no chain ${chainId}.`);
  return rows[0];
}

async function activityOf({ chainId }: OpenedChain, step = 'deploy'): Promise<unknown> {
  const { rows } = await pool.query<object>(
    'SELECT * FROM session_chain.activity_steps WHERE chain = $1 AND step = $2 AND round = 1',
    [chainId, step],
  );
  return rows[0];
}
