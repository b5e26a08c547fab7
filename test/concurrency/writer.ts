import { randomUUID } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SessionChainError } from '../../contracts/failures.js';
import {
  type ChainKey,
  type ProjectId,
  type SessionId,
  chainWorkflowId,
  parseBuildId,
  parseProjectId,
  parseVersionId,
} from '../../contracts/ids.js';
import { stepNames } from '../../contracts/steps.js';
import { type Attempt, beginAttempt, commitStep } from '../../storage/operations/attempts.js';
import {
  type OpenOutcome,
  closeChain,
  openChain,
  registerChain,
  releaseChain,
} from '../../storage/chains/chains.js';
import { readHead } from '../../storage/heads/heads.js';
import { nothingSpent } from '../../storage/ledger/metrics.js';
import { type Move, type MoveCommit, beginMove, commitMove } from '../../storage/operations/moves.js';
import { createPool } from '../../storage/db/pool.js';
import { createTranscriptStore } from '../../storage/transcripts/store.js';
import { type Answer, type Call, createRecorder } from './history.js';
import { type MutantName, mutatePool } from './mutants.js';
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
  mutant?: MutantName;
}

const options = JSON.parse(process.argv[2] ?? '') as WriterOptions;
const url = new URL(options.databaseUrl);
if (options.statementTimeoutMs)
  url.searchParams.set('options', `-c statement_timeout=${options.statementTimeoutMs}`);
const pool = mutatePool(
  createPool(url.href, { applicationName: 'concurrency writer', max: options.clients + 2 }),
  options.mutant,
);
const recorder = createRecorder(options.folder, options.name);
const hasMore = () => recorder.count() < options.operations;

/** Runs carry the name of a life: whoever holds the writer for dead declares that life gone, with all of its runs. */
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
      [0.3, () => read(client, project)],
      [0.2, () => recordMove(client, project)],
      [0.3, () => workOnChain(client, project)],
      // Those who ask for the next project's turn all at once, where perhaps nobody is at work yet.
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

/** An operation that ran outside a chain, recorded; some are delivered twice. */
async function recordMove(client: string, project: ProjectId): Promise<void> {
  const buildId = `record:${randomUUID()}`;
  const sessionId = randomUUID() as SessionId;
  for (let tries = 0; tries < 3; tries++) {
    let move: Move | undefined;
    const begun = await told(client, project, { kind: 'begin_move', chain: buildId }, async () => {
      const answer = await beginMove(pool, {
        projectId: project,
        versionId: null,
        buildId,
        source: 'chat_plan',
        // A repeated move has a session of its own: the earlier one belongs to the attempt whose answer was lost.
        sessionId: tries === 0 ? sessionId : null,
        inputDigest: 'digest',
        worker: client,
        leaseMs: 0,
      });
      if (answer.outcome !== 'begun') return { outcome: answer.outcome, ...transitionOf(answer) };
      move = answer.move;
      const { attemptId, epoch, head } = move;
      return { outcome: 'begun', attemptId, epoch, head };
    });
    if (!begun) continue;
    if (!move) return;
    const commit: MoveCommit = {
      move,
      newSessionId: move.sessionId,
      parentSessionId: move.baseSessionId,
      metrics: nothingSpent,
      requireTranscript: true,
      warnings: [],
    };
    if (!(await stored(project, move.sessionId))) continue;
    const { attemptId, epoch, head } = move;
    const call: Call = {
      kind: 'commit_move',
      chain: buildId,
      attemptId,
      epoch,
      old: head.sessionId,
      new: move.sessionId,
    };
    const deliveries = await deliver(
      () => told(client, project, call, async () => committed(await commitMove(pool, commit))),
      0.1,
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
      steps: [...stepNames],
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
    // Nobody will close this run: others see it gone, and so does the chain's next run.
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
  const opened = await takeTurn(client, chain, runId, former);
  if (opened.outcome === 'lost') return 'lost';
  let { head } = opened;
  if (opened.outcome === 'opened') {
    for (const step of stepNames.slice(0, 1 + Math.floor(Math.random() * stepNames.length))) {
      const zombie = Math.random() < 0.06;
      const next = await runStep(client, chain, { runId, turn: opened.turn, step, head, zombie });
      if (zombie) return 'zombie';
      if (next === null) break;
      head = next;
    }
  }
  for (let tries = 0; tries < 3; tries++) {
    const { turn } = opened;
    const name = chainWorkflowId(chain);
    const answer = await told(
      client,
      chain.projectId,
      { kind: 'close', chain: name, runId, turn },
      async () => {
        const { outcome } = await closeChain(pool, chain, {
          turn,
          runId,
          result: { status: 'cancelled' } as never,
          versionStatus: null,
        });
        return { outcome };
      },
    );
    if (answer) return 'closed';
  }
  return 'lost';
}

type Turn =
  | { outcome: 'opened'; turn: number; head: SessionId | null }
  | { outcome: 'left'; turn: number | null; head: null }
  | { outcome: 'lost'; turn: null; head: null };

/** Asks for the turn as the workflow does: again and again, and with what it saw gone. */
async function takeTurn(client: string, chain: Chain, runId: string, former: string | null): Promise<Turn> {
  let turn: number | null = null;
  let goneRunId: string | null = former;
  let unknown = 0;
  while (hasMore()) {
    let answered: OpenOutcome | undefined;
    const call: Call = { kind: 'open', chain: chainWorkflowId(chain), runId, turn, goneRunId };
    const asked = { turn, goneRunId };
    const answer = await told(client, chain.projectId, call, async () => {
      answered = await openChain(pool, chain, { runId, home: 'here', turn: asked.turn }, asked.goneRunId);
      return answered.outcome === 'opened'
        ? { outcome: 'opened', turn: answered.turn, head: answered.head }
        : { outcome: answered.outcome, turn: answered.outcome === 'queued' ? answered.turn : null };
    });
    if (answer === null && ++unknown < 4) continue;
    if (!answered) return { outcome: 'lost', turn: null, head: null };
    if (answered.outcome === 'opened')
      return { outcome: 'opened', turn: answered.turn, head: answered.head.sessionId };
    goneRunId = null;
    if (answered.outcome === 'queued') {
      turn = answered.turn ?? turn;
      const { runId: inTheWay, workflowId } = answered.blocker;
      if (isGoneRun(inTheWay)) {
        goneRunId = inTheWay;
        // What a caller of `status` does who wants no turn.
        if (Math.random() < 0.3) await release(client, chain.projectId, { workflowId, runId: inTheWay });
        continue;
      }
      if (Math.random() < 0.02) return { outcome: 'left', turn, head: null };
    }
    if (Math.random() < 0.3) await read(client, chain.projectId);
    await sleep(5 + Math.random() * 50);
  }
  return { outcome: 'left', turn, head: null };
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
  step: {
    runId: string;
    turn: number;
    step: (typeof stepNames)[number];
    head: SessionId | null;
    zombie: boolean;
  },
): Promise<SessionId | null> {
  const { projectId } = chain;
  const name = chainWorkflowId(chain);
  for (let tries = 0; tries < 4; tries++) {
    let attempt: Attempt | undefined;
    const begun = await told(
      client,
      projectId,
      { kind: 'begin', chain: name, step: step.step, turn: step.turn },
      async () => {
        const answer = await beginAttempt(pool, {
          ...chain,
          turn: step.turn,
          step: step.step,
          baseSessionId: step.head,
          inputDigest: 'digest',
          scheduledAtMs: Date.now(),
          worker: client,
          leaseMs: 0,
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
    if (step.zombie) {
      declareGone(step.runId);
      if (Math.random() < 0.7) await sleep(Math.random() * 60);
    }
    const call: Call = {
      kind: 'commit',
      chain: name,
      attemptId: current.attemptId,
      epoch: current.epoch,
      old: step.head,
      new: current.sessionId,
    };
    // A worker that was held for lost commits while its successor begins.
    const successor =
      Math.random() < 0.1
        ? runStep(`${client}.successor`, chain, { ...step, zombie: false })
        : Promise.resolve(null);
    const deliveries = await deliver(
      () =>
        told(client, projectId, call, async () =>
          committed(
            await commitStep(pool, {
              attempt: current,
              source: step.step,
              oldSessionId: step.head,
              newSessionId: current.sessionId,
              parentSessionId: current.baseSessionId,
              metrics: nothingSpent,
              warnings: [],
            }),
          ),
        ),
      0.15,
    );
    const taken = await successor;
    const done = deliveries.find((answer) => answer !== null);
    if (done?.transition) return done.transition.new as SessionId;
    if (done) return taken;
  }
  return null;
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

function committed({ seq, newSessionId }: { seq: number; newSessionId: SessionId }): Answer {
  return { outcome: 'committed', transition: { seq, new: newSessionId } };
}

function transitionOf(
  answer: { outcome: 'committed'; result: { seq: number; newSessionId: SessionId } } | { outcome: string },
): Pick<Answer, 'transition'> {
  return 'result' in answer
    ? { transition: { seq: answer.result.seq, new: answer.result.newSessionId } }
    : {};
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
