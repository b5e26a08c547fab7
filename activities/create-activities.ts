import type { ChainActivities } from '../contracts/activities.js';
import type { ChatActivities } from '../contracts/chat.js';
import { failTurn, readSession, runChatTurn } from './chat.js';
import type { ActivityDependencies } from './dependencies.js';
import { commit } from './commit.js';
import { reportingFailures } from './failures.js';
import { open } from './open.js';
import { runStep } from './step.js';

/** The short activities of a chain, which touch only the database; for the task queue of the chains. */
export function createChainActivities(
  deps: Pick<ActivityDependencies, 'pool' | 'createTranscriptStore' | 'chainRuns' | 'definition' | 'log'>,
): Pick<ChainActivities, 'open' | 'commit'> {
  return {
    open: (input) => reportingFailures(() => open(deps, input)),
    commit: (input) => reportingFailures(() => commit(deps, input)),
  };
}

/** The activities that run Claude Code, one type per step; for the task queue of the agents. */
export function createAgentActivities(deps: ActivityDependencies): Omit<ChainActivities, 'open' | 'commit'> {
  const step: ChainActivities['build'] = (input) => reportingFailures(() => runStep(deps, input));
  return { build: step, metadata: step, docs: step, compact: step };
}

/** The short activities of a chat; for the task queue of the chains, so that chats at work cannot hold them up. */
export function createChatReadActivities(
  deps: Pick<ActivityDependencies, 'pool'>,
): Pick<ChatActivities, 'readSession' | 'failTurn'> {
  return {
    readSession: (input) => reportingFailures(() => readSession(deps, input)),
    failTurn: (input) => reportingFailures(() => failTurn(deps, input)),
  };
}

/** The activity that answers questions with Claude Code; for the task queue of the chats. */
export function createChatActivities(deps: ActivityDependencies): Pick<ChatActivities, 'chatPlan'> {
  return { chatPlan: (input) => reportingFailures(() => runChatTurn(deps, input)) };
}
