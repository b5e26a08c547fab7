import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, mkdir, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';

/** The folder in a workspace that holds its marker; git ignores its content. */
const ownFolder = '.session-chain';
/** Relative to the workspace: the marker, which distinguishes a project's folder from another copy of it. */
export const markerFile = `${ownFolder}/workspace`;

/** What identifies a folder. */
export interface FolderFacts {
  /** The marker's content; null if there is none. */
  marker: string | null;
  /**
   * Boot of this machine, device, inode and birth: as long as the machine runs, they identify the same folder, wherever
   * it is moved on its device, and no other.
   */
  identity: string;
}

/** Looks at an existing folder. */
export async function readFolder(path: string): Promise<FolderFacts> {
  const [{ dev, ino, birthtimeNs }, marker] = await Promise.all([
    stat(path, { bigint: true }),
    readMarker(path),
  ]);
  return { marker, identity: [await boot(), dev, ino, birthtimeNs].join(':') };
}

/**
 * Writes a marker into a folder, replacing what an agent may have left under its name. It follows no link, so nothing
 * outside the folder is written.
 */
export async function writeMarker(path: string, marker: string): Promise<void> {
  const folder = join(path, ownFolder);
  const found = await lstat(folder).catch(() => null);
  if (found && !found.isDirectory()) await rm(folder);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, '.gitignore'), '*\n', { flag: 'wx' }).catch(() => undefined);
  const draft = join(folder, `workspace-${randomUUID()}`);
  await writeFile(draft, `${marker}\nWritten by session-chain: it tells this folder from other copies.\n`, {
    flag: 'wx',
  });
  await rename(draft, join(path, markerFile)).catch(async (error: unknown) => {
    await rm(draft, { force: true });
    throw error;
  });
}

async function readMarker(path: string): Promise<string | null> {
  // A pipe is not waited for, and a link is no marker.
  const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW } = constants;
  const file = await open(join(path, markerFile), O_RDONLY | O_NONBLOCK | O_NOFOLLOW).catch(() => null);
  try {
    const found = await file?.stat();
    if (!file || !found?.isFile() || found.size > 1_000) return null;
    const text = await file.readFile('utf8').catch(() => '');
    return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(?=\s|$)/.exec(text)?.[0] ?? null;
  } finally {
    await file?.close();
  }
}

/** Names this boot of the machine, the same in all of its containers; elsewhere than on Linux the machine. */
async function boot(): Promise<string> {
  const id = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => hostname());
  return id.trim();
}
