import { SessionChainError } from '../contracts/failures.js';
import { openFolder } from './folder.js';
import { openS3 } from './s3.js';
import type { ArchiveStore } from './store.js';

export interface ArchiveOptions {
  /** How long a server may keep silent. Default: one minute. */
  timeoutMs?: number;
}

/**
 * The archive that a setting names, an absolute path or `s3://bucket/prefix`. Nothing is asked of it yet. Region,
 * credentials and the address of another server than Amazon's come from the AWS_* variables of the environment, else from
 * where the SDK for S3 finds them.
 *
 * @throws SessionChainError INVALID_INPUT
 */
export function openArchive(
  setting: string,
  environment: Readonly<Record<string, string | undefined>>,
  { timeoutMs = 60_000 }: ArchiveOptions = {},
): ArchiveStore {
  if (setting.startsWith('/') && !setting.includes('\0')) return openFolder(setting);
  const [whole, bucket, path = ''] =
    /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/([\w./-]*))?$/.exec(setting) ?? [];
  const prefix = path.replace(/^\/+|\/+$/g, '');
  const isPlain = prefix.split('/').every((name) => name !== '.' && name !== '..');
  // With the names in it, a key has 1,024 bytes at most.
  if (
    bucket !== undefined &&
    whole !== undefined &&
    isPlain &&
    !prefix.includes('//') &&
    prefix.length <= 300
  )
    return openS3({ bucket, prefix, environment, timeoutMs });
  throw new SessionChainError(
    'INVALID_INPUT',
    'The archive is neither an absolute path nor s3://bucket/prefix.',
    'Name a folder that all workers share, as /srv/archive, or a bucket, as s3://bucket/prefix; the prefix has 300 characters at most: letters, digits, "_", "-", "." and "/", without empty names, "." and "..".',
  );
}
