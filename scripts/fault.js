// `npm run fault`: the whole kill matrix, or the cells that the arguments select (--help). The last line is `N passed,
// N failed`.
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
  for (const folder of ['support', 'fault']) {
    const target = join(root, 'dist', 'test', folder);
    mkdirSync(target, { recursive: true });
    for (const file of readdirSync(join(root, 'test', folder)).filter((name) => name.endsWith('.ts'))) {
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
await import('../dist/test/fault/main.js');
