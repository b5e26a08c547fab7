import { constants } from 'node:fs';
import { open, readdir, readlink, realpath } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { startOf } from '../contracts/text.js';
import { textOf } from './text-file.js';

/** A text file of a project, perhaps only its beginning. */
export interface Document {
  /** Relative to the project's folder. */
  path: string;
  text: string;
}

/**
 * The documents of a project: README.md and the files in docs/, at most `maxFiles` of at most `maxCharacters` each.
 * What cannot be read, is not text, or is outside the folder behind a link, is left out.
 */
export async function readDocuments(
  workspace: string,
  { maxFiles, maxCharacters }: { maxFiles: number; maxCharacters: number },
): Promise<Document[]> {
  const inDocs = await readdir(join(workspace, 'docs')).catch(() => []);
  const paths = ['README.md', ...inDocs.sort().map((name) => join('docs', name))]
    .filter((path) => path.endsWith('.md'))
    .slice(0, maxFiles);
  const documents = await Promise.all(
    paths.map(async (path) => ({ path, text: await beginningOf(workspace, path, maxCharacters) })),
  );
  return documents.filter(({ text }) => text.trim() !== '');
}

async function beginningOf(workspace: string, path: string, maxCharacters: number): Promise<string> {
  try {
    const folder = await realpath(workspace);
    const isInside = (place: string) => place.startsWith(folder + sep);
    const real = await realpath(join(folder, path));
    if (!isInside(real)) return '';
    // A pipe is not waited for.
    const file = await open(real, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      // A name may lead elsewhere a moment later; what was opened counts. Only Linux tells where that is.
      const opened = await readlink(`/proc/self/fd/${file.fd}`).catch(() => real);
      if (!isInside(opened) || !(await file.stat()).isFile()) return '';
      const buffer = Buffer.alloc(4 * maxCharacters);
      const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
      const text = startOf(textOf(buffer.subarray(0, bytesRead)), maxCharacters);
      return text.includes('\u0000') ? '' : text;
    } finally {
      await file.close();
    }
  } catch {
    return '';
  }
}
