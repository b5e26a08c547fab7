// `npm start`: makes sure that everything is installed and compiled, then becomes the launcher.
import {
  checkNode,
  ensureBuild,
  ensureDependencies,
  ensurePrograms,
  sandboxPrograms,
  say,
} from './ensure-dependencies.js';

try {
  checkNode();
  await ensureDependencies();
  await ensureBuild();
} catch (error) {
  say(error.message);
  process.exit(1);
}
const wantsSandbox = (process.env.SESSION_CHAIN_SANDBOX || 'bwrap') === 'bwrap';
const wanted = [...(wantsSandbox ? sandboxPrograms : []), ...(process.env.REDIS_URL ? [] : ['redis-server'])];
const { missing, advice } = await ensurePrograms(wanted);
if (missing.some((program) => sandboxPrograms.includes(program))) {
  say(
    `The sandbox of the agents cannot be made. ${advice}\n` +
      'Or set SESSION_CHAIN_SANDBOX=none: a shell command of an agent can then read, write and reach what your user can; root is refused.',
  );
  process.exit(1);
}
if (missing.length > 0) say(`Continuing without Redis, which nothing depends on. ${advice}`);
await import('../dist/dev/start.js');
