import { senseless } from '../contracts/retention.js';
import { SessionChainError } from '../contracts/failures.js';
import type { Config } from './environment.js';

/** The variable of each period, for messages. */
const variableOf = {
  transcriptsDays: 'SESSION_CHAIN_ARCHIVE_TRANSCRIPTS_DAYS',
  detailsDays: 'SESSION_CHAIN_KEEP_DETAILS_DAYS',
} as const;

/** The options of retention from the environment. Throws INVALID_INPUT that names the variable for a policy that makes no sense. */
export function retentionOfVariables(config: Config) {
  const archive = config.SESSION_CHAIN_ARCHIVE;
  const periods = {
    transitionsDays: config.SESSION_CHAIN_KEEP_TRANSITIONS_DAYS,
    transcriptsDays: config.SESSION_CHAIN_ARCHIVE_TRANSCRIPTS_DAYS,
    dropDays: config.SESSION_CHAIN_DROP_TRANSCRIPTS_DAYS,
    detailsDays: config.SESSION_CHAIN_KEEP_DETAILS_DAYS,
  };
  const problems = senseless(periods).map(({ path, message }) => `${variableOf[path]}: ${message}`);
  if (problems.length > 0)
    throw new SessionChainError('INVALID_INPUT', `The environment is not usable: ${problems.join('; ')}.`);
  return {
    ...(archive === undefined ? {} : { archive }),
    ...periods,
    hostTables: config.SESSION_CHAIN_RETENTION_HOST_TABLES,
  };
}
