import type { ProjectId, SessionId } from './ids.js';

/**
 * What a file of the archive holds. Fields have the names of the columns. A value is what Postgres writes: integers that
 * fit and booleans as such, everything else as text. Times are UTC with six digits, `2026-11-26T16:54:30.000000Z`; JSON
 * columns are the text of the column. So nothing is lost on the way, and the same rows give the same bytes.
 */
export type PartLine =
  | ({ kind: 'session' } & ArchivedSession)
  | ArchivedText
  | ArchivedAppend
  | ({ kind: 'transition' } & ArchivedTransition)
  | ({ kind: 'attempt' } & ArchivedAttempt)
  | ({ kind: 'metrics' } & ArchivedMetrics)
  | ({ kind: 'brief' } & ArchivedBrief);

export const partLineKinds = [
  'session',
  'text',
  'append',
  'transition',
  'attempt',
  'metrics',
  'brief',
] as const satisfies PartLine['kind'][];

/** Lines by kind; each kind has its number. */
export type PartCounts = Record<PartLine['kind'], number>;

export interface ArchivedSession {
  session_id: SessionId;
  parent_session_id: SessionId | null;
  created_at: string;
  appended_at: string | null;
  appended_bytes: string;
  batches: number;
  entries: string;
  messages: string;
  context_tokens: string;
  sealed_at: string | null;
  quarantined_at: string | null;
  quarantine_reason: string | null;
  given_up_at: string | null;
}

/** Once in a file, before the first append that refers to it. */
export interface ArchivedText {
  kind: 'text';
  /** SHA-256 of the content, in hex. */
  digest: string;
  content: string;
}

/** One row of transcript_batches; its session stands before it. */
export interface ArchivedAppend {
  kind: 'append';
  session_id: SessionId;
  ordinal: number;
  append_id: string;
  subpath: string;
  /** Digest of the text that holds what the entries of this append lack. */
  patch: string | null;
  entries: string[];
}

export interface ArchivedTransition {
  id: string;
  seq: string;
  version_id: string | null;
  old_session_id: SessionId | null;
  new_session_id: SessionId;
  source: string;
  created_at: string | null;
  parent_session_id: SessionId | null;
  step: string | null;
  attempt_id: string | null;
  rewound_to: string | null;
  /** JSON: what the row had in columns of the host. */
  host: string;
}

export interface ArchivedAttempt {
  id: string;
  session_id: SessionId;
  base_session_id: SessionId | null;
  version_id: string | null;
  build_id: string;
  chain: string | null;
  ticket: string | null;
  step: string;
  round: number;
  role: string | null;
  attempt: number;
  adopts: SessionId | null;
  input_digest: string;
  epoch: string | null;
  worker: string;
  state: string;
  scheduled_at: string;
  started_at: string;
  seen_at: string;
  lease_ms: number;
  ended_at: string | null;
  /** The last four are JSON. */
  result: string | null;
  value: string | null;
  failure: string | null;
  evidence: string | null;
}

export interface ArchivedMetrics {
  id: string;
  attempt_id: string;
  session_id: SessionId;
  version_id: string | null;
  build_id: string | null;
  step: string | null;
  model: string | null;
  agent_version: string | null;
  outcome: string | null;
  turns: number | null;
  input_tokens: string | null;
  output_tokens: string | null;
  cache_read_tokens: string | null;
  cache_write_tokens: string | null;
  cost_usd: string | null;
  cost_derived: boolean;
  duration_ms: string | null;
  api_duration_ms: string | null;
  turn_in_flight_unknown: boolean;
  /** JSON. */
  usage_by_model: string | null;
  created_at: string;
  /** JSON: what the row had in columns of the host. */
  host: string;
}

export interface ArchivedBrief {
  chain: string;
  head_session_id: SessionId;
  content: string;
  /** JSON. */
  parts: string;
  created_at: string;
}

/** Which file of the archive: of one project and month. */
export interface PartHeader {
  projectId: ProjectId;
  /** As `2026-11`, UTC. */
  month: string;
  /** The id in archive_parts, a uuid. */
  part: string;
}

/** What is known of a file that was written and read back. */
export interface PartWritten {
  bytes: number;
  /** SHA-256 of the file, in hex. */
  sha256: string;
  counts: PartCounts;
}

/** The name of a part's file in the archive, without its endings. */
export function partObject({ projectId, month, part }: PartHeader): string {
  return `${projectFolder(projectId)}/${month}/${part}`;
}

/**
 * The folder of a project in the archive. Two projects never share one, nor has one the other's inside it, also where the
 * case of letters does not count: a capital letter is `_` and the small one, `_` is doubled, `:` is `_-`. Names of folders
 * end at 255 bytes, so a longer one goes on in the next folder, and `~` says so.
 */
export function projectFolder(projectId: ProjectId): string {
  const name = projectId.replace(/[A-Z_:]/g, (character) =>
    character === ':' ? '_-' : `_${character.toLowerCase()}`,
  );
  return `projects/${name.replace(/(.{200})(?=.)/g, '$1~/')}`;
}
