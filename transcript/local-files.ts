import { randomUUID } from 'node:crypto';
import { mkdir, readdir, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve, sep } from 'node:path';
import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { SessionChainError } from '../contracts/failures.js';
import type { SessionId } from '../contracts/ids.js';
import { readAtMost } from '../workspace/read-at-most.js';
import { bridgeHoles, isSaying, lateBeginning } from './hole.js';
import {
  type TranscriptRecord,
  type TranscriptRecords,
  isSameEntry,
  parseObject,
  readRecords,
} from './records.js';

/**
 * Transcripts as Claude Code keeps them on a disk (seen with 2.1.330): `projects/<folder>/<session>.jsonl` below its own
 * folder, where <folder> is the working folder with everything but letters and digits as `-`, and what subagents did below
 * `projects/<folder>/<session>/subagents/`, each with a `.meta.json` beside it.
 */

/** A transcript with those of its subagents, in the form of the Agent SDK's store. */
export interface LocalTranscript {
  sessionId: SessionId;
  /** The file of the main transcript. */
  path: string;
  /** The main transcript under the subpath '', then `subagents/agent-…`. */
  parts: TranscriptPart[];
  warnings: string[];
}

export interface TranscriptPart {
  subpath: string;
  entries: SessionStoreEntry[];
}

/** Of one file; what is read of it at once is a string, which can hold little more. */
const mostBytes = 500 * 1024 ** 2;
const mostMetadataBytes = 1024 ** 2;

/** The SDK's type for the entry that represents a subagent's `.meta.json`. */
const agentMetadata = 'agent_metadata';

/**
 * Reads a session with its subagents: everything that Claude Code would read of its files, so that a session which
 * continues from it remembers what a session that resumed the files would. Unknown entries are kept as they are. A
 * warning names the lines that were left out or repaired. `agentVersion` is the Claude Code that will continue from
 * it: a transcript of a newer one is accepted with a warning. Throws TRANSCRIPT_NOT_FOUND, TRANSCRIPT_UNREADABLE.
 */
export async function readLocalTranscript(
  claudeDir: string,
  sessionId: SessionId,
  agentVersion?: string,
): Promise<LocalTranscript> {
  const warnings: string[] = [];
  const path = await findTranscript(claudeDir, sessionId, warnings);
  const main = await readMain(path, warnings);
  const parts = [{ subpath: '', entries: main }, ...(await readSubagents(path, warnings))];
  const newer = newerVersion(parts, agentVersion);
  if (newer !== undefined) {
    warnings.push(
      `Claude Code ${newer} wrote ${path}, and ${agentVersion ?? ''} will go on from it; what it does not know is kept as it is.`,
    );
  }
  return { sessionId, path, parts, warnings };
}

async function findTranscript(claudeDir: string, sessionId: SessionId, warnings: string[]): Promise<string> {
  const projects = join(claudeDir, 'projects');
  const folders = await readdir(projects, { withFileTypes: true }).catch(() => []);
  const found: { path: string; changedMs: number }[] = [];
  for (const folder of folders) {
    const path = join(projects, folder.name, `${sessionId}.jsonl`);
    const file = await stat(path).catch(() => null);
    if (file?.isFile()) found.push({ path, changedMs: file.mtimeMs });
  }
  const [newest, ...others] = found.sort((a, b) => b.changedMs - a.changedMs || (a.path < b.path ? -1 : 1));
  if (!newest) {
    throw new SessionChainError(
      'TRANSCRIPT_NOT_FOUND',
      `No ${join(projects, '*', `${sessionId}.jsonl`)} is there.`,
    );
  }
  if (others.length > 0) {
    warnings.push(`There are ${found.length} files of this session; the newest was taken: ${newest.path}.`);
  }
  return newest.path;
}

/** The main transcript, without a hole. */
async function readMain(path: string, warnings: string[]): Promise<SessionStoreEntry[]> {
  const { records, leftOut } = await readFileRecords(path, warnings);
  if (!records.some(({ entry }) => isSaying(entry))) {
    const why = leftOut.length === 0 ? '' : ` (no entry: ${lineList(leftOut)})`;
    throw unreadable(path, `it holds no message of a user or a model${why}`);
  }
  const { entries, bridged, begun } = bridgeHoles(records.map(({ entry }) => entry));
  const late = lateBeginning(entries);
  const linesAt = (indexes: number[]) => linesOf(indexes.flatMap((index) => records[index] ?? []));
  warnings.push(
    ...aboutLines(path, linesAt(bridged), [
      'follows an entry that is not in the file; follows the last one before it now, as Claude Code has it.',
    ]),
    ...aboutLines(path, linesAt(begun), [
      'follows an entry that is not in the file, and none comes shortly before it; the conversation begins there, as for',
      'Claude Code. What comes before it is kept, but no model sees it.',
    ]),
    ...aboutLines(path, linesAt(late === null || begun.includes(late) ? [] : [late]), [
      'names no entry that it follows; the conversation begins there, as for Claude Code. What comes before it is kept, but',
      'no model sees it.',
    ]),
    ...aboutLines(path, linesOf(records.filter(({ entry }) => isSaying(entry) && !entry.uuid)), [
      'a message without a uuid; kept, but no model sees it, as with Claude Code.',
    ]),
  );
  return entries;
}

async function readSubagents(mainPath: string, warnings: string[]): Promise<TranscriptPart[]> {
  const root = mainPath.replace(/\.jsonl$/, '');
  const names = await readdir(join(root, 'subagents'), { recursive: true }).catch(() => []);
  const parts: TranscriptPart[] = [];
  for (const name of names.filter((one) => one.endsWith('.jsonl')).sort()) {
    const path = join(root, 'subagents', name);
    const subpath = relative(root, path)
      .replace(/\.jsonl$/, '')
      .split(sep)
      .join('/');
    const { records } = await readFileRecords(path, warnings);
    const metadata = await readMetadata(path.replace(/\.jsonl$/, '.meta.json'), warnings);
    parts.push({ subpath, entries: [...records.map(({ entry }) => entry), ...metadata] });
  }
  return parts;
}

async function readMetadata(path: string, warnings: string[]): Promise<SessionStoreEntry[]> {
  const file = await stat(path).catch(() => null);
  if (file === null) return [];
  const bytes = file.isFile() ? await readAtMost(path, mostMetadataBytes).catch(() => null) : null;
  const metadata = bytes && parseObject(bytes.toString().replace(/^\ufeff/, ''));
  if (metadata) return [{ ...metadata, type: agentMetadata }];
  warnings.push(`${path} is not a JSON object and is left out.`);
  return [];
}

/** The entries of a file, for each uuid the last. */
async function readFileRecords(path: string, warnings: string[]): Promise<TranscriptRecords> {
  const bytes = await stat(path)
    .then(async (file) => (file.isFile() ? await readAtMost(path, mostBytes) : null))
    .catch((cause: unknown) => {
      throw unreadable(path, cause instanceof Error ? cause.message : String(cause), cause);
    });
  if (bytes === null) throw unreadable(path, 'it is no file, or has more than 500 MB');
  const read = readRecords(bytes);
  const { records, replaced } = lastOfEachUuid(read.records);
  const notVerbatim = records.filter(({ isVerbatim }) => !isVerbatim);
  warnings.push(
    ...aboutLines(path, read.notUtf8, [
      'bytes that are not UTF-8; read as U+FFFD, as Claude Code reads them.',
    ]),
    ...aboutLines(path, read.leftOut, ['no entry; left out, as Claude Code does.']),
    ...aboutLines(path, read.overfull, [
      'more than an entry; what follows the first is left out, as Claude Code does.',
    ]),
    ...aboutLines(path, replaced, [
      'a later line has another entry of the same uuid; left out, as Claude Code does.',
    ]),
    ...aboutLines(path, linesOf(notVerbatim), ['kept as the same JSON, but not byte for byte.']),
  );
  return { ...read, records };
}

function linesOf(records: readonly TranscriptRecord[]): number[] {
  return records.map(({ line }) => line);
}

/** An entry with the same content as a later one of the same uuid counts as that one. */
function lastOfEachUuid(records: TranscriptRecord[]): { records: TranscriptRecord[]; replaced: number[] } {
  const last = new Map(records.map((record) => [record.entry.uuid, record.entry]));
  const isReplaced = ({ entry }: TranscriptRecord) =>
    typeof entry.uuid === 'string' && !isSameEntry(last.get(entry.uuid), entry);
  return {
    records: records.filter((record) => !isReplaced(record)),
    replaced: linesOf(records.filter(isReplaced)),
  };
}

/** A warning about lines of a file; none where there are no such lines. */
function aboutLines(path: string, lines: readonly number[], what: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`${path}, ${lineList(lines)}: ${what.join(' ')}`];
}

/** `lines 2, 4-6 and 9`; of very many, only the first ranges. */
function lineList(lines: readonly number[]): string {
  const ranges: [first: number, last: number][] = [];
  for (const line of lines) {
    const range = ranges.at(-1);
    if (range && line <= range[1] + 1) range[1] = line;
    else ranges.push([line, line]);
  }
  const shown = ranges
    .slice(0, 20)
    .map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`));
  const others = ranges.length - shown.length;
  const [tail] = others > 0 ? [`${others} more`] : shown.splice(-1);
  const name = ranges.length === 1 && ranges[0]?.[0] === ranges[0]?.[1] ? 'line' : 'lines';
  return `${name} ${[shown.join(', '), tail].filter(Boolean).join(' and ')}`;
}

function unreadable(place: string, why: string, cause?: unknown): SessionChainError {
  return new SessionChainError(
    'TRANSCRIPT_UNREADABLE',
    `${place} is not a transcript of Claude Code: ${why}.`,
    undefined,
    {
      cause,
    },
  );
}

/** The newest version among the entries, if it is newer than ours. */
function newerVersion(parts: TranscriptPart[], ours: string | undefined): string | undefined {
  if (ours === undefined) return undefined;
  const versions = parts
    .flatMap(({ entries }) => entries.map(({ version }) => version))
    .filter((version) => typeof version === 'string');
  return [...new Set(versions)]
    .filter((version) => compareVersions(version, ours) > 0)
    .sort(compareVersions)
    .at(-1);
}

function compareVersions(one: string, other: string): number {
  const [a, b] = [one, other].map((version) => version.split(/[.-]/).map(Number));
  for (let index = 0; index < 3; index++) {
    const difference = (a?.[index] ?? 0) - (b?.[index] ?? 0);
    if (difference) return difference;
  }
  return 0;
}

/**
 * Writes a session so that plain `claude --resume <session>` opens it in the working folder `cwd`. A file with the
 * same content is left alone; one with other content is never overwritten. Throws TRANSCRIPT_EXISTS.
 */
export async function writeLocalTranscript(
  claudeDir: string,
  cwd: string,
  { sessionId, parts }: Pick<LocalTranscript, 'sessionId' | 'parts'>,
): Promise<string> {
  const folder = join(claudeDir, 'projects', projectFolder(await realpath(cwd).catch(() => resolve(cwd))));
  const main = join(folder, `${sessionId}.jsonl`);
  const files = parts.flatMap(({ subpath, entries }) => {
    const path = subpath === '' ? main : join(folder, sessionId, `${subpath}.jsonl`);
    const metadata = entries.filter(({ type }) => type === agentMetadata).at(-1);
    const lines = entries
      .filter(({ type }) => type !== agentMetadata)
      .map((entry) => `${JSON.stringify(entry)}\n`);
    return [
      { path, text: lines.join('') },
      ...(metadata ? [{ path: path.replace(/\.jsonl$/, '.meta.json'), text: withoutType(metadata) }] : []),
    ];
  });
  const missing: typeof files = [];
  for (const file of files) {
    const bytes = Buffer.from(file.text);
    const present = await readAtMost(file.path, bytes.length).catch((error: NodeJS.ErrnoException) => {
      // What cannot be read is there all the same, and is not to be lost.
      return error.code === 'ENOENT' ? 'none' : null;
    });
    if (present === 'none') missing.push(file);
    else if (!present?.equals(bytes)) {
      throw new SessionChainError('TRANSCRIPT_EXISTS', `${file.path} exists with other content.`);
    }
  }
  // The main transcript last: it is what Claude Code looks for.
  for (const { path, text } of missing.reverse()) await writeWhole(path, text);
  return main;
}

function withoutType({ type: _, ...metadata }: SessionStoreEntry): string {
  return JSON.stringify(metadata);
}

/** Written under a temporary name first, so that no reader finds half of it. */
async function writeWhole(path: string, text: string): Promise<void> {
  const draft = `${path}.${randomUUID()}.tmp`;
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  try {
    await writeFile(draft, text, { mode: 0o600 });
    await rename(draft, path);
  } finally {
    await rm(draft, { force: true });
  }
}

/** The name that Claude Code gives to a working folder; a long one is truncated, with a hash of the whole. */
export function projectFolder(cwd: string): string {
  const name = cwd.replace(/[^a-zA-Z0-9]/g, '-');
  const longest = 200;
  if (name.length <= longest) return name;
  let hash = 0;
  for (let index = 0; index < cwd.length; index++) hash = ((hash << 5) - hash + cwd.charCodeAt(index)) | 0;
  return `${name.slice(0, longest)}-${Math.abs(hash).toString(36)}`;
}
