import { type Config, required } from '../config/environment.js';
import { type Pool, createPool } from '../storage/db/pool.js';

/** A pool on DATABASE_URL, whatever its schema, for `migrate` and `doctor`. Throws INVALID_INPUT when it is not set. */
export function openPool(config: Config): Pool {
  return createPool(required(config.DATABASE_URL, 'DATABASE_URL'), {
    applicationName: 'session-chain cli',
    max: 4,
  });
}
