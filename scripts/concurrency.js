// `npm run concurrency`: storage operations of several processes while things break, whole chains on one project, and
// mutants that the same check must catch (--help). The last line is `N passed, N failed`.
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkNode, ensureBuild, ensureDependencies, root, say } from './ensure-dependencies.js';

try {
  checkNode();
  await ensureDependencies();
  process.chdir(root);
  await ensureBuild();
  const { transformFile } = await import('@swc/core');
  // Beside the compiled rooms, so that the tests' relative imports lead there.
  for (const folder of ['support', 'concurrency']) {
    const target = join(root, 'dist', 'test', folder);
    mkdirSync(target, { recursive: true });
    const isCompiled = (name) => name.endsWith('.ts') && !name.endsWith('.test.ts');
    for (const file of readdirSync(join(root, 'test', folder)).filter(isCompiled)) {
      const { code } = await transformFile(join(root, 'test', folder, file), {
        jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
        module: { type: 'es6' },
      });
      writeFileSync(join(target, file.replace(/\.ts$/, '.js')), code);
    }
  }
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
