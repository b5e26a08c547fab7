import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { transformFileSync } from '@swc/core';

/**
 * Strips the types of some rooms' files into a folder, so that a child process of a test can run them with plain
 * node. Relative imports keep working because the rooms keep their places; packages are those of the repository.
 */
export function transpileRooms(rooms: string[], folder: string): void {
  const root = process.cwd();
  for (const room of rooms) {
    mkdirSync(join(folder, room), { recursive: true });
    for (const file of readdirSync(join(root, room)).filter((name) => name.endsWith('.ts'))) {
      const { code } = transformFileSync(join(root, room, file), {
        jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
        module: { type: 'es6' },
      });
      writeFileSync(join(folder, room, file.replace(/\.ts$/, '.js')), code);
    }
  }
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
}
