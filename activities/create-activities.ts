import { Context } from '@temporalio/activity';
import type { AgentActivities, ChainActivities } from '../contracts/activities.js';
import type { StepInput, StepResult } from '../contracts/chain.js';
import { isRetryable } from '../contracts/failures.js';
import type { ChatActivities } from '../contracts/question.js';
import { isAgentStep } from '../definition/definition.js';
import { noteFailure } from '../storage/chains/chains.js';
import { failQuestion as markFailed } from '../storage/questions/questions.js';
import { settleStep } from '../storage/operations/operations.js';
import { beginActivity, endActivity } from './activity-step.js';
import { commit } from './commit.js';
import type { ActivityDependencies, WorkerDependencies } from './dependencies.js';
import { reportingFailures } from './failures.js';
import { open } from './open.js';
import { answerQuestion, failQuestion, questionWaitsForDatabase, readSession } from './question.js';
import { leaveToOthers, runStep, stepWaitsForDatabase } from './step.js';

/** The short activities of a chain, which use only the database; for the task queue of the chains. */
export function createChainActivities(
  deps: Pick<
    WorkerDependencies,
    | 'pool'
    | 'createTranscriptStore'
    | 'chainRuns'
    | 'definition'
    | 'versionStatus'
    | 'log'
    | 'meter'
    | 'outages'
  >,
): ChainActivities {
  const { pool } = deps;
  // The end of the chain is told by `commit`.
  const ofChain = { ...deps, subject: 'part of a chain' } as const;
  return {
    open: (input) =>
      reportingFailures(
        input,
        { ...ofChain, keep: (failure) => noteFailure(pool, input, 'open', failure) },
        (log) => open({ ...deps, log }, input),
      ),
    committedStep: (input) =>
      reportingFailures(input, ofChain, () =>
        settleStep(pool, {
          ...input,
          scheduledAtMs: Context.current().info.currentAttemptScheduledTimestampMs,
        }),
      ),
    beginActivity: (input) =>
      reportingFailures(input, ofChain, (log) => beginActivity({ ...deps, log }, input)),
    endActivity: (input) => reportingFailures(input, ofChain, (log) => endActivity({ ...deps, log }, input)),
    commit: (input) => reportingFailures(input, deps, (log) => commit({ ...deps, log }, input)),
  };
}

/**
 * The activities that run Claude Code, for the task queue of the agents: an activity type per step of this worker's
 * definition. A step that it does not have is left to a worker that has it.
 */
export function createAgentActivities(deps: WorkerDependencies): AgentActivities {
  const { pool, definition } = deps;
  const reporting =
    (run: (deps: ActivityDependencies, input: StepInput) => Promise<StepResult>) => (input: StepInput) =>
      reportingFailures(
        input,
        {
          ...{ ...deps, subject: 'step' },
          ...triesOf(deps.ownQueues?.agents, input.plan.limits),
          keep: (failure) => noteFailure(pool, input, input.step, failure),
          untilDatabaseAnswers: (log) => stepWaitsForDatabase(log, input),
        },
        (log) => run({ ...deps, log }, input),
      );
  const step = reporting(runStep);
  return {
    ...Object.fromEntries(definition.steps.filter(isAgentStep).map(({ name }) => [name, step])),
    // Temporal calls this for an activity type that is not registered.
    default: reporting(leaveToOthers),
  };
}

/** On the queue of one worker an activity is tried once, and then on that of all. */
function triesOf(ownQueue: string | undefined, limits: { maxAttempts: number }): { maxAttempts?: number } {
  return Context.current().info.taskQueue === ownQueue ? { maxAttempts: limits.maxAttempts } : {};
}

/** The short activities of a chat; on the task queue of the chains, so that busy chats cannot delay them. */
export function createChatReadActivities(
  deps: Pick<WorkerDependencies, 'pool' | 'log' | 'meter' | 'outages'>,
): Pick<ChatActivities, 'readSession' | 'failQuestion'> {
  return {
    readSession: (input) => reportingFailures(input, deps, () => readSession(deps, input)),
    failQuestion: (input) => reportingFailures(input, deps, (log) => failQuestion({ ...deps, log }, input)),
  };
}

/** The activity that answers questions with Claude Code; for the task queue of the chats. */
export function createChatActivities(deps: WorkerDependencies): Pick<ChatActivities, 'answerQuestion'> {
  const { pool } = deps;
  return {
    answerQuestion: (input) =>
      reportingFailures(
        input,
        {
          ...{ ...deps, subject: 'question' },
          ...triesOf(deps.ownQueues?.chats, input.limits),
          // Between tries the question has not failed yet; the journal knows why a try did.
          keep: async (failure) => {
            if (!isRetryable(failure.code)) await markFailed(pool, input, failure);
          },
          untilDatabaseAnswers: (log) => questionWaitsForDatabase(log, input),
        },
        (log) => answerQuestion({ ...deps, log }, input),
      ),
  };
}
