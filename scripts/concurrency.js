// `npm run concurrency`: storage operations of several processes while things break, whole chains on one project, and
// mutants that the same check must catch (--help). The last line is `N passed, N failed`.
import { compileTests } from './compile-tests.js';
import { checkNode, ensureBuild, ensureDependencies, root, say } from './ensure-dependencies.js';
import { inOwnGroup } from './own-group.js';

await inOwnGroup();
try {
  checkNode();
  await ensureDependencies();
  process.chdir(root);
  await ensureBuild();
  await compileTests('support', 'concurrency');
} catch (error) {
  say(error.message);
  process.exit(1);
}
const { default: startServers } = await import('../test/support/global-setup.js');
await startServers();
try {
  await import('../dist/test/concurrency/main.js');
} finally {
  await globalThis.stopTestServers();
}
