import { randomUUID } from 'node:crypto';
import { mkdir, readFile, readdir, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve, sep } from 'node:path';
import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { SessionChainError } from '../contracts/failures.js';
import type { SessionId } from '../contracts/ids.js';
import { findHole } from './hole.js';

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

/** What the SDK calls the entry that stands for a subagent's `.meta.json`. */
const agentMetadata = 'agent_metadata';

/**
 * Reads a session with its subagents. Entries that are not known here are kept as they are. A last line that was cut off
 * while it was written is left out with a warning; anything else that is no entry is an error. `agentVersion` is the Claude
 * Code that will go on from it: a transcript of a newer one is taken with a warning. Throws TRANSCRIPT_NOT_FOUND,
 * TRANSCRIPT_UNREADABLE.
 */
export async function readLocalTranscript(
  claudeDir: string,
  sessionId: SessionId,
  agentVersion?: string,
): Promise<LocalTranscript> {
  const warnings: string[] = [];
  const path = await findTranscript(claudeDir, sessionId, warnings);
  const main = await readEntries(path, warnings);
  if (!main.some(({ type }) => type === 'user' || type === 'assistant')) {
    throw unreadable(path, 'it holds no message of a user or a model');
  }
  const parts = [{ subpath: '', entries: main }, ...(await readSubagents(path, warnings))];
  const orphan = findHole(main);
  if (orphan !== null) {
    warnings.push(
      `The entry ${orphan} of ${path} follows one that is not in the file: a part of it is lost.`,
    );
  }
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
  const [newest, ...others] = found.sort((a, b) => b.changedMs - a.changedMs);
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
    const metadata = await readFile(path.replace(/\.jsonl$/, '.meta.json'), 'utf8').catch(() => null);
    parts.push({
      subpath,
      entries: [
        ...(await readEntries(path, warnings)),
        ...(metadata === null ? [] : [{ ...parsed(path, metadata), type: agentMetadata }]),
      ],
    });
  }
  return parts;
}

async function readEntries(path: string, warnings: string[]): Promise<SessionStoreEntry[]> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw unreadable(path, cause instanceof Error ? cause.message : String(cause), cause);
  });
  const lines = text.split('\n');
  // Every line ends with a newline: what follows the last one was cut off.
  const cutOff = lines.pop();
  const entries: SessionStoreEntry[] = [];
  let rewritten = 0;
  for (const [index, line] of lines.entries()) {
    if (line.trim() === '') continue;
    const entry = parsed(`${path}:${index + 1}`, line);
    if (typeof entry.type !== 'string') throw unreadable(`${path}:${index + 1}`, 'it has no type');
    if (JSON.stringify(entry) !== line) rewritten++;
    entries.push(entry as SessionStoreEntry);
  }
  if (cutOff) {
    const last = tryToParse(cutOff);
    if (typeof last?.type === 'string') entries.push(last as SessionStoreEntry);
    else warnings.push(`The last line of ${path} was cut off and is left out.`);
  }
  if (rewritten > 0) {
    warnings.push(`${rewritten} lines of ${path} are kept as the same JSON, but not byte for byte.`);
  }
  return entries;
}

function parsed(place: string, text: string): Record<string, unknown> {
  const value = tryToParse(text);
  if (value) return value;
  throw unreadable(place, 'it is no JSON object');
}

function tryToParse(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}

function unreadable(place: string, why: string, cause?: unknown): SessionChainError {
  return new SessionChainError(
    'TRANSCRIPT_UNREADABLE',
    `${place} is no transcript of Claude Code: ${why}.`,
    undefined,
    {
      cause,
    },
  );
}

/** The newest version among the entries, where it is newer than ours. */
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
 * Writes a session so that plain `claude --resume <session>` opens it in the working folder `cwd`. A file that says the
 * same is left alone; one that says something else is never overwritten. Throws TRANSCRIPT_EXISTS.
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
    const present = await readFile(file.path, 'utf8').catch(() => null);
    if (present === null) missing.push(file);
    else if (present !== file.text) {
      throw new SessionChainError('TRANSCRIPT_EXISTS', `${file.path} is there and says something else.`);
    }
  }
  // The main transcript last: it is what Claude Code looks for.
  for (const { path, text } of missing.reverse()) await writeWhole(path, text);
  return main;
}

function withoutType({ type: _, ...metadata }: SessionStoreEntry): string {
  return JSON.stringify(metadata);
}

/** Under another name first, so that no reader finds half of it. */
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

/** The name that Claude Code gives to a working folder; a long one is cut, with a hash of the whole. */
export function projectFolder(cwd: string): string {
  const name = cwd.replace(/[^a-zA-Z0-9]/g, '-');
  const longest = 200;
  if (name.length <= longest) return name;
  let hash = 0;
  for (let index = 0; index < cwd.length; index++) hash = ((hash << 5) - hash + cwd.charCodeAt(index)) | 0;
  return `${name.slice(0, longest)}-${Math.abs(hash).toString(36)}`;
}
