import type { Config } from '../config/environment.js';
import { reservedSources } from '../contracts/steps.js';
import { isAgentStep, submissionSteps } from '../definition/definition.js';
import { loadChainDefinition } from '../definition/load.js';
import type { Expectations } from '../storage/db/host-tables.js';

/** What the definition of this folder requires of a host's tables. Throws INVALID_CONFIG. */
export async function expectationsOf(config: Config): Promise<Expectations> {
  const { definition } = await loadChainDefinition(config);
  return {
    sources: [...reservedSources, ...definition.steps.filter(isAgentStep).map(({ name }) => name)],
    columns: submissionSteps(definition).flatMap(({ name, column }) =>
      column === undefined ? [] : [{ step: name, column }],
    ),
    statuses: [config.SESSION_CHAIN_STATUS_SUCCEEDED, config.SESSION_CHAIN_STATUS_FAILED].filter(
      (status) => status !== '',
    ),
  };
}
