import type { Config } from '../config/environment.js';
import { toSessionChainError } from '../contracts/failures.js';
import { credentialsIn, withoutCredentials, withoutValues } from '../contracts/secrets.js';
import type { CheckName, Finding } from './finding.js';
import { remedyInWords } from './remedies.js';

const answerWithinMs = 15_000;

export type NamedFinding = Finding & { check: CheckName };
export type Check = (config: Config) => Promise<Finding | Finding[]>;

/** What a check found, without the credentials that it quotes. One that cannot be made, or not in time, has failed. */
export async function examine(check: CheckName, look: Check, config: Config): Promise<NamedFinding[]> {
  const credentials = credentialsIn(config.environment);
  const safe = (text: string) => withoutValues(withoutCredentials(text), credentials);
  return [await outcomeOf(look, config)].flat().map(({ status, message, remedy }) => ({
    ...{ check, status, message: safe(message) },
    ...(remedy === undefined ? {} : { remedy: safe(remedy) }),
  }));
}

async function outcomeOf(look: Check, config: Config): Promise<Finding | Finding[]> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Finding>((settle) => {
    timer = setTimeout(
      () =>
        settle({
          status: 'fail',
          message: `no answer within ${answerWithinMs / 1_000} s`,
          remedy: 'Check the address and the network in between.',
        }),
      answerWithinMs,
    );
  });
  try {
    return await Promise.race([look(config), late]);
  } catch (error) {
    const failure = toSessionChainError(error);
    return { status: 'fail', message: failure.message, remedy: remedyInWords(failure) };
  } finally {
    clearTimeout(timer);
  }
}
