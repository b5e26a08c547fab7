import type pg from 'pg';
import {
  type Pool,
  classified,
  closeIdle,
  introduceAs,
  introductionOf,
  isDatabaseAway,
  isReadOnly,
} from './pool.js';

/**
 * Runs statements in one transaction on one connection; an error undoes all of them, and so does `undo`, for a dry run. Most of
 * what is stored here is one statement and needs none of this. Errors as those of `queryRows`.
 */
export async function inTransaction<Result>(
  pool: Pool,
  work: (client: pg.PoolClient) => Promise<Result>,
  { undo = false }: { undo?: boolean } = {},
): Promise<Result> {
  const introduction = await introductionOf(pool);
  const client = await pool.connect().catch((error: unknown) => {
    throw classified(error);
  });
  introduceAs(client, introduction);
  let isBroken = true;
  // A connection that breaks also emits an event; the running statement has failed already.
  const ignore = () => undefined;
  client.on('error', ignore);
  try {
    await client.query('BEGIN');
    const result = await work(client);
    await client.query(undo ? 'ROLLBACK' : 'COMMIT');
    isBroken = false;
    return result;
  } catch (error) {
    const known = classified(error);
    if (isReadOnly(known)) closeIdle(pool);
    await client.query('ROLLBACK').then(
      // Another connection may have other settings by now, or another server, as one that the pool itself queries with gets.
      () => (isBroken = isDatabaseAway(known)),
      () => undefined,
    );
    throw known;
  } finally {
    client.off('error', ignore);
    client.release(isBroken);
  }
}
