import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './ensure-dependencies.js';

/** Compiles folders of test/ into dist/test/, beside the compiled rooms, so that their relative imports lead there. */
export async function compileTests(...folders) {
  const { transformFile } = await import('@swc/core');
  for (const folder of folders) {
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
}
