import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { chainKey } from '../../client/session-chain.js';
import type { ChainKey } from '../../contracts/ids.js';
import { closeChain, openChain, readChain, releaseChain } from '../../storage/chains/chains.js';
import { getSessionChain, listTransitions, readHead } from '../../storage/heads/heads.js';
import { nothingSpent } from '../../storage/ledger/metrics.js';
import { type Pool, createPool, queryRows } from '../../storage/db/pool.js';
import {
  type OperationRequest,
  beginOperation,
  commitOperation,
} from '../../storage/operations/operations.js';
import { chainWorkflowId } from '../../temporal/names.js';
import { type ChainStack, startChainStack } from '../support/chain-stack.js';
import {
  type OpenedChain,
  begin,
  beginWithTranscript,
  commitAttempt,
  newKey,
  noStatus,
  openNew,
  openerOf,
  plan,
  register,
  runStep,
  storeMessage,
} from '../support/chains.js';
import { type TcpProxy, startTcpProxy } from '../support/tcp-proxy.js';

/** What a caller may get wrong about who holds a project, and what a network may do to it: typed answers, nothing half done. */

let stack: ChainStack;
let pool: Pool;
beforeAll(async () => {
  stack = await startChainStack('bad-input');
  ({ pool } = stack.database);
});
afterAll(async () => {
  await stack.stop();
});

const closing = (chain: { ticket: number | null; runId: string }) => ({
  ticket: chain.ticket,
  runId: chain.runId,
  result: { status: 'cancelled' } as never,
  versionStatus: noStatus,
});

/** Everything that the database says about a project, to see that nothing changed. */
async function everythingOf(projectId: string): Promise<unknown> {
  const tables = [
    'projects',
    'project_versions',
    'session_transitions',
    'project_ai_session_metrics',
    'session_chain.chains',
    'session_chain.attempts',
    'session_chain.sessions',
  ];
  return await Promise.all(
    tables.map(async (table) => {
      const { rows } = await pool.query<{ row: string }>(
        `SELECT t::text AS row FROM ${table} t WHERE project_id = $1 ORDER BY 1`,
        [projectId],
      );
      return [table, ...rows.map(({ row }) => row)];
    }),
  );
}

/** A chain that waits behind another one of the same project. */
async function waiterBehind(holder: OpenedChain): Promise<OpenedChain> {
  const key = newKey(holder.projectId);
  const { chainId } = await register(pool, key);
  const runId = randomUUID();
  const answer = await openChain(pool, { ...key, chainId }, openerOf(runId), null, { plan });
  if (answer.outcome !== 'queued' || answer.ticket === null)
    throw new Error(`Not queued: ${answer.outcome}.`);
  return { ...key, chainId, runId, ticket: answer.ticket, head: null };
}

describe('starts of one build id at once', () => {
  it('start one chain, and all but one are told that it was there', async () => {
    const request = stack.request();
    const started = await Promise.all(Array.from({ length: 8 }, () => stack.sessionChain.start(request)));
    expect(started.filter(({ alreadyStarted }) => !alreadyStarted)).toHaveLength(1);
    expect(new Set(started.map(({ workflowId }) => workflowId)).size).toBe(1);
    const { rows } = await pool.query('SELECT id FROM session_chain.chains WHERE project_id = $1', [
      request.projectId,
    ]);
    expect(rows).toHaveLength(1);
    await stack.temporal.workflow.getHandle(started[0]?.workflowId ?? '').terminate();
  });

  it('that ask for the project as two runs give it to one; the other learns what is in the way, and draws no ticket', async () => {
    const key = newKey();
    const { chainId } = await register(pool, key);
    const runs = [randomUUID(), randomUUID()];
    const answers = await Promise.all(
      runs.map((runId) => openChain(pool, { ...key, chainId }, openerOf(runId), null, { plan })),
    );
    const [winner] = answers.flatMap(({ outcome }, index) => (outcome === 'opened' ? [runs[index]] : []));
    expect(answers).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ outcome: 'opened' }),
        expect.objectContaining({
          outcome: 'queued',
          ticket: null,
          blocker: { workflowId: chainWorkflowId(key), runId: winner, home: 'test' },
        }),
      ]),
    );
  });
});

describe('malformed ids', () => {
  it.each([
    ['a NUL', { projectId: 'a\0' }],
    ['a separator', { versionId: 'v/1' }],
    ['a reserved name', { buildId: 'chat:a' }],
    ['no text', { projectId: 7 }],
    ['nothing', { versionId: undefined }],
  ])('are refused wherever a chain is named: %s', async (_what, malformed) => {
    const { projectId, versionId } = stack.request();
    const key = { ...chainKey({ projectId, versionId }), ...malformed } as ChainKey;
    for (const method of ['state', 'progress', 'wait', 'cancel', 'chainSpend'] as const) {
      await expect(stack.sessionChain[method](key)).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    }
  });
});

describe('ids of another project', () => {
  it('are refused by the client, which changes nothing', async () => {
    const other = await openNew(pool);
    const mine = await openNew(pool);
    const before = [await everythingOf(other.projectId), await everythingOf(mine.projectId)];
    const mixed = { ...stack.request(mine.projectId), versionId: other.versionId };
    await expect(stack.sessionChain.start(mixed)).rejects.toMatchObject({
      code: 'VERSION_OF_ANOTHER_PROJECT',
    });
    const key = chainKey({ projectId: mine.projectId, versionId: other.versionId });
    for (const asked of [
      stack.sessionChain.state(key),
      stack.sessionChain.cancel(key),
      stack.sessionChain.wait(key),
    ]) {
      await expect(asked).rejects.toMatchObject({ code: 'CHAIN_NOT_FOUND' });
    }
    expect([await everythingOf(other.projectId), await everythingOf(mine.projectId)]).toEqual(before);
  });

  it('move no head: not with a step of another chain, nor with a session or a version of another project', async () => {
    const other = await openNew(pool);
    const mine = await openNew(pool);
    const foreign = await beginWithTranscript(pool, other, 'build');
    const own = await beginWithTranscript(pool, mine, 'build');
    const before = [await everythingOf(other.projectId), await everythingOf(mine.projectId)];
    await expect(begin(pool, { ...mine, chainId: other.chainId }, 'build')).rejects.toMatchObject({
      code: 'REQUEST_LOST',
    });
    for (const attempt of [
      { ...own, attemptId: foreign.attemptId },
      { ...own, sessionId: foreign.sessionId },
    ]) {
      await expect(commitAttempt(pool, attempt, null)).rejects.toMatchObject({ code: 'FENCED' });
    }
    await expect(beginOperation(pool, importOf(mine, other.versionId))).rejects.toMatchObject({
      code: 'VERSION_OF_ANOTHER_PROJECT',
    });
    await expect(beginOperation(pool, importOf(mine, newKey().versionId))).rejects.toMatchObject({
      code: 'VERSION_NOT_FOUND',
    });
    await expect(beginOperation(pool, importOf(newKey()))).rejects.toMatchObject({
      code: 'PROJECT_NOT_FOUND',
    });
    expect(await releaseChain(pool, mine.projectId, runOf(other))).toMatchObject({
      outcome: 'not_open',
    });
    expect([await everythingOf(other.projectId), await everythingOf(mine.projectId)]).toEqual(before);
  });

  it('in the hands of a caller change nothing of what the journal says that an attempt moves', async () => {
    const other = await openNew(pool);
    const mine = await openNew(pool);
    const own = await beginWithTranscript(pool, mine, 'build');
    const before = await everythingOf(other.projectId);
    const lies = { ...own, projectId: other.projectId, versionId: other.versionId, epoch: 0 };
    expect(await commitAttempt(pool, lies, null)).toMatchObject({ seq: 1 });
    expect(await everythingOf(other.projectId)).toEqual(before);
    expect(await readHead(pool, mine.projectId)).toEqual({ sessionId: own.sessionId, seq: 1 });
    expect(await listTransitions(pool, mine.projectId, 1)).toMatchObject([{ versionId: mine.versionId }]);
  });

  it('neither open nor close a chain', async () => {
    const other = await openNew(pool);
    const mine = await openNew(pool);
    const before = [await everythingOf(other.projectId), await everythingOf(mine.projectId)];
    const mixed = { ...mine, chainId: other.chainId };
    await expect(openChain(pool, mixed, openerOf(randomUUID()), null, { plan })).rejects.toMatchObject({
      code: 'REQUEST_LOST',
    });
    expect(await closeChain(pool, mixed, closing(other))).toMatchObject({ outcome: 'fenced' });
    const nowhere = { ...mine, ...newKey() };
    await expect(openChain(pool, nowhere, openerOf(randomUUID()), null, { plan })).rejects.toMatchObject({
      code: 'PROJECT_NOT_FOUND',
    });
    expect(await closeChain(pool, nowhere, closing(mine))).toMatchObject({ outcome: 'fenced' });
    expect([await everythingOf(other.projectId), await everythingOf(mine.projectId)]).toEqual(before);
  });
});

describe('a close by a run that does not hold the project', () => {
  it('changes nothing: under a ticket that is over, or that it never had, or without one', async () => {
    const holder = await openNew(pool);
    const attempt = await beginWithTranscript(pool, holder, 'build');
    const waiter = await waiterBehind(holder);
    const before = await everythingOf(holder.projectId);
    const neverGiven = { ticket: waiter.ticket + 1, runId: 'unknown' };
    const completed = { ...closing(neverGiven), result: { status: 'completed' } as never };
    await expect(closeChain(pool, holder, completed)).rejects.toMatchObject({ code: 'DATABASE_WENT_BACK' });
    for (const wrong of [
      neverGiven,
      { ticket: holder.ticket - 1, runId: holder.runId },
      { ticket: null, runId: waiter.runId },
      { ticket: null, runId: 'unknown' },
    ]) {
      expect(await closeChain(pool, holder, closing(wrong))).toEqual({ outcome: 'fenced', next: null });
    }
    expect(await everythingOf(holder.projectId)).toEqual(before);
    expect(await commitAttempt(pool, attempt, null)).toMatchObject({ seq: 1 });
  });

  it('of a waiter leaves the queue and no more', async () => {
    const holder = await openNew(pool);
    const attempt = await beginWithTranscript(pool, holder, 'build');
    const [first, second] = [await waiterBehind(holder), await waiterBehind(holder)];
    expect(await closeChain(pool, first, closing(first))).toEqual({ outcome: 'closed', next: null });
    expect(await readChain(pool, second)).toMatchObject({ position: 1, waitsFor: chainWorkflowId(holder) });
    expect(await commitAttempt(pool, attempt, null)).toMatchObject({ seq: 1 });
    expect(await closeChain(pool, holder, closing(holder))).toMatchObject({
      outcome: 'closed',
      next: runOf(second),
    });
  });

  it('of a former run changes nothing of the run that came after it', async () => {
    const former = await openNew(pool);
    await closeChain(pool, former, closing(former));
    const again = await openNew(pool, former);
    const before = await everythingOf(former.projectId);
    for (const ticket of [former.ticket, null]) {
      expect(await closeChain(pool, former, closing({ ticket, runId: former.runId }))).toMatchObject({
        outcome: 'fenced',
      });
    }
    expect(await everythingOf(former.projectId)).toEqual(before);
    expect((await runStep(pool, again, 'build')).seq).toBe(1);
  });
});

describe('a clock that jumps back', () => {
  it('between two tries of a step lets the newer one be, and says so', async () => {
    const chain = await openNew(pool);
    const attempt = await beginWithTranscript(pool, chain, 'build');
    const before = await everythingOf(chain.projectId);
    await expect(begin(pool, chain, 'build', { scheduledAtMs: Date.now() - 60_000 })).rejects.toMatchObject({
      code: 'FENCED',
    });
    expect(await everythingOf(chain.projectId)).toEqual(before);
    expect(await commitAttempt(pool, attempt, null)).toMatchObject({ seq: 1 });
  });

  it('between two tickets keeps no chain from working', async () => {
    const first = await openNew(pool);
    await begin(pool, first, 'build', { scheduledAtMs: Date.now() + 3_600_000 });
    await closeChain(pool, first, closing(first));
    const again = await openNew(pool, first);
    expect(await begin(pool, again, 'build')).toMatchObject({ outcome: 'begun', attempt: { attempt: 2 } });
  });

  it('at the database leaves the transitions in their order, by their times too', async () => {
    const chain = await openNew(pool);
    await runStep(pool, chain, 'build');
    await pool.query(
      `UPDATE projects SET last_ai_session_updated_at = now() + interval '1 hour' WHERE project_id = $1`,
      [chain.projectId],
    );
    await runStep(pool, chain, 'metadata');
    await runStep(pool, chain, 'docs');
    const { rows } = await pool.query<{ new_session_id: string }>(
      `SELECT source, old_session_id, new_session_id, created_at FROM session_transitions
       WHERE project_id = $1 ORDER BY created_at DESC`,
      [chain.projectId],
    );
    expect(rows.map((row) => row.new_session_id)).toEqual(await getSessionChain(pool, chain.projectId));
  });
});

describe('a connection that breaks between a question and its answer', () => {
  let proxy: TcpProxy;
  let distant: Pool;
  beforeAll(async () => {
    proxy = await startTcpProxy(stack.database.url);
    distant = createPool(proxy.url, { applicationName: 'test', max: 1 });
  });
  afterAll(async () => {
    await distant.end();
    await proxy.stop();
  });

  /** Asks twice: the first answer is lost on the way, and before it the question itself was. */
  async function askedAgain<Answer>(
    projectId: string,
    ask: (pool: Pool) => Promise<Answer>,
  ): Promise<Answer> {
    const before = await everythingOf(projectId);
    await proxy.cut();
    await expect(ask(distant)).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    await proxy.restore();
    expect(await everythingOf(projectId)).toEqual(before);

    // A connection that is ready, so that it is this answer that gets lost.
    await queryRows(distant, { text: 'SELECT 1' });
    proxy.loseNextAnswer();
    await expect(ask(distant)).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    expect(await everythingOf(projectId)).not.toEqual(before);
    return await ask(distant);
  }

  it('leaves a chain that asked for the project with one ticket, and it opens', async () => {
    const key = newKey();
    const { chainId } = await register(pool, key);
    const opener = openerOf(randomUUID());
    const opened = await askedAgain(key.projectId, (to) =>
      openChain(to, { ...key, chainId }, opener, null, { plan }),
    );
    if (opened.outcome !== 'opened') throw new Error(`Not opened: ${opened.outcome}.`);
    const chain: OpenedChain = { ...key, chainId, runId: opener.runId, ticket: opened.ticket, head: null };
    expect((await runStep(pool, chain, 'build')).seq).toBe(1);
  });

  it('leaves a waiter with one ticket and its position', async () => {
    const holder = await openNew(pool);
    const key = newKey(holder.projectId);
    const { chainId } = await register(pool, key);
    const opener = openerOf(randomUUID());
    const queued = await askedAgain(key.projectId, (to) =>
      openChain(to, { ...key, chainId }, opener, null, { plan }),
    );
    expect(queued).toMatchObject({ outcome: 'queued', position: 1, holds: true });
    const behind = await waiterBehind(holder);
    expect(queued.outcome === 'queued' && queued.ticket).toBeLessThan(behind.ticket);
  });

  it('leaves a step with a second attempt, and the first one can do nothing any more', async () => {
    const chain = await openNew(pool);
    const begun = await askedAgain(chain.projectId, (to) => begin(to, chain, 'build'));
    if (begun.outcome !== 'begun') throw new Error(`Not begun: ${begun.outcome}.`);
    expect(begun.attempt.attempt).toBe(2);
    const { rows } = await pool.query<{ session_id: string; state: string; sealed: boolean }>(
      `SELECT a.session_id, a.state, s.sealed_at IS NOT NULL AS sealed
       FROM session_chain.attempts a JOIN session_chain.sessions s USING (project_id, session_id)
       WHERE a.project_id = $1 ORDER BY a.attempt`,
      [chain.projectId],
    );
    expect(rows).toMatchObject([
      { state: 'failed', sealed: true },
      { state: 'running', sealed: false },
    ]);
    await storeMessage(pool, chain.projectId, begun.attempt.sessionId);
    expect(await commitAttempt(pool, begun.attempt, null)).toMatchObject({ seq: 1, attempt: 2 });
  });

  it('leaves a commit with one transition, and the repeated one is told which', async () => {
    const chain = await openNew(pool);
    const attempt = await beginWithTranscript(pool, chain, 'build');
    const result = await askedAgain(chain.projectId, (to) => commitAttempt(to, attempt, null));
    expect(result).toMatchObject({ seq: 1, oldSessionId: null, newSessionId: attempt.sessionId });
    expect(await listTransitions(pool, chain.projectId, 10)).toHaveLength(1);
    expect(await readHead(pool, chain.projectId)).toEqual({ sessionId: attempt.sessionId, seq: 1 });
  });

  it('leaves a chain closed, and the repeated close is told which one may work next', async () => {
    const chain = await openNew(pool);
    const waiter = await waiterBehind(chain);
    const closed = await askedAgain(chain.projectId, (to) => closeChain(to, chain, closing(chain)));
    expect(closed).toMatchObject({ outcome: 'closed', next: runOf(waiter) });
  });

  it('leaves a dead holder released, and the repeated question is told which one may work next', async () => {
    const chain = await openNew(pool);
    const waiter = await waiterBehind(chain);
    const released = await askedAgain(chain.projectId, (to) =>
      releaseChain(to, chain.projectId, runOf(chain)),
    );
    expect(released).toMatchObject({ outcome: 'not_open', next: runOf(waiter) });
    expect(await readChain(pool, chain)).toMatchObject({ status: 'failed' });
  });

  it('leaves an operation outside a chain with one transition', async () => {
    const chain = await openNew(pool);
    await closeChain(pool, chain, closing(chain));
    const request = importOf(chain);
    const begun = await askedAgain(chain.projectId, (to) => beginOperation(to, request));
    if (begun.outcome !== 'begun') throw new Error(`Not begun: ${begun.outcome}.`);
    const { attempt } = begun;
    expect(attempt.attempt).toBe(2);
    const { sessionId: newSessionId } = attempt;
    await storeMessage(pool, chain.projectId, newSessionId);
    const { outcome, result } = await askedAgain(chain.projectId, (to) =>
      commitOperation(to, {
        attempt,
        source: 'import',
        newSessionId,
        parentSessionId: null,
        metrics: nothingSpent,
        result: { newSessionId },
      }),
    );
    expect(outcome).toBe('moved');
    expect(result).toMatchObject({ seq: 1, newSessionId });
    expect(await beginOperation(pool, request)).toMatchObject({ outcome: 'committed', result });
    expect(await listTransitions(pool, chain.projectId, 10)).toHaveLength(1);
  });
});

function importOf(
  { projectId }: Pick<OpenedChain, 'projectId'>,
  versionId: OpenedChain['versionId'] | null = null,
): OperationRequest {
  return {
    projectId,
    inputDigest: 'digest',
    worker: 'test',
    leaseMs: 0,
    operation: {
      kind: 'outside',
      versionId,
      buildId: `record:${randomUUID()}`,
      source: 'import',
      sessionId: null,
    },
  };
}

function runOf(chain: OpenedChain): { workflowId: string; runId: string; home: string } {
  return { workflowId: chainWorkflowId(chain), runId: chain.runId, home: 'test' };
}

describe('what comes late', () => {
  it('an open that was delayed until its chain works is refused, and fences nothing', async () => {
    const chain = await openNew(pool);
    const attempt = await beginWithTranscript(pool, chain, 'build');
    await expect(openChain(pool, chain, openerOf(chain.runId), null, { plan })).rejects.toMatchObject({
      code: 'FENCED',
    });
    await expect(commitAttempt(pool, attempt, null)).resolves.toMatchObject({ seq: 1 });
  });

  it('a try of an earlier step does not disturb the present one', async () => {
    const chain = await openNew(pool);
    await begin(pool, chain, 'metadata', { scheduledAtMs: 1_000 });
    const docs = await begin(pool, chain, 'docs', { scheduledAtMs: 3_000 });
    if (docs.outcome !== 'begun') throw new Error('unreachable');
    await storeMessage(pool, chain.projectId, docs.attempt.sessionId);
    await expect(begin(pool, chain, 'metadata', { scheduledAtMs: 2_000 })).rejects.toMatchObject({
      code: 'FENCED',
    });
    await expect(commitAttempt(pool, docs.attempt, null)).resolves.toMatchObject({ step: 'docs' });
  });

  it('a release of the former run queues the chain anew for the run that was started meanwhile', async () => {
    const chain = await openNew(pool);
    const run = { workflowId: chainWorkflowId(chain), runId: chain.runId, home: 'test' };
    expect(await releaseChain(pool, chain.projectId, run)).toMatchObject({ outcome: 'released' });
    await expect(openChain(pool, chain, openerOf(chain.runId), null, { plan })).rejects.toMatchObject({
      code: 'FENCED',
    });
    expect(await openChain(pool, chain, openerOf('a new run'), null, { plan })).toMatchObject({
      outcome: 'opened',
    });
  });

  it('a start after one that broke off before its workflow runs the steps that were asked for first', async () => {
    const request = stack.request();
    const key = chainKey(request);
    await register(pool, key, ['build']);
    const started = await stack.sessionChain.start({ ...request, steps: ['build', 'docs'] });
    expect(started.alreadyStarted).toBe(false);
    expect(await readChain(pool, key)).toMatchObject({ steps: ['build'] });
    await stack.temporal.workflow.getHandle(started.workflowId).terminate();
  });
});
