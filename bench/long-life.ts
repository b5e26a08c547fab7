import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SessionChain } from '../client/session-chain.js';
import type { ChainResult } from '../contracts/chain.js';
import { type ProjectId, type SessionId, parseProjectId } from '../contracts/ids.js';
import type { OfflineModel } from '../dev/offline-model/server.js';
import { type Pool, queryRows } from '../storage/db/pool.js';
import { transcriptBytes } from '../storage/transcripts/store.js';
import { brokenGuarantees } from './guarantees.js';
import { type Operation, lifePlot } from './life-plot.js';
import { type Row, row } from './report.js';
import type { BenchStack } from './stack.js';

/** A project that is worked on for a long time: what it costs must not grow with its age, and every guarantee holds. */

export interface LifeHost {
  pool: Pool;
  sessionChain: SessionChain;
  model: OfflineModel;
  /** Workspaces are below it. */
  folder: string;
}

export interface LifePlan {
  projectId: string;
  /** Moves of the head; the life ends with the chain or the chat that reaches them. */
  operations: number;
  /** Moves after which a build starts a fresh session. */
  resetAfter: number;
  /** Moves after which the transcript of the head is deleted, once. */
  loseAt: number;
  /** Moves after which an older writer moves the head by a plain UPDATE, once. */
  writeAt: number;
}

export interface Life {
  projectId: ProjectId;
  operations: Operation[];
  /** Answers that stayed beside the line of heads. */
  sideBranches: number;
  /** Violations of guarantees. */
  broken: string[];
}

/**
 * Updates a project again and again, each time a chain of four steps and a question about it; every third question is
 * asked while the chain works. On the way a transcript is lost and the head is moved outside. The database must allow
 * the latter, as a host's does.
 */
export async function liveLong(host: LifeHost, plan: LifePlan, say: (line: string) => void): Promise<Life> {
  const projectId = parseProjectId(plan.projectId);
  const workspace = join(host.folder, plan.projectId);
  mkdirSync(workspace, { recursive: true });
  const { pool, sessionChain, model } = host;
  const [lost, written]: [SessionId[], SessionId[]] = [[], []];
  const bytesOf = new Map<number, number>();
  const broken: string[] = [];
  let [seq, sideBranches, storedBytes] = [0, 0, 0];

  /** Records what the last chain or chat has left. */
  const look = async () => {
    const head = await sessionChain.head(projectId);
    const now = head.seq ?? 0;
    if (now < seq) broken.push(`G6: a reader saw ${now} after ${seq}`);
    const bytes = (await transcriptBytes(pool, projectId)).storedBytes;
    for (let number = seq + 1; number <= now; number++)
      bytesOf.set(number, (bytes - storedBytes) / (now - seq));
    [seq, storedBytes] = [now, bytes];
  };

  for (let round = 1; seq < plan.operations; round++) {
    const head = (await sessionChain.head(projectId).catch(() => null))?.sessionId ?? null;
    if (head !== null && lost.length === 0 && seq >= plan.loseAt) {
      lost.push(head);
      await loseTranscript(pool, projectId, head);
    } else if (head !== null && written.length === 0 && seq >= plan.writeAt) {
      written.push('written-by-an-older-program' as SessionId);
      await pool.query('UPDATE projects SET last_ai_session_id = $2 WHERE project_id = $1', [
        projectId,
        written[0],
      ]);
    }
    keepPageSmall(join(workspace, 'index.html'));
    const isBeside = round % 3 === 0;
    const held = isBeside ? model.holdNext(({ step }) => step === 'docs') : null;
    const chain = await sessionChain.start({
      projectId,
      versionId: `${projectId}-${round}`,
      workspace,
      createRows: true,
      recover: written.length > 0,
      reset: { operations: plan.resetAfter },
      compactThresholdTokens: 0,
    });
    const ask = async () =>
      await sessionChain.ask({ projectId, messageId: `question-${round}`, text: 'What would you do next?' });
    if (held) {
      await held.reached;
      if ((await ask()).kind === 'side_branch') sideBranches += 1;
      held.release();
    }
    const result = await sessionChain.wait(chain);
    broken.push(...unexpected(result, seq, lost, written));
    await look();
    if (!held) {
      if ((await ask()).kind !== 'transition')
        broken.push(`the question of round ${round} did not move the head`);
      await look();
    }
    say(`${seq} of ${plan.operations} operations`);
  }
  broken.push(
    ...(await brokenGuarantees(pool, projectId, { lost, written, resetAfter: plan.resetAfter })),
    ...(await wrongLedger(pool, projectId, model)),
  );
  return { projectId, operations: await readOperations(pool, projectId, bytesOf), sideBranches, broken };
}

const featuresOfThePage = 3;

/**
 * Every update adds a feature to the page, and a larger project costs more. Only the effect of age is to be measured,
 * so the oldest features are removed again.
 */
function keepPageSmall(page: string): void {
  if (!existsSync(page)) return;
  const html = readFileSync(page, 'utf8');
  const features = html.match(/ *<section class="feature"[\s\S]*?<\/section>\n/g) ?? [];
  const old = features.slice(0, Math.max(features.length - featuresOfThePage, 0));
  if (old.length > 0)
    writeFileSync(
      page,
      old.reduce((shorter, feature) => shorter.replace(feature, ''), html),
    );
}

/** A chain completes, with a warning if it had to recover, and only then. */
function unexpected(
  result: ChainResult,
  seqBefore: number,
  lost: SessionId[],
  written: SessionId[],
): string[] {
  const { status, warnings, origin, buildId } = result;
  const head = origin?.headSessionId ?? null;
  const mustRecover = head !== null && (lost.includes(head) || written.includes(head));
  const expected = mustRecover ? 'completed_with_warnings' : 'completed';
  return [
    ...(status === expected
      ? []
      : [`the chain ${buildId} after ${seqBefore} ended as ${status}: ${warnings.join(' ')}`]),
    ...((origin?.kind === 'recovery') === mustRecover
      ? []
      : [`the chain ${buildId} goes on as ${origin?.kind ?? 'ever'}`]),
  ];
}

async function loseTranscript(pool: Pool, projectId: ProjectId, sessionId: SessionId): Promise<void> {
  await pool.query(
    `DELETE FROM session_chain.transcript_batches b USING session_chain.sessions s
     WHERE s.id = b.session AND s.project_id = $1 AND s.session_id = $2`,
    [projectId, sessionId],
  );
}

/** The ledger adds up to what the model answered, token by token. */
async function wrongLedger(pool: Pool, projectId: ProjectId, model: OfflineModel): Promise<string[]> {
  const attempts = await queryRows<{ sessionId: string }>(pool, {
    text: `SELECT session_id AS "sessionId" FROM session_chain.attempts WHERE project_id = $1`,
    values: [projectId],
  });
  const own = new Set<string | undefined>(attempts.map(({ sessionId }) => sessionId));
  const answered = model.requests
    .filter(({ sessionId }) => own.has(sessionId))
    .reduce(
      (sum, { usage }) =>
        sum +
        (usage?.input_tokens ?? 0) +
        (usage?.output_tokens ?? 0) +
        (usage?.cache_read_input_tokens ?? 0) +
        (usage?.cache_creation_input_tokens ?? 0),
      0,
    );
  const [ledger] = await queryRows<{ tokens: number }>(pool, {
    text: `SELECT sum(input_tokens + output_tokens + cache_read_tokens + cache_write_tokens)::bigint AS tokens
           FROM project_ai_session_metrics WHERE project_id = $1`,
    values: [projectId],
  });
  return ledger?.tokens === answered
    ? []
    : [`G10: the ledger has ${ledger?.tokens ?? 0} tokens, the model answered ${answered}`];
}

async function readOperations(
  pool: Pool,
  projectId: ProjectId,
  bytesOf: ReadonlyMap<number, number>,
): Promise<Operation[]> {
  const rows = await queryRows<{ seq: number; source: string; tokens: number | null; costUsd: number }>(
    pool,
    {
      text: `SELECT t.seq, t.source, s.context_tokens AS tokens,
             coalesce((SELECT sum(m.cost_usd) FROM project_ai_session_metrics m WHERE m.attempt_id = t.attempt_id), 0)::float
               AS "costUsd"
           FROM session_transitions t
             LEFT JOIN session_chain.sessions s ON s.project_id = $1 AND s.session_id = t.new_session_id
           WHERE t.project_id = $1 AND t.seq IS NOT NULL ORDER BY t.seq`,
      values: [projectId],
    },
  );
  return rows.map(({ seq, source, tokens, costUsd }) => ({
    seq,
    source,
    costUsd,
    contextTokens: tokens || null,
    storedBytes: bytesOf.get(seq) ?? 0,
  }));
}

/** Two hundred operations on one project; writes a plot of them. */
export async function measureLongLife(
  stack: BenchStack,
  plotFile: string,
  say: (line: string) => void,
  operations = 200,
): Promise<Row[]> {
  // As on a host's database, where older writers may move a head.
  await stack.pool.query('ALTER TABLE projects DROP CONSTRAINT IF EXISTS projects_head_is_last_transition');
  const life = await liveLong(
    stack,
    {
      projectId: 'long-life',
      operations,
      resetAfter: 20,
      loseAt: Math.floor(operations * 0.4),
      writeAt: Math.floor(operations * 0.7),
    },
    say,
  );
  writeFileSync(plotFile, lifePlot(life.operations));
  say(`The plot is in ${plotFile}.`);
  for (const problem of life.broken) say(`BROKEN: ${problem}`);
  return rowsOf(life);
}

const part = 'long life';

function rowsOf({ operations, broken, sideBranches }: Life): Row[] {
  return [
    row({
      part,
      name: `broken guarantees in ${operations.length} operations and ${sideBranches} side branches`,
      unit: 'x',
      values: [broken.length],
      goal: { text: '0', met: (value) => value === 0 },
    }),
    halves('stored per operation', 'kB', operations, ({ storedBytes }) => storedBytes / 1_000),
    halves('context per operation', 'kTok', operations, ({ contextTokens }) =>
      contextTokens === null ? null : contextTokens / 1_000,
    ),
    halves('cost per operation', 'ct', operations, ({ costUsd }) => 100 * costUsd),
  ];
}

/** The later half of a life compared with the earlier one. */
function halves(
  name: string,
  unit: 'kB' | 'kTok' | 'ct',
  operations: readonly Operation[],
  of: (operation: Operation) => number | null,
): Row {
  const averages = [operations.slice(0, operations.length / 2), operations.slice(operations.length / 2)].map(
    (half) => mean(half.flatMap((operation) => of(operation) ?? [])),
  );
  return row({
    part,
    name: `${name}, later half`,
    unit,
    values: [averages[1] ?? 0],
    peer: { name: 'earlier half', values: [averages[0] ?? 0] },
    goal: { text: '<= 1.2 x', met: (ratio) => ratio <= 1.2 },
  });
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(values.length, 1);
}
