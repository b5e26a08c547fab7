import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import { Readable } from 'node:stream';
import { openArchive } from '../archive/open.js';
import type { Config } from '../config/environment.js';
import { type Finding, ok } from './finding.js';

const timeoutMs = 4_000;

/** Whether the archive takes an object, gives it back, and deletes it. Throws ARCHIVE_UNAVAILABLE, INVALID_INPUT. */
export async function archiveFinding({ SESSION_CHAIN_ARCHIVE, environment }: Config): Promise<Finding> {
  if (SESSION_CHAIN_ARCHIVE === undefined) return ok('not configured; no transcript is dropped');
  const archive = openArchive(SESSION_CHAIN_ARCHIVE, environment, { timeoutMs });
  // Of this machine, so that at most one stays where nothing may be deleted.
  const object = `doctor/${createHash('sha256').update(hostname()).digest('hex').slice(0, 16)}`;
  const content = Buffer.from('Written by session-chain doctor. It may be deleted.\n');
  await archive.put(object, {
    bytes: content.length,
    sha256: createHash('sha256').update(content).digest('hex'),
    read: () => Readable.from([content]),
  });
  const stored = await archive.get(object);
  const read = stored && Buffer.concat(await Readable.from(stored).toArray());
  if (!read?.equals(content)) {
    return {
      status: 'fail',
      message: `${archive.location} does not give back what was written to it (${object})`,
      remedy:
        'Look what else writes or deletes there; an archive that loses files is found out when one is restored.',
    };
  }
  try {
    await archive.delete([object]);
  } catch (error) {
    return {
      status: 'warn',
      message: `${archive.location} takes and gives files, and deletes none: ${(error as Error).message}`,
      remedy: 'Let its credentials delete there: an erasure deletes the files of its project.',
    };
  }
  return ok(`${archive.location} takes, gives and deletes a file`);
}
