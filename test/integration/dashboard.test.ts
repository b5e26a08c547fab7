import { afterAll, afterEach, beforeAll, describe } from '@jest/globals';
import { freePorts } from '../../dev/ports.js';
import { chainTests } from '../dashboard/chain.js';
import { costsTests } from '../dashboard/costs.js';
import { everyPageTests } from '../dashboard/every-page.js';
import { hostileTests } from '../dashboard/hostile.js';
import { integrityTests } from '../dashboard/integrity.js';
import { liveTests } from '../dashboard/live.js';
import { type Looking, startLooking } from '../dashboard/looking.js';
import { overviewTests } from '../dashboard/overview.js';
import { projectTests } from '../dashboard/project.js';
import { settingsTests } from '../dashboard/settings.js';
import { transcriptTests } from '../dashboard/transcript.js';
import { type ServerProcess, startServerProcess } from '../support/server-process.js';
import { type World, makeWorld } from '../support/world.js';

/** The dashboard in Chromium: the compiled pages of `session-chain serve` on data of every state. */

let world: World;
let server: ServerProcess;
let port: number;
let looking: Looking;
const look = () => looking;

const startServer = async () =>
  await startServerProcess(port, {
    DATABASE_URL: world.stack.database.url,
    SESSION_CHAIN_WORKSPACE_ROOTS: world.stack.root,
    SESSION_CHAIN_HTTP_REQUESTS_PER_MINUTE: '100000',
    SESSION_CHAIN_TASK_QUEUE: world.stack.policy.taskQueues.chains,
    SESSION_CHAIN_TEMPORAL_UI: 'http://127.0.0.1:8233',
  });

beforeAll(async () => {
  world = await makeWorld();
  ({ port } = await freePorts({ port: undefined }));
  server = await startServer();
  const { status } = await fetch(server.url);
  if (status !== 200)
    throw new Error('The server has no pages: build them by node scripts/build-dashboard.js.');
  looking = await startLooking(world, server.url);
});
afterEach(async () => {
  await looking.close();
});
afterAll(async () => {
  await looking?.stop();
  await server?.kill('SIGKILL');
  await world?.stop();
});

describe('every page', () => everyPageTests(look));
describe('the overview and the projects', () => overviewTests(look));
describe('the page of a project', () => projectTests(look));
describe('the page of a chain', () => chainTests(look));
describe('the transcript', () => transcriptTests(look));
describe('integrity', () => integrityTests(look));
describe('costs', () => costsTests(look));
describe('settings', () => settingsTests(look));
describe('hostile texts', () => hostileTests(look));

// The last, for it lets chains of the world go on.
describe('a live chain', () =>
  liveTests(look, {
    kill: async () => await server.kill('SIGKILL'),
    start: async () => void (server = await startServer()),
  }));
