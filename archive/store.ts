import type { Readable } from 'node:stream';
import { SessionChainError } from '../contracts/failures.js';

/** Where files of the archive lie. Every operation ends in bounded time, and fails with ARCHIVE_UNAVAILABLE. */
export interface ArchiveStore {
  /** The place without credentials, as `file:///…` or `s3://bucket/prefix`. */
  location: string;
  /** Replaces an object that is there. It is there as a whole or not at all. */
  put(object: string, content: ArchiveContent): Promise<void>;
  /** Null where there is no such object. */
  get(object: string): Promise<AsyncIterable<Buffer> | null>;
  /** The objects in a folder, which ends in `/`, and in those below it. */
  list(folder: string): AsyncIterable<ListedObject>;
  /** What is not there counts as deleted. A folder, which ends in `/`, is taken away where no object is in it. */
  delete(objects: readonly string[]): Promise<void>;
}

export interface ArchiveContent {
  bytes: number;
  /** SHA-256 in hex. */
  sha256: string;
  /** A new stream of all of it at each call. */
  read(): Readable;
}

export interface ListedObject {
  object: string;
  bytes: number;
}

type Operation = 'write' | 'read' | 'list' | 'delete';

/** The error of an operation that the archive did not carry out; `why` quotes no credential. */
export function unavailable(operation: Operation, place: string, why: string): SessionChainError {
  return new SessionChainError('ARCHIVE_UNAVAILABLE', `The archive could not ${operation} ${place}: ${why}.`);
}
