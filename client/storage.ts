import { parseProjectId } from '../contracts/ids.js';
import type { ProjectStorage, StorageOverview } from '../contracts/storage.js';
import type { Pool } from '../storage/db/pool.js';
import { readHead } from '../storage/heads/heads.js';
import { readProjectStorage, readStorage } from '../storage/retention/sizes.js';
import { listWorkers } from '../storage/workers/workers.js';
import { checkedOptions, limit as rows } from './input.js';

export interface StorageOptions {
  /** Projects at most, up to 10 000. Default: 20. */
  limit?: number;
}

/** What takes space, from Postgres alone. */
export interface StorageReads {
  /**
   * What the tables take, with their indexes, what the archive holds, how transcripts grow, what retention frees of them, and the
   * projects that take most. Large tables are sampled. Throws INVALID_INPUT.
   * @example
   * const { bytes, growthPerDay, projects } = await sessionChain.storage({ limit: 10 });
   * for (const { projectId, bytes } of projects) console.log(projectId, bytes);
   */
  storage(options?: StorageOptions): Promise<StorageOverview>;
  /**
   * What a project takes, by kind; also of one whose row is gone. Throws INVALID_INPUT, PROJECT_NOT_FOUND where there is nothing of it.
   * @example
   * const { kinds, archive, freeable } = await sessionChain.projectStorage('shop');
   * console.log(kinds.texts.bytes, archive.bytes, freeable?.now);
   */
  projectStorage(projectId: string): Promise<ProjectStorage>;
}

export function createStorageReads(pool: Pool): StorageReads {
  /** Null where no living worker has an archive. */
  const dropDays = async () => {
    const policies = (await listWorkers(pool)).flatMap(({ alive, limits }) =>
      alive ? limits.retention : [],
    );
    return policies.find(({ archive }) => archive !== null)?.dropDays ?? null;
  };
  return {
    async storage(options) {
      const { limit = 20 } = checkedOptions({ limit: rows.optional() }, options);
      return await readStorage(pool, limit, await dropDays());
    },
    async projectStorage(projectId) {
      const id = parseProjectId(projectId);
      const stored = await readProjectStorage(pool, id, await dropDays());
      if (stored.bytes === 0 && stored.archive.files === 0) await readHead(pool, id);
      return stored;
    },
  };
}
