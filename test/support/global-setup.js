// Starts the servers that all test files share and makes the database template. Plain JavaScript on the compiled dist/,
// for Jest neither maps nor transforms what a global set-up imports.
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { searchAttributes } from '../../dist/temporal/attributes.js';
import { startPostgres } from '../../dist/dev/postgres.js';
import { startRedis } from '../../dist/dev/redis.js';
import { findTemporalCli } from '../../dist/dev/temporal-cli.js';
import { startTemporal } from '../../dist/dev/temporal.js';
import { migrate } from '../../dist/storage/db/migrate.js';
import { findTestPrograms } from '../../scripts/test-programs.js';

export const templateName = 'session_chain_template';

export default async function globalSetup() {
  const folder = mkdtempSync(join(tmpdir(), 'session-chain-test-'));
  // Under root another user runs Postgres and must reach its data.
  chmodSync(folder, 0o711);
  const logFile = (name) => join(folder, `${name}.log`);
  const [postgres, temporal, redis] = await Promise.all([
    startPostgres({ dataDir: join(folder, 'postgres'), logFile: logFile('postgres'), durable: false }),
    findTemporalCli({ onProgress: (line) => console.error(line) }).then((cliPath) =>
      startTemporal({
        cliPath,
        logFile: logFile('temporal'),
        namespace: 'default',
        searchAttributes: Object.values(searchAttributes),
      }),
    ),
    startRedis({ dir: folder, logFile: logFile('redis') }),
  ]);
  if (!redis) throw new Error('redis-server is not on PATH; npm test installs it or says how.');
  await createTemplate(postgres.url);
  process.env.TEST_POSTGRES_URL = postgres.url;
  process.env.TEST_TEMPORAL_ADDRESS = temporal.address;
  process.env.TEST_TEMPORAL_UI = temporal.uiUrl;
  process.env.TEST_REDIS_URL = redis.url;
  for (const [name, path] of Object.entries(await findTestPrograms())) {
    if (path !== undefined) process.env[`TEST_${name.toUpperCase()}`] = path;
  }
  globalThis.stopTestServers = async () => {
    await Promise.all([postgres.stop(), temporal.stop(), redis.stop()]);
    rmSync(folder, { recursive: true, force: true });
  };
}

async function createTemplate(url) {
  const client = new pg.Client(url);
  await client.connect();
  await client.query(`CREATE DATABASE ${templateName}`);
  await client.end();
  const template = new URL(url);
  template.pathname = `/${templateName}`;
  await migrate(template.href);
}
