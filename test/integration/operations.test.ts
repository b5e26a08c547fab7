import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { CommittedStep } from '../../contracts/chain.js';
import type { ProjectId, SessionId } from '../../contracts/ids.js';
import { questionBuildId } from '../../contracts/question.js';
import { closeChain, openChain } from '../../storage/chains/chains.js';
import { listTransitions, readHead } from '../../storage/heads/heads.js';
import {
  type Attempt,
  type Begun,
  beginOperation,
  commitOperation,
  renewLease,
} from '../../storage/operations/operations.js';
import { chainWorkflowId } from '../../temporal/names.js';
import {
  type OpenedChain,
  beginWithTranscript,
  commitAttempt,
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

/** Operations of every sort on one project at a time: what they stop, what they carry, what they may still move. */

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database.drop();
});

describe('questions beside a running step', () => {
  it('stop only their own earlier attempts, and the step goes on undisturbed', async () => {
    const chain = await openBuilt();
    const step = begun(await tryStep(chain, 'metadata', { leaseMs: 60_000 }));
    await storeMessage(database.pool, chain.projectId, step.sessionId);
    const epoch = await epochOf(chain.projectId);
    const [first, second] = [await ask(chain.projectId, '1'), await ask(chain.projectId, '2', 60_000)];
    for (const { sessionId } of [first, second])
      await storeMessage(database.pool, chain.projectId, sessionId);

    const again = await beginQuestion(chain.projectId, '1');
    expect(again).toMatchObject({
      outcome: 'begun',
      attempt: { attempt: 2 },
      earlier: [{ sessionId: first.sessionId, baseSessionId: chain.head, parentSessionId: chain.head }],
    });
    expect(await journalOf(chain.projectId)).toEqual([
      { step: 'build', state: 'committed', sealed: true },
      { step: 'metadata', state: 'running', sealed: false },
      { step: 'chat_plan', state: 'failed', sealed: true },
      { step: 'chat_plan', state: 'running', sealed: false },
      { step: 'chat_plan', state: 'running', sealed: false },
    ]);
    const held = [step, first, second].map(async (attempt) => await renewLease(database.pool, attempt));
    expect(await Promise.all(held)).toEqual(['held', 'lost', 'held']);
    expect(await epochOf(chain.projectId)).toBe(epoch);

    await storeMessage(database.pool, chain.projectId, step.sessionId);
    expect(await commitAttempt(database.pool, step, chain.head)).toMatchObject({ seq: 2 });
  });

  it('wait for an agent of their own that may still be alive, and for no other', async () => {
    const chain = await openBuilt();
    begun(await tryStep(chain, 'metadata', { leaseMs: 60_000 }));
    await ask(chain.projectId, '1', 60_000);
    expect(await beginQuestion(chain.projectId, '2')).toMatchObject({ outcome: 'begun' });
    expect(await beginQuestion(chain.projectId, '1')).toMatchObject({ outcome: 'former_agent_alive' });
  });

  it('carry no epoch, so that they can only stay beside, even after the chain is closed', async () => {
    const chain = await openBuilt();
    const question = await ask(chain.projectId, '1');
    expect(question).toMatchObject({
      epoch: null,
      baseSessionId: chain.head,
      head: { sessionId: chain.head, seq: 1 },
      holder: { workflowId: chainWorkflowId(chain), runId: chain.runId },
    });
    await storeMessage(database.pool, chain.projectId, question.sessionId);
    await close(chain);
    await expect(answer(question, 'never')).rejects.toMatchObject({
      code: 'FENCED',
      message: expect.stringMatching(/a chain held the project when it began/),
    });
    const stored = { outcome: 'beside', result: { newSessionId: question.sessionId } };
    expect(await answer(question, 'allowed')).toEqual(stored);
    expect(await answer(question, 'allowed')).toEqual(stored);
    expect(await beginQuestion(chain.projectId, '1')).toEqual({ ...stored, outcome: 'committed' });
    expect(await readHead(database.pool, chain.projectId)).toEqual({ sessionId: chain.head, seq: 1 });
  });

  it('move the head where no chain holds the project: of two that read the same head, the first', async () => {
    const chain = await openBuilt();
    await close(chain);
    const questions = [await ask(chain.projectId, '1'), await ask(chain.projectId, '2')];
    const answers = [];
    for (const question of questions) {
      await storeMessage(database.pool, chain.projectId, question.sessionId);
      answers.push(await answer(question, 'allowed'));
    }
    expect(answers).toEqual([
      { outcome: 'moved', result: { newSessionId: questions[0]?.sessionId, seq: 2 } },
      { outcome: 'beside', result: { newSessionId: questions[1]?.sessionId } },
    ]);
    expect(await sourcesOf(chain.projectId)).toEqual(['build', 'chat_plan']);
  });
});

describe('the epoch of a project', () => {
  it('is raised by every attempt of a step, and by no operation outside a chain', async () => {
    const chain = await openBuilt();
    const before = await epochOf(chain.projectId);
    expect(begun(await tryStep(chain, 'metadata')).epoch).toBe(before + 1);
    expect((await ask(chain.projectId, '1')).epoch).toBeNull();
    expect(begun(await tryStep(chain, 'metadata')).epoch).toBe(before + 2);
    await close(chain);
    const closed = await epochOf(chain.projectId);
    expect((await ask(chain.projectId, '2')).epoch).toBe(closed);
    expect((await ask(chain.projectId, '3')).epoch).toBe(closed);
    expect(await epochOf(chain.projectId)).toBe(closed);
  });
});

describe('a try of a step that comes late', () => {
  it('is refused when it was scheduled before the newest one of the same step', async () => {
    const chain = await openBuilt();
    const now = Date.now();
    const newest = begun(await tryStep(chain, 'metadata', { atMs: now }));
    await expect(tryStep(chain, 'metadata', { atMs: now - 1 })).rejects.toMatchObject({
      code: 'FENCED',
      message: expect.stringMatching(/tried again, or given up .* after this try/),
    });
    expect(await renewLease(database.pool, newest)).toBe('held');
    // Temporal delivered the same try twice: the second delivery takes over.
    expect(begun(await tryStep(chain, 'metadata', { atMs: now })).attempt).toBe(2);
  });

  it('is not refused for having been scheduled before an attempt of an earlier step', async () => {
    const chain = await openBuilt();
    const now = Date.now();
    begun(await tryStep(chain, 'metadata', { atMs: now }));
    expect(begun(await tryStep(chain, 'docs', { atMs: now - 3_600_000 })).attempt).toBe(1);
  });

  it('is refused once a later step has followed, whenever it was scheduled', async () => {
    const chain = await openBuilt();
    begun(await tryStep(chain, 'metadata'));
    const docs = begun(await tryStep(chain, 'docs', { leaseMs: 60_000 }));
    const epoch = await epochOf(chain.projectId);
    const late = { atMs: Date.now() + 3_600_000 };
    await expect(tryStep(chain, 'metadata', late)).rejects.toMatchObject({
      code: 'FENCED',
      message: expect.stringMatching(/gone on to the step docs/),
    });
    expect(await renewLease(database.pool, docs)).toBe('held');
    expect(await epochOf(chain.projectId)).toBe(epoch);
    // One that is committed changes nothing by being asked for again.
    expect(await tryStep(chain, 'build', late)).toMatchObject({ outcome: 'committed', result: { seq: 1 } });
  });

  it('is refused as the first of its step, too, once a step has begun that comes after it', async () => {
    const chain = await openBuilt();
    begun(await tryStep(chain, 'docs'));
    await expect(tryStep(chain, 'metadata')).rejects.toMatchObject({
      code: 'FENCED',
      message: expect.stringMatching(/gone on to the step docs/),
    });
    expect(begun(await tryStep(chain, 'compact')).attempt).toBe(1);
  });

  it('is not refused for what a former run of the chain began', async () => {
    const chain = await openBuilt();
    begun(await tryStep(chain, 'metadata'));
    begun(await tryStep(chain, 'docs'));
    await close(chain, 'failed');
    await register(database.pool, chain);
    const runId = randomUUID();
    const opened = await openChain(database.pool, chain, openerOf(runId), null, { plan });
    if (opened.outcome !== 'opened') throw new Error(`Not opened: ${opened.outcome}.`);
    const next = { ...chain, runId, ticket: opened.ticket };
    expect(await tryStep(next, 'build')).toMatchObject({ outcome: 'committed' });
    // Its clock may be behind that of the worker of the former run, too.
    const metadata = await tryStep(next, 'metadata', { atMs: Date.now() - 3_600_000 });
    expect(begun(metadata).attempt).toBe(2);
    await expect(tryStep(chain, 'docs')).rejects.toMatchObject({
      code: 'FENCED',
      message: expect.stringMatching(/has drawn the ticket \d+, and this one presents \d+/),
    });
    expect(begun(await tryStep(next, 'docs')).attempt).toBe(2);
  });
});

describe('a second round of a step', () => {
  it('commits again, and the first one returns its stored result', async () => {
    const chain = await openBuilt();
    const first = await runStep(database.pool, chain, 'docs');
    const retried = begun(await tryStep(chain, 'docs', { round: 2 }));
    const attempt = begun(await tryStep(chain, 'docs', { round: 2 }));
    expect([retried, attempt]).toMatchObject([
      { round: 2, attempt: 1, baseSessionId: first.newSessionId },
      { round: 2, attempt: 2 },
    ]);
    await storeMessage(database.pool, chain.projectId, attempt.sessionId);
    const second = await commitAttempt(database.pool, attempt, chain.head);
    chain.head = second.newSessionId;
    expect([first.seq, second.seq]).toEqual([2, 3]);
    expect(await tryStep(chain, 'docs', { round: 1 })).toEqual({ outcome: 'committed', result: first });
    expect(await tryStep(chain, 'docs', { round: 2 })).toEqual({ outcome: 'committed', result: second });
    expect(await commitAttempt(database.pool, attempt, first.newSessionId)).toEqual(second);
    await runStep(database.pool, chain, 'compact');
    expect(await sourcesOf(chain.projectId)).toEqual(['build', 'docs', 'docs', 'compact']);
  });

  it('begins though a later step has run in the first round', async () => {
    const chain = await openBuilt();
    await runStep(database.pool, chain, 'metadata');
    await runStep(database.pool, chain, 'docs');
    const again = begun(await tryStep(chain, 'metadata', { round: 2 }));
    expect(again).toMatchObject({ attempt: 1, baseSessionId: chain.head });
    expect(await tryStep(chain, 'docs', { round: 1 })).toMatchObject({ outcome: 'committed' });
    expect(begun(await tryStep(chain, 'docs', { round: 2 })).attempt).toBe(1);
    await expect(tryStep(chain, 'metadata', { round: 2 })).rejects.toMatchObject({
      code: 'FENCED',
      message: expect.stringMatching(/gone on to the step docs/),
    });
  });

  it('is the only one that commits: two attempts of one round never do', async () => {
    const chain = await openBuilt();
    const [former, latter] = [
      await beginWithTranscript(database.pool, chain, 'docs'),
      await beginWithTranscript(database.pool, chain, 'docs'),
    ];
    await commitAttempt(database.pool, latter, chain.head);
    await expect(commitAttempt(database.pool, former, chain.head)).rejects.toMatchObject({
      code: 'FENCED',
      message: expect.stringMatching(/attempt 2 of the same operation began at/),
    });
    await expect(
      database.pool.query(
        `UPDATE session_chain.attempts SET state = 'committed', result = '{}', failure = NULL WHERE id = $1`,
        [former.attemptId],
      ),
    ).rejects.toThrow(/attempts_one_committed/);
  });
});

/** A chain that holds a new project and has committed its build. */
async function openBuilt(): Promise<OpenedChain> {
  const chain = await openNew(database.pool);
  await runStep(database.pool, chain, 'build');
  return chain;
}

async function tryStep(
  chain: OpenedChain,
  step: string,
  { round = 1, atMs = Date.now(), leaseMs = 0 } = {},
): Promise<Begun<CommittedStep>> {
  return await beginOperation<CommittedStep>(database.pool, {
    projectId: chain.projectId,
    inputDigest: 'digest',
    worker: 'test',
    leaseMs,
    operation: {
      kind: 'step',
      chainId: chain.chainId,
      ticket: chain.ticket,
      ...{ step, round },
      role: null,
      headSessionId: null,
      baseSessionId: chain.head,
      scheduledAtMs: atMs,
    },
  });
}

async function beginQuestion(projectId: ProjectId, questionId: string, leaseMs = 0) {
  return await beginOperation<{ newSessionId: SessionId; seq?: number }>(database.pool, {
    projectId,
    inputDigest: 'digest',
    worker: 'test',
    leaseMs,
    operation: {
      kind: 'outside',
      versionId: null,
      buildId: questionBuildId(questionId),
      source: 'chat_plan',
      sessionId: null,
    },
  });
}

async function ask(projectId: ProjectId, questionId: string, leaseMs = 0): Promise<Attempt> {
  return begun(await beginQuestion(projectId, questionId, leaseMs));
}

async function answer(attempt: Attempt, beside: 'never' | 'allowed') {
  return await commitOperation(database.pool, {
    attempt,
    source: 'chat_plan',
    newSessionId: attempt.sessionId,
    parentSessionId: attempt.baseSessionId,
    metrics: someMetrics,
    result: { newSessionId: attempt.sessionId },
    beside,
  });
}

function begun(answer: Begun<unknown>): Attempt {
  if (answer.outcome !== 'begun') throw new Error(`Not begun: ${answer.outcome}.`);
  return answer.attempt;
}

async function close(chain: OpenedChain, status: 'completed' | 'failed' = 'completed'): Promise<void> {
  const { ticket, runId } = chain;
  const result = { status } as Parameters<typeof closeChain>[2]['result'];
  await closeChain(database.pool, chain, { ticket, runId, result, versionStatus: noStatus });
}

async function epochOf(projectId: ProjectId): Promise<number> {
  const { rows } = await database.pool.query<{ epoch: number }>(
    'SELECT session_epoch AS epoch FROM projects WHERE project_id = $1',
    [projectId],
  );
  return rows[0]?.epoch ?? Number.NaN;
}

async function journalOf(projectId: ProjectId): Promise<{ step: string; state: string; sealed: boolean }[]> {
  const { rows } = await database.pool.query<{ step: string; state: string; sealed: boolean }>(
    `SELECT a.step, a.state, s.sealed_at IS NOT NULL AS sealed
     FROM session_chain.attempts a JOIN session_chain.sessions s USING (project_id, session_id)
     WHERE a.project_id = $1 ORDER BY a.id`,
    [projectId],
  );
  return rows;
}

/** The oldest first. */
async function sourcesOf(projectId: ProjectId): Promise<string[]> {
  const transitions = await listTransitions(database.pool, projectId, 100);
  return transitions.map(({ source }) => source).reverse();
}
