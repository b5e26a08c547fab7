import { SessionChainError } from '../contracts/failures.js';
import { requireAccess } from '../storage/db/host-access.js';
import { requireMigrations } from '../storage/db/migrate.js';
import { type Pool, queryRows } from '../storage/db/pool.js';

const answerMs = 1_000;

/**
 * Whether the database answers and is migrated, for probes: asked at any rate, it looks once a second at most, and one look at a
 * time. Throws DATABASE_UNAVAILABLE, also where there is no answer within a second, DATABASE_REFUSED, MIGRATIONS_BEHIND.
 */
export function createReadiness(pool: Pool): () => Promise<void> {
  let looking: Promise<void> | null = null;
  let looked: { at: number; result: Promise<void> } | null = null;
  let isMigrated = false;
  const look = async () => {
    // Compares all functions; what was migrated once stays so.
    if (!isMigrated) {
      await requireMigrations(pool);
      await requireAccess(pool);
    } else await queryRows(pool, { text: 'SELECT FROM session_chain.installation' });
    isMigrated = true;
  };
  return async () => {
    if (looked !== null && performance.now() - looked.at < answerMs) return await looked.result;
    looking ??= look().finally(() => (looking = null));
    const result = withinTime(looking);
    const settled = () => void (looked = { at: performance.now(), result });
    result.then(settled, settled);
    await result;
  };
}

async function withinTime(looking: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () =>
        reject(
          new SessionChainError('DATABASE_UNAVAILABLE', `The database did not answer within ${answerMs} ms.`),
        ),
      answerMs,
    );
  });
  try {
    await Promise.race([looking, late]);
  } finally {
    clearTimeout(timer);
  }
}
