import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ChainResult } from '../../contracts/chain.js';
import type { SessionId } from '../../contracts/ids.js';
import { closeChain, openChain, readChain } from '../../storage/chains/chains.js';
import { beginActivityStep } from '../../storage/operations/activity-steps.js';
import { beginEnd, listEnds, noteEnd, takeEnds } from '../../storage/chains/ends.js';
import { createTranscriptStore } from '../../storage/transcripts/store.js';
import {
  begin,
  newKey,
  noStatus,
  openNew,
  openerOf,
  plan,
  register,
  runStep,
  storeMessage,
} from '../support/chains.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';

/** What the storage functions make of a database that went back to an earlier state; whole chains: test/fault/went-back.test.ts. */

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database.drop();
});

const sql = async (text: string, ...values: unknown[]) =>
  (await database.pool.query<Record<string, unknown>>(text, values)).rows;

/** Everything that a chain has done since it was registered is lost. */
async function loseAll(projectId: string): Promise<void> {
  await sql(
    'UPDATE projects SET last_ai_session_id = NULL, session_seq = NULL WHERE project_id = $1',
    projectId,
  );
  await sql('DELETE FROM session_transitions WHERE project_id = $1', projectId);
  await sql('DELETE FROM session_chain.attempts WHERE project_id = $1', projectId);
  await sql(
    `UPDATE session_chain.chains SET status = 'queued', ticket = NULL, last_ticket = NULL, run_id = NULL, opening = 0,
       closed_at = NULL, result = NULL
     WHERE project_id = $1`,
    projectId,
  );
}

describe('a number that names something outside of the database', () => {
  it.each(['chains_id_seq', 'attempts_id_seq', 'tickets', 'questions'])(
    'grows with %s, and is not given out twice by a sequence that went back',
    async (sequence) => {
      const name = `session_chain.${sequence}`;
      const draw = async () =>
        (
          await sql(
            'SELECT session_chain.new_id($1) AS id, (SELECT last_value FROM ' + name + ') AS last',
            name,
          )
        )[0];
      const [first, second] = [await draw(), await draw()];
      expect(Number(second?.['id'])).toBeGreaterThan(Number(first?.['id']));
      await sql('SELECT setval($1, $2, false)', name, first?.['last']);
      expect((await draw())?.['id']).not.toBe(first?.['id']);
      // As JavaScript has it, it is exact.
      expect(Number.isSafeInteger(Number(second?.['id']) * 1_000_000)).toBe(true);
    },
  );
});

describe('a chain whose ticket or head the database does not know', () => {
  it('begins no step, and changes nothing; another head of the lineage is a matter of its step', async () => {
    const chain = await openNew(database.pool);
    await runStep(database.pool, chain, 'build');
    const before = await readChain(database.pool, chain);
    await expect(
      begin(database.pool, { ...chain, head: randomUUID() as SessionId }, 'docs', { knowsHead: true }),
    ).rejects.toMatchObject({ code: 'DATABASE_WENT_BACK' });
    await expect(begin(database.pool, { ...chain, ticket: chain.ticket + 1 }, 'docs')).rejects.toMatchObject({
      code: 'DATABASE_WENT_BACK',
    });
    expect(await readChain(database.pool, chain)).toEqual(before);
    expect(await begin(database.pool, chain, 'docs', { knowsHead: true })).toMatchObject({
      outcome: 'begun',
    });
  });

  it('opens again under another ticket, and the former one is good for nothing', async () => {
    const chain = await openNew(database.pool);
    await runStep(database.pool, chain, 'build');
    await loseAll(chain.projectId);
    const again = await openChain(database.pool, chain, openerOf(chain.runId, chain.ticket), null, { plan });
    expect(again).toMatchObject({ outcome: 'opened', head: { sessionId: null, seq: null } });
    if (again.outcome !== 'opened') return;
    expect(again.ticket).not.toBe(chain.ticket);
    await expect(begin(database.pool, chain, 'build')).rejects.toMatchObject({
      code: 'FENCED',
      message: expect.stringMatching(/has drawn the ticket/),
    });
    expect(await begin(database.pool, { ...chain, ...again, head: null }, 'build')).toMatchObject({
      outcome: 'begun',
    });
  });

  it('that opens again once more is not held up by what the opening before it began, a late question is', async () => {
    const chain = await openNew(database.pool);
    await begin(database.pool, chain, 'build');
    const open = async (opening: number) =>
      await openChain(database.pool, chain, openerOf(chain.runId), null, { plan, opening });
    await expect(open(1)).rejects.toMatchObject({
      code: 'FENCED',
      message: expect.stringMatching(/asked once more, too late/),
    });
    expect(await open(2)).toMatchObject({ outcome: 'opened', ticket: chain.ticket });
    await begin(database.pool, chain, 'build');
    await expect(open(2)).rejects.toMatchObject({
      code: 'FENCED',
      message: expect.stringMatching(/asked once more, too late/),
    });
    expect(await open(3)).toMatchObject({ outcome: 'opened', ticket: chain.ticket });
  });

  it.each([
    ['completed', 'is not closed'],
    ['failed', 'is closed'],
  ] as const)('%s: %s', async (status, _end) => {
    const chain = await openNew(database.pool);
    await loseAll(chain.projectId);
    const result = { status } as ChainResult;
    const closing = closeChain(database.pool, chain, { ...chain, result, versionStatus: noStatus });
    if (status === 'completed') await expect(closing).rejects.toMatchObject({ code: 'DATABASE_WENT_BACK' });
    else expect(await closing).toMatchObject({ outcome: 'closed' });
  });

  it('that was asked for again in what is lost is not the one that is closed', async () => {
    const chain = await openNew(database.pool);
    await closeChain(database.pool, chain, {
      ...chain,
      result: { status: 'failed' } as ChainResult,
      versionStatus: noStatus,
    });
    await expect(begin(database.pool, { ...chain, ticket: chain.ticket + 1 }, 'build')).rejects.toMatchObject(
      {
        code: 'REQUEST_LOST',
      },
    );
  });
});

describe('a chain whose row is not there', () => {
  it('neither opens nor begins; the row of a later start is another chain', async () => {
    const key = newKey();
    const chain = await openNew(database.pool, key);
    await sql('DELETE FROM session_chain.chains WHERE project_id = $1', key.projectId);
    await sql(`SELECT setval('session_chain.chains_id_seq', 1, false)`);
    const again = await register(database.pool, key);
    expect(again.chainId).not.toBe(chain.chainId);
    const opening = openChain(database.pool, chain, openerOf(chain.runId, chain.ticket), null, { plan });
    await expect(opening).rejects.toMatchObject({ code: 'REQUEST_LOST' });
    await expect(begin(database.pool, chain, 'build')).rejects.toMatchObject({ code: 'REQUEST_LOST' });
  });
});

describe('an end of a chain', () => {
  it('that was lost is not called for, and the chain that closes again has another end', async () => {
    await takeEnds(database.pool, 0);
    const chain = await openNew(database.pool);
    const close = async (ticket: number) =>
      await closeChain(database.pool, chain, {
        ...{ ...chain, ticket, result: { status: 'failed' } as ChainResult, versionStatus: noStatus },
      });
    await close(chain.ticket);
    const [told] = await listEnds(database.pool, chain);
    const key = told?.key ?? '';
    // From before the delivery was noted: called once more, under its key.
    expect(await beginEnd(database.pool, key)).toMatchObject({ key });

    // From before the close.
    await loseAll(chain.projectId);
    await sql('DELETE FROM session_chain.events WHERE project_id = $1', chain.projectId);
    await sql('DELETE FROM session_chain.chain_ends WHERE key = $1', key);
    expect(await beginEnd(database.pool, key)).toBeNull();
    const again = await openChain(database.pool, chain, openerOf(chain.runId, chain.ticket), null, { plan });
    if (again.outcome !== 'opened') throw new Error('It did not open.');
    await close(again.ticket);
    await noteEnd(database.pool, key, null);
    const ends = await listEnds(database.pool, chain);
    expect(ends).toMatchObject([{ deliveredAt: null, rounds: 0 }]);
    expect(ends[0]?.key).not.toBe(key);
  });

  it('is recorded again as soon as a worker looks, where the database went back to before the first one', async () => {
    await sql('UPDATE session_chain.installation SET ends_wanted_at = NULL');
    await takeEnds(database.pool, 0);
    const chain = await openNew(database.pool);
    const result = { status: 'failed' } as ChainResult;
    await closeChain(database.pool, chain, { ...chain, result, versionStatus: noStatus });
    expect(await listEnds(database.pool, chain)).toHaveLength(1);
  });
});

describe('an activity of the host whose row was lost', () => {
  it('has the same key when it is called again', async () => {
    const chain = await openNew(database.pool);
    const call = async () =>
      await beginActivityStep(database.pool, {
        ...{ ...chain, step: 'deploy', round: 1, role: 'deploy', activity: 'deployShop', taskQueue: 'host' },
        ...{ sessionId: null, seq: null, scheduledAtMs: Date.now() },
      });
    const first = await call();
    await sql('DELETE FROM session_chain.activity_steps WHERE chain = $1', chain.chainId);
    expect(await call()).toEqual(first);
  });
});

describe('a session that lost its last appends', () => {
  it('takes no further one from the writer that knows of them', async () => {
    const { projectId } = await openNew(database.pool);
    const sessionId = randomUUID();
    const store = createTranscriptStore({ pool: database.pool, projectId });
    const append = async () =>
      await store.append({ projectKey: '', sessionId }, [{ type: 'user', uuid: randomUUID(), sessionId }]);
    await append();
    await append();
    expect(store.appends(sessionId)).toBe(2);
    await sql(
      `WITH lost AS (DELETE FROM session_chain.transcript_batches b USING session_chain.sessions s
         WHERE s.id = b.session AND s.session_id = $1 AND b.ordinal = 2)
       UPDATE session_chain.sessions SET batches = 1, entries = 1, messages = 1 WHERE session_id = $1`,
      sessionId,
    );
    await expect(append()).rejects.toMatchObject({ code: 'DATABASE_WENT_BACK' });
    await expect(append()).rejects.toMatchObject({ code: 'DATABASE_WENT_BACK' });
    // Another writer knows nothing of them.
    await storeMessage(database.pool, projectId, sessionId);
  });
});
