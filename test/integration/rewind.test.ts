import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { findAgentBinary } from '../../agent/process/binary.js';
import { lineageTree } from '../../cli/lineage-tree.js';
import { createImports } from '../../client/import.js';
import { parseRecordRequest } from '../../client/record-request.js';
import { type RewindOptions, parseRewindRequest } from '../../client/rewind-request.js';
import type { StartRequest } from '../../client/start-request.js';
import type { ChainResult } from '../../contracts/chain.js';
import { type ChainKey, type SessionId, parseProjectId, parseVersionId } from '../../contracts/ids.js';
import { rewoundOperations, readPast } from '../../storage/chains/brief.js';
import { readChainState } from '../../storage/chains/chain-state.js';
import { closeChain, openChain } from '../../storage/chains/chains.js';
import { getSessionChain, listTransitions, readHead } from '../../storage/heads/heads.js';
import { readLineage } from '../../storage/heads/lineage.js';
import { validateAndRecover } from '../../storage/heads/recovery.js';
import { readSyncReport } from '../../storage/heads/sync.js';
import { migrate } from '../../storage/db/migrate.js';
import { beginOperation, commitOperation, quarantineSession } from '../../storage/operations/operations.js';
import {
  listSideBranches,
  readPast as readChatPast,
  recordQuestion,
  startQuestion,
} from '../../storage/questions/questions.js';
import { nothingSpent } from '../../storage/ledger/metrics.js';
import { questionBuildId } from '../../contracts/question.js';
import { recordSession } from '../../storage/operations/record.js';
import { type RewoundProject, rewindProject } from '../../storage/operations/rewind.js';
import { createTranscriptStore, transcriptBytes } from '../../storage/transcripts/store.js';
import { createCommandLine } from '../support/cli.js';
import { type ChainStack, longHeartbeatTimeoutMs, startChainStack } from '../support/chain-stack.js';
import {
  type OpenedChain,
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
import { uuidHost } from '../support/host-schemas.js';

/** A conversation that is taken back to an earlier head. */

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database.drop();
});

const rewind = async (
  projectId: string,
  to: number,
  more: Omit<RewindOptions, 'to'> = {},
): Promise<RewoundProject> =>
  await rewindProject(database.pool, parseRewindRequest(projectId, { to, ...more }));

const sql = async (text: string, ...values: unknown[]) =>
  (await database.pool.query<Record<string, unknown>>(text, values)).rows;

async function close(chain: OpenedChain, pool = database.pool): Promise<void> {
  const state = await readChainState(pool, chain);
  await closeChain(pool, chain, {
    ticket: chain.ticket,
    runId: chain.runId,
    result: { ...state, status: 'completed' },
    versionStatus: shippedStatus,
  });
}

/** A chain of its own version that builds, and does nothing else. */
async function build(projectId?: string): Promise<ChainKey & { sessionId: SessionId }> {
  const chain = await openNew(database.pool, newKey(projectId));
  const { newSessionId } = await runStep(database.pool, chain, 'build');
  await close(chain);
  return { ...chain, sessionId: newSessionId };
}

/** So many builds, one on the other; transitions 1 to `count`. */
async function builds(count: number) {
  const first = await build();
  const all = [first];
  while (all.length < count) all.push(await build(first.projectId));
  return { projectId: first.projectId, all, sessions: all.map(({ sessionId }) => sessionId) };
}

const entriesOf = async (projectId: string, sessionId: string) =>
  await createTranscriptStore({ pool: database.pool, projectId: parseProjectId(projectId) }).load({
    projectKey: '',
    sessionId,
  });

const unknownTo = async (projectId: string) =>
  (await rewoundOperations(database.pool, parseProjectId(projectId))).operations.map(({ seq }) => seq);

/** What a dry run, a refusal or a repetition must leave alone. */
const state = async (projectId: string) =>
  await sql(
    `SELECT p.*, (SELECT count(*) FROM session_transitions t WHERE t.project_id = p.project_id) AS transitions,
       (SELECT count(*) FROM session_chain.attempts a WHERE a.project_id = p.project_id) AS attempts,
       (SELECT count(*) FROM session_chain.sessions s WHERE s.project_id = p.project_id) AS sessions
     FROM projects p WHERE p.project_id = $1`,
    projectId,
  );

describe('a rewind', () => {
  it('makes a copy of an earlier session the head, with its transition, the newest version, journal and metrics', async () => {
    const { projectId, all, sessions } = await builds(3);
    const { storedBytes } = await transcriptBytes(database.pool, projectId);
    const rewound = await rewind(projectId, 1);
    const copy = rewound.sessionId ?? '';
    expect(rewound).toEqual({
      projectId,
      versionId: all[2]?.versionId,
      sessionId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      transitionSeq: 4,
      toSeq: 1,
      sourceSessionId: sessions[0],
      alreadyRewound: false,
      forgotten: [
        { seq: 2, source: 'build', versionId: all[1]?.versionId, createdAt: expect.any(Date) },
        { seq: 3, source: 'build', versionId: all[2]?.versionId, createdAt: expect.any(Date) },
      ],
      warnings: [expect.stringContaining('not the files')],
    });
    expect(sessions).not.toContain(copy);
    expect(await readHead(database.pool, projectId)).toEqual({ sessionId: copy, seq: 4 });
    expect((await listTransitions(database.pool, projectId, 1))[0]).toMatchObject({
      seq: 4,
      source: 'rewind',
      step: 'rewind',
      oldSessionId: sessions[2],
      newSessionId: copy,
      parentSessionId: sessions[0],
      rewoundTo: 1,
    });
    expect(await readSyncReport(database.pool, { projectId, limit: 10, redisUrl: null })).toMatchObject({
      share: 1,
      drifted: [],
    });
    expect(
      await sql(
        `SELECT a.build_id, a.step, a.state, a.base_session_id, m.outcome, m.cost_usd::float, s.sealed_at IS NOT NULL AS sealed
         FROM session_chain.attempts a JOIN project_ai_session_metrics m ON m.attempt_id = a.id
         JOIN session_chain.sessions s ON s.project_id = a.project_id AND s.session_id = a.session_id WHERE a.session_id = $1`,
        copy,
      ),
    ).toEqual([
      {
        build_id: expect.stringMatching(/^rewind:[0-9a-f-]{36}$/),
        ...{ step: 'rewind', state: 'committed', outcome: 'committed', cost_usd: 0, sealed: true },
        base_session_id: sessions[0],
      },
    ]);
    // The copy is the same entries under its own id, and shares their texts.
    expect(JSON.stringify(await entriesOf(projectId, copy))).toBe(
      JSON.stringify(await entriesOf(projectId, sessions[0] ?? '')).replaceAll(sessions[0] ?? '', copy),
    );
    const after = await transcriptBytes(database.pool, projectId);
    expect(after.storedBytes - storedBytes).toBeLessThan(600);
    // The line goes on from it.
    expect(await getSessionChain(database.pool, projectId)).toEqual([copy, sessions[0]]);
    expect((await openNew(database.pool, newKey(projectId))).head).toBe(copy);
  });

  it('copies a transcript of many appends, a fork of its own and no subagents', async () => {
    const { projectId } = newKey();
    await sql('INSERT INTO projects (project_id) VALUES ($1)', projectId);
    const store = createTranscriptStore({ pool: database.pool, projectId });
    const [sessionId, later] = [randomUUID(), randomUUID()];
    const uuids = [randomUUID(), randomUUID(), randomUUID()];
    const entry = (index: number, type: string): SessionStoreEntry => ({
      type,
      uuid: uuids[index] ?? '',
      parentUuid: index === 0 ? null : uuids[index - 1],
      sessionId,
      cwd: `/folder-${index}`,
      promptId: `prompt-${index}`,
      message: {
        role: type,
        content: `Said ${index}`,
        ...(index === 1 ? { usage: { input_tokens: 70 } } : {}),
      },
    });
    await store.append({ projectKey: '', sessionId }, [entry(0, 'user')]);
    await store.append({ projectKey: '', sessionId }, [entry(1, 'assistant'), { type: 'title', title: 'x' }]);
    await store.append({ projectKey: '', sessionId, subpath: 'subagents/agent-a' }, [entry(0, 'user')]);
    // Sent again, as after a lost answer: it counts once.
    await store.append({ projectKey: '', sessionId }, [entry(1, 'assistant'), entry(2, 'user')]);
    await recordSession(database.pool, parseRecordRequest({ projectId, sessionId, source: 'import' }));
    await storeMessage(database.pool, projectId, later);
    await recordSession(database.pool, parseRecordRequest({ projectId, sessionId: later, source: 'build' }));
    const rewound = await rewind(projectId, 1);
    const copy = rewound.sessionId ?? '';
    expect(rewound).toMatchObject({
      versionId: null,
      forgotten: [{ seq: 2, source: 'build', versionId: null }],
    });
    expect(await store.listSubkeys({ projectKey: '', sessionId: copy })).toEqual([]);
    const [original, copied] = [await entriesOf(projectId, sessionId), await entriesOf(projectId, copy)];
    expect(copied).toHaveLength(4);
    // As the first fork of it would have it: the request's session is noted on what the model said.
    expect(copied).toEqual(
      original?.map((one) => ({
        ...one,
        ...('sessionId' in one ? { sessionId: copy } : {}),
        ...(one.type === 'assistant' ? { requestSessionId: sessionId } : {}),
      })),
    );
    expect(
      await sql(
        `SELECT entries::int, messages::int, context_tokens::int, batches FROM session_chain.sessions
         WHERE project_id = $1 AND session_id = ANY ($2) ORDER BY id`,
        projectId,
        [sessionId, copy],
      ),
    ).toEqual([
      { entries: 5, messages: 4, context_tokens: 70, batches: 4 },
      { entries: 5, messages: 4, context_tokens: 70, batches: 3 },
    ]);
  });

  it('moves the version that is named, and refuses one of another project', async () => {
    const { projectId, all } = await builds(2);
    expect(await rewind(projectId, 1, { versionId: all[0]?.versionId ?? '' })).toMatchObject({
      versionId: all[0]?.versionId,
    });
    expect(await readSyncReport(database.pool, { projectId, limit: 10, redisUrl: null })).toMatchObject({
      drifted: [{ reasons: ['chain_on_older_version'] }],
    });
    const other = await build();
    await expect(rewind(projectId, 1, { versionId: other.versionId })).rejects.toMatchObject({
      code: 'VERSION_OF_ANOTHER_PROJECT',
    });
    await expect(rewind(projectId, 1, { versionId: 'none' })).rejects.toMatchObject({
      code: 'VERSION_NOT_FOUND',
    });
  });

  it('that is a dry run says the same and changes nothing', async () => {
    const { projectId } = await builds(3);
    const before = await state(projectId);
    const said = await rewind(projectId, 2, { dryRun: true, key: 'k' });
    expect(await state(projectId)).toEqual(before);
    const { sessionId, ...done } = await rewind(projectId, 2, { key: 'k' });
    expect(sessionId).not.toBeNull();
    const warnings = done.warnings.map((warning) => warning.replace('was taken back', 'would be taken back'));
    expect(said).toEqual({ ...done, warnings, sessionId: null });
  });
});

describe('a rewind that is refused changes nothing', () => {
  it.each([
    ['a transition that is not there', 99, 'has no transition 99; its transitions are 1 to 2'],
    ['the transition of the present head', 2, 'nothing came after it'],
    ['no number', 0.5, 'is no number of a transition'],
  ])('to %s', async (_what, to, message) => {
    const { projectId } = await builds(2);
    const before = await state(projectId);
    await expect(rewind(projectId, to)).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringContaining(message),
    });
    expect(await state(projectId)).toEqual(before);
  });

  it('of a project that is not there, or has no sessions', async () => {
    await expect(rewind('nowhere', 1)).rejects.toMatchObject({ code: 'PROJECT_NOT_FOUND' });
    const key = newKey();
    await register(database.pool, key);
    await expect(rewind(key.projectId, 1)).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringContaining('has no transitions yet'),
    });
  });

  it.each([
    [
      'hole',
      'DELETE FROM session_chain.transcript_batches b USING session_chain.sessions s WHERE s.id = b.session AND s.session_id = $1',
    ],
    [
      'lost',
      `WITH gone AS (DELETE FROM session_chain.transcript_batches b USING session_chain.sessions s
         WHERE s.id = b.session AND s.session_id = $1)
       UPDATE session_chain.sessions SET entries = 0, messages = 0 WHERE session_id = $1`,
    ],
    [
      'hole',
      `INSERT INTO session_chain.transcript_batches (session, ordinal, append_id, subpath, entry_ids)
       SELECT id, 99, gen_random_uuid(), '', ARRAY[1] FROM session_chain.sessions WHERE session_id = $1`,
    ],
    [
      'quarantined',
      `UPDATE session_chain.sessions SET quarantined_at = now(), quarantine_reason = 'A test' WHERE session_id = $1`,
    ],
    [
      'quarantined',
      `UPDATE session_chain.sessions SET quarantined_at = now(), quarantine_reason = 'A test', given_up_at = now() WHERE session_id = $1`,
    ],
  ])('to a session whose transcript is %s', async (reason, damage) => {
    const { projectId, sessions } = await builds(2);
    await sql(damage, sessions[0]);
    const before = await state(projectId);
    await expect(rewind(projectId, 1)).rejects.toMatchObject({
      code: 'SESSION_NOT_IN_STORE',
      message: expect.stringContaining(`(${reason})`),
    });
    expect(await state(projectId)).toEqual(before);
  });

  it('while a chain holds the project, and not while one is queued', async () => {
    const { projectId } = await builds(2);
    const holder = await openNew(database.pool, newKey(projectId));
    const queued = newKey(projectId);
    const { chainId } = await register(database.pool, queued);
    const open = async () =>
      await openChain(database.pool, { ...queued, chainId }, openerOf('run'), null, { plan });
    expect(await open()).toMatchObject({ outcome: 'queued' });
    const before = await state(projectId);
    await expect(rewind(projectId, 1)).rejects.toMatchObject({
      code: 'PROJECT_BUSY',
      message: expect.stringContaining('nothing was rewound'),
    });
    expect(await state(projectId)).toEqual(before);
    await close(holder);
    const { sessionId } = await rewind(projectId, 1);
    expect(await open()).toMatchObject({ outcome: 'opened', head: { sessionId, seq: 3 } });
  });
});

describe('a rewind with a key', () => {
  it('is done once: repeated, it returns the first result, also when the head has moved since or a chain holds', async () => {
    const { projectId } = await builds(3);
    const first = await rewind(projectId, 1, { key: 'undo' });
    const again = { ...first, alreadyRewound: true };
    expect(await rewind(projectId, 1, { key: 'undo' })).toEqual(again);
    await build(projectId);
    const chain = await openNew(database.pool, newKey(projectId));
    const before = await state(projectId);
    expect(await rewind(projectId, 1, { key: 'undo' })).toEqual(again);
    expect(await rewind(projectId, 1, { key: 'undo', dryRun: true })).toEqual(again);
    expect(await state(projectId)).toEqual(before);
    await close(chain);
    // Another project has keys of its own.
    const other = await builds(2);
    expect(await rewind(other.projectId, 1, { key: 'undo' })).toMatchObject({ alreadyRewound: false });
  });

  it('is refused for another target or version', async () => {
    const { projectId, all } = await builds(3);
    await rewind(projectId, 1, { key: 'undo' });
    const before = await state(projectId);
    await expect(rewind(projectId, 2, { key: 'undo' })).rejects.toMatchObject({ code: 'KEY_REUSED' });
    await expect(
      rewind(projectId, 1, { key: 'undo', versionId: all[0]?.versionId ?? '' }),
    ).rejects.toMatchObject({ code: 'KEY_REUSED' });
    expect(await rewind(projectId, 1, { key: 'undo', versionId: all[2]?.versionId ?? '' })).toMatchObject({
      alreadyRewound: true,
    });
    expect(await state(projectId)).toEqual(before);
  });

  it('was not done where it was refused: it may come later', async () => {
    const { projectId } = await builds(1);
    await expect(rewind(projectId, 1, { key: 'undo' })).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    await build(projectId);
    expect(await rewind(projectId, 1, { key: 'undo' })).toMatchObject({ alreadyRewound: false });
  });

  it.each(['', 'a b', 'x'.repeat(201)])('refuses the malformed key %j', async (key) => {
    await expect(rewind('shop', 1, { key })).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  });
});

describe('after rewinds', () => {
  it('any former head can be gone back to: before an earlier rewind, on the branch it left, the rewind itself', async () => {
    const { projectId, sessions } = await builds(3);
    const [s1, s2, s3] = sessions;
    const r4 = await rewind(projectId, 2);
    const b5 = await build(projectId);
    expect(await unknownTo(projectId)).toEqual([]);
    // Before the earlier rewind: what it took back is not forgotten twice.
    const r6 = await rewind(projectId, 1);
    expect(r6.forgotten.map(({ seq }) => seq)).toEqual([2, 5]);
    expect(await unknownTo(projectId)).toEqual([2, 3, 5]);
    expect(await getSessionChain(database.pool, projectId)).toEqual([r6.sessionId, s1]);
    // On the branch that the first one left.
    const r7 = await rewind(projectId, 3);
    expect(r7.forgotten).toEqual([]);
    expect(r7.warnings).toEqual([]);
    expect(await getSessionChain(database.pool, projectId)).toEqual([r7.sessionId, s3, s2, s1]);
    expect(await unknownTo(projectId)).toEqual([5]);
    // To a rewind.
    const r8 = await rewind(projectId, 4);
    expect(r8.sourceSessionId).toBe(r4.sessionId);
    expect(await getSessionChain(database.pool, projectId)).toEqual([r8.sessionId, r4.sessionId, s2, s1]);
    expect(await unknownTo(projectId)).toEqual([3, 5]);
    // To a build that was told of what the rewind before it took back.
    const r9 = await rewind(projectId, 5);
    expect(r9.forgotten).toEqual([]);
    expect(await unknownTo(projectId)).toEqual([]);
    expect(await getSessionChain(database.pool, projectId)).toEqual([
      r9.sessionId,
      b5.sessionId,
      r4.sessionId,
      s2,
      s1,
    ]);
    // Once more to the same: a copy again, and nothing forgotten.
    expect(await rewind(projectId, 5)).toMatchObject({ transitionSeq: 10, forgotten: [] });

    const lineage = await readLineage(database.pool, projectId, 100);
    expect(lineage.nodes.filter(({ kind }) => kind === 'rewound').map(({ seq }) => seq)).toEqual([
      3, 6, 7, 8, 9,
    ]);
    const drawn = lineageTree(lineage).split('\n');
    expect(drawn.every((line) => line.length <= 80)).toBe(true);
    expect(
      drawn.filter((line) => /[●○]/.test(line)).map((line) => line.replace(/ {2}[0-9a-f]{8} {2}.{16}/, '')),
    ).toEqual([
      '●  1  build        first',
      '├─ ○  6  rewind to 1',
      '●  2  build      ',
      '├─ ○  3  build      ',
      '│  └─ ○  7  rewind to 3',
      '●  4  rewind to 2',
      '├─ ○  8  rewind to 4',
      '●  5  build      ',
      '├─ ○  9  rewind to 5',
      '● 10  rewind to 5  ← head',
    ]);
  });

  it('a stretch that was taken back is drawn as one branch, with what hangs on it', async () => {
    const { projectId, sessions } = await builds(4);
    const failed = randomUUID();
    await storeMessage(database.pool, projectId, failed);
    await sql(
      'UPDATE session_chain.sessions SET parent_session_id = $2 WHERE session_id = $1',
      failed,
      sessions[1],
    );
    await rewind(projectId, 1);
    await build(projectId);
    const lines = lineageTree(await readLineage(database.pool, projectId, 100)).split('\n');
    expect(lines.map((line) => line.slice(0, 10)).filter((line) => /[●○]/.test(line))).toEqual([
      '● 1  build',
      '├─ ○ 2  bu',
      expect.stringMatching(/^│ {2}└─ ○ /),
      '│  ○ 3  bu',
      '│  ○ 4  bu',
      '● 5  rewin',
      '● 6  build',
    ]);
    // Cut to the newest heads it still holds together.
    expect(
      lineageTree(await readLineage(database.pool, projectId, 3))
        .split('\n')
        .slice(0, 2),
    ).toEqual([
      '⋮ older ones are left out',
      expect.stringMatching(/^├─ ○ [0-9a-f]{8} {2}session|^├─ ○ 4 {2}build/),
    ]);
  });

  it('recovery goes along the line, not along what was taken back', async () => {
    const { projectId, sessions } = await builds(3);
    const { sessionId } = await rewind(projectId, 2);
    for (const lost of [sessionId, sessions[1]]) {
      await quarantineSession(database.pool, projectId, lost as SessionId, 'A test said so.');
    }
    expect(await validateAndRecover(database.pool, projectId)).toMatchObject({
      outcome: 'ancestor',
      sessionId: sessions[0],
      givenUp: true,
    });
  });

  it('a context reset counts what the head comes from', async () => {
    const { projectId } = await builds(4);
    const origin = async (operations: number) => {
      const key = newKey(projectId);
      const { chainId } = await register(database.pool, key);
      const runId = randomUUID();
      const opened = await openChain(database.pool, { ...key, chainId }, openerOf(runId), null, {
        plan,
        reset: { operations, contextTokens: 0 },
      });
      if (opened.outcome !== 'opened') throw new Error(opened.outcome);
      await close({ ...key, chainId, runId, ticket: opened.ticket, head: opened.head.sessionId });
      return opened.origin;
    };
    expect(await origin(5)).toMatchObject({ kind: 'head', operations: 4 });
    await rewind(projectId, 2);
    expect(await origin(3)).toMatchObject({ kind: 'head', operations: 2 });
    await build(projectId);
    expect(await origin(3)).toMatchObject({ kind: 'context_reset', operations: 3 });
  });

  it('a brief takes nothing from what was taken back', async () => {
    const first = newKey();
    const { projectId } = first;
    const done: ChainKey[] = [];
    for (const [index, key] of [first, newKey(projectId)].entries()) {
      const chain = await openNew(database.pool, key);
      await sql(
        'UPDATE session_chain.chains SET instruction = $2 WHERE id = $1',
        chain.chainId,
        `Ask ${index}`,
      );
      await runStep(database.pool, chain, 'build');
      const submitted = await runStep(database.pool, chain, 'metadata');
      await sql(
        `UPDATE session_chain.attempts SET value = '{}' WHERE session_id = $1`,
        submitted.newSessionId,
      );
      await sql('UPDATE project_versions SET ai_metadata = $2 WHERE version_id = $1', key.versionId, {
        index,
      });
      await close(chain);
      done.push(key);
    }
    const next = await openNew(database.pool, newKey(projectId));
    await close(next);
    const past = async () => {
      const { metadata, requests, operations } = await readPast(database.pool, projectId, next.chainId);
      return [
        metadata?.versionId,
        requests.map(({ instruction }) => instruction),
        operations.map(({ seq }) => seq),
      ];
    };
    expect(await past()).toEqual([done[1]?.versionId, ['Ask 0', 'Ask 1'], [1, 2, 3, 4]]);
    await rewind(projectId, 3);
    expect(await past()).toEqual([done[0]?.versionId, ['Ask 0', 'Ask 1'], [1, 2, 3, 5]]);
    await rewind(projectId, 2);
    expect(await past()).toEqual([done[0]?.versionId, ['Ask 0'], [1, 2, 6]]);
  });

  it('what was asked beside a head that was taken back is not told, and what a build was told that was taken back is told again', async () => {
    const { projectId } = await build();
    const question = { projectId, chatId: projectId, when: 'now' } as const;
    const ask = async (text: string, beside: 'allowed' | 'always') => {
      const { questionId } = await recordQuestion(database.pool, {
        ...{ ...question, messageId: text, question: text, workspace: '/nowhere' },
      });
      const begun = await beginOperation(database.pool, {
        ...{ projectId, inputDigest: 'digest', worker: 'test', leaseMs: 0 },
        operation: {
          kind: 'outside',
          ...{ versionId: null, buildId: questionBuildId(questionId), source: 'chat_plan', sessionId: null },
        },
      });
      if (begun.outcome !== 'begun') throw new Error(begun.outcome);
      const { attempt } = begun;
      await startQuestion(database.pool, questionId, attempt.head.sessionId);
      await storeMessage(database.pool, projectId, attempt.sessionId);
      await commitOperation(database.pool, {
        ...{ attempt, source: 'chat_plan', newSessionId: attempt.sessionId, metrics: nothingSpent, beside },
        ...{ parentSessionId: attempt.baseSessionId, result: {}, answer: { questionId, reply: 'Well.' } },
      });
    };
    await ask('A', 'always');
    await build(projectId);
    await ask('B', 'always');
    await ask('C', 'allowed');
    await ask('D', 'always');
    const told = async () =>
      (await listSideBranches(database.pool, projectId)).map(({ question: asked }) => asked);
    const next = await recordQuestion(database.pool, {
      ...{ ...question, messageId: 'E', question: 'E', workspace: '/nowhere' },
    });
    const toldInChat = async () =>
      (await readChatPast(database.pool, next)).unknownToHead.map(({ question: asked }) => asked);
    expect([await told(), await toldInChat()]).toEqual([['D'], ['D']]);
    await rewind(projectId, 2);
    expect([await told(), await toldInChat()]).toEqual([['B'], ['A', 'B']]);
    await rewind(projectId, 1);
    expect([await told(), await toldInChat()]).toEqual([['A'], ['A']]);
    await rewind(projectId, 3);
    expect([await told(), await toldInChat()]).toEqual([['D'], ['D']]);
  });

  it('a head that was moved or cleared outside is kept in the lineage, and the rewind goes through', async () => {
    const own = await createTestDatabase();
    try {
      await own.pool.query('ALTER TABLE projects DROP CONSTRAINT projects_head_is_last_transition');
      const move = async (head: string | null) =>
        await own.pool.query('UPDATE projects SET last_ai_session_id = $2 WHERE project_id = $1', [
          projectId,
          head,
        ]);
      const chain = await openNew(own.pool);
      const { projectId } = chain;
      const [one] = [await runStep(own.pool, chain, 'build'), await runStep(own.pool, chain, 'docs')];
      await close(chain, own.pool);
      const back = async (to: number, dryRun = false) =>
        await rewindProject(own.pool, parseRewindRequest(projectId, { to, dryRun }));
      await move('outside');
      expect(await back(2, true)).toMatchObject({
        transitionSeq: 4,
        forgotten: [{ seq: 3, source: 'import' }],
      });
      expect(await back(2)).toMatchObject({
        transitionSeq: 4,
        warnings: [expect.stringContaining('outside'), expect.stringContaining('not the files')],
      });
      await move(null);
      expect(await back(4)).toMatchObject({ transitionSeq: 5, toSeq: 4, forgotten: [] });
      await move(null);
      expect(await back(1)).toMatchObject({ transitionSeq: 6, sourceSessionId: one?.newSessionId });
      // The host's old writer goes back by itself: a session that is a head for the second time.
      await move(one?.newSessionId ?? '');
      expect(await back(6)).toMatchObject({ transitionSeq: 8, forgotten: [{ seq: 7, source: 'import' }] });
      const lineage = await readLineage(own.pool, projectId, 100);
      expect(lineageTree(lineage).match(/[●○]/g)).toHaveLength(lineage.nodes.length);
    } finally {
      await own.drop();
    }
  });

  it('works where ids are uuids', async () => {
    const own = await createTestDatabase({ empty: true });
    try {
      await own.pool.query(uuidHost.sql);
      await migrate(own.url);
      const key = {
        projectId: parseProjectId(uuidHost.projectId),
        versionId: parseVersionId(uuidHost.versionId),
      };
      const chain = await openNew(own.pool, { ...newKey(uuidHost.projectId), ...key });
      await runStep(own.pool, chain, 'build');
      await runStep(own.pool, chain, 'docs');
      await close(chain, own.pool);
      const { sessionId } = await rewindProject(own.pool, parseRewindRequest(key.projectId, { to: 1 }));
      expect((await readHead(own.pool, key.projectId)).sessionId).toBe(sessionId);
      expect((await rewoundOperations(own.pool, key.projectId)).operations).toMatchObject([{ seq: 2 }]);
      expect((await readLineage(own.pool, key.projectId, 10)).nodes.map(({ kind }) => kind)).toContain(
        'rewound',
      );
      expect(
        (await readPast(own.pool, key.projectId, chain.chainId)).operations.map(({ seq }) => seq),
      ).toEqual([1, 3]);
    } finally {
      await own.drop();
    }
  });
});

describe('at the same moment', () => {
  const settled = async <Value>(calls: Promise<Value>[]) =>
    (await Promise.allSettled(calls)).map((one) =>
      one.status === 'fulfilled' ? one.value : (one.reason as { code?: string }).code,
    );

  it('the same key rewinds once, other keys one after the other', async () => {
    const { projectId } = await builds(3);
    const same = await Promise.all(
      Array.from({ length: 8 }, async () => await rewind(projectId, 1, { key: 'k' })),
    );
    expect(new Set(same.map(({ sessionId }) => sessionId)).size).toBe(1);
    expect(same.filter(({ alreadyRewound }) => !alreadyRewound)).toHaveLength(1);
    const keys = Array.from({ length: 8 }, (_, index) => index);
    const others = await Promise.all(
      keys.map(async (index) => await rewind(projectId, (index % 3) + 1, { key: `k${index}` })),
    );
    expect(others.map(({ transitionSeq }) => transitionSeq).sort((one, other) => one - other)).toEqual(
      keys.map((index) => index + 5),
    );
    expect((await readHead(database.pool, projectId)).seq).toBe(12);
  });

  it('a start, recordings and rewinds leave one line, in which each one is there once or was refused', async () => {
    const { projectId } = await builds(2);
    const recordings = Array.from({ length: 4 }, () => randomUUID());
    for (const sessionId of recordings) await storeMessage(database.pool, projectId, sessionId);
    const outcomes = await settled<unknown>([
      ...[1, 2, 1, 2].map(async (to) => await rewind(projectId, to)),
      openNew(database.pool, newKey(projectId)),
      ...recordings.map(
        async (sessionId) =>
          await recordSession(database.pool, parseRecordRequest({ projectId, sessionId, source: 'build' })),
      ),
    ]);
    const moved = outcomes.filter(
      (one) => typeof one === 'object' && one !== null && !('ticket' in one),
    ).length;
    expect(outcomes.filter((one) => typeof one === 'string')).toEqual(
      outcomes.filter((one) => one === 'PROJECT_BUSY' || one === 'INVALID_INPUT'),
    );
    expect((await readHead(database.pool, projectId)).seq).toBe(2 + moved);
    expect(await readSyncReport(database.pool, { projectId, limit: 1, redisUrl: null })).toMatchObject({
      drifted: [],
    });
  });

  it('a connection that dies between the copy and the commit leaves nothing of it', async () => {
    const { projectId } = await builds(2);
    const before = await state(projectId);
    await sql(`CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$`);
    await sql(`CREATE TRIGGER die BEFORE INSERT ON session_transitions FOR EACH ROW
      WHEN (NEW.project_id = '${projectId}') EXECUTE FUNCTION die()`);
    await expect(rewind(projectId, 1, { key: 'k' })).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    await sql('DROP TRIGGER die ON session_transitions');
    expect(await state(projectId)).toEqual(before);
    expect(await rewind(projectId, 1, { key: 'k' })).toMatchObject({
      alreadyRewound: false,
      transitionSeq: 3,
    });
  });
});

describe('with Claude Code', () => {
  let stack: ChainStack;
  beforeAll(async () => {
    stack = await startChainStack('rewind', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
    await stack.startWorker();
  });
  afterAll(async () => {
    await stack.stop();
  });

  const run = async (request: StartRequest): Promise<ChainResult> =>
    await stack.sessionChain.wait(await stack.sessionChain.start(request));
  const requestOf = (sessionId: string | null | undefined) => {
    const request = stack.model.requests.find((one) => one.sessionId === sessionId);
    if (!request) throw new Error(`The model was not asked for ${sessionId ?? 'none'}.`);
    return request;
  };
  /** What the model read of a request, without the breakpoints of the cache and the project's own paths. */
  const messagesOf = (bodyText: string) =>
    JSON.parse(
      JSON.stringify((JSON.parse(bodyText) as { messages: unknown[] }).messages),
      (name, value: unknown) => (name === 'cache_control' ? undefined : value),
    ) as { role: string; content: unknown }[];

  it('the next build knows the conversation up to the target, and is told what it does not know', async () => {
    const root = await run({ ...stack.request(), instruction: 'A shop for paper boats' });
    const { projectId } = root;
    expect(root.steps.map(({ status }) => status)).toEqual(Array(4).fill('committed'));
    const forgotten = await run({
      ...stack.request(projectId),
      steps: ['build', 'docs'],
      instruction: 'Sell submarines as well',
    });
    // Its head is a compacted session.
    const rewound = await stack.sessionChain.rewind(projectId, { to: 4, key: 'no-submarines' });
    expect(rewound.forgotten.map(({ seq, source }) => [seq, source])).toEqual([
      [5, 'build'],
      [6, 'docs'],
    ]);

    // A question is told as well, beside or on the line; it uses nothing up.
    const answer = await stack.sessionChain.ask({ projectId, text: 'What do we sell?' });
    expect(answer.kind).toBe('transition');
    expect(requestOf(answer.sessionId).bodyText).toContain('taken back on purpose');

    const onlyRewound = await stack.sessionChain.rewind(projectId, { to: 7 });
    const next = await run({
      ...stack.request(projectId),
      steps: ['build'],
      instruction: 'Sell kites as well',
    });
    expect(next).toMatchObject({ status: 'completed', baseSessionId: onlyRewound.sessionId });
    const [wouldBe, is] = [forgotten.steps[0], next.steps[0]].map((step) =>
      messagesOf(requestOf(step?.newSessionId).bodyText),
    );
    // Two forks of the same session differ in what is asked last.
    const before = (messages: typeof is, said: string) =>
      messages?.slice(
        0,
        messages.findIndex(({ content }) => JSON.stringify(content).includes(said)),
      );
    expect(before(is, 'Sell kites')).toEqual(before(wouldBe, 'Sell submarines'));
    expect(before(is, 'Sell kites')?.length).toBeGreaterThan(0);
    const prompt = JSON.stringify(is);
    expect(prompt).toContain('Sell kites');
    expect(prompt).not.toContain('submarines');
    expect(prompt).toContain('Only the conversation was taken back, not the files');
    expect(prompt).toContain(`- 5: build of version ${forgotten.versionId}`);
    expect(prompt).toContain(`- 6: docs of version ${forgotten.versionId}`);
    expect(prompt).toContain('- 8: chat_plan');

    // Told once.
    const after = await run({ ...stack.request(projectId), steps: ['build'], instruction: 'And lamps' });
    const last = messagesOf(requestOf(after.steps[0]?.newSessionId).bodyText).at(-1);
    expect(JSON.stringify(last)).toContain('And lamps');
    expect(JSON.stringify(last)).not.toContain('taken back on purpose');

    // What Claude Code forks from the copy holds the same entries as what it forked from the target itself.
    const store = createTranscriptStore({ pool: stack.database.pool, projectId: parseProjectId(projectId) });
    const load = async (sessionId: string | null | undefined) =>
      (await store.load({ projectKey: '', sessionId: sessionId ?? '' })) ?? [];
    const known = new Set((await load(rewound.sourceSessionId)).map(({ uuid }) => uuid));
    const inherited = (entries: SessionStoreEntry[]) =>
      entries
        .filter(({ uuid }) => uuid !== undefined && known.has(uuid))
        .map(({ sessionId: _, promptId: __, ...rest }) => rest);
    const [ofTarget, ofCopy] = [
      await load(forgotten.steps[0]?.newSessionId),
      await load(next.steps[0]?.newSessionId),
    ];
    expect(inherited(ofTarget).length).toBeGreaterThan(3);
    expect(inherited(ofCopy)).toEqual(inherited(ofTarget));

    // An exported copy is resumed by a plain Claude Code.
    const claudeDir = join(stack.root, 'claude');
    const cwd = join(stack.root, 'resumed');
    mkdirSync(cwd, { recursive: true });
    const sessionId = rewound.sessionId ?? '';
    await createImports(stack.database.pool).exportSession({ sessionId, projectId, claudeDir, cwd });
    const asked = stack.model.requests.length;
    const claude = spawn(await findAgentBinary(), ['-p', 'And now?', '--resume', sessionId], {
      cwd,
      env: {
        PATH: process.env['PATH'],
        HOME: join(stack.root, 'home'),
        CLAUDE_CONFIG_DIR: claudeDir,
        ANTHROPIC_BASE_URL: stack.model.url,
        ANTHROPIC_API_KEY: 'test-credential',
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
        DISABLE_AUTOUPDATER: '1',
      },
      stdio: 'ignore',
    });
    expect(await once(claude, 'close')).toEqual([0, null]);
    const resumed = stack.model.requests.slice(asked).find(({ bodyText }) => bodyText.includes('And now?'));
    expect(resumed?.bodyText).toContain('paper boats');
    expect(resumed?.bodyText).not.toContain('submarines');
  });

  it('the command says what is forgotten and that files stay, and the tree shows it', async () => {
    const request = stack.request();
    const first = await run({ ...request, steps: ['build'] });
    const { projectId } = first;
    const second = await run({ ...stack.request(projectId), steps: ['build'] });
    const commandLine = createCommandLine();
    const environment = { PATH: process.env['PATH'], DATABASE_URL: stack.database.url };
    const cli = async (...args: string[]) => {
      const ended = await commandLine.run(args, environment);
      if (ended.code !== 0) throw Object.assign(new Error(ended.stderr), ended);
      return ended;
    };
    const dry = await cli('rewind', '--project', projectId, '--to', '1', '--dry-run');
    expect(dry.stdout).toMatch(/^rewound +not yet: a dry run$/m);
    expect(dry.stdout).toMatch(
      new RegExp(`^forgotten +source +version +at\n +2 {2}build +${second.versionId} +.{19}Z$`, 'm'),
    );
    expect(dry.stderr).toMatch(/^warning: Only the conversation would be taken back, not the files/);
    expect(await stack.sessionChain.head(projectId)).toEqual({ sessionId: second.head.sessionId, seq: 2 });
    const done = await cli('rewind', '-p', projectId, '--to', '1', '--key', 'k', '-o', 'json');
    expect(JSON.parse(done.stdout)).toMatchObject({
      transitionSeq: 3,
      sourceSessionId: first.head.sessionId,
    });
    expect((await cli('rewind', '-p', projectId, '--to', '1', '--key', 'k')).stdout).toMatch(
      /^rewound +before; /m,
    );
    await expect(cli('rewind', '-p', projectId, '--to', '9')).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining('its transitions are 1 to 3'),
    });
    await expect(cli('rewind', '-p', projectId, '--to', '2', '--key', 'k')).rejects.toMatchObject({
      code: 4,
    });
    expect((await cli('tree', '-p', projectId)).stdout.trim().split('\n')).toEqual([
      first.versionId,
      expect.stringMatching(/^● 1 {2}build .* first$/),
      expect.stringMatching(/^├─ ○ 2 {2}build /),
      second.versionId,
      expect.stringMatching(/^● 3 {2}rewind to 1 .* ← head$/),
    ]);
    commandLine.stop();
  });
});
