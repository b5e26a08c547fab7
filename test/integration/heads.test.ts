import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SessionId } from '../../contracts/ids.js';
import type { StepName } from '../../contracts/steps.js';
import { closeChain, openChain } from '../../storage/chains/chains.js';
import { getProjectSession, getSessionChain, listTransitions, readHead } from '../../storage/heads/heads.js';
import { readChainState } from '../../storage/chains/chain-state.js';
import {
  type OpenedChain,
  begin,
  beginWithTranscript,
  commitAttempt,
  newKey,
  openNew,
  openerOf,
  plan,
  register,
  runStep,
  shippedStatus,
  storeMessage,
} from '../support/chains.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database.drop();
});

/** Design's first monitoring query, verbatim. */
const syncQuery = `SELECT p.project_id, p.last_ai_session_id AS project_session, pv.ai_session_id AS version_session, pv.version_id,
  CASE WHEN p.last_ai_session_id = pv.ai_session_id THEN 'SYNCED' ELSE 'OUT_OF_SYNC' END AS sync_status
FROM projects p JOIN project_versions pv ON p.project_id = pv.project_id
WHERE pv.id = (SELECT id FROM project_versions WHERE project_id = p.project_id ORDER BY created_at DESC LIMIT 1);`;

/** Design's second monitoring query, verbatim. */
const chainQuery = `SELECT source, old_session_id, new_session_id, created_at FROM session_transitions
WHERE project_id = $1 ORDER BY created_at DESC;`;

async function syncStatus(projectId: string): Promise<string | undefined> {
  const { rows } = await database.pool.query<{ project_id: string; sync_status: string }>(syncQuery);
  return rows.find((row) => row.project_id === projectId)?.sync_status;
}

async function close(chain: OpenedChain, status: 'completed' | 'failed' = 'completed') {
  const state = await readChainState(database.pool, chain);
  const { outcome } = await closeChain(database.pool, chain, {
    ticket: chain.ticket,
    runId: chain.runId,
    result: { ...state, status },
    versionStatus: shippedStatus,
  });
  return outcome;
}

describe('the head', () => {
  it('moves at every step and is the new session of the last transition', async () => {
    const chain = await openNew(database.pool);
    const lineage: string[] = [];
    for (const step of ['build', 'metadata', 'docs', 'compact'] as const) {
      const result = await runStep(database.pool, chain, step);
      lineage.unshift(result.newSessionId);
      expect(await getProjectSession(database.pool, chain.projectId)).toBe(result.newSessionId);
      expect(await syncStatus(chain.projectId)).toBe('SYNCED');
    }
    await close(chain);
    const transitions = await listTransitions(database.pool, chain.projectId, 10);
    expect(transitions.map(({ seq, source }) => [seq, source])).toEqual([
      [4, 'compact'],
      [3, 'docs'],
      [2, 'metadata'],
      [1, 'build'],
    ]);
    expect(transitions.map((row) => row.oldSessionId)).toEqual([...lineage.slice(1), null]);
    expect(await getSessionChain(database.pool, chain.projectId)).toEqual(lineage);
    const audit = await database.pool.query<{ source: string }>(chainQuery, [chain.projectId]);
    expect(audit.rows.map((row) => row.source)).toEqual(['compact', 'docs', 'metadata', 'build']);
  });

  it('shows OUT_OF_SYNC where the newest version has no session of the head: not opened yet, or an older version ran', async () => {
    const first = await openNew(database.pool);
    await runStep(database.pool, first, 'build');
    await close(first);
    const second = newKey(first.projectId);
    await register(database.pool, second);
    expect(await syncStatus(first.projectId)).toBe('OUT_OF_SYNC');
    const opened = await openNew(database.pool, second);
    expect(await syncStatus(first.projectId)).toBe('SYNCED');
    await close(opened, 'failed');
    const older = await openNew(database.pool, { ...first, buildId: 'again' as typeof first.buildId });
    await runStep(database.pool, older, 'build');
    expect(await syncStatus(first.projectId)).toBe('OUT_OF_SYNC');

    const fresh = newKey();
    await register(database.pool, fresh);
    expect(await syncStatus(fresh.projectId)).toBe('OUT_OF_SYNC');
  });

  it('that was moved outside is adopted by the next chain as an import, with a warning', async () => {
    const key = newKey();
    await register(database.pool, key);
    const outside = randomUUID();
    await storeMessage(database.pool, key.projectId, outside);
    await database.pool.query('UPDATE projects SET last_ai_session_id = $2 WHERE project_id = $1', [
      key.projectId,
      outside,
    ]);
    const chain = await openNew(database.pool, key);
    expect(chain.head).toBe(outside);
    const [transition] = await listTransitions(database.pool, key.projectId, 1);
    expect(transition).toMatchObject({ seq: 1, source: 'import', oldSessionId: null, newSessionId: outside });
    expect((await runStep(database.pool, chain, 'build')).seq).toBe(2);
  });

  it('whose transcript is not in the store refuses the chain and stays', async () => {
    const key = newKey();
    const { chainId } = await register(database.pool, key);
    await database.pool.query(`UPDATE projects SET last_ai_session_id = 'elsewhere' WHERE project_id = $1`, [
      key.projectId,
    ]);
    await expect(
      openChain(database.pool, { ...key, chainId }, openerOf('run'), null, { plan }),
    ).rejects.toMatchObject({
      code: 'SESSION_NOT_IN_STORE',
    });
    expect((await readHead(database.pool, key.projectId)).sessionId).toBe('elsewhere');
  });

  it('that was cleared outside comes back, and the chain starts from a fresh session that keeps the link', async () => {
    const first = await openNew(database.pool);
    const built = await runStep(database.pool, first, 'build');
    await close(first);
    await database.pool.query('UPDATE projects SET last_ai_session_id = NULL WHERE project_id = $1', [
      first.projectId,
    ]);
    const key = newKey(first.projectId);
    const { chainId } = await register(database.pool, key);
    const opened = await openChain(database.pool, { ...key, chainId }, openerOf('run'), null, { plan });
    expect(opened).toMatchObject({
      outcome: 'opened',
      head: { sessionId: built.newSessionId, seq: 1 },
      baseSessionId: null,
      warnings: [expect.stringContaining('cleared')],
    });
  });
});

describe('a chain that is refused', () => {
  it('for a version of another project leaves nothing behind', async () => {
    const other = newKey();
    await register(database.pool, other);
    const key = { ...newKey(), versionId: other.versionId };
    await expect(register(database.pool, key)).rejects.toMatchObject({ code: 'VERSION_OF_ANOTHER_PROJECT' });
    await expect(readHead(database.pool, key.projectId)).rejects.toMatchObject({ code: 'PROJECT_NOT_FOUND' });
  });
});

describe('a step', () => {
  it('that is committed twice is committed once and returns the stored result', async () => {
    const chain = await openNew(database.pool);
    const attempt = await beginWithTranscript(database.pool, chain, 'build');
    const results = await Promise.all(
      Array.from({ length: 3 }, () => commitAttempt(database.pool, attempt, chain.head)),
    );
    expect(new Set(results.map((result) => JSON.stringify(result))).size).toBe(1);
    expect(await listTransitions(database.pool, chain.projectId, 10)).toHaveLength(1);
    const again = await begin(database.pool, chain, 'build');
    expect(again).toEqual({ outcome: 'committed', result: results[0] });
  });

  it('of a stale worker may not move the head once a newer attempt has begun', async () => {
    const chain = await openNew(database.pool);
    const stale = await beginWithTranscript(database.pool, chain, 'build');
    const newer = await beginWithTranscript(database.pool, chain, 'build');
    await expect(commitAttempt(database.pool, stale, null)).rejects.toMatchObject({
      code: 'FENCED',
      message: expect.stringMatching(/attempt 2 of the same operation began at/),
    });
    await expect(storeMessage(database.pool, chain.projectId, stale.sessionId)).rejects.toMatchObject({
      code: 'FENCED',
      message: expect.stringMatching(/attempt 2 of the same operation began at/),
    });
    await expect(commitAttempt(database.pool, newer, null)).resolves.toMatchObject({ attempt: 2 });
    expect(await getSessionChain(database.pool, chain.projectId)).toEqual([newer.sessionId]);
  });

  it('that was scheduled before the newest attempt is refused', async () => {
    const chain = await openNew(database.pool);
    await begin(database.pool, chain, 'build', { scheduledAtMs: 2_000 });
    await expect(begin(database.pool, chain, 'build', { scheduledAtMs: 1_000 })).rejects.toMatchObject({
      code: 'FENCED',
      message: expect.stringMatching(/tried again, or given up/),
    });
  });

  it('whose transcript is not in the store moves nothing', async () => {
    const chain = await openNew(database.pool);
    const begun = await begin(database.pool, chain, 'build');
    if (begun.outcome !== 'begun') throw new Error('unreachable');
    await expect(commitAttempt(database.pool, begun.attempt, null)).rejects.toMatchObject({
      code: 'FENCED',
      message: expect.stringMatching(/not whole in the store \(lost\)/),
    });
    expect(await readHead(database.pool, chain.projectId)).toEqual({ sessionId: null, seq: null });
  });

  it('whose chain lost the project to another is refused at every entry point', async () => {
    const zombie = await openNew(database.pool);
    const attempt = await beginWithTranscript(database.pool, zombie, 'build');
    const key = newKey(zombie.projectId);
    const { chainId } = await register(database.pool, key);
    const other = { ...key, chainId };
    const opener = openerOf('other');
    expect(await openChain(database.pool, other, opener, null, { plan })).toMatchObject({
      outcome: 'queued',
      position: 1,
      holds: true,
      blocker: { runId: zombie.runId },
    });
    expect(await openChain(database.pool, other, opener, 'some other run', { plan })).toMatchObject({
      outcome: 'queued',
    });
    expect(await openChain(database.pool, other, opener, zombie.runId, { plan })).toMatchObject({
      outcome: 'opened',
    });
    await expect(commitAttempt(database.pool, attempt, null)).rejects.toMatchObject({
      code: 'FENCED',
      message: expect.stringMatching(/chain was closed at .* as failed \(CHAIN_TERMINATED\)/),
    });
    await expect(begin(database.pool, zombie, 'metadata')).rejects.toMatchObject({
      code: 'FENCED',
      message: expect.stringMatching(/chain was closed at .* as failed \(CHAIN_TERMINATED\)/),
    });
    expect(await close(zombie)).toBe('fenced');
    expect(await readChainState(database.pool, zombie)).toMatchObject({
      status: 'failed',
      failure: { code: 'CHAIN_TERMINATED', remedy: expect.any(String) },
    });
  });
});

describe('48 writers on one project, with takeovers and triple delivery', () => {
  it('leave a gapless lineage with one transition per commit', async () => {
    const first = await openNew(database.pool);
    let holder: OpenedChain = first;
    let committed = 0;
    // A chain commits a step once; every writer's round is a step of its own.
    const commitOnce = async (chain: OpenedChain, step: StepName) => {
      const head = await getProjectSession(database.pool, chain.projectId);
      const attempt = await beginWithTranscript(database.pool, { ...chain, head }, step);
      const tries = await Promise.allSettled(
        [1, 2, 3].map(() => commitAttempt(database.pool, attempt, head)),
      );
      const done = tries.filter((one) => one.status === 'fulfilled');
      // Every delivery of one commit has the same outcome.
      expect([0, 3]).toContain(done.length);
      committed += done.length / 3;
    };
    const takeOver = async () => {
      const key = newKey(first.projectId);
      const { chainId } = await register(database.pool, key);
      const runId = randomUUID();
      const opened = await openChain(database.pool, { ...key, chainId }, openerOf(runId), holder.runId, {
        plan,
      });
      if (opened.outcome === 'opened') {
        holder = { ...key, chainId, runId, ticket: opened.ticket, head: opened.head.sessionId };
      } else if (opened.outcome === 'queued') {
        // Another chain took over meanwhile: this one leaves the queue again.
        await close({ ...key, chainId, runId, ticket: opened.ticket ?? 0, head: null }, 'failed');
      }
    };
    const writer = async (index: number) => {
      for (let round = 0; round < 8; round++) {
        await sleep(Math.random() * 500);
        if (index % 8 === 0) await takeOver();
        else
          await commitOnce(holder, `step_${index}_${round}`).catch((error: unknown) =>
            expect(error).toMatchObject({ code: 'FENCED' }),
          );
      }
    };
    await Promise.all(Array.from({ length: 48 }, (_, index) => writer(index)));

    const transitions = (await listTransitions(database.pool, first.projectId, 10_000)).reverse();
    expect(transitions).toHaveLength(committed);
    expect(committed).toBeGreaterThan(0);
    transitions.forEach((transition, index) => {
      expect(transition.seq).toBe(index + 1);
      expect(transition.oldSessionId).toBe(transitions[index - 1]?.newSessionId ?? null);
    });
    expect((await readHead(database.pool, first.projectId)).sessionId).toBe(transitions.at(-1)?.newSessionId);
  });
});

describe('the constraints refuse', () => {
  const insert = (projectId: string, values: string) =>
    database.pool.query(
      `INSERT INTO session_transitions (project_id, seq, prev_seq, old_session_id, new_session_id, source)
       VALUES ('${projectId}', ${values})`,
    );
  let chain: OpenedChain;
  let head: SessionId | null;
  beforeAll(async () => {
    chain = await openNew(database.pool);
    await runStep(database.pool, chain, 'build');
    ({ head } = chain);
  });

  it.each([
    [
      'a second transition with the same number',
      `1, NULL, NULL, 'x', 'build'`,
      'session_transitions_seq_key',
    ],
    ['a second root', `5, NULL, NULL, 'x', 'build'`, 'session_transitions_one_root'],
    ['a gap', `3, 1, 'a', 'b', 'build'`, 'session_transitions_no_gap'],
    ['a link without its old session', `2, 1, NULL, 'b', 'build'`, 'session_transitions_no_gap'],
    [
      'a start elsewhere than where the last ended',
      `2, 1, 'elsewhere', 'b', 'build'`,
      'starts_where_the_last_ended',
    ],
    ['a transition that does not move', `2, 1, 'a', 'a', 'build'`, 'session_transitions_moves'],
    ['a source that is no name', `2, 1, 'a', 'b', 'Magic!'`, 'session_transitions_source'],
  ])('%s', async (_name, values, constraint) => {
    await expect(insert(chain.projectId, values)).rejects.toMatchObject({
      constraint: expect.stringContaining(constraint),
    });
  });

  it('a head that is not the last transition', async () => {
    await expect(
      database.pool.query(`UPDATE projects SET last_ai_session_id = 'x' WHERE project_id = $1`, [
        chain.projectId,
      ]),
    ).rejects.toMatchObject({ constraint: 'projects_head_is_last_transition' });
    expect(await getProjectSession(database.pool, chain.projectId)).toBe(head);
  });

  it('a second chain at work on a project', async () => {
    const key = newKey(chain.projectId);
    const { chainId } = await register(database.pool, key);
    await expect(
      database.pool.query(
        `UPDATE session_chain.chains SET status = 'running', ticket = 0, last_ticket = 0, run_id = 'second' WHERE id = $1`,
        [chainId],
      ),
    ).rejects.toMatchObject({ constraint: 'chains_one_holder' });
  });

  it('a second committed attempt of a step', async () => {
    const second = await begin(database.pool, chain, 'docs');
    if (second.outcome !== 'begun') throw new Error('unreachable');
    await expect(
      database.pool.query(
        `UPDATE session_chain.attempts SET step = 'build', attempt = 9, state = 'committed', result = '{}', ended_at = now()
         WHERE id = $1`,
        [second.attempt.attemptId],
      ),
    ).rejects.toMatchObject({ constraint: 'attempts_one_committed' });
  });

  it("and let a host's old rows be, even one that logged old = new", async () => {
    await expect(
      database.pool.query(
        `INSERT INTO session_transitions (project_id, old_session_id, new_session_id, source)
         VALUES ('old', 'a', 'a', 'metadata_generation')`,
      ),
    ).resolves.toMatchObject({ rowCount: 1 });
  });
});
