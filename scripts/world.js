// Data of every state, made by real chains in servers of its own, behind `session-chain serve`: for looking at the dashboard while
// one works on it. `node scripts/world.js [port] [file for the key]` stays until Ctrl-C. Needs the build.
import { compileTests } from './compile-tests.js';
import { root, say } from './ensure-dependencies.js';
import { inOwnGroup } from './own-group.js';

await inOwnGroup();
process.chdir(root);
await compileTests('support');
const { default: startServers } = await import('../test/support/global-setup.js');
await startServers();
try {
  await import('../dist/test/support/world-main.js');
} catch (error) {
  say(error.stack);
  process.exitCode = 1;
} finally {
  await globalThis.stopTestServers();
}
process.exit();
