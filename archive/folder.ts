import { constants, createWriteStream, type ReadStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm, rmdir, stat } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { constants as osConstants } from 'node:os';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { pathToFileURL } from 'node:url';
import { getSystemErrorMap } from 'node:util';
import { SessionChainError } from '../contracts/failures.js';
import { type ArchiveContent, type ArchiveStore, unavailable } from './store.js';

/**
 * An archive in a folder that all workers share. The folder itself is never made: where it is missing, its disk is not
 * mounted, and the archive must not go to the one below it.
 */
export function openFolder(path: string): ArchiveStore {
  const root = resolve(path);

  function pathOf(object: string): string {
    const found = join(root, object);
    if (found.startsWith(root === sep ? sep : root + sep)) return found;
    throw new SessionChainError('INTERNAL', `${JSON.stringify(object)} is outside the archive.`);
  }

  async function carryOut<T>(
    operation: Parameters<typeof unavailable>[0],
    at: string,
    work: () => Promise<T>,
  ): Promise<T> {
    try {
      await mustBeFolder(root);
      return await work();
    } catch (error) {
      throw asUnavailable(error, operation, at);
    }
  }

  async function put(object: string, content: ArchiveContent): Promise<void> {
    const target = pathOf(object);
    await carryOut('write', target, async () => {
      const folder = dirname(target);
      const made = await mkdir(folder, { recursive: true });
      await removeLeftOvers(target);
      // Not the same for two writers: the one that is late must not write into what the other has put there.
      const partial = join(folder, `.${basename(target)}.${randomUUID()}.partial`);
      try {
        await pipeline(content.read(), createWriteStream(partial, { flags: 'wx', mode: 0o640, flush: true }));
        await rename(partial, target);
      } catch (error) {
        await rm(partial, { force: true }).catch(() => undefined);
        throw error;
      }
      for (const changed of foldersBetween(folder, made === undefined ? folder : dirname(made)))
        await sync(changed);
    });
  }

  async function get(object: string): Promise<AsyncIterable<Buffer> | null> {
    const source = pathOf(object);
    const stream = await carryOut('read', source, async () => {
      const file = await open(source, constants.O_RDONLY).catch(nullIfMissing);
      return file?.createReadStream() ?? null;
    });
    return stream && reading(stream, source);
  }

  async function* list(folder: string) {
    const top = pathOf(folder);
    const entries = await carryOut('list', top, async () =>
      readdir(top, { recursive: true, withFileTypes: true }).catch(nullIfMissing),
    );
    for (const entry of entries ?? []) {
      if (entry.isDirectory()) continue;
      const path = join(entry.parentPath, entry.name);
      const found = await carryOut('list', path, async () => stat(path).catch(nullIfMissing));
      if (found) yield { object: relative(root, path).split(sep).join('/'), bytes: found.size };
    }
  }

  async function remove(objects: readonly string[]): Promise<void> {
    const files = objects.filter((object) => !object.endsWith('/')).map(pathOf);
    const folders = new Set(files.map((path) => dirname(path)));
    for (const path of files) await carryOut('delete', path, async () => rm(path, { force: true }));
    for (const object of objects.filter((name) => name.endsWith('/'))) {
      const top = resolve(pathOf(object));
      for (const folder of await carryOut('delete', top, async () => foldersIn(top))) folders.add(folder);
    }
    for (const folder of folders) await carryOut('delete', folder, async () => tidy(folder));
  }

  /** Makes the deletion last, and takes folders away that have become empty. */
  async function tidy(folder: string): Promise<void> {
    for (let at = folder; at !== root; at = dirname(at)) {
      await sync(at).catch(nullIfMissing);
      const gone = await rmdir(at).then(
        () => true,
        (error: NodeJS.ErrnoException) => error.code === 'ENOENT',
      );
      if (!gone) return;
    }
    await sync(root);
  }

  return { location: pathToFileURL(root).href, put, get, list, delete: remove };
}

async function* reading(stream: ReadStream, path: string) {
  try {
    for await (const chunk of stream) yield chunk as Buffer;
  } catch (error) {
    throw asUnavailable(error, 'read', path);
  }
}

async function mustBeFolder(root: string): Promise<void> {
  if ((await stat(root)).isDirectory()) return;
  throw Object.assign(new Error(), { code: 'ENOTDIR', errno: -osConstants.errno.ENOTDIR });
}

/** What a writer left behind that was killed. */
async function removeLeftOvers(target: string): Promise<void> {
  const folder = dirname(target);
  for (const name of await readdir(folder)) {
    if (name.startsWith(`.${basename(target)}.`) && name.endsWith('.partial'))
      await rm(join(folder, name), { force: true });
  }
}

/** The folder and those in it, each before the one that it is in. */
async function foldersIn(top: string): Promise<string[]> {
  const entries = await readdir(top, { recursive: true, withFileTypes: true }).catch(nullIfMissing);
  const inside = (entries ?? []).flatMap((entry) =>
    entry.isDirectory() ? [join(entry.parentPath, entry.name)] : [],
  );
  return [...inside.sort((one, other) => other.length - one.length), top];
}

/** From the folder up to the one at the top, with both. */
function foldersBetween(folder: string, top: string): string[] {
  return folder === top || folder === dirname(folder)
    ? [folder]
    : [folder, ...foldersBetween(dirname(folder), top)];
}

/** What was renamed or removed in a folder is so after a power cut, too. */
async function sync(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function nullIfMissing(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT') return null;
  throw error;
}

function asUnavailable(error: unknown, operation: Parameters<typeof unavailable>[0], path: string): unknown {
  const { code, errno } = error as NodeJS.ErrnoException;
  if (error instanceof SessionChainError || code === undefined) return error;
  const [, words] = getSystemErrorMap().get(errno ?? 0) ?? [];
  return unavailable(operation, path, words === undefined ? code : `${words} (${code})`);
}
