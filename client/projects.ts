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
   * What was spent since a moment (30 days ago), by `day` (UTC), `step` or `model`: by all projects, or by `projectIds`. Throws
   * INVALID_INPUT.
   * @example
   * for (const { key, costUsd } of await sessionChain.spendBy('day', { projectIds: ['shop'] })) console.log(key, costUsd);
   */
  spendBy(
    group: SpendGroup,
    options?: { since?: Date | string; projectIds?: readonly string[] },
  ): Promise<GroupedSpend[]>;
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
      const { since = new Date(Date.now() - monthMs), projectIds } = checkedOptions(spendShape, options);
      return await spendBy(pool, by, { since, projectIds: projectIds?.map(parseProjectId) ?? null });
    },
  };
}

const monthMs = 30 * 86_400_000;
const spendShape = { since: moment.optional(), projectIds: someProjects.optional() };

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
