import { z } from 'zod';
import { SessionChainError } from '../contracts/failures.js';
import { type ProjectId, parseProjectId } from '../contracts/ids.js';
import { type ChainStatus, chainStatuses } from '../contracts/steps.js';
import type { Pool } from '../storage/db/pool.js';
import { projectNotFound } from '../storage/heads/errors.js';
import { type ProjectSummary, listProjects } from '../storage/heads/projects.js';
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
  /** Projects at most, up to 10 000. Default: 50. */
  limit?: number;
  /** `nextCursor` of the page before. */
  cursor?: string;
}

/** A page of a list, in the order of the ids. */
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
      const { projectIds, inSync, status, limit, cursor } = checked(
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
        },
        { after: cursor === undefined ? null : projectOf(cursor), limit: limit + 1 },
      );
      const projects = listed.slice(0, limit);
      const last = projects.at(-1)?.projectId;
      return {
        projects,
        nextCursor: listed.length > limit && last !== undefined ? cursorOf(last) : null,
      };
    },
    async project(projectId) {
      const id = parseProjectId(projectId);
      const conditions = { projectIds: [id], inSync: null, status: null };
      const [project] = await listProjects(pool, conditions, { after: null, limit: 1 });
      if (!project) throw projectNotFound(id);
      return project;
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
  limit: rows.default(50),
  cursor: z.string().optional(),
});

function cursorOf(projectId: ProjectId): string {
  return Buffer.from(`after ${projectId}`).toString('base64url');
}

function projectOf(cursor: string): ProjectId {
  const [, id = ''] = /^after (\S+)$/.exec(Buffer.from(cursor, 'base64url').toString()) ?? [];
  if (id !== '' && cursorOf(id as ProjectId) === cursor) return parseProjectId(id);
  throw new SessionChainError(
    'INVALID_INPUT',
    'The cursor is not one that a list of projects returned.',
    'Pass nextCursor of the page before, unchanged, or none for the first page.',
  );
}
