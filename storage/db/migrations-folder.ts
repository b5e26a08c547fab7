import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** migrations/ at the root of the package: beside storage/ in the sources, one level further up from dist/. */
export function migrationsFolder(): string {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, 'migrations'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error(`There is no folder migrations/ above ${import.meta.dirname}.`);
    folder = parent;
  }
  return join(folder, 'migrations');
}
