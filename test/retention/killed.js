// Does a run of retention, or an erasure, in a process that kills itself at a boundary: once a statement was sent, or a file was
// changed. Argument: JSON of {operation, databaseUrl, archive, projectId, erasureId, policy} and either `boundary`, counted from
// 1, or `look`, a query: it then goes on to the end and prints [what was done, whether the database or a file changed] for each.
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { asyncLocalStorage } from '@temporalio/activity';
import pg from 'pg';
import { createEraseActivities } from '../../dist/activities/erase.js';
import { createEventLog } from '../../dist/activities/log.js';
import { createRetentionActivities } from '../../dist/activities/retention.js';
import { createTranscriptStore } from '../../dist/storage/transcripts/store.js';
import { openArchive } from '../../dist/archive/open.js';
import { createCheckpoint } from '../../dist/storage/checkpoint.js';
import { createPool } from '../../dist/storage/db/pool.js';

const {
  operation,
  databaseUrl,
  archive: folder,
  projectId,
  erasureId,
  policy,
  boundary,
  look,
} = JSON.parse(process.argv[2]);

const passed = [];
function pass(what) {
  passed.push([what, false]);
  if (passed.length !== boundary) return;
  process.kill(process.pid, 'SIGKILL');
  // The signal may be a moment late.
  for (;;);
}

const { query } = pg.Client.prototype;
const looking = look === undefined ? null : new pg.Client(databaseUrl);
let seen;
async function note() {
  if (!looking) return;
  const { rows } = await query.call(looking, look);
  const files = fs.readdirSync(folder, { recursive: true }).sort();
  const now = JSON.stringify([rows, files]);
  if (passed.length > 0) passed.at(-1)[1] = now !== seen;
  seen = now;
}

pg.Client.prototype.query = function (config, ...rest) {
  const callback = rest.at(-1);
  if (typeof callback === 'function') {
    rest[rest.length - 1] = (...answer) => void note().then(() => callback(...answer));
  }
  const result = query.call(this, config, ...rest);
  pass(typeof config === 'string' ? config : (config.name ?? config.text));
  return result?.then ? result.then(async (answer) => (await note(), answer)) : result;
};
for (const name of ['mkdir', 'rename', 'rm', 'rmdir']) {
  const original = fs.promises[name];
  fs.promises[name] = async (...values) => {
    const result = await original(...values);
    if (!String(values[0]).startsWith(folder)) return result;
    pass(name);
    await note();
    return result;
  };
}
syncBuiltinESMExports();

const pool = createPool(databaseUrl, { applicationName: 'killed', max: 1 });
const archive = openArchive(folder, {});
const tell = (line) => fs.writeSync(2, `${JSON.stringify(line)}\n`);
const deps = {
  ...{ pool, retention: { policy, archive, writtenBy: 'test' } },
  createTranscriptStore: (projectId) => createTranscriptStore({ pool, projectId }),
  log: createEventLog({ info: tell, warn: tell }),
  meter: { failed: () => undefined },
  outages: { database: { trouble: () => undefined } },
};
const context = {
  info: { heartbeatTimeoutMs: 30_000 },
  heartbeat: () => undefined,
  sleep: async () => undefined,
  cancellationSignal: new AbortController().signal,
};
const input = { version: 1, projectId, erasureId, dryRun: false };

const operations = {
  async retain() {
    const { retainProject } = createRetentionActivities(deps);
    while ((await retainProject(input)).more);
  },
  async erase() {
    const activities = createEraseActivities({
      ...deps,
      checkpoint: createCheckpoint(null, { log: () => undefined }),
      definition: { steps: [] },
      agent: { sweep: async () => 0 },
      // No workflow worked for the project.
      histories: { list: async function* () {}, latest: async () => null },
    });
    do {
      while (!(await activities.stopWork(input)));
      while (!(await activities.eraseHistories(input)));
      await activities.eraseArchive(input);
      await activities.eraseCheckpoints(input);
      await activities.eraseRunFiles(input);
      while (!(await activities.eraseRows(input)));
    } while (!(await activities.certify(input)));
  },
};
await looking?.connect();
await note();
await asyncLocalStorage.run(context, operations[operation]);
await Promise.all([pool.end(), looking?.end()]);
fs.writeSync(1, JSON.stringify(passed));
