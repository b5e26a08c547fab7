import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import { AgentRunError, type AgentResult } from '../agent/agent.js';
import { chatPrompt, continueChatPrompt } from '../agent/chat-prompt.js';
import { digestOf, modelOf } from '../agent/steps.js';
import { lastText } from '../transcript/entries.js';
import type {
  ChatFailureInput,
  ChatTurn,
  ChatTurnInput,
  ChatTurnKind,
  ReadSessionInput,
  SessionRead,
} from '../contracts/chat.js';
import { turnBuildId } from '../contracts/chat.js';
import { SessionChainError, toFailure, toSessionChainError } from '../contracts/failures.js';
import type { SessionId } from '../contracts/ids.js';
import { adoptSession, endAttempt, journalFork, quarantineParent } from '../storage/operations/attempts.js';
import {
  type ChatPast,
  answerTurn,
  chatWorkspace,
  commitSideBranch,
  earlierTries,
  isStepRunning,
  failTurn as markFailed,
  readHolder,
  readPast,
  requireTurn,
  startTurn,
} from '../storage/questions/questions.js';
import { type AttemptMetrics, nothingSpent } from '../storage/ledger/metrics.js';
import {
  type BeginMoveOutcome,
  type Move,
  type MoveResult,
  beginMove,
  commitMove,
} from '../storage/operations/moves.js';
import { forgetReplyChunks } from '../storage/questions/reply-chunks.js';
import { resolveWorkspace } from '../workspace/workspace.js';
import type { ActivityDependencies } from './dependencies.js';
import { type EarlierWork, findEarlierWork } from './evidence.js';
import { StepError } from './failures.js';
import { type Hold, holdAttempt } from './hold.js';
import { settleLedger } from './ledger.js';
import { createReplyStream } from './reply-stream.js';
import { classify, heartbeat, metricsOf, whenDatabaseAnswers } from './step.js';

/** Looks which session a question may read by now; see {@link SessionRead}. */
export async function readSession(
  { pool }: Pick<ActivityDependencies, 'pool'>,
  { projectId, target, when }: ReadSessionInput,
): Promise<SessionRead> {
  const holder = await readHolder(pool, projectId);
  if (!target) {
    const isFree = !holder || (when === 'after_step' && !(await isStepRunning(pool, projectId, holder)));
    return isFree ? { outcome: 'ready' } : { outcome: 'wait', target: holder };
  }
  const waits =
    when === 'after_step'
      ? await isStepRunning(pool, projectId, target)
      : when === 'committed' && holder?.workflowId === target.workflowId;
  return waits ? { outcome: 'wait', target } : { outcome: 'ready' };
}

/** Records that a turn has failed for good; an answered one stays answered. */
export async function failTurn(
  { pool }: Pick<ActivityDependencies, 'pool'>,
  { turnId, failure }: ChatFailureInput,
): Promise<void> {
  await markFailed(pool, turnId, failure);
}

/**
 * One turn of a chat: journal it, see what earlier tries left in the store, let Claude Code answer on a fork that may read
 * and not write, commit. Where the head is still what the turn found, it moves to the turn's session; else the turn stays
 * a side branch. A turn that is answered already costs nothing.
 */
export async function runChatTurn(
  deps: ActivityDependencies,
  input: ChatTurnInput,
): Promise<{ kind: ChatTurnKind }> {
  const context = Context.current();
  const beat = heartbeat(context);
  try {
    const turn = await requireTurn(deps.pool, input.turnId);
    if (turn.kind) return { kind: turn.kind };
    await forgetReplyChunks(deps.pool, turn.chatId, turn.turnId);
    const workspace = await workspaceOf(deps, turn);
    const past = await readPast(deps.pool, turn);
    const leaseMs = (context.info.heartbeatTimeoutMs ?? 30_000) + input.killGraceMs;
    const begun = await beginOnceAlone(deps, turn, past, leaseMs);
    if (begun.outcome === 'committed') return await answerCommitted(deps, turn, begun.result);
    const { move } = begun;
    const hold = holdAttempt(deps, move, { leaseMs });
    const ledger = { spent: nothingSpent };
    try {
      return await finishTurn(deps, input, { turn, move, past, workspace, beat, hold, ledger });
    } catch (error) {
      throw await endedWithout(deps, { move, hold, ledger }, error);
    } finally {
      hold.release();
    }
  } finally {
    beat.stop();
  }
}

async function workspaceOf(
  { pool, workspaceRoots }: ActivityDependencies,
  { projectId, chatId }: ChatTurn,
): Promise<string> {
  const workspace = await chatWorkspace(pool, projectId, chatId);
  if (workspace !== null) return await resolveWorkspace(workspace, workspaceRoots);
  throw new SessionChainError(
    'INVALID_INPUT',
    `Nobody has said where the files of the project ${projectId} lie.`,
    'Pass a workspace with the question, or start a chain of the project first.',
  );
}

type ChatMove = BeginMoveOutcome<MoveResult | { outcome: 'side_branch'; newSessionId: SessionId }>;

/** Journals the turn as soon as no earlier try's agent can be alive. */
async function beginOnceAlone(
  deps: ActivityDependencies,
  turn: ChatTurn,
  { branch }: ChatPast,
  leaseMs: number,
): Promise<Exclude<ChatMove, { outcome: 'former_agent_alive' }>> {
  const model = modelOf(deps.definition, 'chat_plan', undefined);
  for (;;) {
    const begun: ChatMove = await beginMove(deps.pool, {
      projectId: turn.projectId,
      versionId: null,
      buildId: turnBuildId(turn.turnId),
      source: 'chat_plan',
      sessionId: null,
      ...(branch ? { fork: { sessionId: branch.sessionId, whileHead: branch.headSessionId } } : {}),
      // The question alone: which earlier turns it has to be told of follows from what it forks.
      inputDigest: digestOf(deps.definition, { step: 'chat_plan', prompt: turn.question, model }),
      worker: `${process.pid}@${hostname()}`,
      leaseMs,
    });
    if (begun.outcome !== 'former_agent_alive') return begun;
    await delay(Math.min(begun.waitMs, 500), undefined, {
      signal: Context.current().cancellationSignal,
    }).catch(() => {
      throw new SessionChainError('WORKER_LOST', 'The worker was stopped before the turn began.');
    });
  }
}

interface TurnContext {
  turn: ChatTurn;
  move: Move;
  past: ChatPast;
  /** Real path. */
  workspace: string;
  beat: ReturnType<typeof heartbeat>;
  hold: Hold;
  /** What the attempt has spent so far, whether it comes to a commit or not. */
  ledger: { spent: AttemptMetrics };
}

/** What an earlier try left, and whether it read the session that this one would read. */
interface EarlierTurnWork extends EarlierWork {
  onSameBase: boolean;
}

async function finishTurn(
  deps: ActivityDependencies,
  input: ChatTurnInput,
  context: TurnContext,
): Promise<{ kind: ChatTurnKind }> {
  const { turn, move, ledger } = context;
  if (move.attempt > 1) await settleLedger(deps, turn.projectId);
  const earlier = await findEarlierTurnWork(deps, move);
  // What an earlier try read stays what the turn has read, though the head went on meanwhile.
  const headSessionId = earlier && !earlier.onSameBase ? turn.headSessionId : move.head.sessionId;
  await startTurn(deps.pool, turn.turnId, headSessionId);
  if (earlier?.evidence.kind === 'finished') {
    await adoptSession(deps.pool, move, earlier.sessionId);
    return await commit(deps, context, earlier, {
      sessionId: earlier.sessionId,
      parentSessionId: move.baseSessionId,
      reply: lastText(earlier.own),
    });
  }
  const result = await runAgent(deps, input, context, earlier);
  ledger.spent = metricsOf(result);
  return await commit(deps, context, earlier, {
    sessionId: result.sessionId,
    parentSessionId: earlier?.sessionId ?? move.baseSessionId,
    reply: result.text,
  });
}

async function findEarlierTurnWork(deps: ActivityDependencies, move: Move): Promise<EarlierTurnWork | null> {
  if (move.attempt === 1) return null;
  for (const { sessionId, baseSessionId } of await earlierTries(deps.pool, move)) {
    const judged = { projectId: move.projectId, baseSessionId, step: 'chat_plan' as const };
    const work = await findEarlierWork(deps, judged, [sessionId]);
    if (work) return { ...work, onSameBase: baseSessionId === move.baseSessionId };
  }
  return null;
}

async function runAgent(
  deps: ActivityDependencies,
  input: ChatTurnInput,
  { turn, move, past, workspace, beat, hold }: TurnContext,
  earlier: EarlierTurnWork | null,
): Promise<AgentResult> {
  const { baseSessionId, head } = move;
  if (!earlier && baseSessionId !== null && baseSessionId === head.sessionId && !move.headIsUsable) {
    throw new SessionChainError(
      'SESSION_NOT_IN_STORE',
      `The head of the project ${move.projectId} is the session ${baseSessionId}, whose transcript is not in the store.`,
    );
  }
  if (earlier) await journalFork(deps.pool, move, earlier.sessionId);
  const isOwnBranch = baseSessionId !== null && baseSessionId === past.branch?.sessionId;
  const prompt = chatPrompt(turn.question, isOwnBranch ? [] : past.unknownToHead);
  const stream = createReplyStream(deps, turn.turnId, move.attempt);
  const { timeoutMs, maxTurns, maxCostUsd } = input.limits;
  try {
    return await deps.agent.run(
      {
        step: 'chat_plan',
        mode: 'update',
        sessionId: move.sessionId,
        baseSessionId: earlier?.sessionId ?? baseSessionId,
        store: deps.createTranscriptStore(move.projectId),
        prompt: earlier ? continueChatPrompt : prompt,
        earlierEntries: earlier?.own ?? [],
        instructionKind: 'free',
        workspace,
        killGraceMs: input.killGraceMs,
        timeoutMs,
        maxTurns,
        ...(maxCostUsd === undefined ? {} : { maxCostUsd }),
      },
      {
        signal: hold.signal,
        onProgress: (progress) => beat.report(progress),
        onText: (text, message) => stream.add(text, message),
      },
    );
  } finally {
    await stream.end();
  }
}

/** The commit decides: the turn moves the head that it found, or stays beside the main line. Both are paid already. */
async function commit(
  deps: ActivityDependencies,
  { turn, move, hold, ledger }: TurnContext,
  earlier: EarlierTurnWork | null,
  {
    sessionId,
    parentSessionId,
    reply,
  }: { sessionId: SessionId; parentSessionId: SessionId | null; reply: string },
): Promise<{ kind: ChatTurnKind }> {
  const answer = { turnId: turn.turnId, sessionId, reply };
  return await whenDatabaseAnswers(hold.signal, async () => {
    if (move.attempt > 1) await settleLedger(deps, turn.projectId, ledger.spent.byModel);
    if (move.epoch !== null && earlier?.onSameBase !== false) {
      try {
        await commitMove(deps.pool, {
          move,
          newSessionId: sessionId,
          parentSessionId,
          metrics: ledger.spent,
          requireTranscript: true,
          warnings: [],
        });
        await answerTurn(deps.pool, { ...answer, kind: 'transition' });
        return { kind: 'transition' };
      } catch (error) {
        if (!(error instanceof SessionChainError) || error.code !== 'FENCED') throw error;
      }
    }
    await commitSideBranch(deps.pool, move, answer, ledger.spent);
    return { kind: 'side_branch' };
  });
}

/** The head was moved, but whoever moved it died before it wrote the reply down. */
async function answerCommitted(
  deps: ActivityDependencies,
  turn: ChatTurn,
  { outcome, newSessionId }: { outcome: 'moved' | 'side_branch'; newSessionId: SessionId },
): Promise<{ kind: ChatTurnKind }> {
  const kind = outcome === 'moved' ? 'transition' : 'side_branch';
  const store = deps.createTranscriptStore(turn.projectId);
  const entries = (await store.load({ projectKey: '', sessionId: newSessionId })) ?? [];
  await answerTurn(deps.pool, {
    turnId: turn.turnId,
    sessionId: newSessionId,
    reply: lastText(entries),
    kind,
  });
  return { kind };
}

/** Records how a try ended that answered nothing; returns what the chat is told. */
async function endedWithout(
  { pool, log }: ActivityDependencies,
  { move, hold, ledger }: Pick<TurnContext, 'move' | 'hold' | 'ledger'>,
  error: unknown,
): Promise<StepError> {
  const failure = classify(toSessionChainError(error), hold);
  const spent = error instanceof AgentRunError ? metricsOf(error.spent) : ledger.spent;
  try {
    await endAttempt(pool, move, { failure: toFailure(failure), spent });
    // What could not be loaded now must not be handed out again.
    if (failure.code === 'SESSION_NOT_IN_STORE') await quarantineParent(pool, move, failure.message);
  } catch (cause) {
    // The next try ends what is recorded as running.
    log.warn({ err: cause, attemptId: move.attemptId }, 'The end of the turn could not be recorded.');
  }
  return new StepError(failure, move.attempt);
}
