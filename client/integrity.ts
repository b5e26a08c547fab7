import { z } from 'zod';
import type { ChainEnd } from '../contracts/end.js';
import { SessionChainError } from '../contracts/failures.js';
import { type AttemptId, parseProjectId } from '../contracts/ids.js';
import { listLateEnds } from '../storage/chains/ends.js';
import type { Pool } from '../storage/db/pool.js';
import {
  type BrokenPlace,
  type BrokenSession,
  listBrokenSessions,
} from '../storage/heads/broken-sessions.js';
import { type FencedAttempt, listFencedAttempts } from '../storage/operations/fenced-attempts.js';
import { someProjects } from './chain-filter.js';
import { checkedOptions, limit as rows } from './input.js';

/** Which part of a list is wanted. */
export interface IntegrityOptions {
  /** Only of these projects; one that there is not has none. */
  projectIds?: readonly string[];
  /** Entries at most, up to 10 000. Default: 50. */
  limit?: number;
  /** `nextCursor` of the page before. */
  cursor?: string;
}

/** What is not as it should be, and what was rejected so that it stayed as it should be; from Postgres alone. */
export interface IntegrityReads {
  /**
   * Heads from which no operation can go on, and sessions in quarantine, in the order of their projects. It reads no transcript:
   * what only a scan of every entry finds, `validateAndRecover` of the one session finds. Throws INVALID_INPUT.
   * @example
   * const { sessions } = await sessionChain.brokenSessions();
   * for (const { projectId, reason, isHead } of sessions) if (isHead) console.log(projectId, reason);
   */
  brokenSessions(
    options?: IntegrityOptions,
  ): Promise<{ sessions: BrokenSession[]; nextCursor: string | null }>;
  /**
   * Attempts whose right to go on ended before they could commit, the newest first: who, why, and which attempt took over. Throws
   * INVALID_INPUT.
   * @example
   * const { attempts } = await sessionChain.fencedAttempts({ limit: 10 });
   * for (const { projectId, step, worker, reason } of attempts) console.log(projectId, step, worker, reason);
   */
  fencedAttempts(
    options?: IntegrityOptions,
  ): Promise<{ attempts: FencedAttempt[]; nextCursor: string | null }>;
  /**
   * Ends of chains that the activity of the host (`onEnd` of the workers) has not been told of for more than a minute, the newest
   * first. Throws INVALID_INPUT.
   * @example
   * const { ends } = await sessionChain.lateEnds();
   * for (const { projectId, versionId, failure } of ends) console.log(projectId, versionId, failure);
   */
  lateEnds(options?: IntegrityOptions): Promise<{ ends: ChainEnd[]; nextCursor: string | null }>;
}

export function createIntegrityReads(pool: Pool): IntegrityReads {
  return {
    async brokenSessions(options) {
      const { cursor, ...wanted } = wantedOf(options);
      const after = cursor === undefined ? null : placeOf(cursor);
      const { page, next } = pageOf(
        await listBrokenSessions(pool, { ...wanted, after, limit: wanted.limit + 1 }),
        wanted.limit,
      );
      return { sessions: page, nextCursor: next && cursorOf(`${next.projectId} ${next.sessionId}`) };
    },
    async fencedAttempts(options) {
      const { cursor, ...wanted } = wantedOf(options);
      const before = cursor === undefined ? null : (numberOf(cursor) as AttemptId);
      const { page, next } = pageOf(
        await listFencedAttempts(pool, { ...wanted, before, limit: wanted.limit + 1 }),
        wanted.limit,
      );
      return { attempts: page, nextCursor: next && cursorOf(next.attemptId) };
    },
    async lateEnds(options) {
      const { cursor, ...wanted } = wantedOf(options);
      const before = cursor === undefined ? null : numberOf(cursor);
      const { page, next } = pageOf(
        await listLateEnds(pool, { ...wanted, before, limit: wanted.limit + 1 }),
        wanted.limit,
      );
      return { ends: page.map(({ end }) => end), nextCursor: next && cursorOf(next.place) };
    },
  };
}

const shape = {
  projectIds: someProjects.optional(),
  limit: rows.default(50),
  cursor: z.string().optional(),
};

function wantedOf(options: IntegrityOptions | undefined) {
  const { projectIds, ...rest } = checkedOptions(shape, options);
  return { ...rest, projectIds: projectIds?.map(parseProjectId) ?? null };
}

/** The page of a list that was read one longer, and its last entry where more follow. */
function pageOf<Entry>(listed: Entry[], limit: number): { page: Entry[]; next: Entry | null } {
  const page = listed.slice(0, limit);
  return { page, next: listed.length > limit ? (page.at(-1) ?? null) : null };
}

function cursorOf(place: string): string {
  return Buffer.from(place).toString('base64url');
}

/** What a cursor stands for, where it is one of these lists. */
function read(cursor: string, form: RegExp): RegExpExecArray {
  const place = Buffer.from(cursor, 'base64url').toString();
  const read = form.exec(place);
  if (read !== null && cursorOf(place) === cursor) return read;
  throw new SessionChainError(
    'INVALID_INPUT',
    'The cursor is not one that this list returned.',
    'Pass nextCursor of the page before, unchanged, or none for the first page.',
  );
}

function placeOf(cursor: string): BrokenPlace {
  const [, projectId, sessionId] = read(cursor, /^(\S+) (.+)$/);
  return { projectId, sessionId } as BrokenPlace;
}

function numberOf(cursor: string): string {
  // Below the greatest bigint.
  return read(cursor, /^\d{1,18}$/)[0];
}
