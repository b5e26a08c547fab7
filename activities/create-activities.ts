import type { ChainActivities } from '../contracts/activities.js';
import type { ActivityDependencies } from './dependencies.js';
import { commit } from './commit.js';
import { reportingFailures } from './failures.js';
import { open } from './open.js';
import { runStep } from './step.js';

/** The short activities of a chain, which touch only the database; for the task queue of the chains. */
export function createChainActivities(
  deps: Pick<ActivityDependencies, 'pool' | 'createTranscriptStore' | 'chainRuns' | 'log'>,
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
