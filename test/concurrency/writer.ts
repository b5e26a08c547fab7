import { randomUUID } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SessionChainError } from '../../contracts/failures.js';
import {
  type ChainKey,
  type ProjectId,
  type SessionId,
  parseBuildId,
  parseProjectId,
  parseVersionId,
} from '../../contracts/ids.js';
import {
  type OpenOutcome,
  type PlannedStep,
  closeChain,
  openChain,
  registerChain,
  releaseChain,
} from '../../storage/chains/chains.js';
import { readHead } from '../../storage/heads/heads.js';
import { nothingSpent } from '../../storage/ledger/metrics.js';
import {
  type Attempt,
  type Begun,
  type OperationCommit,
  beginOperation,
  commitOperation,
} from '../../storage/operations/operations.js';
import { rewindProject } from '../../storage/operations/rewind.js';
import { createPool } from '../../storage/db/pool.js';
import { createTranscriptStore } from '../../storage/transcripts/store.js';
import { chainWorkflowId } from '../../temporal/names.js';
import { type Answer, type Call, createRecorder } from './history.js';
import { rushedProject, untilNextRushMs } from './rush.js';

/** A process that works on a few projects as workers and their callers do, and writes down what it is told. */
export interface WriterOptions {
  /** Of the history file; no other process has it. */
  name: string;
  databaseUrl: string;
  /** Holds the histories, and `gone/`: a file for every run, or life of a writer, that counts as closed. */
  folder: string;
  projects: string[];
  /** Callers at once. */
  clients: number;
  /** Operations to record before it ends. */
  operations: number;
  statementTimeoutMs?: number;
}

const options = JSON.parse(process.argv[2] ?? '') as WriterOptions;
const url = new URL(options.databaseUrl);
if (options.statementTimeoutMs)
  url.searchParams.set('options', `-c statement_timeout=${options.statementTimeoutMs}`);
const pool = createPool(url.href, { applicationName: 'concurrency writer', max: options.clients + 2 });
const recorder = createRecorder(options.folder, options.name);
const hasMore = () => recorder.count() < options.operations;

const plan: PlannedStep[] = [
  { name: 'build', kind: 'work', role: 'build' },
  { name: 'metadata', kind: 'submission' },
  { name: 'docs', kind: 'work' },
  { name: 'compact', kind: 'compaction' },
];

/** What the journal keeps of a committed attempt; a session beside the lineage has no number. */
interface Stored {
  newSessionId: SessionId;
  seq?: number;
}

/** Runs carry the name of a life: to declare the writer gone is to declare that life gone, with all of its runs. */
let life = '';
let lives = 0;
beginLife();
await Promise.all(Array.from({ length: options.clients }, (_, index) => work(`${options.name}.${index}`)));
recorder.close();
await pool.end();

async function work(client: string): Promise<void> {
  while (hasMore()) {
    const { projects } = options;
    const project = parseProjectId(Math.random() < 0.7 ? rushedProject(projects) : oneOf(projects));
    await withChance([
      [0.2, () => read(client, project)],
      // Most chains of that project are over: a held project cannot be rewound.
      [0.1, () => rewind(client, parseProjectId(rushedProject(projects, projects.length / 2)))],
      [0.2, () => workOutside(client, project)],
      [0.3, () => workOnChain(client, project)],
      // All ask for the next project at once, which perhaps no chain holds yet.
      [0.2, () => workOnChain(client, parseProjectId(rushedProject(projects, 1)), untilNextRushMs())],
    ]);
  }
}

function beginLife(): void {
  life = `${options.name}/${++lives}`;
  writeFileSync(join(options.folder, `${options.name}.life`), life);
}

function isGone(runOrLife: string): boolean {
  return existsSync(join(options.folder, 'gone', encodeURIComponent(runOrLife)));
}

function isGoneRun(runId: string): boolean {
  return isGone(runId) || isGone(runId.split('#')[0] ?? '');
}

function declareGone(runId: string): void {
  writeFileSync(join(options.folder, 'gone', encodeURIComponent(runId)), '');
}

async function read(client: string, project: ProjectId): Promise<void> {
  await told(client, project, { kind: 'read' }, async () => ({
    outcome: 'read',
    head: await readHead(pool, project),
  }));
}

/** An operation outside a chain, a record or a question, which may stay beside; some are delivered twice. */
async function workOutside(client: string, project: ProjectId): Promise<void> {
  const isQuestion = Math.random() < 0.5;
  const buildId = `${isQuestion ? 'chat' : 'record'}:${randomUUID()}`;
  const sessionId = randomUUID() as SessionId;
  for (let tries = 0; tries < 3; tries++) {
    let attempt: Attempt | undefined;
    const begun = await told(client, project, { kind: 'begin_outside', chain: buildId }, async () => {
      const answer = await beginOperation<Stored>(pool, {
        projectId: project,
        inputDigest: 'digest',
        worker: client,
        leaseMs: 0,
        operation: {
          kind: 'outside',
          versionId: null,
          buildId,
          source: 'chat_plan',
          // A repeated operation has a session of its own: the earlier one belongs to the attempt whose answer was lost.
          sessionId: tries === 0 ? sessionId : null,
        },
      });
      if (answer.outcome !== 'begun') return { outcome: answer.outcome, ...transitionOf(answer) };
      attempt = answer.attempt;
      const { attemptId, epoch, head } = attempt;
      return { outcome: 'begun', attemptId, epoch, head };
    });
    if (!begun) continue;
    if (!attempt) return;
    if (!(await stored(project, attempt.sessionId))) continue;
    const commit = { ...commitOf(attempt, 'chat_plan'), beside: isQuestion ? 'allowed' : 'never' } as const;
    const call = { kind: 'commit_outside', chain: buildId, ...callOf(attempt) } as const;
    const deliveries = await deliver(
      () => told(client, project, call, async () => committed(await commitOperation<Stored>(pool, commit))),
      0.1,
    );
    if (deliveries.some((answer) => answer)) return;
  }
}

/** Goes back to one of the last heads, under a key that is repeated until it is answered; some are delivered twice. */
async function rewind(client: string, project: ProjectId): Promise<void> {
  const { seq } = await readHead(pool, project).catch(() => ({ seq: null }));
  if (seq === null || seq < 2) return;
  const to = seq - Math.ceil(Math.random() * Math.min(seq - 1, 5));
  const key = randomUUID();
  for (let tries = 0; tries < 3; tries++) {
    const deliveries = await deliver(
      () =>
        told(client, project, { kind: 'rewind', chain: `rewind:${key}` }, async () => {
          const request = { projectId: project, to, key, versionId: null, dryRun: false };
          const { transitionSeq, sessionId } = await rewindProject(pool, request);
          return { outcome: 'rewound', transition: { seq: transitionSeq, new: sessionId ?? '' } };
        }),
      0.3,
    );
    if (deliveries.some((answer) => answer)) return;
  }
}

/** A chain from its registration to its end, with everything that can become of a run on the way. */
async function workOnChain(client: string, project: ProjectId, waitMs = 0): Promise<void> {
  if (isGone(life)) beginLife();
  const key: ChainKey = {
    projectId: project,
    versionId: parseVersionId(`v-${project}`),
    buildId: parseBuildId(`b-${randomUUID()}`),
  };
  let former: string | null = null;
  for (let runs = 0; runs < 2; runs++) {
    const runId = `${life}#${randomUUID()}`;
    const chainId = await registerChain(pool, {
      ...key,
      steps: plan.map(({ name }) => name),
      workspace: '/nowhere',
      createRows: true,
    }).then(
      (chain) => chain.chainId,
      () => null,
    );
    if (chainId === null) return;
    if (runs === 0) await sleep(waitMs);
    const ended = await runChain(client, { ...key, chainId }, runId, former);
    if (ended === 'closed') return;
    // This run will not be closed: others see it gone, and so does the chain's next run.
    declareGone(runId);
    if (ended === 'zombie' && Math.random() < 0.5) return;
    former = runId;
  }
}

type Chain = ChainKey & { chainId: Awaited<ReturnType<typeof registerChain>>['chainId'] };

async function runChain(
  client: string,
  chain: Chain,
  runId: string,
  former: string | null,
): Promise<'closed' | 'lost' | 'zombie'> {
  const opened = await takeProject(client, chain, runId, former);
  if (opened.outcome === 'lost') return 'lost';
  let { head } = opened;
  if (opened.outcome === 'opened') {
    for (const step of plan.slice(0, 1 + Math.floor(Math.random() * plan.length))) {
      const zombie = Math.random() < 0.06;
      const next = await runStep(client, chain, { runId, ticket: opened.ticket, step, head, zombie });
      if (zombie) return 'zombie';
      if (next === null) break;
      head = next;
    }
  }
  for (let tries = 0; tries < 3; tries++) {
    const { ticket } = opened;
    const name = chainWorkflowId(chain);
    const answer = await told(
      client,
      chain.projectId,
      { kind: 'close', chain: name, runId, ticket },
      async () => {
        const { outcome } = await closeChain(pool, chain, {
          ticket,
          runId,
          result: { status: 'cancelled' } as never,
          versionStatus: { succeeded: null, failed: null },
        });
        return { outcome };
      },
    );
    if (answer) return 'closed';
  }
  return 'lost';
}

type Taken =
  | { outcome: 'opened'; ticket: number; head: SessionId | null }
  | { outcome: 'left'; ticket: number | null; head: null }
  | { outcome: 'lost'; ticket: null; head: null };

/** Asks for the project as the workflow does: again and again, and with what it saw gone. */
async function takeProject(
  client: string,
  chain: Chain,
  runId: string,
  former: string | null,
): Promise<Taken> {
  let ticket: number | null = null;
  let goneRunId: string | null = former;
  let unknown = 0;
  while (hasMore()) {
    let answered: OpenOutcome | undefined;
    const call: Call = { kind: 'open', chain: chainWorkflowId(chain), runId, ticket, goneRunId };
    const asked = { ticket, goneRunId };
    const answer = await told(client, chain.projectId, call, async () => {
      answered = await openChain(
        pool,
        chain,
        { runId, home: 'here', ticket: asked.ticket },
        asked.goneRunId,
        { plan },
      );
      return answered.outcome === 'opened'
        ? { outcome: 'opened', ticket: answered.ticket, head: answered.head }
        : { outcome: answered.outcome, ticket: answered.outcome === 'queued' ? answered.ticket : null };
    });
    if (answer === null && ++unknown < 4) continue;
    if (!answered) return { outcome: 'lost', ticket: null, head: null };
    if (answered.outcome === 'opened')
      return { outcome: 'opened', ticket: answered.ticket, head: answered.head.sessionId };
    goneRunId = null;
    if (answered.outcome === 'queued') {
      ticket = answered.ticket ?? ticket;
      const { runId: inTheWay, workflowId } = answered.blocker;
      if (isGoneRun(inTheWay)) {
        goneRunId = inTheWay;
        // What a caller of `reconcile` does, which wants nothing of the project.
        if (Math.random() < 0.3) await release(client, chain.projectId, { workflowId, runId: inTheWay });
        continue;
      }
      if (Math.random() < 0.02) return { outcome: 'left', ticket, head: null };
    }
    if (Math.random() < 0.3) await read(client, chain.projectId);
    await sleep(5 + Math.random() * 50);
  }
  return { outcome: 'left', ticket, head: null };
}

async function release(
  client: string,
  project: ProjectId,
  run: { workflowId: string; runId: string },
): Promise<void> {
  await told(client, project, { kind: 'release', runId: run.runId }, async () => {
    const { outcome } = await releaseChain(pool, project, { ...run, home: 'here' });
    return { outcome };
  });
}

/** The new head; null where the step could not be committed. A zombie's run is declared gone before it commits. */
async function runStep(
  client: string,
  chain: Chain,
  given: { runId: string; ticket: number; step: PlannedStep; head: SessionId | null; zombie: boolean },
): Promise<SessionId | null> {
  const { projectId, chainId } = chain;
  const { runId, ticket, step, head, zombie } = given;
  const name = chainWorkflowId(chain);
  for (let tries = 0; tries < 4; tries++) {
    let attempt: Attempt | undefined;
    const begun = await told(
      client,
      projectId,
      { kind: 'begin', chain: name, step: step.name, ticket },
      async () => {
        const answer = await beginOperation<Stored>(pool, {
          projectId,
          inputDigest: 'digest',
          worker: client,
          leaseMs: 0,
          operation: {
            kind: 'step',
            ...{ chainId, ticket, round: 1, role: step.role ?? null },
            step: step.name,
            headSessionId: head,
            baseSessionId: head,
            scheduledAtMs: Date.now(),
          },
        });
        if (answer.outcome !== 'begun') return { outcome: answer.outcome, ...transitionOf(answer) };
        attempt = answer.attempt;
        return { outcome: 'begun', attemptId: attempt.attemptId, epoch: attempt.epoch };
      },
    );
    if (begun?.transition) return begun.transition.new as SessionId;
    if (!begun) continue;
    if (!attempt) return null;
    const current = attempt;
    if (Math.random() < 0.3) await read(client, projectId);
    if (!(await stored(projectId, current.sessionId))) continue;
    if (zombie) {
      declareGone(runId);
      if (Math.random() < 0.7) await sleep(Math.random() * 60);
    }
    // A worker that was taken for lost commits while its successor begins.
    const successor =
      Math.random() < 0.1
        ? runStep(`${client}.successor`, chain, { ...given, zombie: false })
        : Promise.resolve(null);
    const commit = commitOf(current, step.name);
    const call = { kind: 'commit', chain: name, ...callOf(current) } as const;
    const deliveries = await deliver(
      () => told(client, projectId, call, async () => committed(await commitOperation<Stored>(pool, commit))),
      0.15,
    );
    const taken = await successor;
    const done = deliveries.find((answer) => answer !== null);
    if (done?.transition) return done.transition.new as SessionId;
    if (done) return taken;
  }
  return null;
}

function commitOf(attempt: Attempt, source: string): OperationCommit {
  return {
    attempt,
    source,
    newSessionId: attempt.sessionId,
    parentSessionId: attempt.baseSessionId,
    metrics: nothingSpent,
    result: { newSessionId: attempt.sessionId },
  };
}

function callOf({ attemptId, epoch, head, sessionId }: Attempt) {
  return { attemptId, epoch, old: head.sessionId, new: sessionId };
}

/** Once, or by chance three times at once. */
async function deliver<Result>(send: () => Promise<Result>, chance: number): Promise<Result[]> {
  return await Promise.all(Array.from({ length: Math.random() < chance ? 3 : 1 }, send));
}

/** Records a call; a typed refusal is an answer, all else is not. */
async function told(
  client: string,
  project: ProjectId,
  call: Call,
  perform: () => Promise<Answer>,
): Promise<Answer | null> {
  return await recorder.record(client, project, call, async () => {
    try {
      return await perform();
    } catch (error) {
      if (error instanceof SessionChainError && error.code !== 'DATABASE_UNAVAILABLE')
        return { outcome: 'refused', code: error.code };
      throw error;
    }
  });
}

/** A transcript of one message; false where its answer was lost or the session takes no more. */
async function stored(projectId: ProjectId, sessionId: SessionId): Promise<boolean> {
  const message = { role: 'user', content: 'hello' };
  try {
    await createTranscriptStore({ pool, projectId }).append({ projectKey: 'any', sessionId }, [
      { type: 'user', uuid: randomUUID(), sessionId, message },
    ]);
    return true;
  } catch {
    return false;
  }
}

function committed({ outcome, result }: { outcome: 'moved' | 'beside'; result: Stored }): Answer {
  return {
    outcome: outcome === 'moved' ? 'committed' : outcome,
    ...transitionOf({ outcome: 'committed', result }),
  };
}

/** The transition of an operation that is committed; none of a session beside the lineage. */
function transitionOf(answer: Begun<Stored>): Pick<Answer, 'transition'> {
  if (answer.outcome !== 'committed' || answer.result.seq === undefined) return {};
  return { transition: { seq: answer.result.seq, new: answer.result.newSessionId } };
}

function oneOf<Item>(items: readonly Item[]): Item {
  const item = items[Math.floor(Math.random() * items.length)];
  if (item === undefined) throw new Error('There is nothing to choose from.');
  return item;
}

async function withChance(choices: [number, () => Promise<void>][]): Promise<void> {
  let dice = Math.random();
  for (const [chance, act] of choices) {
    dice -= chance;
    if (dice < 0) return await act();
  }
}
