import { z } from 'zod';
import type { PartCounts, PartLine } from '../contracts/archive.js';
import { parseProjectId, type ProjectId, type SessionId } from '../contracts/ids.js';
import { unstorable } from '../contracts/text.js';

/** The only one so far. A file of another format is refused. */
export const partFormat = 1;

// What Postgres would not take must not come to light in the middle of a restoration.
const text = z.string().refine((value) => unstorable(value) === null, 'holds what Postgres does not accept');
const maybeText = text.nullable();
const bigint = z.string().regex(/^-?\d{1,19}$/, 'is not a whole number as text');
const maybeBigint = bigint.nullable();
const time = z
  .string()
  .regex(/^\d{4,6}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/, 'is not a time in UTC with six digits');
const maybeTime = time.nullable();
const json = text.refine(isJson, 'is not JSON');
const maybeJson = json.nullable();
const digest = z.string().regex(/^[0-9a-f]{64}$/, 'is not SHA-256 in hex');
const sessionId = text.min(1) as unknown as z.ZodType<SessionId>;
const maybeSessionId = sessionId.nullable();
const kind = <Kind extends PartLine['kind']>(name: Kind) => ({ kind: z.literal(name) });

/** A line of a file of the archive; see PartLine for what the fields mean. */
export const partLine = z.discriminatedUnion('kind', [
  z.strictObject({
    ...kind('session'),
    session_id: sessionId,
    parent_session_id: maybeSessionId,
    created_at: time,
    appended_at: maybeTime,
    appended_bytes: bigint,
    batches: z.int(),
    entries: bigint,
    messages: bigint,
    context_tokens: bigint,
    sealed_at: maybeTime,
    quarantined_at: maybeTime,
    quarantine_reason: maybeText,
    given_up_at: maybeTime,
  }),
  z.strictObject({ ...kind('text'), digest, content: text }),
  z.strictObject({
    ...kind('append'),
    session_id: sessionId,
    ordinal: z.int(),
    append_id: z.guid(),
    subpath: text,
    patch: digest.nullable(),
    entries: z.array(digest).min(1),
  }),
  z.strictObject({
    ...kind('transition'),
    id: text,
    seq: bigint,
    version_id: maybeText,
    old_session_id: maybeSessionId,
    new_session_id: sessionId,
    source: text,
    created_at: maybeTime,
    parent_session_id: maybeSessionId,
    step: maybeText,
    attempt_id: maybeBigint,
    rewound_to: maybeBigint,
    host: json,
  }),
  z.strictObject({
    ...kind('attempt'),
    id: bigint,
    session_id: sessionId,
    base_session_id: maybeSessionId,
    version_id: maybeText,
    build_id: text,
    chain: maybeBigint,
    ticket: maybeBigint,
    step: text,
    round: z.int(),
    role: maybeText,
    attempt: z.int(),
    adopts: maybeSessionId,
    input_digest: text,
    epoch: maybeBigint,
    worker: text,
    state: text,
    scheduled_at: time,
    started_at: time,
    seen_at: time,
    lease_ms: z.int(),
    ended_at: maybeTime,
    result: maybeJson,
    value: maybeJson,
    failure: maybeJson,
    evidence: maybeJson,
  }),
  z.strictObject({
    ...kind('metrics'),
    id: text,
    attempt_id: bigint,
    session_id: sessionId,
    version_id: maybeText,
    build_id: maybeText,
    step: maybeText,
    model: maybeText,
    agent_version: maybeText,
    outcome: maybeText,
    turns: z.int().nullable(),
    input_tokens: maybeBigint,
    output_tokens: maybeBigint,
    cache_read_tokens: maybeBigint,
    cache_write_tokens: maybeBigint,
    cost_usd: z
      .string()
      .regex(/^-?\d{1,7}(\.\d{1,9})?$/, 'is not an amount as text')
      .nullable(),
    cost_derived: z.boolean(),
    duration_ms: maybeBigint,
    api_duration_ms: maybeBigint,
    turn_in_flight_unknown: z.boolean(),
    usage_by_model: maybeJson,
    created_at: time,
    host: json,
  }),
  z.strictObject({
    ...kind('brief'),
    chain: bigint,
    head_session_id: sessionId,
    content: text,
    parts: json,
    created_at: time,
  }),
]) satisfies z.ZodType<PartLine>;

const projectId = z.string().transform((value, context): ProjectId => {
  try {
    return parseProjectId(value);
  } catch {
    context.addIssue('is not the id of a project');
    return z.NEVER;
  }
});
const identity = {
  format: z.literal(partFormat),
  project: projectId,
  month: z.string().regex(/^\d{4}-\d\d$/, 'is not a month, as 2026-11'),
  part: z.guid(),
};
const count = z.int().min(0);

/** The first line of a file: which it is, where its name and its manifest are lost. */
export const partHead = z.strictObject({ kind: z.literal('part'), ...identity });

/** What `<object>.manifest.json` says of `<object>.jsonl.gz`. */
export const partManifest = z.strictObject({
  ...identity,
  object: z.string(),
  /** Of the file as it is stored. */
  bytes: z.int().min(1),
  sha256: digest,
  /** Of what it unpacks to. */
  contentBytes: z.int().min(1),
  counts: z.strictObject({
    session: count,
    text: count,
    append: count,
    transition: count,
    attempt: count,
    metrics: count,
    brief: count,
  }) satisfies z.ZodType<PartCounts>,
  /** The version of Session Chain that wrote it. */
  writtenBy: z.string(),
});
export type PartManifest = z.infer<typeof partManifest>;

function isJson(value: string): boolean {
  try {
    JSON.parse(value);
    return true;
  } catch {
    return false;
  }
}
