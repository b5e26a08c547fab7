import { Context } from '@temporalio/activity';
import type { AgentActivities, ChainActivities } from '../contracts/activities.js';
import type { StepInput } from '../contracts/chain.js';
import { isRetryable } from '../contracts/failures.js';
import type { ChatActivities } from '../contracts/question.js';
import { isAgentStep } from '../definition/definition.js';
import { noteFailure } from '../storage/chains/chains.js';
import { failQuestion as markFailed } from '../storage/questions/questions.js';
import { settleStep } from '../storage/operations/operations.js';
import { beginActivity, endActivity } from './activity-step.js';
import { commit } from './commit.js';
import type { ActivityDependencies } from './dependencies.js';
import { reportingFailures } from './failures.js';
import { open } from './open.js';
import { answerQuestion, failQuestion, readSession } from './question.js';
import { leaveToOthers, runStep } from './step.js';

/** The short activities of a chain, which use only the database; for the task queue of the chains. */
export function createChainActivities(
  deps: Pick<
    ActivityDependencies,
    'pool' | 'createTranscriptStore' | 'chainRuns' | 'definition' | 'versionStatus' | 'log' | 'meter'
  >,
): ChainActivities {
  const { pool, log, meter } = deps;
  return {
    open: (input) =>
      reportingFailures(
        input,
        { log, meter, keep: (failure) => noteFailure(pool, input, 'open', failure) },
        () => open(deps, input),
      ),
    committedStep: (input) =>
      reportingFailures(input, { log, meter }, () =>
        settleStep(pool, {
          ...input,
          scheduledAtMs: Context.current().info.currentAttemptScheduledTimestampMs,
        }),
      ),
    beginActivity: (input) => reportingFailures(input, { log, meter }, () => beginActivity(deps, input)),
    endActivity: (input) => reportingFailures(input, { log, meter }, () => endActivity(deps, input)),
    commit: (input) => reportingFailures(input, { log, meter }, () => commit(deps, input)),
  };
}

/**
 * The activities that run Claude Code, for the task queue of the agents: an activity type per step of this worker's
 * definition. A step that it does not have is left to a worker that has it.
 */
export function createAgentActivities(deps: ActivityDependencies): AgentActivities {
  const { pool, log, meter, definition } = deps;
  const reporting =
    <Result>(run: (input: StepInput) => Promise<Result>) =>
    (input: StepInput) =>
      reportingFailures(
        input,
        { log, meter, keep: (failure) => noteFailure(pool, input, input.step, failure) },
        () => run(input),
      );
  const step = reporting((input) => runStep(deps, input));
  return {
    ...Object.fromEntries(definition.steps.filter(isAgentStep).map(({ name }) => [name, step])),
    // Temporal calls this for an activity type that is not registered.
    default: reporting((input) => leaveToOthers(deps, input)),
  };
}

/** The short activities of a chat; on the task queue of the chains, so that busy chats cannot delay them. */
export function createChatReadActivities(
  deps: Pick<ActivityDependencies, 'pool' | 'log' | 'meter'>,
): Pick<ChatActivities, 'readSession' | 'failQuestion'> {
  const { log, meter } = deps;
  return {
    readSession: (input) => reportingFailures(input, { log, meter }, () => readSession(deps, input)),
    failQuestion: (input) => reportingFailures(input, { log, meter }, () => failQuestion(deps, input)),
  };
}

/** The activity that answers questions with Claude Code; for the task queue of the chats. */
export function createChatActivities(deps: ActivityDependencies): Pick<ChatActivities, 'answerQuestion'> {
  const { pool, log, meter } = deps;
  return {
    answerQuestion: (input) =>
      reportingFailures(
        input,
        {
          log,
          meter,
          // Between tries the question has not failed yet; the journal knows why a try did.
          keep: async (failure) => {
            if (!isRetryable(failure.code)) await markFailed(pool, input, failure);
          },
        },
        () => answerQuestion(deps, input),
      ),
  };
}
