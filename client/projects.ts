import { z } from 'zod';
import { SessionChainError } from '../contracts/failures.js';
import { type ProjectId, parseProjectId } from '../contracts/ids.js';
import { type ChainStatus, chainStatuses } from '../contracts/steps.js';
import type { Pool } from '../storage/db/pool.js';
import { projectNotFound } from '../storage/heads/errors.js';
import {
  type ProjectOrder,
  type ProjectPlace,
  type ProjectSummary,
  listProjects,
  projectOrders,
} from '../storage/heads/projects.js';
import { type GroupedSpend, type SpendGroup, spendBy, spendGroups } from '../storage/ledger/ledger.js';
import { moment, oneOrMore, someProjects } from './chain-filter.js';
import { checked, checkedOptions, limit as rows } from './input.js';

/** Which projects are wanted. A project has to meet all that is given. */
export interface ProjectFilter {
  /** Only these; one that there is not is left out. */
  projectIds?: readonly string[];
  /** Whether the newest version names the head; a project without a head or a version is neither. */
  inSync?: boolean;
  /** The status of the newest chain. */
  status?: ChainStatus | readonly ChainStatus[];
  /** The id contains this, whatever its case: 1 to 255 characters. */
  search?: string;
  /** `moved`: the head that moved last comes first, then projects whose head never moved. Default: `id`. */
  order?: ProjectOrder;
  /** Projects at most, up to 10 000. Default: 50. */
  limit?: number;
  /** `nextCursor` of the page before. */
  cursor?: string;
}

/** A page of a list. */
export interface ProjectPage {
  projects: ProjectSummary[];
  /** For the next page; null on the last one. */
  nextCursor: string | null;
}

/** Which spending is added up; a text is ISO 8601. */
export interface SpendOptions {
  since?: Date | string;
  until?: Date | string;
  /** Only these; one that there is not has spent nothing. */
  projectIds?: readonly string[];
  /** Groups at most, up to 10 000, those that cost most. Default: all. */
  limit?: number;
}

/** Many projects at once, from Postgres alone. */
export interface ProjectReads {
  /**
   * Projects with their heads, whether they are in sync or why not, their newest chains and what they cost. Throws
   * INVALID_INPUT.
   * @example
   * const { projects, nextCursor } = await sessionChain.projects({ status: 'failed', limit: 100 });
   * for (const { projectId, head, inSync, costUsd } of projects) console.log(projectId, head.sessionId, inSync, costUsd);
   */
  projects(filter?: ProjectFilter): Promise<ProjectPage>;
  /**
   * The same of one project. Throws INVALID_INPUT, PROJECT_NOT_FOUND.
   * @example
   * const { head, lastChain } = await sessionChain.project('shop');
   */
  project(projectId: string): Promise<ProjectSummary>;
  /**
   * What attempts spent that ended from `since` on (30 days before `until`) and before `until` (now), by `day` (UTC), `step`, `model` or
   * `project`: of all projects, or of `projectIds`. `limit` keeps the groups that cost most. Throws INVALID_INPUT.
   * @example
   * for (const { key, costUsd } of await sessionChain.spendBy('day', { projectIds: ['shop'] })) console.log(key, costUsd);
   * const [dearest] = await sessionChain.spendBy('project', { since: '2026-11-01', until: '2026-12-01', limit: 1 });
   */
  spendBy(group: SpendGroup, options?: SpendOptions): Promise<GroupedSpend[]>;
}

export function createProjectReads(pool: Pool): ProjectReads {
  return {
    async projects(filter = {}) {
      const { projectIds, inSync, status, search, order, limit, cursor } = checked(
        filterSchema,
        filter,
        'Projects cannot be listed so',
        'filter',
      );
      const listed = await listProjects(
        pool,
        {
          projectIds: projectIds?.map(parseProjectId) ?? null,
          inSync: inSync ?? null,
          status: status === undefined ? null : [status].flat(),
          search: search ?? null,
        },
        { order, after: cursor === undefined ? null : placeOf(order, cursor), limit: limit + 1 },
      );
      const page = listed.slice(0, limit);
      const last = page.at(-1)?.place;
      return {
        projects: page.map(({ project }) => project),
        nextCursor: listed.length > limit && last !== undefined ? cursorOf(order, last) : null,
      };
    },
    async project(projectId) {
      const id = parseProjectId(projectId);
      const conditions = { projectIds: [id], inSync: null, status: null, search: null };
      const [listed] = await listProjects(pool, conditions, { order: 'id', after: null, limit: 1 });
      if (!listed) throw projectNotFound(id);
      return listed.project;
    },
    async spendBy(group, options) {
      const by = checked(z.enum(spendGroups), group, 'What was spent cannot be grouped so', 'group');
      const { until = null, projectIds, limit = null, ...given } = checkedOptions(spendShape, options);
      const since = given.since ?? new Date((until?.getTime() ?? Date.now()) - monthMs);
      if (until !== null && until <= since)
        throw new SessionChainError(
          'INVALID_INPUT',
          `Nothing lies between since (${since.toISOString()}) and until (${until.toISOString()}).`,
          'Pass an until that is later than since; the day of until itself is not included.',
        );
      return await spendBy(pool, by, {
        ...{ since, until, limit },
        projectIds: projectIds?.map(parseProjectId) ?? null,
      });
    },
  };
}

const monthMs = 30 * 86_400_000;
const spendShape = {
  since: moment.optional(),
  until: moment.optional(),
  projectIds: someProjects.optional(),
  limit: rows.optional(),
};

const filterSchema = z.strictObject({
  projectIds: someProjects.optional(),
  inSync: z.boolean().optional(),
  status: oneOrMore(chainStatuses, 'status'),
  // Postgres takes no NUL.
  search: z
    .string()
    .min(1)
    .max(255)
    .regex(/^[^\0]*$/, 'must not contain NUL')
    .optional(),
  order: z.enum(projectOrders).default('id'),
  limit: rows.default(50),
  cursor: z.string().optional(),
});

function cursorOf(order: ProjectOrder, { projectId, movedUs }: ProjectPlace): string {
  const place = order === 'id' ? `after ${projectId}` : `moved ${movedUs ?? 'never'} ${projectId}`;
  return Buffer.from(place).toString('base64url');
}

function placeOf(order: ProjectOrder, cursor: string): ProjectPlace {
  // Within what a timestamp can hold.
  const [, moved = 'never', id = ''] =
    /^(?:after|moved (-?\d{1,17}|never)) (\S+)$/.exec(Buffer.from(cursor, 'base64url').toString()) ?? [];
  const place = { projectId: id as ProjectId, movedUs: moved === 'never' ? null : moved };
  if (id !== '' && cursorOf(order, place) === cursor) return { ...place, projectId: parseProjectId(id) };
  throw new SessionChainError(
    'INVALID_INPUT',
    'The cursor is not one that a list of projects in this order returned.',
    'Pass nextCursor of the page before, unchanged and with the same order, or none for the first page.',
  );
}
