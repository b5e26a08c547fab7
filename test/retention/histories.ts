import { expect } from '@jest/globals';
import { ApplicationFailure } from '@temporalio/common';
import { SessionChainError } from '../../contracts/failures.js';
import type { SessionId } from '../../contracts/ids.js';
import { checkSessionValidity } from '../../storage/heads/recovery.js';
import { requestErasure } from '../../storage/erasure/erasure.js';
import { rewindProject } from '../../storage/operations/rewind.js';
import { holdProject, releaseProject } from '../../storage/retention/hold.js';
import { fc } from '../support/properties.js';
import {
  type Recorded,
  digestOfTables,
  expectAllThere,
  expectErased,
  expectNothingDue,
  neededSessions,
  nothingRecorded,
  record,
} from './record.js';
import * as world from './world.js';

/** Histories of some projects, command by command, and what each command leaves true. */

export interface Model extends world.World {
  projects: ModelProject[];
}

interface ModelProject extends world.Project {
  recorded: Recorded;
  isHeld: boolean;
  /** Days for which retention still leaves it alone after a restoration. */
  keptDays: number;
  certificates: number;
}

export function newModel(base: world.World, projects: number): Model {
  return { ...base, projects: Array.from({ length: projects }, () => newModelProject()) };
}

function newModelProject(): ModelProject {
  return {
    ...world.newProject(),
    recorded: nothingRecorded(),
    ...{ isHeld: false, keptDays: 0, certificates: 0 },
  };
}

/** How often what is seldom was reached, over all histories. */
export const reached = { dropped: 0, restored: 0, details: 0, erased: 0 };

type Command = fc.AsyncCommand<Model, undefined>;

/** A command that is always possible: what cannot be done now must be refused, and change nothing. */
function command(
  name: string,
  index: number,
  act: (model: Model, project: ModelProject) => Promise<void>,
  { works = false } = {},
): Command {
  return {
    check: () => true,
    async run(model) {
      const project = model.projects[index % model.projects.length];
      if (!project) throw new Error('The model has no project.');
      await act(model, project);
      if (works) await record(model, project, project.recorded);
      for (const one of model.projects) await expectAllThere(model, one, one.recorded);
    },
    toString: () => `${name} of ${index}`,
  };
}

/** The code with which it was refused; null where it was not. */
async function codeOf(promise: Promise<unknown>): Promise<string | null> {
  try {
    await promise;
    return null;
  } catch (error) {
    if (error instanceof SessionChainError) return error.code;
    if (error instanceof ApplicationFailure && error.type) return error.type;
    throw error;
  }
}

const work = (index: number, steps: Parameters<typeof world.work>[2]) =>
  command(`work(${JSON.stringify(steps)})`, index, (model, project) => world.work(model, project, steps), {
    works: true,
  });

const close = (index: number) =>
  command('close', index, (model, project) => world.close(model, project), { works: true });

const ask = (index: number, how: { aside: boolean; running: boolean }) =>
  command(
    `ask(${JSON.stringify(how)})`,
    index,
    async (model, project) => {
      // There is a project once a chain was started.
      if (project.recorded.transitions.size > 0) await world.ask(model, project, how);
    },
    { works: true },
  );

const answer = (index: number, how: { added: number; spent: number }) =>
  command(`answer(${JSON.stringify(how)})`, index, (model, project) => world.answer(model, project, how), {
    works: true,
  });

const rewind = (index: number, back: number) =>
  command(
    `rewind(${back})`,
    index,
    async (model, project) => {
      const { projectId, recorded, chain } = project;
      const seqs = recorded.transitions.size;
      if (seqs === 0) return;
      const to = seqs - (back % seqs);
      const source = recorded.transitions.get(String(to))?.['new_session_id'] as SessionId;
      const isDropped = await isGone(model, projectId, source);
      const rewinding = rewindProject(model.pool, {
        projectId,
        to,
        versionId: null,
        key: null,
        dryRun: false,
      });
      const code = await codeOf(rewinding);
      const expected =
        to === seqs ? 'INVALID_INPUT' : isDropped ? 'SESSION_ARCHIVED' : chain ? 'PROJECT_BUSY' : null;
      expect({ to, isDropped, code }).toEqual({ to, isDropped, code: expected });
      if (code !== null) return;
      const { sessionId } = await rewinding;
      project.transcripts.set(
        sessionId as SessionId,
        world.copyOf(project, source, sessionId as SessionId).map((entry) => JSON.stringify(entry)),
      );
    },
    { works: true },
  );

/** After some days: does what the dry run said, and once, for a second run finds nothing. On hold it does nothing. */
const retain = (index: number, days: number) =>
  command(`retain(after ${days})`, index, async (model, project) => {
    if (project.recorded.transitions.size === 0) return;
    await world.age(model, project, days);
    project.keptDays = Math.max(0, project.keptDays - days);
    const before = await digestOfTables(model.pool);
    const { freedBytes: _, details, ...planned } = await world.retain(model, project, { dryRun: true });
    expect(await digestOfTables(model.pool)).toEqual(before);
    const { freedBytes: _freed, ...done } = await world.retain(model, project);
    reached.dropped += done.droppedSessions;
    reached.details += done.details;
    // Of a chain with several briefs the dry run counts one.
    expect(done.details).toBeGreaterThanOrEqual(details);
    expect(done).toEqual({ ...planned, details: done.details, leftAlone: done.leftAlone });
    const after = await digestOfTables(model.pool);
    if (project.isHeld) expect(after).toEqual(before);
    if (!project.isHeld && project.keptDays === 0) await expectNothingDue(model, project);
    await world.retain(model, project);
    expect(await digestOfTables(model.pool)).toEqual(after);
  });

type Part = 'session' | 'month' | 'project';

const restore = (index: number, what: Part, which: number) =>
  command(`restore(${what} ${which})`, index, async (model, project) => {
    const { projectId, recorded } = project;
    const { pool } = model;
    const sessions = [...recorded.sessions.keys()] as SessionId[];
    const sessionId = sessions[which % (sessions.length || 1)];
    const { rows: parts } = await pool.query<{ month: string }>(
      `SELECT DISTINCT to_char(p.month, 'YYYY-MM') AS month FROM session_chain.archive_parts p
       WHERE p.project_id = $1 AND p.state = 'verified' ORDER BY 1`,
      [projectId],
    );
    const month = parts[which % (parts.length || 1)]?.month ?? '2026-01';
    if (what === 'session' && sessionId === undefined) return;
    const request =
      what === 'session' ? { sessionId: sessionId as SessionId } : what === 'month' ? { month } : {};
    const code = await codeOf(world.restore(model, project, request));
    if (code !== null) expect(code).toBe('NOT_IN_ARCHIVE');
    else {
      project.keptDays = 30;
      reached.restored += 1;
    }
    if (what === 'session' && recorded.appends.has(sessionId as SessionId))
      expect(await isGone(model, projectId, sessionId as SessionId)).toBe(false);
    if (what !== 'project') return;
    for (const session of sessions) expect(await isGone(model, projectId, session)).toBe(false);
    expect(
      await rowsIn(model, 'session_transitions WHERE seq IS NOT NULL AND project_id = $1', projectId),
    ).toBe(recorded.transitions.size);
    expect(await rowsIn(model, 'session_chain.attempts WHERE project_id = $1', projectId)).toBe(
      recorded.attempts.size,
    );
    expect(await rowsIn(model, 'project_ai_session_metrics WHERE project_id = $1', projectId)).toBe(
      recorded.metrics.size,
    );
  });

const hold = (index: number) =>
  command('hold', index, async (model, project) => {
    if (project.recorded.transitions.size === 0) return;
    await holdProject(model.pool, project.projectId, { by: 'the test', reason: 'a lawsuit' });
    project.isHeld = true;
  });

const release = (index: number) =>
  command('release', index, async (model, project) => {
    if (project.recorded.transitions.size === 0) return;
    await releaseProject(model.pool, project.projectId);
    project.isHeld = false;
  });

const erase = (index: number) =>
  command('erase', index, async (model, project) => {
    if (project.recorded.transitions.size === 0) return;
    if (project.isHeld) {
      const before = await digestOfTables(model.pool);
      expect(await codeOf(requestErasure(model.pool, { projectId: project.projectId, by: 'the test' }))).toBe(
        'PROJECT_ON_HOLD',
      );
      expect(await digestOfTables(model.pool)).toEqual(before);
      return;
    }
    await world.erase(model, project);
    await expectErased(model, project, project.certificates + 1);
    reached.erased += 1;
    // Another may be begun under its id.
    Object.assign(project, newModelProject(), {
      projectId: project.projectId,
      certificates: project.certificates + 1,
    });
  });

/** At the end every head resumes, also one that a restoration has to bring back. */
export async function expectHeadsResume(model: Model): Promise<void> {
  for (const project of model.projects) {
    for (const id of (await neededSessions(model.pool, project)).keys()) {
      if (project.recorded.appends.has(id))
        expect(await checkSessionValidity(model.pool, project.projectId, id)).toMatchObject({ valid: true });
    }
    if (project.chain) await world.close(model, project);
    await world.work(model, project, { fails: 0, added: 1, spent: 1, brief: false, closes: false });
    await record(model, project, project.recorded);
    await expectAllThere(model, project, project.recorded);
  }
}

async function isGone({ pool }: Model, projectId: string, sessionId: SessionId): Promise<boolean> {
  const { rows } = await pool.query(
    'SELECT FROM session_chain.sessions WHERE project_id = $1 AND session_id = $2 AND dropped_at IS NOT NULL',
    [projectId, sessionId],
  );
  return rows.length > 0;
}

async function rowsIn({ pool }: Model, from: string, projectId: string): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(`SELECT count(*)::integer AS count FROM ${from}`, [
    projectId,
  ]);
  return rows[0]?.count ?? 0;
}

const at = fc.nat({ max: 1 });
const added = fc.integer({ min: 1, max: 3 });
const spent = fc.integer({ min: 1, max: 40 });
const seldom = fc.nat({ max: 3 }).map((dice) => dice === 0);
const often = <T>(arbitrary: fc.Arbitrary<T>, times: number) =>
  Array.from({ length: times }, () => arbitrary);

/** A history of two projects. */
export const histories = (size: number) =>
  fc.commands(
    [
      ...often(
        fc
          .tuple(
            at,
            fc.record({ fails: fc.nat({ max: 2 }), added, spent, brief: fc.boolean(), closes: fc.boolean() }),
          )
          .map(([index, steps]) => work(index, steps)),
        3,
      ),
      at.map(close),
      fc
        .tuple(at, fc.record({ aside: fc.boolean(), running: fc.boolean() }))
        .map(([index, how]) => ask(index, how)),
      fc.tuple(at, fc.record({ added, spent })).map(([index, how]) => answer(index, how)),
      fc.tuple(at, fc.nat({ max: 9 })).map(([index, back]) => rewind(index, back)),
      ...often(
        fc.tuple(at, fc.constantFrom(31, 91, 91, 131, 401)).map(([index, days]) => retain(index, days)),
        5,
      ),
      ...often(
        fc
          .tuple(at, fc.constantFrom<Part>('session', 'month', 'project'), fc.nat({ max: 9 }))
          .map(([index, what, which]) => restore(index, what, which)),
        3,
      ),
      fc.tuple(at, seldom).map(([index, holds]) => (holds ? hold(index) : release(index))),
      fc.tuple(at, seldom).map(([index, erases]) => (erases ? erase(index) : retain(index, 91))),
    ],
    { maxCommands: size, size: 'max' },
  );
