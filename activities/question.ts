import { rewoundNote } from '../agent/brief.js';
import { questionMessage, questionTask } from '../agent/kinds/question.js';
import { SessionChainError } from '../contracts/failures.js';
import {
  type AnsweredQuestion,
  type Question,
  type QuestionFailureInput,
  type QuestionInput,
  type ReadSessionInput,
  type SessionRead,
  type WaitingQuestion,
  questionBuildId,
} from '../contracts/question.js';
import { inputDigest } from '../definition/digest.js';
import { chainModel } from '../definition/resolve-plan.js';
import { type RewoundOperations, rewoundOperations } from '../storage/chains/brief.js';
import { readHead } from '../storage/heads/heads.js';
import { commitOperation } from '../storage/operations/operations.js';
import {
  chatWorkspace,
  isStepRunning,
  failQuestion as markFailed,
  readHolder,
  readPast,
  requireQuestion,
  startQuestion,
} from '../storage/questions/questions.js';
import { perform } from './attempt.js';
import type { ActivityDependencies } from './dependencies.js';
import { withHeartbeat } from './heartbeat.js';
import { nextLookMs } from './installation.js';
import { type ActivityLog, failureFields, levelOf, waitFields } from './log.js';
import { bringBack } from './restore.js';
import { findWorkspace, tellWait, triesBefore, waitForWorkspace } from './workspace.js';

/** A person reads the answer before the next question. */
const nextQuestionWithinMs = 60_000;

/** Determines which session a question may read by now; see {@link SessionRead}. */
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

/** Records that a question has finally failed; an answered one stays answered. The workflow knows only the code. */
export async function failQuestion(
  { pool, log }: Pick<ActivityDependencies, 'pool' | 'log'>,
  { failure, ...question }: QuestionFailureInput,
): Promise<void> {
  await markFailed(pool, question, failure);
  log[levelOf(failure.code)]('question.given_up', failureFields(failure));
}

const longestLookMs = 60_000;

/** Leaves the question to a worker of its own installation. */
export function leftQuestion(_why: string, { looks = 0 }: QuestionInput): WaitingQuestion {
  return { waitMs: nextLookMs(looks, longestLookMs), tries: triesBefore() };
}

/** Leaves the question until the database answers. */
export function questionWaitsForDatabase(log: ActivityLog, { looks = 0 }: QuestionInput): WaitingQuestion {
  const waitMs = nextLookMs(looks, longestLookMs);
  tellWait(log, looks + 1, waitFields('the database', waitMs));
  return { waitMs, tries: triesBefore() };
}

/**
 * One try of a question: the next attempt of its operation, on a fork that may read and not write. If the head is still
 * what the question found, it moves to the question's session; else the answer stays a side branch.
 */
export async function answerQuestion(
  deps: ActivityDependencies,
  input: QuestionInput,
): Promise<AnsweredQuestion | WaitingQuestion> {
  return await withHeartbeat(async (beat) => {
    const question = await requireQuestion(deps.pool, input.questionId);
    if (question.kind) return { kind: question.kind };
    const { projectId, chatId, questionId } = question;
    if (projectId !== input.projectId || chatId !== input.chatId) {
      throw new SessionChainError(
        'REQUEST_LOST',
        `The question ${questionId} is not one of the chat ${input.chatId} of the project ${input.projectId}.`,
      );
    }
    const wanted = {
      projectId,
      path: await workspaceOf(deps, question),
      search: questionBuildId(questionId),
      hasWaited: true,
    };
    const found = await findWorkspace(deps, wanted);
    if ('trouble' in found) {
      const waitMs = await waitForWorkspace(deps, wanted, found.trouble);
      return { waitMs, tries: triesBefore() };
    }
    const { sessionId: head } = await readHead(deps.pool, projectId);
    if (head !== null) await bringBack(deps, projectId, head);
    const { branch, unknownToHead } = await readPast(deps.pool, question);
    const task = questionTask(deps.definition);
    const model = chainModel(deps.definition);
    const { timeoutMs, maxTurns, maxCostUsd } = input.limits;
    let rewound: RewoundOperations = { operations: [], count: 0 };
    return await perform<{ seq?: number }, AnsweredQuestion>(deps, beat, {
      ...{ projectId, task, model, workspace: found.path },
      operation: {
        kind: 'outside',
        versionId: null,
        buildId: questionBuildId(questionId),
        source: 'chat_plan',
        sessionId: null,
        ...(branch ? { fork: { sessionId: branch.sessionId, whileHead: branch.headSessionId } } : {}),
      },
      // The question alone: which earlier exchanges it has to be told about follows from what it forks.
      inputDigest: inputDigest(deps.definition, {
        prompt: question.question,
        allowedTools: task.allowedTools,
        model,
      }),
      mode: 'update',
      instructionKind: 'free',
      killGraceMs: input.killGraceMs,
      onBegun: async (attempt, earlier) => {
        // What an earlier try read stays what the question has read, even if the head has moved since.
        const hasMoved = earlier !== null && earlier.baseSessionId !== attempt.baseSessionId;
        await startQuestion(
          deps.pool,
          questionId,
          hasMoved ? question.headSessionId : attempt.head.sessionId,
        );
        rewound = await rewoundOperations(deps.pool, projectId);
      },
      hasCostLimit: false,
      limits: async () => ({
        ...{ timeoutMs, maxTurns, limitsOf: ofQuestion },
        ...(maxCostUsd === undefined ? {} : { maxCostUsd }),
      }),
      keepWarm: deps.ownQueues === null ? null : { idleMs: nextQuestionWithinMs },
      message: ({ baseSessionId }) =>
        // A session that continues from the chat's own side branch knows what was said there.
        baseSessionId !== null && baseSessionId === branch?.sessionId
          ? questionMessage(question.question, [])
          : questionMessage(
              question.question,
              unknownToHead,
              rewound.count > 0 ? [rewoundNote(rewound)] : [],
            ),
      stored: ({ seq }) => ({ kind: seq === undefined ? 'side_branch' : 'transition' }),
      commit: async ({
        attempt,
        sessionId,
        parentSessionId,
        baseSessionId,
        text,
        spent,
        appends,
        parked,
      }) => {
        const { outcome } = await commitOperation(deps.pool, {
          ...{ attempt, parentSessionId, appends },
          source: 'chat_plan',
          newSessionId: sessionId,
          metrics: spent,
          result: { newSessionId: sessionId },
          answer: { questionId, reply: text },
          // The commit decides: the answer moves the head that it found, or stays beside the main line. Both cost the
          // same.
          beside: baseSessionId === attempt.baseSessionId ? 'allowed' : 'always',
        });
        return {
          kind: outcome === 'moved' ? 'transition' : 'side_branch',
          ...(parked && deps.ownQueues ? { parkedOn: deps.ownQueues.chats } : {}),
        };
      },
    });
  });
}

const ofQuestion = { cost: 'question', turns: 'question', time: 'question' } as const;

async function workspaceOf(
  { pool }: Pick<ActivityDependencies, 'pool'>,
  { projectId, chatId }: Question,
): Promise<string> {
  const workspace = await chatWorkspace(pool, projectId, chatId);
  if (workspace !== null) return workspace;
  throw new SessionChainError(
    'INVALID_INPUT',
    `The folder of the project ${projectId} is unknown.`,
    'Pass a workspace with the question, or start a chain of the project first.',
  );
}
