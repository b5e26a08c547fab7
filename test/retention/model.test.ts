import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Client, Connection } from '@temporalio/client';
import { openArchive } from '../../archive/open.js';
import { readInstallation } from '../../storage/db/installation.js';
import { createProjectHistories } from '../../temporal/histories.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';
import { fc, seed } from '../support/properties.js';
import { expectHeadsResume, histories, newModel, reached } from './histories.js';
import type { World } from './world.js';

/**
 * Random histories of projects: chains, questions, rewinds, time, retention, restorations, holds and erasures. After each command
 * nothing that ever was is missing. More of them: RETENTION_HISTORIES=500 and, to begin elsewhere, TEST_SEED.
 */

const runs = Number(process.env['RETENTION_HISTORIES'] ?? 6);

let database: TestDatabase;
let folder: string;
let connection: Connection;
let world: World;
beforeAll(async () => {
  [database, folder, connection] = await Promise.all([
    createTestDatabase(),
    mkdtemp(join(tmpdir(), 'retention-model-')),
    Connection.connect({ address: process.env['TEST_TEMPORAL_ADDRESS'] ?? '' }),
  ]);
  world = {
    pool: database.pool,
    archive: openArchive(folder, {}),
    histories: createProjectHistories(
      new Client({ connection }),
      async () => (await readInstallation(database.pool)).id,
    ),
  };
});
afterAll(async () => {
  await Promise.all([database.drop(), rm(folder, { recursive: true, force: true }), connection.close()]);
});

it('loses nothing in any history, and leaves nothing of what was erased', async () => {
  await fc.assert(
    fc.asyncProperty(histories(60), async (history) => {
      const model = newModel(world, 2);
      await fc.asyncModelRun(() => ({ model, real: undefined }), history);
      await expectHeadsResume(model);
    }),
    { numRuns: runs, seed, ...(runs > 20 ? { verbose: 1 } : {}), endOnFailure: false },
  );
  // The histories go everywhere.
  const never = Object.entries(reached).flatMap(([what, times]) => (times === 0 ? [what] : []));
  expect({ never, ...reached }).toEqual({ never: [], ...reached });
}, 3_600_000);
