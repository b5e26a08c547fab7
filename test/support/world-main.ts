import { writeFileSync } from 'node:fs';
import { startServerProcess } from './server-process.js';
import { makeWorld } from './world.js';

/** Makes the world, serves it, and keeps it until it is interrupted: `node scripts/world.js [port] [file for the key]`. */
const [port = '8440', keyFile = '.session-chain/world-key'] = process.argv.slice(2);
const say = (line: string) => console.error(line);
const interrupted = new Promise((resolve) => process.once('SIGINT', resolve).once('SIGTERM', resolve));

say('Making the world …');
const world = await makeWorld({ builds: 90, say });
const environment = {
  DATABASE_URL: world.stack.database.url,
  REDIS_URL: process.env['TEST_REDIS_URL'] ?? '',
  TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'] ?? '',
  SESSION_CHAIN_TEMPORAL_UI: process.env['TEST_TEMPORAL_UI'] ?? '',
  SESSION_CHAIN_WORKSPACE_ROOTS: world.stack.root,
  SESSION_CHAIN_HTTP_REQUESTS_PER_MINUTE: '100000',
  SESSION_CHAIN_TASK_QUEUE: world.stack.policy.taskQueues.chains,
};
const server = await startServerProcess(Number(port), environment);
writeFileSync(keyFile, `${world.keys.admin}\n`, { mode: 0o600 });
for (const [name, key] of Object.entries(world.keys))
  writeFileSync(`${keyFile}.${name}`, `${key}\n`, { mode: 0o600 });
writeFileSync(
  `${keyFile}.env`,
  Object.entries(environment)
    .map(([name, value]) => `${name}=${value}\n`)
    .join(''),
  { mode: 0o600 },
);
say(
  `The world is at ${server.url}, with the key in ${keyFile} (${Object.keys(world.keys).join(', ')} beside it, and the server's environment in ${keyFile}.env).`,
);
say(JSON.stringify({ chains: world.chains, sessions: world.sessions }, null, 1));
await interrupted;
await server.kill('SIGTERM');
await world.stop();
