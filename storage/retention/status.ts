import { type Pool, queryOne } from '../db/pool.js';

/** The files of the archive, as the database knows them. */
export interface ArchiveParts {
  /** Begun and not read back yet: one that stays is written anew by the next run. */
  planned: number;
  verified: number;
  /** Of the verified ones. */
  bytes: number;
  lastVerifiedAt: Date | null;
}

export async function readParts(pool: Pool): Promise<ArchiveParts> {
  return await queryOne<ArchiveParts & Record<string, unknown>>(pool, {
    name: 'read_archive_parts',
    text: `SELECT count(*) FILTER (WHERE state = 'planned')::integer AS planned,
             count(*) FILTER (WHERE state = 'verified')::integer AS verified,
             coalesce(sum(bytes) FILTER (WHERE state = 'verified'), 0)::float8 AS bytes,
             max(verified_at) AS "lastVerifiedAt"
           FROM session_chain.archive_parts`,
  });
}
