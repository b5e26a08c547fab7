import { z } from 'zod';
import { type FailureCode, SessionChainError, isFailureCode } from '../contracts/failures.js';
import {
  type ChainId,
  type ProjectId,
  parseBuildId,
  parseProjectId,
  parseVersionId,
} from '../contracts/ids.js';
import { type ChainStatus, chainStatuses } from '../contracts/steps.js';
import { type WaitKind, waitKinds } from '../contracts/waiting.js';
import type { ChainConditions, ListPlace } from '../storage/chains/chain-list.js';
import { checked, limit as rows } from './input.js';

/** Which chains are wanted. A chain has to meet all that is given. */
export interface ChainFilter {
  projectId?: string;
  /** Chains of these projects; one that there is not has none. */
  projectIds?: readonly string[];
  versionId?: string;
  buildId?: string;
  status?: ChainStatus | readonly ChainStatus[];
  /** Open, and waiting for this. */
  waitingFor?: WaitKind | readonly WaitKind[];
  /** Asked for first at this moment or later; a text is ISO 8601. */
  since?: Date | string;
  /**
   * Open, and without progress for longer than so many ms. Progress is that the chain was asked for or opened, that an
   * attempt or an activity of the host began or ended, or that an entry of a transcript was stored; an attempt that only
   * waited for the model service is none.
   */
  stuckForMs?: number;
  /** Failed with this code. */
  failureCode?: FailureCode;
  /** Chains at most, up to 10 000. Default: 50. */
  limit?: number;
  /** `nextCursor` of the page before. */
  cursor?: string;
  /**
   * Also asks Temporal whether a worker polls the task queues on which these chains wait (`missingWorker`), and whether their workflow
   * tasks fail (`failingTask`). Best effort: where Temporal does not answer, the list is what Postgres knows.
   */
  askTemporal?: boolean;
}

/** A value of a list, or several. */
export const oneOrMore = <const Values extends readonly [string, ...string[]]>(
  values: Values,
  what: string,
) => z.union([z.enum(values), z.array(z.enum(values)).min(1, `must name at least one ${what}`)]).optional();

/** A point in time. */
export const moment = z
  .union([z.date(), z.string().regex(/^\d{4}-\d{2}-\d{2}/, 'must be ISO 8601')])
  .transform((since) => new Date(since))
  .refine((since) => since.getUTCFullYear() >= 0, 'must be a point in time, not before the year 0');

/** Ids of projects, of which one key of a face may have many. */
export const someProjects = z.array(z.string()).max(10_000);

const schema = z.strictObject({
  projectId: z.string().optional(),
  projectIds: someProjects.optional(),
  versionId: z.string().optional(),
  buildId: z.string().optional(),
  status: oneOrMore(chainStatuses, 'status'),
  waitingFor: oneOrMore(waitKinds, 'kind'),
  since: moment.optional(),
  // Three decades: much more would leave the range of a timestamp.
  stuckForMs: z.number().int().min(0).max(1_000_000_000_000).optional(),
  failureCode: z.custom<FailureCode>(isFailureCode, 'must be the code of a failure').optional(),
  limit: rows.default(50),
  cursor: z.string().optional(),
  askTemporal: z.boolean().optional(),
});

/** Checks a filter. Throws INVALID_INPUT that names every field that is wrong. */
export function parseChainFilter(filter: ChainFilter): {
  /** One that has to exist. */
  projectId: ProjectId | null;
  conditions: ChainConditions;
  after: ListPlace | null;
  limit: number;
  askTemporal: boolean;
} {
  const {
    projectId,
    projectIds,
    versionId,
    buildId,
    status,
    waitingFor,
    since,
    stuckForMs,
    failureCode,
    limit,
    cursor,
    askTemporal,
  } = checked(schema, filter, 'Chains cannot be listed so', 'filter');
  const project = projectId === undefined ? null : parseProjectId(projectId);
  const within = projectIds?.map(parseProjectId);
  const projects = project === null ? within : [project].filter((id) => within?.includes(id) ?? true);
  return {
    projectId: project,
    conditions: {
      ...(projects === undefined ? {} : { projectIds: projects }),
      ...(versionId === undefined ? {} : { versionId: parseVersionId(versionId) }),
      ...(buildId === undefined ? {} : { buildId: parseBuildId(buildId) }),
      ...(status === undefined ? {} : { status: typeof status === 'string' ? [status] : status }),
      ...(waitingFor === undefined
        ? {}
        : { waitingFor: typeof waitingFor === 'string' ? [waitingFor] : waitingFor }),
      ...(since === undefined ? {} : { since }),
      ...(stuckForMs === undefined ? {} : { stuckMs: stuckForMs }),
      ...(failureCode === undefined ? {} : { failureCode }),
    },
    after: cursor === undefined ? null : placeOf(cursor),
    limit,
    askTemporal: askTemporal ?? false,
  };
}

/** A place in the list as a caller keeps it. */
export function cursorOf({ createdAtUs, chainId }: ListPlace): string {
  return Buffer.from(`${createdAtUs}.${chainId}`).toString('base64url');
}

function placeOf(cursor: string): ListPlace {
  // Below the greatest bigint, and within what a timestamp can hold.
  const [, createdAtUs, chainId] =
    /^(\d{1,17})\.(\d{1,18})$/.exec(Buffer.from(cursor, 'base64url').toString()) ?? [];
  if (
    createdAtUs !== undefined &&
    chainId !== undefined &&
    cursorOf({ createdAtUs, chainId: chainId as ChainId }) === cursor
  )
    return { createdAtUs, chainId: chainId as ChainId };
  throw new SessionChainError(
    'INVALID_INPUT',
    'The cursor is not one that a list of chains returned.',
    'Pass nextCursor of the page before, unchanged, or none for the first page.',
  );
}
