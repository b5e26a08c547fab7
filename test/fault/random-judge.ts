import type { ChainResult } from '../../contracts/chain.js';
import type { ChainKey, SessionId } from '../../contracts/ids.js';
import type { ChainDefinition } from '../../definition/definition.js';
import type { OfflineModel } from '../../dev/offline-model/server.js';
import type { Pool } from '../../storage/db/pool.js';
import { answered, loggedUsage } from '../support/project-facts.js';
import { lateWriters, writesIn } from './random-writes.js';
import { createWitness } from './witness.js';

/** A chain that has ended, with what its caller was told. */
export interface EndedChain extends ChainKey {
  workspace: string;
  result: ChainResult;
}

export interface Judgement {
  rules: { name: string; violations: string[] }[];
  /** How many chains ended how. */
  statuses: Record<string, number>;
  attempts: number;
  /** Answered turns that no transcript holds: those in flight. */
  lost: number;
  /** Lines that shells of agents wrote. */
  writes: number;
  /** Attempts whose row in the ledger says that a turn in flight is in no figure. */
  marked: number;
}

interface AttemptRow {
  step: string;
  state: string;
  sessionId: SessionId;
  adopts: SessionId | null;
  seq: number | null;
  startedAt: Date;
  inputTokens: number | null;
  outputTokens: number | null;
  cacheReadTokens: number | null;
  cacheWriteTokens: number | null;
  isMarked: boolean | null;
}

/** Looks at what is left when nothing runs any more: the database, the folders and the model's own log. */
export async function judgeChains({
  pool,
  model,
  definition,
  chains,
  orphans,
}: {
  pool: Pool;
  model: OfflineModel;
  definition: ChainDefinition;
  chains: readonly EndedChain[];
  orphans: readonly number[];
}): Promise<Judgement> {
  const ends: string[] = [];
  const paidTwice: string[] = [];
  const ledger: string[] = [];
  const late: string[] = [];
  const counts = { attempts: 0, lost: 0, writes: 0, marked: 0 };
  const statuses: Record<string, number> = {};
  for (const chain of chains) {
    const { projectId, result, workspace } = chain;
    statuses[result.status] = (statuses[result.status] ?? 0) + 1;
    const tell = (problem: string) => `${projectId} (${result.status}): ${problem}`;
    const attempts = await readAttempts(pool, projectId);
    counts.attempts += attempts.length;
    ends.push(...(await problemsOfEnd(pool, chain, attempts)).map(tell));

    for (const step of definition.steps) {
      if (step.kind === 'activity') continue;
      const turns = await createWitness({ ...chain, pool, model, step, workspace }).turns();
      counts.lost += turns.lost;
      if (turns.paidTwice > 0) paidTwice.push(tell(`${turns.paidTwice} stored turns of ${step.name}`));
    }

    for (const attempt of attempts) {
      counts.marked += attempt.isMarked ? 1 : 0;
      ledger.push(...problemsOfLedger(attempt, model).map(tell));
    }

    const writes = writesIn(workspace);
    counts.writes += writes.length;
    const begun = attempts.map(({ startedAt }) => startedAt.getTime());
    late.push(...lateWriters(writes, begun).map(tell));
  }
  return {
    ...counts,
    statuses,
    rules: [
      { name: 'every chain ends as its journal says', violations: ends },
      { name: 'no stored turn is asked for twice', violations: paidTwice },
      { name: 'the ledger is the model’s log, or says that a turn was in flight', violations: ledger },
      { name: 'nothing writes to a folder once the next attempt has begun', violations: late },
      { name: 'no process is left behind', violations: orphans.map((pid) => `process ${pid}`) },
    ],
  };
}

async function readAttempts(pool: Pool, projectId: string): Promise<AttemptRow[]> {
  const { rows } = await pool.query<AttemptRow>(
    `SELECT a.step, a.state, a.session_id AS "sessionId", a.adopts, (a.result ->> 'seq')::bigint AS seq,
       a.started_at AS "startedAt", m.input_tokens AS "inputTokens", m.output_tokens AS "outputTokens",
       m.cache_read_tokens AS "cacheReadTokens", m.cache_write_tokens AS "cacheWriteTokens",
       m.turn_in_flight_unknown AS "isMarked"
     FROM session_chain.attempts a LEFT JOIN project_ai_session_metrics m ON m.attempt_id = a.id
     WHERE a.project_id = $1 ORDER BY a.id`,
    [projectId],
  );
  return rows;
}

/** What a chain told its caller, against journal, lineage, head and version. */
async function problemsOfEnd(
  pool: Pool,
  { projectId, versionId, result }: EndedChain,
  attempts: readonly AttemptRow[],
): Promise<string[]> {
  const committed = attempts.filter(({ state }) => state === 'committed');
  const { rows: transitions } = await pool.query<{
    seq: number;
    old: string | null;
    new: string;
    step: string;
  }>(
    `SELECT seq, old_session_id AS old, new_session_id AS new, step FROM session_transitions
     WHERE project_id = $1 ORDER BY seq`,
    [projectId],
  );
  const { rows: heads } = await pool.query<{
    head: string | null;
    version: string | null;
    status: string | null;
  }>(
    `SELECT p.last_ai_session_id AS head, v.ai_session_id AS version, v.status
     FROM projects p JOIN project_versions v USING (project_id) WHERE v.version_id = $1`,
    [versionId],
  );
  const { rows: calls } = await pool.query<{ step: string; state: string }>(
    `SELECT s.step, s.state FROM session_chain.activity_steps s JOIN session_chain.chains c ON c.id = s.chain
     WHERE c.project_id = $1`,
    [projectId],
  );
  const [head] = heads;
  const newest = transitions.at(-1)?.new ?? null;
  const done = new Set([
    ...committed.map(({ step }) => step),
    ...calls.filter(({ state }) => state === 'completed').map(({ step }) => step),
  ]);
  const says = (isWell: boolean, problem: string) => (isWell ? [] : [problem]);
  return [
    ...says(
      attempts.every(({ state }) => state === 'committed' || state === 'failed'),
      'an attempt is open',
    ),
    ...says(
      transitions.every(
        ({ seq, old }, index) => seq === index + 1 && old === (transitions[index - 1]?.new ?? null),
      ),
      'the lineage breaks',
    ),
    ...says(
      JSON.stringify(committed.map(({ step, sessionId, adopts }) => [step, adopts ?? sessionId])) ===
        JSON.stringify(transitions.map((transition) => [transition.step, transition.new])),
      'the transitions are not what the journal committed',
    ),
    ...says(head?.head === newest && head?.version === newest, 'head or version is not the last transition'),
    ...says(result.head.sessionId === newest, 'its caller was told another head'),
    ...result.steps.flatMap(({ step, status }) =>
      says(
        (status === 'committed' || status === 'completed') === done.has(step),
        `its caller was told that ${step} is ${status}`,
      ),
    ),
    ...says(
      result.status !== 'completed' || result.steps.every(({ step }) => done.has(step)),
      'it is completed without all of its steps',
    ),
    ...says(
      (head?.status === 'failed') === (result.status === 'failed'),
      `the version is ${head?.status ?? 'without status'}`,
    ),
  ];
}

/** An attempt's row against the requests that name its session. */
function problemsOfLedger(attempt: AttemptRow, model: OfflineModel): string[] {
  const logged = loggedUsage(
    answered(model.requests.filter(({ sessionId }) => sessionId === attempt.sessionId)),
  );
  const pairs = [
    [attempt.inputTokens, logged.inputTokens],
    [attempt.outputTokens, logged.outputTokens],
    [attempt.cacheReadTokens, logged.cacheReadTokens],
    [attempt.cacheWriteTokens, logged.cacheWriteTokens],
  ] as const;
  const isExact = pairs.every(([counted, paid]) => (counted ?? 0) === paid);
  const isBelow = pairs.every(([counted, paid]) => (counted ?? 0) <= paid);
  if (isExact || (attempt.isMarked && isBelow)) return [];
  const figures = pairs.map(([counted, paid]) => `${counted ?? 'none'}/${paid}`).join(', ');
  return [`${attempt.step} ${attempt.sessionId}: ledger/log ${figures}${attempt.isMarked ? ', marked' : ''}`];
}
