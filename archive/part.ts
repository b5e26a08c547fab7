import { createHash, type Hash } from 'node:crypto';
import { isUtf8 } from 'node:buffer';
import { type FileHandle, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import type { z } from 'zod';
import {
  type PartCounts,
  type PartHeader,
  type PartLine,
  type PartWritten,
  partLineKinds,
  partObject,
  projectFolder,
} from '../contracts/archive.js';
import { SessionChainError } from '../contracts/failures.js';
import type { ProjectId } from '../contracts/ids.js';
import { partFormat, partHead, partLine, type PartManifest, partManifest } from './lines.js';
import { type ArchiveContent, type ArchiveStore, unavailable } from './store.js';

const fileEnding = '.jsonl.gz';
const manifestEnding = '.manifest.json';
const mostManifestBytes = 64 * 1024;
/** A text of Postgres has 1 GB at most, a string of Node half of it. */
const mostLineBytes = 400 * 1024 * 1024;
const chunkBytes = 64 * 1024;

/** What was expected where it is read back: that of the database. */
export type PartExpected = Pick<PartWritten, 'bytes' | 'sha256'>;

export interface OpenPart {
  manifest: PartManifest;
  /** From the first line at each iteration. */
  lines: AsyncIterable<PartLine>;
}

/**
 * Writes a part and its manifest, and reads both back as a restoration would. The same lines give the same bytes, so a part
 * that was written before, or is being written by another worker, may be written again.
 *
 * @throws SessionChainError ARCHIVE_UNAVAILABLE; ARCHIVE_DAMAGED where what is read back is not what was written
 */
export async function writePart(
  store: ArchiveStore,
  header: PartHeader & { writtenBy: string },
  lines: AsyncIterable<PartLine>,
): Promise<PartWritten> {
  const { projectId: project, month, part, writtenBy } = header;
  const object = partObject(header);
  return withTemporaryFile(async (file) => {
    const identity = { format: partFormat, project, month, part } as const;
    const { contentBytes, counts, ...written } = await fill(file, identity, lines);
    await store.put(object + fileEnding, { ...written, read: () => fromStart(file) });
    const manifest = { ...identity, object, ...written, contentBytes, counts, writtenBy };
    await store.put(object + manifestEnding, contentOf(`${JSON.stringify(manifest, null, 2)}\n`));
    await readPart(store, object, async () => undefined, written);
    return { ...written, counts };
  });
}

/**
 * Verifies a part in full and then lets `use` have its lines. Nothing is given of one that is cut, changed or incomplete.
 * `expected` is what the database knows of it.
 *
 * @throws SessionChainError ARCHIVE_UNAVAILABLE; ARCHIVE_DAMAGED with the name of the file
 */
export async function readPart<T>(
  store: ArchiveStore,
  object: string,
  use: (part: OpenPart) => Promise<T>,
  expected?: PartExpected,
): Promise<T> {
  const manifest = await readManifest(store, object);
  const { bytes, sha256 } = manifest;
  const place = `${store.location}/${object}${fileEnding}`;
  if (expected && (expected.bytes !== bytes || expected.sha256 !== sha256)) {
    throw damaged(
      `${store.location}/${object}${manifestEnding}`,
      `is of a file with ${bytes} bytes and SHA-256 ${sha256}, and not of the one with ${expected.bytes} bytes and ${expected.sha256} that was written`,
    );
  }
  return withTemporaryFile(async (file) => {
    await download(store, object + fileEnding, file, manifest);
    await verify(file, manifest, place);
    return use({ manifest, lines: { [Symbol.asyncIterator]: () => linesOf(file, manifest, place) } });
  });
}

/** The parts of a project that the archive holds, in the order of the store. */
export async function* listParts(
  store: ArchiveStore,
  projectId: ProjectId,
): AsyncIterable<{ object: string; month: string }> {
  for await (const { object: name } of store.list(`${projectFolder(projectId)}/`)) {
    const [, object, month] = /^(.*\/(\d{4}-\d\d)\/[0-9a-f-]{36})\.manifest\.json$/.exec(name) ?? [];
    if (object !== undefined && month !== undefined) yield { object, month };
  }
}

/** Deletes all that the archive holds of a project, and looks whether it is gone. Returns how many files there were. */
export async function deleteProject(store: ArchiveStore, projectId: ProjectId): Promise<number> {
  const folder = `${projectFolder(projectId)}/`;
  const deleted = new Set<string>();
  for (;;) {
    const found: string[] = [];
    for await (const { object } of store.list(folder)) {
      if (deleted.has(object))
        throw unavailable('delete', `${store.location}/${object}`, 'it is still there after it was deleted');
      if (found.push(object) === 1000) break;
    }
    if (found.length === 0) {
      // One that was killed may have left folders without files.
      await store.delete([folder]);
      return deleted.size;
    }
    await store.delete(found);
    for (const object of found) deleted.add(object);
  }
}

type Identity = Pick<PartManifest, 'format' | 'project' | 'month' | 'part'>;

async function fill(file: FileHandle, identity: Identity, lines: AsyncIterable<PartLine>) {
  const contents = new Contents();
  let contentBytes = 0;
  const hash = createHash('sha256');
  let bytes = 0;
  async function* content() {
    for await (const chunk of chunksOf(identity, lines, contents)) {
      contentBytes += chunk.length;
      yield chunk;
    }
  }
  await pipeline(
    content,
    createGzip(),
    async function* (packed: AsyncIterable<Buffer>) {
      for await (const chunk of packed) {
        hash.update(chunk);
        bytes += chunk.length;
        yield chunk;
      }
    },
    async (packed: AsyncIterable<Buffer>) => writeFile(file, packed),
  ).catch(asDiskFailure);
  return { bytes, sha256: hash.digest('hex'), contentBytes, counts: contents.counts };
}

async function* chunksOf(identity: Identity, lines: AsyncIterable<PartLine>, contents: Contents) {
  let pending = `${JSON.stringify({ kind: 'part', ...identity })}\n`;
  for await (const line of lines) {
    const wrong = contents.add(line);
    if (wrong !== null)
      throw new SessionChainError('INTERNAL', `What was to be archived is wrong: ${wrong}.`);
    pending += `${JSON.stringify(line)}\n`;
    if (pending.length < chunkBytes) continue;
    yield Buffer.from(pending);
    pending = '';
  }
  if (pending !== '') yield Buffer.from(pending);
}

async function readManifest(store: ArchiveStore, object: string): Promise<PartManifest> {
  const place = `${store.location}/${object}${manifestEnding}`;
  const chunks = [];
  let bytes = 0;
  for await (const chunk of await existing(store, object + manifestEnding)) {
    bytes += chunk.length;
    if (bytes > mostManifestBytes) throw damaged(place, 'is too long');
    chunks.push(chunk);
  }
  const read = parseJson(Buffer.concat(chunks), place);
  const { format } = (read ?? {}) as { format?: unknown };
  if (typeof format === 'number' && format !== partFormat) {
    throw new SessionChainError(
      'ARCHIVE_DAMAGED',
      `The file ${place} of the archive says that it has format ${format}; this version knows ${partFormat} only.`,
      'Read it with the version of Session Chain that wrote it, or a newer one.',
    );
  }
  const manifest = checked(partManifest, read, place);
  const { project: projectId, month, part } = manifest;
  if (manifest.object !== object || partObject({ projectId, month, part }) !== object)
    throw damaged(place, `is that of another part, ${manifest.object}`);
  return manifest;
}

async function existing(store: ArchiveStore, object: string): Promise<AsyncIterable<Buffer>> {
  const found = await store.get(object);
  if (found === null) throw damaged(`${store.location}/${object}`, 'is not there');
  return found;
}

async function download(
  store: ArchiveStore,
  object: string,
  file: FileHandle,
  { bytes, sha256 }: PartManifest,
): Promise<void> {
  const place = `${store.location}/${object}`;
  const source = await existing(store, object);
  const hash = createHash('sha256');
  const written = await pipeline(
    source,
    (chunks: AsyncIterable<Buffer>) => upTo(bytes, chunks, hash, place),
    async (chunks: AsyncIterable<Buffer>) => writeFile(file, chunks),
  ).then(() => hash.digest('hex'), asDiskFailure);
  if (written !== sha256) throw damaged(place, `has the SHA-256 ${written} in place of ${sha256}`);
}

async function* upTo(bytes: number, chunks: AsyncIterable<Buffer>, hash: Hash, place: string) {
  let got = 0;
  for await (const chunk of chunks) {
    got += chunk.length;
    if (got > bytes) break;
    hash.update(chunk);
    yield chunk;
  }
  if (got !== bytes)
    throw damaged(place, `has ${got > bytes ? 'more than' : `${got} in place of`} ${bytes} bytes`);
}

async function verify(file: FileHandle, manifest: PartManifest, place: string): Promise<void> {
  const contents = new Contents();
  let number = 1;
  for await (const line of linesOf(file, manifest, place)) {
    number += 1;
    const wrong = contents.add(checked(partLine, line, `${place}, line ${number},`));
    if (wrong !== null) throw damaged(`${place}, line ${number},`, `is wrong: ${wrong}`);
  }
  for (const kind of partLineKinds) {
    const [found, said] = [contents.counts[kind], manifest.counts[kind]];
    if (found !== said) throw damaged(place, `has ${found} lines of the kind ${kind} in place of ${said}`);
  }
}

/** Its lines without the first, which is checked. Memory is bounded by the longest of them. */
async function* linesOf(file: FileHandle, manifest: PartManifest, place: string) {
  const { format, project, month, part } = manifest;
  let isFirst = true;
  for await (const bytes of splitLines(unpacked(file, manifest, place), place)) {
    const line = parseJson(bytes, place);
    if (!isFirst) yield line as PartLine;
    else {
      const head = checked(partHead, line, place);
      const isThis = head.project === project && head.month === month && head.part === part;
      if (!isThis || head.format !== format) throw damaged(place, `is that of the part ${head.part}`);
      isFirst = false;
    }
  }
  if (isFirst) throw damaged(place, 'holds nothing');
}

async function* unpacked(file: FileHandle, { contentBytes }: PartManifest, place: string) {
  let bytes = 0;
  const packed = fromStart(file);
  const gunzip = createGunzip();
  // An error of the file ends the other as well.
  const piping = pipeline(packed, gunzip).catch(() => undefined);
  try {
    for await (const chunk of gunzip) {
      bytes += (chunk as Buffer).length;
      if (bytes > contentBytes) break;
      yield chunk as Buffer;
    }
  } catch (error) {
    if (error instanceof SessionChainError) throw error;
    throw damaged(place, `cannot be unpacked: ${(error as Error).message}`);
  } finally {
    packed.destroy();
    gunzip.destroy();
    await piping;
  }
  if (bytes !== contentBytes)
    throw damaged(place, `unpacks to ${bytes > contentBytes ? 'more' : 'less'} than ${contentBytes} bytes`);
}

async function* splitLines(chunks: AsyncIterable<Buffer>, place: string) {
  let begun: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      yield Buffer.concat([...begun, chunk.subarray(start, end)]);
      [begun, bytes, start] = [[], 0, end + 1];
    }
    if (start === chunk.length) continue;
    begun.push(chunk.subarray(start));
    bytes += chunk.length - start;
    if (bytes > mostLineBytes) throw damaged(place, `has a line of more than ${mostLineBytes} bytes`);
  }
  if (bytes > 0) throw damaged(place, 'ends in the middle of a line');
}

function parseJson(bytes: Buffer, place: string): unknown {
  if (!isUtf8(bytes)) throw damaged(place, 'is not UTF-8');
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    throw damaged(place, 'is not JSON');
  }
}

function checked<Schema extends z.ZodType>(schema: Schema, value: unknown, place: string): z.output<Schema> {
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  const { path, message } = error.issues[0] ?? { path: [], message: '' };
  throw damaged(place, `is wrong: ${[path.map(String).join('.'), message].filter(Boolean).join(' ')}`);
}

/** What a part held so far, and whether each line goes with those before it. */
class Contents {
  readonly counts: PartCounts = {
    ...{ session: 0, text: 0, append: 0, transition: 0 },
    ...{ attempt: 0, metrics: 0, brief: 0 },
  };
  private readonly texts = new Set<string>();
  /** The ordinal of the last append of each session. */
  private readonly sessions = new Map<string, number>();

  /** Counts the line. What is wrong with it; null for nothing. */
  add(line: PartLine): string | null {
    this.counts[line.kind] += 1;
    if (line.kind === 'session') {
      if (this.sessions.has(line.session_id)) return `the session ${line.session_id} is there twice`;
      this.sessions.set(line.session_id, 0);
    } else if (line.kind === 'text') {
      if (this.texts.has(line.digest)) return `the text ${line.digest} is there twice`;
      this.texts.add(line.digest);
    } else if (line.kind === 'append') {
      const last = this.sessions.get(line.session_id);
      if (last === undefined) return `its session ${line.session_id} does not stand before it`;
      if (line.ordinal <= last) return `the ordinal ${line.ordinal} comes after ${last}`;
      this.sessions.set(line.session_id, line.ordinal);
      const missing = [...line.entries, line.patch].find((text) => text !== null && !this.texts.has(text));
      if (missing !== undefined) return `the text ${missing} does not stand before it`;
    }
    return null;
  }
}

function contentOf(text: string): ArchiveContent {
  const content = Buffer.from(text);
  const sha256 = createHash('sha256').update(content).digest('hex');
  return { bytes: content.length, sha256, read: () => Readable.from([content]) };
}

function fromStart(file: FileHandle): Readable {
  return Readable.from(chunksOfFile(file), { objectMode: false });
}

async function* chunksOfFile(file: FileHandle) {
  for (let position = 0; ;) {
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(chunkBytes), 0, chunkBytes, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/** A file that has no name, and so is gone when the process ends in whatever way. */
async function withTemporaryFile<T>(use: (file: FileHandle) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'session-chain-archive-')).catch(asDiskFailure);
  let file: FileHandle;
  try {
    file = await open(join(folder, 'part'), 'wx+', 0o600).catch(asDiskFailure);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

/** Of the worker's own disk. */
function asDiskFailure(error: unknown): never {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (error instanceof SessionChainError || code === undefined || syscall === undefined) throw error;
  throw unavailable('write', `a temporary file in ${tmpdir()} of the worker`, code);
}

function damaged(place: string, how: string): SessionChainError {
  return new SessionChainError('ARCHIVE_DAMAGED', `The file ${place} of the archive ${how}.`);
}
