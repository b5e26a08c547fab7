import { setTimeout as sleep } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import { deleteProject } from '../archive/part.js';
import type { EraseActivities, EraseInput, ErasureCertificate } from '../contracts/erasure.js';
import { SessionChainError } from '../contracts/failures.js';
import { submissionSteps } from '../definition/definition.js';
import {
  buildsOf,
  eraseRows,
  finishErasure,
  noteErased,
  placesOf,
  sessionsOfOthers,
  stopErased,
  workflowsOf,
} from '../storage/erasure/erasure.js';
import { temporalError } from '../temporal/errors.js';
import type { Execution, ProjectHistories } from '../temporal/histories.js';
import type { ActivityDependencies, WorkerDependencies } from './dependencies.js';
import { reportingFailures } from './failures.js';

export interface EraseDependencies extends Pick<
  ActivityDependencies,
  'pool' | 'agent' | 'checkpoint' | 'definition' | 'retention'
> {
  histories: ProjectHistories;
}

/** How long an activity goes on before it lets the workflow look. */
const sliceMs = 20_000;
const atOnce = 8;
const buildsAtOnce = 500;

/** The activities of an erasure; on the task queue of the chains. Each does again what was done, and finds less. */
export function createEraseActivities(
  deps: EraseDependencies & Pick<WorkerDependencies, 'log' | 'meter' | 'outages'>,
): EraseActivities {
  const reporting =
    <Result>(run: (deps: EraseDependencies, input: EraseInput) => Promise<Result>) =>
    (input: EraseInput) =>
      reportingFailures(input, deps, () => withHeartbeats(() => run(deps, input)));
  return {
    stopWork: reporting(stopWork),
    eraseHistories: reporting(eraseHistories),
    eraseArchive: reporting(eraseArchive),
    eraseCheckpoints: reporting(eraseCheckpoints),
    eraseRunFiles: reporting(eraseRunFiles),
    eraseRows: reporting(eraseSomeRows),
    certify: reporting(certify),
  };
}

async function withHeartbeats<Result>(work: () => Promise<Result>): Promise<Result> {
  const context = Context.current();
  context.heartbeat();
  const timer = setInterval(() => context.heartbeat(), (context.info.heartbeatTimeoutMs ?? 30_000) / 3);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}

/** Agents are told through the database, workflows by Temporal. What is dead already needs no telling: its lease expires. */
async function stopWork(
  { pool, histories }: EraseDependencies,
  { erasureId, projectId }: EraseInput,
): Promise<boolean> {
  const until = Date.now() + sliceMs;
  let waitMs = await stopErased(pool, erasureId);
  await inTemporal(async () => {
    for await (const execution of histories.list(projectId)) await histories.terminate(execution);
  });
  while (waitMs !== null && Date.now() < until) {
    // What stops in order says so, before its lease expires.
    await sleep(Math.min(waitMs, 500), undefined, { signal: Context.current().cancellationSignal });
    waitMs = await stopErased(pool, erasureId);
  }
  return waitMs === null;
}

/** A search lists what began a moment ago a moment later; until nothing is listed, and no workflow of a row is there. */
async function eraseHistories(
  { pool, histories }: EraseDependencies,
  { erasureId, projectId }: EraseInput,
): Promise<boolean> {
  return await inTemporal(async () => {
    const listed: Execution[] = [];
    for await (const execution of histories.list(projectId)) listed.push(execution);
    const found =
      listed.length > 0
        ? listed
        : (await eachOf(await workflowsOf(pool, projectId), (id) => histories.latest(id))).filter(
            (one) => one !== null,
          );
    await noteErased(pool, erasureId, 'workflows', { count: found.length });
    await eachOf(found, (execution) => histories.delete(execution));
    return found.length === 0;
  });
}

async function eraseArchive(
  { pool, retention: { archive } }: EraseDependencies,
  { erasureId, projectId }: EraseInput,
): Promise<void> {
  const { archives } = await placesOf(pool, projectId);
  const others = archives.filter((location) => location !== archive?.location);
  if (others.length > 0) {
    throw new SessionChainError(
      'ARCHIVE_NOT_CONFIGURED',
      `Files of the project ${projectId} are in ${others.join(', ')}; the archive of this worker is ${archive?.location ?? '(none)'}.`,
      'Set SESSION_CHAIN_ARCHIVE of all workers to that archive, then request the erasure again: it goes on.',
    );
  }
  if (!archive) return;
  const count = await deleteProject(archive, projectId);
  if (count === 0 && archives.length === 0) return;
  await noteErased(pool, erasureId, 'archive_files', {
    count,
    later: [
      {
        what: `Copies of the files of the archive ${archive.location}: backups, snapshots and, of a bucket, versions of objects.`,
        until: 'They expire by the rules of your storage.',
      },
    ],
  });
}

/** The checkpoint of a build that another project has as well stays where it names a session of that project. */
async function eraseCheckpoints(
  { pool, checkpoint }: EraseDependencies,
  { erasureId, projectId }: EraseInput,
): Promise<void> {
  const builds = await buildsOf(pool, projectId);
  let count = 0;
  let isReached = true;
  for (let from = 0; from < builds.length && isReached; from += buildsAtOnce) {
    const found = await checkpoint.find(builds.slice(from, from + buildsAtOnce));
    const sessions = [...(found?.values() ?? [])].filter((sessionId) => sessionId !== null);
    const others = await sessionsOfOthers(pool, projectId, sessions);
    const own = [...(found ?? [])].flatMap(([buildId, sessionId]) =>
      sessionId !== null && others.has(sessionId) ? [] : [buildId],
    );
    count += own.length;
    isReached = found !== null && (await checkpoint.delete(own));
  }
  if (builds.length === 0) return;
  await noteErased(pool, erasureId, 'checkpoints', {
    count,
    later: isReached
      ? []
      : [
          {
            what: `Checkpoints in Redis: claude:session:<build> of ${builds.length} builds. The worker that erased the project reaches no Redis.`,
            until: 'An hour after they were written last.',
          },
        ],
  });
}

async function eraseRunFiles({ pool, agent }: EraseDependencies, { erasureId }: EraseInput): Promise<void> {
  await noteErased(pool, erasureId, 'run_folders', { count: await agent.sweep() });
}

async function eraseSomeRows(
  { pool, definition }: EraseDependencies,
  { erasureId, projectId }: EraseInput,
): Promise<boolean> {
  const { workspace } = await placesOf(pool, projectId);
  if (workspace) {
    await noteErased(pool, erasureId, 'workspace', {
      left: [
        {
          what: `The files of the project in ${workspace.path}, last seen by ${workspace.worker}.`,
          why: 'They are the application’s.',
        },
      ],
    });
  }
  const columns = submissionSteps(definition).flatMap(({ column }) => column ?? []);
  for (const until = Date.now() + sliceMs; ;) {
    if (await eraseRows(pool, erasureId, columns)) return true;
    Context.current().cancellationSignal.throwIfAborted();
    if (Date.now() >= until) return false;
  }
}

/** What came up meanwhile, such as the delivery of an end that a worker was just starting, begins the erasure anew. */
async function certify(
  { pool, histories, retention: { archive } }: EraseDependencies,
  { erasureId, projectId }: EraseInput,
): Promise<boolean> {
  const isListed = await inTemporal(async () => {
    for await (const _ of histories.list(projectId)) return true;
    return false;
  });
  if (isListed) return false;
  if (archive && (await deleteProject(archive, projectId)) > 0) return false;
  return await finishErasure(pool, erasureId, everywhere);
}

/** What is true of every erasure. */
const everywhere: Pick<ErasureCertificate, 'left' | 'later'> = {
  left: [
    {
      what: 'The history of the erasure itself in Temporal, and those of runs of retention: they hold the id of the project.',
      why: 'They end with the retention period of the namespace.',
    },
  ],
  later: [
    {
      what: 'The write-ahead log of Postgres, its archive and its replicas.',
      until: 'They are recycled: after the next checkpoints, and by the rules of your archive.',
    },
    {
      what: 'Free pages of the tables of Postgres.',
      until: 'VACUUM frees them and new rows overwrite them; VACUUM FULL does it at once.',
    },
    {
      what: 'Dumps and backups of Postgres, Temporal and Redis.',
      until: 'They expire by your rules. After a restore, erase the project again.',
    },
    {
      what: 'Histories that Temporal has archived, and free pages of its own database.',
      until: 'They expire by the rules of that archive and of that database.',
    },
    { what: 'Logs of workers, servers and proxies, which hold ids.', until: 'They expire by your rules.' },
    {
      what: 'Folders of runs that died on other machines.',
      until: 'The next start of a worker on that machine removes them.',
    },
  ],
};

/** Temporal's errors as ours. */
async function inTemporal<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw temporalError(error);
  }
}

/** Some at a time, in order. */
async function eachOf<Item, Result>(
  items: readonly Item[],
  work: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  for (let from = 0; from < items.length; from += atOnce) {
    Context.current().cancellationSignal.throwIfAborted();
    results.push(...(await Promise.all(items.slice(from, from + atOnce).map(work))));
  }
  return results;
}
