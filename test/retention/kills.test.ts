import { spawn } from 'node:child_process';
import { cp, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { openArchive } from '../../archive/open.js';
import { readErasure, requestErasure } from '../../storage/erasure/erasure.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';
import { until } from '../support/until.js';
import {
  type Recorded,
  digestOfTables,
  digestQuery,
  expectAllThere,
  expectErased,
  expectNothingDue,
  nothingRecorded,
  record,
} from './record.js';
import * as world from './world.js';

/**
 * A process that archives a project, or erases it, is killed at each boundary in its turn, from the same state. Nothing is lost
 * then, and the next one ends the work.
 */

let database: TestDatabase;
let folder: string;
let before: string;
let base: world.World;
let restoreState: () => Promise<void>;
/** What is worked on, and another project with the same words. */
const [project, other] = [world.newProject(), world.newProject()].map((one) => ({
  ...one,
  recorded: nothingRecorded(),
})) as [RecordedProject, RecordedProject];

type RecordedProject = world.Project & { recorded: Recorded };

beforeAll(async () => {
  [database, before] = await Promise.all([
    createTestDatabase(),
    mkdtemp(join(await realpath(tmpdir()), 'retention-kills-')),
  ]);
  folder = join(before, 'archive');
  await cp(await mkdtemp(join(before, 'empty-')), folder, { recursive: true });
  base = {
    pool: database.pool,
    archive: openArchive(folder, {}),
    histories: {
      list: async function* () {},
      latest: async () => null,
      terminate: async () => undefined,
      delete: async () => undefined,
    },
  };
  // Some is to be dropped, some to be archived, and details are to go.
  for (const one of [project, other]) {
    await world.work(base, one, { fails: 1, added: 2, spent: 1, brief: false, closes: false });
    await world.work(base, one, { fails: 0, added: 2, spent: 2, brief: true, closes: false });
    await world.close(base, one);
    await record(base, one, one.recorded);
    await world.age(base, one, 91);
    await world.retain(base, one);
    await world.work(base, one, { fails: 1, added: 2, spent: 3, brief: true, closes: false });
    await world.work(base, one, { fails: 0, added: 1, spent: 4, brief: false, closes: false });
    await world.close(base, one);
    await record(base, one, one.recorded);
    await world.age(base, one, 401);
    await expectAllThere(base, one, one.recorded);
  }
  await cp(folder, join(before, 'copy'), { recursive: true });
  restoreState = await database.backUp();
});
afterAll(async () => {
  await database.drop();
  await rm(before, { recursive: true, force: true });
});

async function goBack(): Promise<void> {
  await restoreState();
  await rm(folder, { recursive: true });
  await cp(join(before, 'copy'), folder, { recursive: true });
}

type Operation = 'retain' | 'erase';

/** Runs it in a process of its own: to be killed at a boundary, or to the end, when it says what it did. */
async function runIt(operation: Operation, more: { erasureId?: string; boundary?: number; look?: string }) {
  const argument = {
    ...{ operation, databaseUrl: database.url, archive: folder, projectId: project.projectId, ...more },
    policy: { ...world.policy, archive: base.archive.location },
  };
  const child = spawn(
    process.execPath,
    [join(process.cwd(), 'test/retention/killed.js'), JSON.stringify(argument)],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const end = await new Promise((ended, failed) => {
    child.on('error', failed).on('close', (code, signal) => ended(code ?? signal));
  });
  expect(end).toBe(more.boundary === undefined ? 0 : 'SIGKILL');
  await until(hasNoConnection);
  return said;
}

/** Postgres ends a statement whose client is dead as if it were there. */
async function hasNoConnection(): Promise<boolean> {
  const { rows } = await base.pool.query(
    `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'killed'`,
  );
  return rows.length === 0;
}

/**
 * The boundaries to be killed at: where a statement or a change of a file was sent that changed something, and the next one, where
 * it has. In between all is as it was.
 */
async function boundariesOf(operation: Operation, erasureId?: string) {
  const said = await runIt(operation, {
    look: await digestQuery(base.pool),
    ...(erasureId === undefined ? {} : { erasureId }),
  });
  const passed = JSON.parse(said) as [what: string, changed: boolean][];
  const boundaries = passed.flatMap((_, n) => (passed[n]?.[1] || passed[n - 1]?.[1] ? [n + 1] : []));
  return { boundaries, changed: passed.flatMap(([what, changed]) => (changed ? [what] : [])) };
}

/** The lease of a process that is dead has expired. */
async function afterItsLease(): Promise<void> {
  await database.pool.query(
    'UPDATE session_chain.archive_parts SET written_until = clock_timestamp() WHERE written_until IS NOT NULL',
  );
}

it('a run of retention loses nothing, and the next one ends it', async () => {
  const { boundaries, changed } = await boundariesOf('retain');
  for (const boundary of boundaries) {
    await goBack();
    await runIt('retain', { boundary });
    await expectAllThere(base, project, project.recorded);
    await afterItsLease();
    await world.retain(base, project);
    for (const one of [project, other]) await expectAllThere(base, one, one.recorded);
    await expectNothingDue(base, project);
    const after = await digestOfTables(base.pool);
    await world.retain(base, project);
    expect(await digestOfTables(base.pool)).toEqual(after);
  }
  expect(changed).toEqual(
    expect.arrayContaining([
      ...['archive_transitions', 'plan_part', 'lease_part', 'rename', 'verify_part'],
      ...['roll_up_part', 'drop_sessions'],
    ]),
  );
});

it('an erasure leaves nothing once the next process has ended it, and no certificate before', async () => {
  await goBack();
  const request = async () =>
    await requestErasure(base.pool, { projectId: project.projectId, by: 'the test' });
  const { boundaries, changed } = await boundariesOf('erase', await request());
  for (const boundary of boundaries) {
    await goBack();
    const erasureId = await request();
    await runIt('erase', { boundary, erasureId });
    await expectAllThere(base, other, other.recorded);
    if ((await readErasure(base.pool, erasureId)).state === 'running') await world.erase(base, project);
    await expectErased(base, project, 1);
    await expectAllThere(base, other, other.recorded);
  }
  expect(changed).toEqual(
    expect.arrayContaining(['note_erased', 'rm', 'rmdir', 'erase_rows', 'finish_erasure']),
  );
});
