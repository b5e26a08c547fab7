import { type Logger, pino } from 'pino';
import { credentialsIn, withoutCredentials, withoutValues } from '../contracts/secrets.js';
import type { Config } from './environment.js';

/** JSON lines on stderr, at SESSION_CHAIN_LOG_LEVEL, without the credentials of the environment. */
export function createLog({
  SESSION_CHAIN_LOG_LEVEL: level,
  environment,
}: Pick<Config, 'SESSION_CHAIN_LOG_LEVEL'> & {
  environment: Readonly<Record<string, string | undefined>>;
}): Logger {
  const credentials = credentialsIn(environment);
  return pino(
    {
      level,
      hooks: { streamWrite: (line) => withoutValues(withoutCredentials(line), credentials) },
    },
    pino.destination(2),
  );
}
