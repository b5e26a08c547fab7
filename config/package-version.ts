import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The version of this package. */
export function packageVersion(): string {
  // Beside config/ in the sources, one level further up from dist/config/.
  const [file = ''] = ['../package.json', '../../package.json']
    .map((path) => join(import.meta.dirname, path))
    .filter((path) => existsSync(path));
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
