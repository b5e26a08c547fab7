import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { type Failure, SessionChainError, toFailure } from '../contracts/failures.js';
import {
  type ProjectId,
  type SessionId,
  parseProjectId,
  parseSessionId,
  parseVersionId,
} from '../contracts/ids.js';
import {
  type ImportedSession,
  headsToImport,
  importSession as importTranscript,
  loadTranscript,
  projectOfSession,
} from '../storage/operations/import.js';
import { readLocalTranscript, writeLocalTranscript } from '../transcript/local-files.js';
import { type Pool, isDatabaseAway } from '../storage/db/pool.js';
import { checked, checkedOptions } from './input.js';

export interface ImportOptions {
  /** The folder of Claude Code, which holds `projects/`. Default: `.claude` in the home folder. */
  claudeDir?: string;
  /** The Claude Code that will continue from it; with it, a transcript of a newer one brings a warning. */
  agentVersion?: string;
}

export interface ImportSessionRequest extends ImportOptions {
  projectId: string;
  sessionId: string;
  /** Default: the newest version of the project. */
  versionId?: string;
}

/** What became of a project's head. */
export type HeadImport = { projectId: ProjectId; sessionId: SessionId } & (
  | { outcome: 'imported'; imported: ImportedSession }
  /** Nothing was to be done, and the disk was not looked at. */
  | { outcome: 'already_there' }
  | { outcome: 'failed'; failure: Failure }
);

export interface ExportSessionRequest {
  sessionId: string;
  /** Needed only where several projects have a session of this id. */
  projectId?: string;
  /** Default: `.claude` in the home folder. */
  claudeDir?: string;
  /** The folder in which the session will be resumed. Default: the one in which it ran last. */
  cwd?: string;
}

export interface ExportedSession {
  projectId: ProjectId;
  sessionId: SessionId;
  /** The file of the main transcript. */
  path: string;
  /** `claude --resume` must be called in this folder. */
  cwd: string;
}

/** Sessions from and to the files of a local Claude Code. */
export interface Imports {
  /**
   * Copies a local transcript into the store and makes its session the head, by an `import` transition; may be repeated.
   * Throws INVALID_INPUT, TRANSCRIPT_NOT_FOUND, TRANSCRIPT_UNREADABLE, PROJECT_NOT_FOUND, VERSION_NOT_FOUND,
   * VERSION_OF_ANOTHER_PROJECT, PROJECT_BUSY, SESSION_ALREADY_KNOWN.
   * @example
   * const { transition, warnings } = await sessionChain.importSession({ projectId: 'shop', sessionId });
   */
  importSession(request: ImportSessionRequest): Promise<ImportedSession>;
  /**
   * The same for the head of every project, one after the other; a failure is reported and does not stop the others.
   * @example
   * for await (const { projectId, outcome } of sessionChain.importHeads()) console.log(projectId, outcome);
   */
  importHeads(options?: ImportOptions): AsyncGenerator<HeadImport>;
  /**
   * Writes a session where plain `claude --resume` opens it. Throws INVALID_INPUT, SESSION_NOT_IN_STORE, and
   * TRANSCRIPT_EXISTS where a file of this session says something else.
   * @example
   * const { path, cwd } = await sessionChain.exportSession({ projectId: 'shop', sessionId });
   */
  exportSession(request: ExportSessionRequest): Promise<ExportedSession>;
}

export function createImports(pool: Pool): Imports {
  return {
    importSession: async (request) =>
      await importSession(
        pool,
        checked(importSchema, request, 'The session cannot be imported so', 'request'),
      ),
    importHeads: (options) => importHeads(pool, checkedOptions(importShape, options)),
    exportSession: async (request) =>
      await exportSession(
        pool,
        checked(exportSchema, request, 'The session cannot be exported so', 'request'),
      ),
  };
}

const text = z.string().optional();
const importShape = { claudeDir: text, agentVersion: text };
const importSchema = z.strictObject({
  projectId: z.string(),
  sessionId: z.string(),
  versionId: text,
  ...importShape,
});
const exportSchema = z.strictObject({ sessionId: z.string(), projectId: text, claudeDir: text, cwd: text });

async function importSession(pool: Pool, request: z.infer<typeof importSchema>): Promise<ImportedSession> {
  const { claudeDir = defaultClaudeDir(), agentVersion } = request;
  const projectId = parseProjectId(request.projectId);
  const versionId = request.versionId === undefined ? null : parseVersionId(request.versionId);
  const transcript = await readLocalTranscript(claudeDir, parseSessionId(request.sessionId), agentVersion);
  return await importTranscript(pool, { projectId, versionId, transcript });
}

async function* importHeads(
  pool: Pool,
  options: z.infer<z.ZodObject<typeof importShape>>,
): AsyncGenerator<HeadImport> {
  for await (const { projectId, sessionId, isThere } of headsToImport(pool)) {
    if (isThere) {
      yield { projectId, sessionId, outcome: 'already_there' };
      continue;
    }
    try {
      const imported = await importSession(pool, { ...options, projectId, sessionId });
      yield { projectId, sessionId, outcome: 'imported', imported };
    } catch (error) {
      if (!(error instanceof SessionChainError) || isDatabaseAway(error)) throw error;
      yield { projectId, sessionId, outcome: 'failed', failure: toFailure(error) };
    }
  }
}

async function exportSession(pool: Pool, request: z.infer<typeof exportSchema>): Promise<ExportedSession> {
  const sessionId = parseSessionId(request.sessionId);
  const projectId =
    request.projectId === undefined ? await projectOf(pool, sessionId) : parseProjectId(request.projectId);
  const parts = await loadTranscript(pool, projectId, sessionId);
  const cwd = request.cwd ?? lastFolder(parts[0]?.entries ?? []);
  if (cwd === undefined) {
    throw new SessionChainError(
      'INVALID_INPUT',
      `The transcript of ${sessionId} does not say in which folder it ran.`,
      'Name the folder in which it will be resumed (`cwd`).',
    );
  }
  const path = await writeLocalTranscript(request.claudeDir ?? defaultClaudeDir(), cwd, { sessionId, parts });
  return { projectId, sessionId, path, cwd };
}

async function projectOf(pool: Pool, sessionId: SessionId): Promise<ProjectId> {
  const projectId = await projectOfSession(pool, sessionId);
  if (projectId !== null) return projectId;
  throw new SessionChainError(
    'SESSION_NOT_IN_STORE',
    `No project has the transcript of a session ${sessionId}.`,
    'Look at the lineage of the project (`tree`) for the sessions that it has.',
  );
}

function lastFolder(entries: readonly Record<string, unknown>[]): string | undefined {
  return entries
    .map(({ cwd }) => cwd)
    .filter((cwd) => typeof cwd === 'string')
    .at(-1);
}

function defaultClaudeDir(): string {
  return join(homedir(), '.claude');
}
