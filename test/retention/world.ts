import { randomUUID } from 'node:crypto';
import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { ApplicationFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import type { Agent } from '../../agent/agent.js';
import { createEraseActivities } from '../../activities/erase.js';
import type { Log } from '../../activities/log.js';
import { createRestoreActivities } from '../../activities/restore.js';
import { createRetentionActivities } from '../../activities/retention.js';
import type { ArchiveStore } from '../../archive/store.js';
import type { ChainResult, CommittedStep } from '../../contracts/chain.js';
import { failureOfCode } from '../../contracts/failures.js';
import { type ProjectId, type SessionId, parseProjectId } from '../../contracts/ids.js';
import { payloadVersion } from '../../contracts/plan.js';
import type {
  RestoreOutcome,
  RestoreRequest,
  RetainedSlice,
  RetentionPolicy,
} from '../../contracts/retention.js';
import { checkDefinition } from '../../definition/check.js';
import { keepBrief } from '../../storage/chains/brief.js';
import { closeChain } from '../../storage/chains/chains.js';
import { createCheckpoint } from '../../storage/checkpoint.js';
import type { Pool } from '../../storage/db/pool.js';
import { requestErasure } from '../../storage/erasure/erasure.js';
import type { AttemptMetrics } from '../../storage/ledger/metrics.js';
import {
  type Attempt,
  beginOperation,
  commitOperation,
  endOperation,
} from '../../storage/operations/operations.js';
import { recordQuestion, startQuestion } from '../../storage/questions/questions.js';
import { createTranscriptStore } from '../../storage/transcripts/store.js';
import type { ProjectHistories } from '../../temporal/histories.js';
import { type OpenedChain, begin, newKey, noStatus, openNew, plan } from '../support/chains.js';
import { until } from '../support/until.js';

/** What works on projects without an agent: chains, questions, retention, restorations and erasures, by the real functions. */

export const policy: Omit<RetentionPolicy, 'archive'> = {
  ...{ transitionsDays: 30, transcriptsDays: 90, dropDays: 30, detailsDays: 400 },
  hostTables: false,
};

export interface World {
  pool: Pool;
  archive: ArchiveStore;
  histories: ProjectHistories;
}

/** What a project is worked on with, and what its transcripts were appended as. */
export interface Project {
  projectId: ProjectId;
  chain: (OpenedChain & { done: number }) | null;
  /** Questions without an answer, each with the attempt that works on it. */
  questions: { questionId: string; attempt: Attempt | null }[];
  /** The main transcript of each session, as JSON. */
  transcripts: Map<SessionId, string[]>;
  /** Names what is new in a transcript. */
  words: number;
}

export function newProject(name = `p-${randomUUID()}`): Project {
  return {
    projectId: parseProjectId(name),
    ...{ chain: null, questions: [], transcripts: new Map(), words: 0 },
  };
}

/** What one attempt spends; every field differs with the number. */
export function spending(n: number): AttemptMetrics {
  const usage = { inputTokens: n, outputTokens: 2 * n, cacheReadTokens: 3 * n, cacheWriteTokens: 5 };
  const costUsd = n % 7 === 6 ? null : n / 1_000_000_000;
  return {
    ...{ usage, costUsd, turns: n % 5, durationMs: n, apiDurationMs: n, agentVersion: '1.0.0' },
    byModel: {
      opus: { ...usage, costUsd },
      ...(n % 2 ? { haiku: { ...usage, inputTokens: 1, costUsd: 0.25 } } : {}),
    },
    model: 'opus',
    turnInFlightUnknown: n % 3 === 0,
  };
}

/** Appends what the session inherits from the one that it forks, then `added` entries of its own, and a subagent's. */
async function write({ pool }: World, project: Project, attempt: Attempt, added: number): Promise<void> {
  const { sessionId, baseSessionId } = attempt;
  const store = createTranscriptStore({ pool, projectId: project.projectId });
  const inherited = baseSessionId === null ? [] : copyOf(project, baseSessionId, sessionId);
  const own = Array.from({ length: added }, (_, n) => entry(project, sessionId, n));
  const batches = [inherited, own].filter((batch) => batch.length > 0);
  for (const batch of batches) await store.append({ projectKey: 'any', sessionId }, batch);
  if (added > 1) {
    const subpath = 'subagents/agent-a';
    await store.append({ projectKey: 'any', sessionId, subpath }, [entry(project, sessionId, added)]);
  }
  project.transcripts.set(
    sessionId,
    batches.flat().map((one) => JSON.stringify(one)),
  );
}

/** The transcript of a session as a fork of it has it: a copied reply says which session asked for it. */
export function copyOf(
  { transcripts }: Pick<Project, 'transcripts'>,
  from: SessionId,
  sessionId: SessionId,
): SessionStoreEntry[] {
  return (transcripts.get(from) ?? []).map((json) => {
    const entry = JSON.parse(json) as SessionStoreEntry;
    const asked =
      entry.type === 'assistant' && !('requestSessionId' in entry) ? { requestSessionId: from } : {};
    return { ...entry, sessionId, ...asked };
  });
}

/** Every other one has the words of many others, so that projects and sessions share texts. */
function entry(project: Project, sessionId: SessionId, n: number): SessionStoreEntry {
  const word = n % 2 === 0 ? `word ${project.words++}` : 'the same word';
  const from = { promptId: `prompt of ${sessionId}`, cwd: '/nowhere', sessionId };
  return n % 3 === 2
    ? { type: 'summary', summary: word, ...from }
    : {
        ...from,
        type: n % 2 === 0 ? 'user' : 'assistant',
        uuid: randomUUID(),
        message: {
          role: n % 2 === 0 ? 'user' : 'assistant',
          content: `${word} \u2028 "${'long '.repeat(n)}"`,
        },
      };
}

/** Metrics are dated back, so that spending is of several days. Their days stay when the project ages. */
async function dateBack(
  { pool }: World,
  { attemptId }: Pick<Attempt, 'attemptId'>,
  days: number,
): Promise<void> {
  await pool.query(
    `UPDATE project_ai_session_metrics SET created_at = created_at - $2 * interval '24 hours' WHERE attempt_id = $1`,
    [attemptId, days],
  );
}

export interface Step {
  fails: number;
  added: number;
  spent: number;
  brief: boolean;
  /** Whether the chain ends with it. */
  closes: boolean;
}

/** The next step of the open chain, or the first one of a new chain. It fails so many times before it is committed. */
export async function work(
  world: World,
  project: Project,
  { fails, added, spent, brief, closes }: Step,
): Promise<void> {
  const { pool } = world;
  project.chain ??= { ...(await openNew(pool, newKey(project.projectId))), done: 0 };
  const { chain } = project;
  const step = plan[chain.done]?.name ?? 'build';
  if (brief && chain.head !== null)
    await keepBrief(pool, chain.chainId, {
      headSessionId: chain.head,
      content: `What was: ${spent}`,
      parts: [],
    });
  for (let tries = 0; ; tries++) {
    const begun = await begin(pool, chain, step);
    if (begun.outcome !== 'begun') throw new Error(`The step is ${begun.outcome}.`);
    const { attempt } = begun;
    await write(world, project, attempt, added + tries);
    const metrics = spending(spent + tries);
    if (tries < fails) {
      await endOperation(pool, attempt, { failure: failureOfCode('AGENT_FAILED'), spent: metrics });
      await dateBack(world, attempt, spent % 3);
      continue;
    }
    await commitOperation<CommittedStep>(pool, {
      attempt: { ...attempt, head: { ...attempt.head, sessionId: chain.head } },
      source: step,
      newSessionId: attempt.sessionId,
      parentSessionId: attempt.baseSessionId,
      metrics,
      result: {
        ...{ outcome: 'committed', step, attemptId: attempt.attemptId, attempt: attempt.attempt },
        ...{ oldSessionId: chain.head, newSessionId: attempt.sessionId, warnings: [] },
        ...{ turns: metrics.turns, usage: metrics.usage, costUsd: metrics.costUsd, durationMs: 1 },
      },
    });
    await dateBack(world, attempt, spent % 3);
    chain.head = attempt.sessionId;
    chain.done += 1;
    break;
  }
  if (closes || chain.done === plan.length) await close(world, project);
}

/** Ends the open chain. */
export async function close({ pool }: World, project: Project): Promise<void> {
  const { chain } = project;
  if (!chain) return;
  const result = { status: 'cancelled' } as unknown as ChainResult;
  await closeChain(pool, chain, { ...chain, result, versionStatus: noStatus });
  project.chain = null;
}

/** Asks; `running` begins to answer. */
export async function ask(
  { pool }: World,
  project: Project,
  { aside, running }: { aside: boolean; running: boolean },
): Promise<void> {
  const { projectId } = project;
  const { questionId } = await recordQuestion(pool, {
    ...{
      projectId,
      chatId: `chat of ${projectId}`,
      messageId: randomUUID(),
      question: 'Why?',
      when: 'now',
      aside,
    },
  });
  const asked = { questionId, attempt: running ? await beginAnswer(pool, project, questionId) : null };
  project.questions.push(asked);
}

async function beginAnswer(pool: Pool, { projectId }: Project, questionId: string): Promise<Attempt> {
  const begun = await beginOperation(pool, {
    ...{ projectId, inputDigest: 'digest', worker: 'test', leaseMs: 0 },
    operation: {
      kind: 'outside',
      ...{ versionId: null, buildId: `chat:${questionId}`, source: 'chat_plan', sessionId: null },
    },
  });
  if (begun.outcome !== 'begun') throw new Error(`The answer is ${begun.outcome}.`);
  await startQuestion(pool, questionId, begun.attempt.head.sessionId);
  return begun.attempt;
}

/** Answers the oldest open question, which moves the head where it may. */
export async function answer(
  world: World,
  project: Project,
  { added, spent }: { added: number; spent: number },
): Promise<void> {
  const { pool } = world;
  const asked = project.questions.shift();
  if (!asked) return;
  const { questionId } = asked;
  const attempt = asked.attempt ?? (await beginAnswer(pool, project, questionId));
  await write(world, project, attempt, added);
  const { rows } = await pool.query<{ aside: boolean }>(
    'SELECT aside FROM project_chat_log_minimal WHERE question_id = $1',
    [questionId],
  );
  await commitOperation(pool, {
    ...{
      attempt,
      source: 'chat_plan',
      newSessionId: attempt.sessionId,
      parentSessionId: attempt.baseSessionId,
    },
    ...{ metrics: spending(spent), result: { newSessionId: attempt.sessionId } },
    answer: { questionId, reply: `Because ${spent}.` },
    beside: rows[0]?.aside ? 'always' : 'allowed',
  });
  await dateBack(world, attempt, spent % 3);
}

/** Everything of the project happened so many days earlier; what was spent keeps its days. */
export async function age({ pool }: World, { projectId }: Project, days: number): Promise<void> {
  const { rows } = await pool.query<{ tab: string; set: string; has_project: boolean }>(
    `SELECT c.oid::regclass::text AS tab, bool_or(p.attname IS NOT NULL) AS has_project,
       string_agg(format('%I = %I - $2 * interval ''24 hours''', a.attname, a.attname), ', ') AS set
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname IN ('public', 'session_chain')
     JOIN pg_attribute a ON a.attrelid = c.oid AND a.atttypid = 'timestamptz'::regtype AND NOT a.attisdropped
     LEFT JOIN pg_attribute p ON p.attrelid = c.oid AND p.attname = 'project_id'
     WHERE c.relkind = 'r' AND c.relname <> 'project_ai_session_metrics' AND (p.attname IS NOT NULL OR c.relname = 'briefs')
     GROUP BY 1`,
  );
  const client = await pool.connect();
  try {
    // Nothing happens: no trigger may write that something did.
    await client.query('BEGIN; SET LOCAL session_replication_role = replica');
    for (const { tab, set, has_project: hasProject } of rows) {
      const where = hasProject
        ? 'project_id = $1'
        : 'chain IN (SELECT id FROM session_chain.chains WHERE project_id = $1)';
      await client.query(`UPDATE ${tab} SET ${set} WHERE ${where}`, [projectId, days]);
    }
    await client.query('COMMIT');
  } finally {
    client.release();
  }
}

/** What an activity says of an unexpected error, of which it fails with the code alone. */
let unexpected: Error | null = null;
const keep: Log['error'] = (_event, { err } = {}) => void (unexpected = err instanceof Error ? err : null);
const log: Log = { ids: {}, info: keep, warn: keep, error: keep, with: () => log };
const quiet = { trouble: () => undefined, over: () => undefined };
const outages = { model: quiet, database: quiet };
const silent = new DefaultLogger('ERROR', () => undefined);
const meter = {
  ...{ attemptEnded: () => undefined, stepSkipped: () => undefined },
  ...{ activityEnded: () => undefined, failed: () => undefined },
};

function settingOf({ archive }: World) {
  return { policy: { ...policy, archive: archive.location }, archive, writtenBy: 'test' };
}

const heartbeatTimeoutMs = 30_000;

/** Runs an activity as a worker does, outside of Temporal. */
async function asActivity<Result>(run: () => Promise<Result>): Promise<Result> {
  const environment = new MockActivityEnvironment({ heartbeatTimeoutMs }, { logger: silent });
  try {
    return await environment.run(run);
  } catch (error) {
    if (!(error instanceof ApplicationFailure) || error.type !== 'INTERNAL') throw error;
    throw unexpected ?? error;
  }
}

/** One run of retention for the project, or what it would do. */
export async function retain(
  world: World,
  { projectId }: Project,
  { dryRun = false } = {},
): Promise<Omit<RetainedSlice, 'more'>> {
  const { retainProject } = createRetentionActivities({
    ...{ pool: world.pool, retention: settingOf(world), log, meter, outages },
    createTranscriptStore: (projectId) => createTranscriptStore({ pool: world.pool, projectId }),
  });
  const total = { transitions: 0, archivedSessions: 0, droppedSessions: 0, freedBytes: 0, details: 0 };
  for (;;) {
    const slice = await asActivity(() => retainProject({ version: payloadVersion, projectId, dryRun }));
    for (const name of Object.keys(total) as (keyof typeof total)[]) total[name] += slice[name];
    if (!slice.more) return { ...total, leftAlone: slice.leftAlone };
  }
}

export async function restore(
  world: World,
  { projectId }: Project,
  what: Pick<RestoreRequest, 'sessionId' | 'month'>,
): Promise<RestoreOutcome> {
  const activities = createRestoreActivities({
    ...{ pool: world.pool, retention: settingOf(world), log, meter, outages },
  });
  const request = { projectId, keepDays: 30, ...what };
  return await asActivity(() =>
    activities.restoreProject({ version: payloadVersion, heartbeatTimeoutMs, request }),
  );
}

/** A whole erasure, in the order of its workflow. */
export async function erase(world: World, { projectId }: Project): Promise<void> {
  const { pool } = world;
  const checkpoint = createCheckpoint(process.env['TEST_REDIS_URL'] ?? null, { log: () => undefined });
  const { definition } = checkDefinition({ steps: ['build', 'metadata', 'docs', 'compact'] });
  const activities = createEraseActivities({
    ...{
      pool,
      checkpoint,
      definition,
      retention: settingOf(world),
      log,
      meter,
      outages,
      histories: world.histories,
    },
    // No agent ran.
    agent: { sweep: async () => 0 } as unknown as Agent,
  });
  try {
    const erasureId = await requestErasure(pool, { projectId, by: 'the test' });
    const input = { version: payloadVersion, heartbeatTimeoutMs, erasureId, projectId } as const;
    const done = async (isDone: () => Promise<boolean>) => await until(() => asActivity(isDone));
    await done(async () => {
      await done(() => activities.stopWork(input));
      await done(() => activities.eraseHistories(input));
      await asActivity(() => activities.eraseArchive(input));
      await asActivity(() => activities.eraseCheckpoints(input));
      await asActivity(() => activities.eraseRunFiles(input));
      await done(() => activities.eraseRows(input));
      return await asActivity(() => activities.certify(input));
    });
  } finally {
    checkpoint.close();
  }
}
