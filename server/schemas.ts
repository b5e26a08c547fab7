import { z } from 'zod';
import type {
  ActivityDetails,
  AttemptDetails,
  Brief,
  BrokenSession,
  ChainBudget,
  ChainChanges,
  ChainCounts,
  ChainDetails,
  ChainEnd,
  ChainPage,
  ChainSpend,
  ChainState,
  ChainSummary,
  ChainOrigin,
  DefinitionInUse,
  ChatPage,
  ChainTimeline,
  DriftReason,
  EntriesPage,
  EntryPart,
  Erasure,
  Failure,
  FencedAttempt,
  GroupedSpend,
  Head,
  Lineage,
  LiveProgress,
  ProjectHold,
  ProjectPage,
  ProjectRetained,
  ProjectSummary,
  Question,
  QuestionPage,
  QueuePosition,
  Reconciled,
  RecordedSession,
  RecoveredSession,
  RetentionPolicy,
  RetentionRun,
  RetentionRunState,
  RetentionStatus,
  RetentionTotal,
  Restoration,
  RewoundProject,
  Saved,
  SessionDetails,
  SessionEntry,
  Spent,
  StepDetails,
  StepState,
  SyncReport,
  TimeSpan,
  Transition,
  UnboundWorkspace,
  Usage,
  WaitingFor,
  WorkerLimitsInForce,
  Workers,
  ShownDefinition,
  ShownStep,
} from '../client/main.js';
import type { BriefFacts } from '../contracts/brief.js';
import { failureCodes } from '../contracts/failures.js';
import { keyScopes } from '../contracts/keys.js';
import { type ProjectStorage, type StorageOverview, storedKinds } from '../contracts/storage.js';
import { spanKinds } from '../contracts/timeline.js';
import { waitKinds } from '../contracts/waiting.js';
import type { DoctorReport } from './doctor.js';
import { failureCodeSchema } from './problems.js';
import { sessionMoments } from '../contracts/question.js';
import { agentStepKinds, chainModes, chainStatuses, isClosed } from '../contracts/steps.js';
/** What the routes answer with, as JSON: the types of the client, whose instants are ISO 8601. */

/** A value after JSON: dates are texts, ids plain strings. */
export type Json<Value> = Value extends Date
  ? string
  : Value extends string
    ? // An id is a string of its own kind; a literal stays what it is.
      Record<never, never> extends Record<Value, 1>
      ? string
      : Value
    : Value extends readonly (infer Item)[]
      ? Json<Item>[]
      : Value extends object
        ? { [Key in keyof Value]: Json<Value[Key]> }
        : Value;

const driftReasonNames = Object.keys({
  version_not_opened: 0,
  chain_on_older_version: 0,
  head_moved_outside: 0,
  version_row_differs: 0,
  broken_lineage: 0,
  checkpoint_differs: 0,
} satisfies Record<DriftReason, 0>) as DriftReason[];

const id = z.string();
const sessionId = z.string().describe('The id of a Claude session');
const instant = z.iso.datetime().describe('ISO 8601, UTC');
const count = z.int().min(0);
const usd = z.number().min(0).describe('US dollars');

const usageShape = {
  inputTokens: count.describe('Tokens that were neither read from nor written to the prompt cache'),
  outputTokens: count,
  cacheReadTokens: count,
  cacheWriteTokens: count,
};
const usage = z.object(usageShape) satisfies z.ZodType<Json<Usage>>;

const failure = z.object({
  code: failureCodeSchema,
  message: z.string().describe('What happened'),
  remedy: z.string().describe('What to do'),
}) satisfies z.ZodType<Json<Failure>>;

export const headSchema = z
  .object({
    sessionId: sessionId.nullable().describe("The project's latest session; null for none"),
    seq: count
      .nullable()
      .describe('The number of the transition that made it the head; null before the first'),
  })
  .meta({ id: 'Head', description: "A project's latest session" }) satisfies z.ZodType<Json<Head>>;

const queue = z.object({
  position: z.int().min(1).describe('1 is the next to hold the project'),
  waitsFor: z.string().describe('Workflow id of the chain in the way'),
}) satisfies z.ZodType<Json<QueuePosition>>;

const origin = z.object({
  kind: z.enum(['head', 'fresh', 'recovery', 'context_reset']),
  headSessionId: sessionId.nullable(),
  headSeq: count.nullable(),
  operations: count.exactOptional().describe('Moves of the head since a fresh session was started'),
  contextTokens: count.exactOptional().describe("Tokens in the head's context"),
}) satisfies z.ZodType<Json<ChainOrigin>>;

const briefShape = {
  headSessionId: sessionId.describe('The head whose memory it replaces'),
  parts: z.array(
    z.object({
      part: z.enum(['summary', 'replies', 'requests', 'metadata', 'document', 'operations']),
      from: z.string().describe('A session, a version, a path or a range of transitions'),
      characters: count,
    }),
  ),
  createdAt: instant,
};
const briefFacts = z.object(briefShape) satisfies z.ZodType<Json<BriefFacts>>;
export const briefSchema = z
  .object({
    brief: z
      .object({ ...briefShape, content: z.string().describe('The text as it was in the prompt') })
      .nullable()
      .describe('Null where the chain went on from the head'),
  })
  .meta({ id: 'ChainBrief' }) satisfies z.ZodType<Json<{ brief: Brief | null }>>;

const keyShape = { projectId: id, versionId: id, buildId: id };

const stepStatus = z.enum([
  ...(['pending', 'running', 'waiting', 'committed', 'completed', 'skipped', 'failed', 'cancelled'] as const),
]);
const stepStateShape = {
  step: z.string().describe('The name of the step'),
  kind: z.enum([...agentStepKinds, 'activity']),
  role: z.enum(['build', 'deploy']).exactOptional(),
  status: stepStatus,
  attempts: count.describe('Attempts so far'),
  oldSessionId: sessionId.nullable(),
  newSessionId: sessionId.nullable(),
  turns: count.describe('Model turns of all attempts'),
  usage,
  costUsd: usd.describe('US dollars of all attempts, as far as they are known'),
  durationMs: count,
  reason: z.string().exactOptional().describe('Why it was skipped, or what it waits for'),
  failure: failure.exactOptional(),
  value: z.record(z.string(), z.unknown()).exactOptional().describe('The submitted value'),
};
const stepState = z.object(stepStateShape) satisfies z.ZodType<Json<StepState>>;

const chainStateShape = {
  ...keyShape,
  mode: z.enum(chainModes),
  status: z.enum(chainStatuses),
  head: headSchema,
  baseSessionId: sessionId.nullable().describe('What the first step forks; null for a fresh session'),
  origin: origin.exactOptional(),
  resumedFrom: z.string().exactOptional().describe('What the chain starts from, in a sentence'),
  brief: briefFacts.exactOptional(),
  warnings: z.array(z.string()),
  queue: queue.exactOptional(),
  waitingUntil: instant.exactOptional(),
  failure: failure.exactOptional(),
};
export const chainStateSchema = z
  .object({ ...chainStateShape, steps: z.array(stepState).describe('Empty until the chain has opened') })
  .meta({ id: 'ChainState', description: 'Where a chain stands' }) satisfies z.ZodType<Json<ChainState>>;

export const startedChainSchema = z
  .object({
    ...keyShape,
    workflowId: z.string(),
    alreadyStarted: z.boolean().describe('The chain was running or completed already: nothing was started'),
    status: z.enum(chainStatuses),
    result: chainStateSchema.nullable().describe('How the chain ended, if it has'),
  })
  .meta({ id: 'StartedChain' });

const spentShape = {
  attempts: count,
  turns: count.describe('Model turns'),
  usage,
  costUsd: usd.describe('US dollars, as far as they are known'),
  durationMs: count.describe("Sum of the attempts' durations, without the time between them"),
  byModel: z
    .record(z.string(), z.object({ ...usageShape, costUsd: usd.nullable() }))
    .describe('By model; a cost is null where one of its attempts is of unknown cost'),
  attemptsOfUnknownCost: count,
  turnsInFlightUnknown: count.describe('Attempts that were stopped or died in a turn, which is in no figure'),
};
const spent = z.object(spentShape) satisfies z.ZodType<Json<Spent>>;
export const chainSpendSchema = z
  .object({ ...spentShape, steps: z.array(z.object({ step: z.string(), ...spentShape })) })
  .meta({ id: 'ChainSpend' }) satisfies z.ZodType<Json<ChainSpend>>;

export const attemptSchema = z
  .object({
    attemptId: id,
    round: z.int().describe('Counts the times that the chain decided to run the step'),
    attempt: z.int().describe('1 for the first attempt of the round'),
    state: z.enum(['running', 'waiting', 'failed', 'committed']),
    sessionId: sessionId.describe('The session that it wrote'),
    baseSessionId: sessionId.nullable().describe('What it was to continue from'),
    parentSessionId: sessionId
      .nullable()
      .describe('What it forked: the base, or the session of an earlier attempt, which it continued'),
    adopts: sessionId.nullable().describe('The finished session of an earlier attempt that it committed'),
    seq: count.nullable().describe('The number of the transition that its commit made'),
    worker: z.string().describe('The process that ran it, as pid@host'),
    scheduledAt: instant.describe('When Temporal scheduled it, by its clock'),
    startedAt: instant,
    seenAt: instant.describe('When its worker last gave a sign of life'),
    leaseUntil: instant.describe('When its lease expires without another sign of life'),
    endedAt: instant.nullable(),
    failure: failure.nullable(),
    evidence: z
      .object({ kind: z.enum(['finished', 'partial', 'nothing']), rule: z.string() })
      .nullable()
      .describe('What its transcript proves, as a later attempt found'),
    costUsd: usd.nullable().describe('US dollars; null where unknown, and until it has ended'),
    turns: count.nullable(),
  })
  .meta({ id: 'Attempt' }) satisfies z.ZodType<Json<AttemptDetails>>;

const activityCall = z.object({
  activity: z.string(),
  taskQueue: z.string(),
  round: z.int(),
  state: z.enum(['running', 'completed', 'failed', 'cancelled']),
  startedAt: instant,
  endedAt: instant.nullable(),
}) satisfies z.ZodType<Json<ActivityDetails>>;

const saved = z
  .object({
    costUsd: usd.describe('US dollars that these attempts had spent, as far as they are known'),
    attemptsOfUnknownCost: count,
    turns: count.describe('Model turns that were not asked for again'),
    adopted: count.describe('Attempts that had finished their work, which was committed as it was'),
    continued: count.describe('Attempts that had begun their work, which the next one continued'),
  })
  .meta({
    id: 'Saved',
    description:
      'What attempts that ended without a commit had spent on work that a later attempt used, so that it was not paid again',
  }) satisfies z.ZodType<Json<Saved>>;

export const stepDetailsSchema = z
  .object({
    ...stepStateShape,
    startedAt: instant.nullable(),
    endedAt: instant.nullable(),
    reply: z.string().nullable().describe("The model's last message"),
    files: z.array(z.string()).describe('The files that its file tools wrote'),
    saved,
    journal: z.array(attemptSchema).describe('Its attempts, oldest first'),
    calls: z.array(activityCall).describe('The calls of an activity of the host, oldest first'),
  })
  .meta({ id: 'StepDetails' }) satisfies z.ZodType<Json<StepDetails>>;

const budget = z.object({
  maxCostUsd: usd.exactOptional(),
  maxTurns: count.exactOptional(),
  timeoutMs: count.exactOptional(),
}) satisfies z.ZodType<Json<ChainBudget>>;

const chainEnd = z.object({
  key: z.uuid().describe('The same at every call for this end'),
  ...keyShape,
  chainId: id,
  eventId: count.describe('The event chain.closed'),
  status: z.enum(chainStatuses.filter(isClosed)),
  failureCode: failureCodeSchema.nullable(),
  sessionId: sessionId.nullable().describe("The project's head as the chain left it"),
  seq: count.nullable(),
  steps: z.array(z.string()),
  endedAt: instant,
  deliveredAt: instant.nullable().describe('When the activity of the host succeeded; null until then'),
  rounds: count.describe('How often calls for it began'),
  failure: z.string().nullable().describe('Why the last round of calls failed'),
  dueAt: instant.nullable().describe('When the next round begins at the latest; null once it is delivered'),
}) satisfies z.ZodType<Json<ChainEnd>>;

export const chainDetailsSchema = z
  .object({
    ...chainStateShape,
    workflowId: z.string(),
    instruction: z.string().nullable(),
    firstLine: z.string().nullable(),
    workspace: z.string().describe("Absolute path of the project's files, as the worker sees it"),
    requestedSteps: z
      .array(z.string())
      .nullable()
      .describe('The steps that its last start named; null for all of the definition'),
    createdAt: instant,
    requestedAt: instant.describe('When it was last asked for'),
    openedAt: instant.nullable(),
    closedAt: instant.nullable(),
    steps: z.array(stepDetailsSchema),
    saved,
    spent: chainSpendSchema,
    budget: budget.nullable(),
    budgetLeft: z
      .object({ costUsd: z.number().nullable(), turns: z.int().nullable(), timeMs: z.int().nullable() })
      .nullable()
      .describe('What it may still take; a field is null where the budget does not limit it'),
    ends: z
      .array(chainEnd)
      .describe('How it ended, each time, the newest first, and whether the host was told (onEnd)'),
  })
  .meta({ id: 'Chain', description: 'Everything that is known of a chain' }) satisfies z.ZodType<
  Json<ChainDetails>
>;

const spanShape = {
  kind: z
    .enum(spanKinds)
    .describe(
      [
        'queued: until it held its project',
        'opening: until its first step was scheduled',
        'worker: a step was scheduled, until an attempt began',
        'retry: from a failed attempt until the next was scheduled',
        'waiting: for the model service or a worker, by a timer',
        'start: Claude Code started',
        'model: the model answered',
        'tool: tools ran',
        'compaction: the conversation was summarised',
        'end: until the end of an attempt was recorded',
        'lost: from the last sign of life until the lease had expired',
        'call: an activity of the host ran',
        'closing: until the chain was closed',
      ].join('; '),
    ),
  label: z.string().describe('The tools, the code that it waited for, or the activity'),
  startedAt: instant,
  endedAt: instant.nullable().describe('Null while it lasts'),
  entryId: z.string().nullable().describe('The entry of the transcript with which it began'),
  count: z.int().min(1).describe('How many spans it stands for'),
};
const span = z.object(spanShape) satisfies z.ZodType<Json<TimeSpan>>;
export const timelineSchema = z
  .object({
    at: instant.describe('When this was read; spans without an end last at least until then'),
    runs: z
      .array(z.object({ queuedAt: instant, openedAt: instant.nullable(), closedAt: instant.nullable() }))
      .describe('Each time that the chain was asked for, the oldest first'),
    spans: z
      .array(z.object({ ...spanShape, step: z.string().nullable() }))
      .describe('What is of no attempt; `step` is null where it is of no step'),
    attempts: z.array(
      z.object({
        step: z.string(),
        attemptId: id,
        round: z.int(),
        attempt: z.int(),
        spans: z.array(span),
        totalsMs: z
          .partialRecord(z.enum(spanKinds), count)
          .describe('Ms by kind, as exact as before spans were merged'),
      }),
    ),
    isMerged: z.boolean().describe('Short spans were merged, to keep the answer small'),
  })
  .meta({ id: 'Timeline', description: 'Where the time of a chain went' }) satisfies z.ZodType<
  Json<ChainTimeline>
>;

const line = z.int().min(0).nullable();
export const changesSchema = z
  .object({
    steps: z.array(
      z.object({
        step: z.string(),
        changes: z
          .array(
            z.object({
              attemptId: id,
              path: z.string().describe('Relative to the folder in which the agent worked'),
              tool: z.string(),
              isNew: z.boolean().describe('The file was not there before'),
              entryId: z.string().nullable().describe("The entry with the tool's result"),
              at: z.string().nullable(),
              hunks: z.array(
                z.object({
                  oldStart: line.describe('The first line before, from 1; null where the tool did not say'),
                  newStart: line.describe('The first line after'),
                  lines: z
                    .array(z.string())
                    .describe('Each begins with a space (stayed), - (removed) or + (added)'),
                }),
              ),
              isCut: z.boolean().describe('Lines were shortened or left out'),
            }),
          )
          .describe('In the order of the writes, attempt by attempt'),
        leftOut: count.describe('Later changes of the step that did not fit'),
      }),
    ),
  })
  .meta({ id: 'Changes', description: 'What a chain wrote with file tools' }) satisfies z.ZodType<
  Json<ChainChanges>
>;

const since = { since: instant };
const waitingFor = z.union([
  z.object({
    ...since,
    kind: z.literal('queue'),
    position: z.int().nullable(),
    behind: z.string().nullable().describe('The workflow in the way'),
  }),
  z.object({
    ...since,
    kind: z.literal('worker'),
    taskQueue: z.string(),
    lacks: z.string().nullable(),
    until: instant.nullable(),
  }),
  z.object({ ...since, kind: z.literal('model'), until: instant.nullable() }),
  z.object({ ...since, kind: z.literal('activity'), activity: z.string(), taskQueue: z.string() }),
]) satisfies z.ZodType<Json<WaitingFor>>;

export const chainSummarySchema = z
  .object({
    ...keyShape,
    workflowId: z.string(),
    mode: z.enum(chainModes),
    status: z.enum(chainStatuses),
    step: z.string().nullable().describe('The step that it works on, waits in, or failed at'),
    steps: z
      .array(z.object({ step: z.string(), status: stepStatus }))
      .describe('The steps of its plan in order; empty until it has opened'),
    reason: z.string().nullable().describe('Why it waits or failed, or its warnings'),
    failure: failure.nullable(),
    warnings: z.array(z.string()),
    firstLine: z.string().nullable().describe('The first line of what was asked for'),
    costUsd: usd.describe('US dollars, as far as they are known'),
    attemptsOfUnknownCost: count,
    createdAt: instant,
    openedAt: instant.nullable(),
    closedAt: instant.nullable(),
    progressAt: instant.describe('When it last made progress'),
    waitingUntil: instant.nullable(),
    queue: queue.nullable(),
    waitingFor: waitingFor.nullable().describe('What it waits for and since when'),
    sessionId: sessionId.nullable().describe("The project's head, or the head that a closed chain left"),
    missingWorker: z
      .object({ taskQueue: z.string(), since: instant, othersOnly: z.string().nullable() })
      .nullable()
      .describe('The task queue that it waits on and that no worker polls, where Temporal was asked'),
    failingTask: z
      .object({
        since: instant.describe('When it failed first'),
        tries: count,
        cause: z.string().describe('As Temporal names it, such as NON_DETERMINISTIC_ERROR'),
        message: z.string().describe('What the worker said'),
        worker: z.string().describe('The worker that said it; may be empty'),
      })
      .nullable()
      .describe('Why it stands still though workers poll: its workflow task fails, where Temporal was asked'),
  })
  .meta({ id: 'ChainSummary' }) satisfies z.ZodType<Json<ChainSummary>>;

export const nextCursor = z.string().nullable().describe('`cursor` of the next page; null on the last one');

export const chainPageSchema = z
  .object({ chains: z.array(chainSummarySchema), nextCursor })
  .meta({ id: 'ChainPage', description: 'Chains, newest first' }) satisfies z.ZodType<Json<ChainPage>>;

const counts = <Name extends string>(names: readonly Name[]) =>
  z.object(Object.fromEntries(names.map((name) => [name, count])) as Record<Name, typeof count>);
export const chainCountsSchema = z
  .object({
    status: counts(chainStatuses).describe(
      'Open ones as they are now, and those that have ended since `since`',
    ),
    waitingFor: counts(waitKinds).describe('Open ones that wait, by what for'),
    failed: z
      .partialRecord(z.enum(failureCodes), count)
      .describe('Those that failed since `since`, by the code'),
    since: instant,
  })
  .meta({ id: 'ChainCounts' }) satisfies z.ZodType<Json<ChainCounts>>;

const groupedSpend = z
  .object({
    key: z.string().describe('A day (UTC), a step, a model or a project'),
    attempts: count,
    turns: count.nullable(),
    usage,
    costUsd: usd,
    attemptsOfUnknownCost: count,
  })
  .meta({ id: 'GroupedSpend' }) satisfies z.ZodType<Json<GroupedSpend>>;
export const groupsSchema = z.object({ groups: z.array(groupedSpend) }).meta({ id: 'SpendGroups' });
export const projectSpendSchema = z
  .object({ ...spent.shape, groups: z.array(groupedSpend).exactOptional().describe('With `by`') })
  .meta({ id: 'ProjectSpend' });

export const projectSchema = z
  .object({
    projectId: id,
    head: headSchema,
    headMovedAt: instant.nullable(),
    versionId: id.nullable().describe('Its newest version'),
    inSync: z.boolean().nullable().describe('Whether the newest version names the head'),
    reasons: z.array(z.enum(driftReasonNames)),
    lastChain: z
      .object({
        ...keyShape,
        status: z.enum(chainStatuses),
        failureCode: failureCodeSchema.nullable(),
        createdAt: instant,
        closedAt: instant.nullable(),
      })
      .nullable(),
    openChains: count,
    costUsd: usd,
    attemptsOfUnknownCost: count,
  })
  .meta({ id: 'Project' }) satisfies z.ZodType<Json<ProjectSummary>>;

export const projectPageSchema = z
  .object({ projects: z.array(projectSchema), nextCursor })
  .meta({ id: 'ProjectPage', description: 'A page of projects' }) satisfies z.ZodType<Json<ProjectPage>>;

const entryPart = z.union([
  z.object({ kind: z.literal('text'), text: z.string() }),
  z.object({ kind: z.literal('thinking'), text: z.string() }),
  z.object({ kind: z.literal('tool_call'), id: z.string(), name: z.string(), input: z.unknown() }),
  z.object({ kind: z.literal('tool_result'), id: z.string(), isError: z.boolean(), text: z.string() }),
]) satisfies z.ZodType<Json<EntryPart>>;
export const entrySchema = z
  .object({
    cursor: z.string().describe('Where to go on after it'),
    entryId: z.string().nullable().describe('Its uuid, the same in every session that has a copy'),
    at: z.string().nullable().describe('When it was written, as Claude Code says'),
    type: z
      .string()
      .describe(
        'The type that Claude Code gives it, with its kind behind a slash. `user/meta`, `user/command` and `user/summary` are from Claude Code itself, `assistant/error` is an answer that failed',
      ),
    role: z
      .enum(['user', 'assistant', 'system'])
      .nullable()
      .describe('Null where it says nothing that a conversation would show'),
    subagent: z.string().nullable().describe('Null in the main conversation'),
    isInherited: z.boolean().describe('Copied from the session that this one forked'),
    parts: z.array(entryPart),
    isCut: z.boolean().describe('A text of the parts was cut, because of `maxText`'),
    images: count.describe('The number of images in it, which `raw` has'),
    request: z
      .object({ id, model: z.string(), usage, stopReason: z.string().nullable() })
      .nullable()
      .describe(
        'The request to the model whose answer it is part of; an answer is stored in several entries, of which the last has all tokens',
      ),
    compaction: z
      .object({ tokensBefore: count, tokensAfter: count.nullable() })
      .nullable()
      .describe('Of the boundary of a compaction: the tokens of the context before and after'),
    raw: z
      .record(z.string(), z.unknown())
      .nullable()
      .describe('The entry as Claude Code wrote it; null where it was not asked for'),
  })
  .meta({ id: 'Entry', description: 'An entry of a transcript' }) satisfies z.ZodType<Json<SessionEntry>>;

export const entriesSchema = z
  .object({ projectId: id, sessionId, entries: z.array(entrySchema), nextCursor })
  .meta({ id: 'EntriesPage', description: 'Entries of a transcript, oldest first' }) satisfies z.ZodType<
  Json<EntriesPage>
>;

export const sessionSchema = z
  .object({
    projectId: id,
    sessionId,
    parentSessionId: sessionId
      .nullable()
      .describe('The session that it forked; null for a fresh one and where that is unknown'),
    condition: z
      .enum(['whole', 'hole', 'quarantined', 'archived', 'lost', 'unknown'])
      .describe(
        'Of its transcript: `whole`, a step can continue from it; `hole`, entries are missing; `quarantined`, a step could not load it; `archived`, it is in the archive alone, and a step restores it first; `lost`, nothing of it is in the store any more; `unknown`, nothing of it ever was',
      ),
    quarantineReason: z.string().nullable(),
    entries: count.describe('Entries of its main conversation'),
    contextTokens: count.describe('Tokens in its context at its end'),
    createdAt: instant.nullable(),
    appendedAt: instant.nullable().describe('When its last entry was stored'),
    isHead: z.boolean(),
    transition: z
      .object({ seq: count, source: z.string(), at: instant })
      .nullable()
      .describe('The last one that made it the head; null where none did'),
    attempt: z
      .object({
        attemptId: id,
        step: z.string().describe('The step of a chain, or the source of an operation outside one'),
        round: z.int(),
        attempt: z.int(),
        state: z.enum(['running', 'waiting', 'failed', 'committed']),
        versionId: id.nullable().describe('Null outside a chain'),
        buildId: id.nullable().describe('Null outside a chain'),
        question: z
          .object({ chatId: id, messageId: z.string() })
          .nullable()
          .describe('The question that it answers'),
        startedAt: instant,
        endedAt: instant.nullable(),
        failure: failure.nullable(),
        model: z.string().nullable(),
        turns: count.nullable(),
        usage: usage.nullable().describe('Its own tokens; null while it runs'),
        costUsd: usd.nullable().describe('US dollars; null while it runs and where unknown'),
      })
      .nullable()
      .describe('The attempt that wrote it; null for a session that is not in the journal'),
    adoptedBy: z
      .object({ attemptId: id, sessionId })
      .nullable()
      .describe('The attempt that committed it in place of its own session'),
    forks: z
      .array(z.object({ sessionId, step: z.string().nullable() }))
      .describe('The sessions that forked it, the newest first, at most 100'),
  })
  .meta({ id: 'Session', description: 'A session, and what wrote it' }) satisfies z.ZodType<
  Json<SessionDetails>
>;

export const progressSchema = z
  .object({
    progress: z
      .object({
        step: z.string(),
        tries: z.int(),
        lastFailure: z.string().exactOptional(),
        turns: z.int().exactOptional(),
        activity: z.string().exactOptional().describe('The tool that ran last'),
      })
      .nullable()
      .describe('Null when no step runs'),
  })
  .meta({ id: 'ChainProgress' }) satisfies z.ZodType<Json<{ progress: LiveProgress | null }>>;

export const transitionSchema = z
  .object({
    seq: z.int().nullable().describe('Its number; null for one from before Session Chain'),
    source: z.string().describe('The step that moved the head, or a reserved source'),
    step: z.string().nullable(),
    versionId: id.nullable(),
    oldSessionId: sessionId.nullable(),
    newSessionId: sessionId,
    parentSessionId: sessionId.nullable().describe('What was forked; null for a fresh session'),
    rewoundTo: z
      .int()
      .nullable()
      .describe('Of a rewind: the number of the transition whose session it copied'),
    createdAt: instant,
  })
  .meta({ id: 'Transition', description: 'A move of the head' }) satisfies z.ZodType<Json<Transition>>;

export const treeSchema = z
  .object({
    projectId: id,
    headSessionId: sessionId.nullable(),
    nodes: z.array(
      z.object({
        sessionId,
        parentSessionId: sessionId.nullable(),
        kind: z.enum(['head', 'rewound', 'side_branch', 'attempt']),
        seq: z.int().nullable(),
        rewoundTo: z.int().nullable(),
        source: z.string().nullable(),
        oldSessionId: sessionId.nullable(),
        versionId: id.nullable(),
        step: z.string().nullable(),
        buildId: z.string().nullable(),
        stepKind: z.enum([...agentStepKinds, 'activity']).nullable(),
        chainId: id.nullable().describe('One of `chains`; null outside a chain'),
        question: z
          .object({ questionId: id, chatId: id, messageId: id })
          .nullable()
          .describe('The question that it was to answer'),
        state: z.enum(['running', 'waiting', 'failed', 'committed']).nullable(),
        attempt: z.int().nullable().describe('Counts the attempts of its operation'),
        failureCode: failureCodeSchema.nullable(),
        adopts: sessionId
          .nullable()
          .describe('The finished session of an earlier attempt that it committed in place of its own'),
        condition: z
          .enum(['whole', 'quarantined', 'archived', 'hole', 'lost', 'unknown', 'empty'])
          .describe('A step can continue from a whole one; empty: nothing was written to it so far'),
        entries: count.describe('Of its main transcript, those of the session that it forked included'),
        contextTokens: count.nullable().describe('Size of its context'),
        costUsd: usd.nullable().describe('US dollars that it cost itself; null where unknown'),
        createdAt: instant,
        endedAt: instant.nullable(),
      }),
    ),
    chains: z.array(
      z.object({
        chainId: id,
        versionId: id,
        buildId: id,
        status: z.enum(chainStatuses),
        failureCode: failureCodeSchema.nullable(),
        workspace: z.string().describe("Absolute path of the project's files, as the worker sees it"),
        createdAt: instant,
        openedAt: instant.nullable(),
        closedAt: instant.nullable(),
      }),
    ),
    isCut: z.boolean().describe('Older heads were left out'),
  })
  .meta({ id: 'Tree', description: 'The sessions of a project' }) satisfies z.ZodType<Json<Lineage>>;

export const questionSchema = z
  .object({
    questionId: id,
    projectId: id,
    chatId: id,
    messageId: id.describe("The caller's key of the question"),
    question: z.string(),
    reply: z.string().nullable().describe('Null until it is answered'),
    state: z.enum(['asked', 'running', 'answered', 'failed']),
    kind: z
      .enum(['transition', 'side_branch'])
      .nullable()
      .describe('Whether the answer moved the head; null until it is answered'),
    when: z.enum(sessionMoments),
    aside: z.boolean(),
    headSessionId: sessionId.nullable().describe('The head as the question found it'),
    sessionId: sessionId.nullable().describe('The session that holds question and reply'),
    failure: failure.nullable(),
    askedAt: instant,
    answeredAt: instant.nullable(),
  })
  .meta({ id: 'Question' }) satisfies z.ZodType<Json<Question>>;

export const questionPageSchema = z
  .object({
    questions: z.array(questionSchema),
    nextCursor: z.string().nullable().describe('`cursor` of the page with older ones; null on the last one'),
  })
  .meta({ id: 'QuestionPage', description: 'Questions of a chat, oldest first' }) satisfies z.ZodType<
  Json<QuestionPage>
>;

export const chatPageSchema = z
  .object({
    chats: z.array(
      z.object({
        chatId: id,
        questions: count.describe('Questions that were asked in it'),
        open: count.describe('Those that wait for their answers'),
        failed: count,
        firstAskedAt: instant,
        newest: questionSchema.describe('Its newest question'),
      }),
    ),
    nextCursor,
  })
  .meta({
    id: 'ChatPage',
    description: 'Chats, the one with the newest question first',
  }) satisfies z.ZodType<Json<ChatPage>>;

export const rewoundSchema = z
  .object({
    projectId: id,
    versionId: id.nullable(),
    sessionId: sessionId.nullable().describe('The copy, which became the head; null of a dry run'),
    transitionSeq: z.int().describe('The transition that made it the head, or would'),
    toSeq: z.int(),
    sourceSessionId: sessionId.describe('The session that was copied'),
    alreadyRewound: z.boolean().describe('The same key was used before; this call wrote nothing'),
    forgotten: z
      .array(z.object({ seq: z.int(), source: z.string(), versionId: id.nullable(), createdAt: instant }))
      .describe('The operations that the head does not know any more, oldest first'),
    warnings: z.array(z.string()),
  })
  .meta({ id: 'Rewound' }) satisfies z.ZodType<Json<RewoundProject>>;

export const recordedSchema = z
  .object({
    projectId: id,
    versionId: id.nullable(),
    source: z.string(),
    oldSessionId: sessionId.nullable(),
    newSessionId: sessionId,
    seq: z.int(),
    alreadyRecorded: z.boolean().describe('The session was the head already; this call wrote nothing'),
    inStore: z.boolean().describe('A chain can continue from it'),
    warnings: z.array(z.string()),
  })
  .meta({ id: 'RecordedSession' }) satisfies z.ZodType<Json<RecordedSession>>;

export const recoveredSchema = z
  .object({
    projectId: id,
    askedSessionId: sessionId.nullable(),
    sessionId: sessionId.nullable().describe('What to continue from; null for a fresh session'),
    outcome: z.enum(['valid', 'ancestor', 'fresh']),
    problem: z
      .object({
        valid: z.literal(false),
        reason: z.enum(['quarantined', 'archived', 'hole', 'lost', 'unknown']),
        detail: z.string(),
      })
      .nullable(),
    warning: z.string().nullable(),
    givenUp: z.boolean().describe('The session was the head and was given up, or would be without dryRun'),
  })
  .meta({ id: 'Recovered' }) satisfies z.ZodType<Json<RecoveredSession>>;

export const reconciledSchema = z
  .object({
    released: z
      .array(z.string())
      .describe('Workflow ids of the chains that were closed, or would be with dryRun'),
    endingInMs: count.nullable().describe('Until the lease of an agent whose chain is gone has expired'),
  })
  .meta({ id: 'Reconciled' }) satisfies z.ZodType<Json<Reconciled>>;

export const unboundSchema = z
  .object({ projectId: id, path: z.string().nullable().describe('The folder that was released') })
  .meta({ id: 'Unbound' }) satisfies z.ZodType<Json<UnboundWorkspace>>;

const erasedCounts = z
  .record(z.string(), count)
  .describe('By kind: tables, and workflows, archive_files, checkpoints, run_folders');
export const erasureSchema = z
  .object({
    erasureId: z.uuid().nullable().describe('Null for a dry run'),
    projectId: id,
    state: z.enum(['planned', 'running', 'finished']),
    counts: erasedCounts.describe('What there is to erase, or what was erased so far, by kind'),
    certificate: z
      .object({
        erasureId: z.uuid(),
        projectId: id,
        requestedBy: z.string(),
        reason: z.string().nullable(),
        requestedAt: instant,
        finishedAt: instant,
        erased: erasedCounts,
        left: z.array(z.object({ what: z.string(), why: z.string() })).describe('What was left on purpose'),
        later: z
          .array(z.object({ what: z.string(), until: z.string() }))
          .describe('What no delete reaches at once, and when it goes'),
      })
      .nullable()
      .describe('All that stays of an erased project'),
  })
  .meta({ id: 'Erasure' }) satisfies z.ZodType<Json<Erasure>>;
export const restorationSchema = z
  .object({
    projectId: id,
    state: z.enum(['running', 'finished', 'failed']),
    startedAt: instant,
    endedAt: instant.nullable(),
    restored: z
      .object({
        projectId: id,
        files: count.describe('Files of the archive that were read'),
        sessions: count.describe('Sessions that were brought back; those that were here are not counted'),
        entries: count.describe('Entries of their main conversations'),
        transitions: count.describe('Transitions that are in `session_transitions` again'),
        details: count.describe('Attempts with what they spent, and briefs'),
        left: z
          .object({ transitions: count, details: count })
          .describe('What the archive has, and what this database has no place for'),
        keptUntil: instant.describe('Until when retention leaves the project alone'),
      })
      .nullable()
      .describe('Null until it is finished'),
    failure: failure.nullable(),
  })
  .meta({ id: 'Restoration' }) satisfies z.ZodType<Json<Restoration>>;

export const holdSchema = z
  .object({
    projectId: id,
    hold: z
      .object({ since: instant, by: z.string(), reason: z.string() })
      .nullable()
      .describe('The legal hold; null for none'),
    restoredUntil: instant
      .nullable()
      .describe('Until when retention leaves the project alone because something of it was restored'),
  })
  .meta({ id: 'Hold' }) satisfies z.ZodType<Json<ProjectHold>>;

export const releasedSchema = z
  .object({ ...holdSchema.shape, released: z.boolean().describe('False where there was no hold') })
  .meta({ id: 'Released' }) satisfies z.ZodType<Json<ProjectHold & { released: boolean }>>;

export const syncSchema = z
  .object({
    projects: count.describe('Projects that have a head and a version'),
    inSync: count.describe('Those whose newest version names the head'),
    share: z.number().nullable().describe('inSync / projects; null where there are none'),
    withoutVersion: count,
    drifted: z.array(
      z.object({
        projectId: id,
        versionId: id.nullable(),
        head: sessionId,
        versionSession: sessionId.nullable(),
        inSync: z.boolean(),
        reasons: z.array(z.enum(driftReasonNames)),
      }),
    ),
    more: z.boolean().describe('There are more drifted projects than `limit`'),
    checkpoints: z.union([
      z.object({ status: z.literal('compared'), compared: count, malformed: count }),
      z.object({ status: z.enum(['off', 'unavailable']) }),
    ]),
  })
  .meta({ id: 'SyncReport' }) satisfies z.ZodType<Json<SyncReport>>;

const brokenSession = z.object({
  projectId: id,
  sessionId,
  reason: z
    .enum(['quarantined', 'hole', 'lost', 'unknown'])
    .describe(
      '`quarantined`: a step could not load it; `hole`: entries of it are gone; `lost`: all of it is gone; `unknown`: it never was in the store',
    ),
  detail: z.string().describe('Why, for people'),
  isHead: z.boolean().describe("The project's next operation goes on from it"),
  quarantinedAt: instant.nullable(),
  appendedAt: instant.nullable().describe('When an entry of it was stored last'),
  givenUpAt: instant.nullable().describe('Since when the next chain goes on from an ancestor instead'),
}) satisfies z.ZodType<Json<BrokenSession>>;
export const brokenSessionsSchema = z
  .object({ sessions: z.array(brokenSession), nextCursor })
  .meta({ id: 'BrokenSessions' });

const fencedAttempt = z.object({
  attemptId: id,
  projectId: id,
  versionId: id.nullable(),
  buildId: id.describe('Of a chain its build; outside a chain it names the operation'),
  isOfChain: z.boolean(),
  step: z.string(),
  round: z.int(),
  attempt: z.int(),
  sessionId,
  worker: z.string().describe('The process that ran it, as pid@host'),
  startedAt: instant,
  endedAt: instant,
  code: z
    .enum(['FENCED', 'WORKER_LOST'])
    .describe('FENCED: it was rejected; WORKER_LOST: it was not seen to end'),
  reason: z.string().describe('Why, for people'),
  next: z
    .object({
      attempt: z.int(),
      worker: z.string(),
      state: z.enum(['running', 'waiting', 'failed', 'committed']),
    })
    .nullable()
    .describe('The next attempt of the same operation'),
}) satisfies z.ZodType<Json<FencedAttempt>>;
export const fencedAttemptsSchema = z
  .object({ attempts: z.array(fencedAttempt), nextCursor })
  .meta({ id: 'FencedAttempts' });

export const lateEndsSchema = z.object({ ends: z.array(chainEnd), nextCursor }).meta({ id: 'LateEnds' });

export const serverSchema = z
  .object({
    version: z.string().describe('Of the package session-chain'),
    namespace: z.string().describe('The namespace in Temporal'),
    temporalUi: z.string().nullable().describe("Address of Temporal's Web UI, where it is configured"),
    key: z.object({
      scope: z.enum(keyScopes).describe('What the key of the request may do'),
      projects: z.array(z.string()).nullable().describe('Its projects; null: every project'),
    }),
  })
  .meta({ id: 'Server', description: 'What answers, and for whom' });

export const loginSchema = z
  .object({ expiresAt: z.iso.datetime().describe('Until when the cookie counts, if its key does') })
  .meta({ id: 'Login' });

export const logoutSchema = z
  .object({ ended: z.boolean().describe('Whether there was a login') })
  .meta({ id: 'Logout' });
const taskQueue = z.string().describe('A task queue in Temporal');
const load = (what: string) =>
  z.object({ running: count.describe(`${what} that run now`), max: count.describe('How many may') });
const ms = z.int().min(0).describe('Milliseconds');
const period = z.int().min(1);
const retentionPolicy = z
  .object({
    transitionsDays: period.describe('Days after which transitions leave session_transitions'),
    transcriptsDays: period.describe('Days after which a transcript that nothing needs is archived'),
    dropDays: period.describe('Days after which an archived one is dropped from the database'),
    detailsDays: period.describe('Days after which failed attempts, metrics and briefs are archived'),
    hostTables: z.boolean().describe('Whether rows may be deleted from tables that the host created'),
    archive: z
      .string()
      .nullable()
      .describe('file:///… or s3://bucket/prefix; null for none: then only transitions move'),
  })
  .meta({ id: 'RetentionPolicy' }) satisfies z.ZodType<Json<RetentionPolicy>>;
const figures = {
  transitions: count.describe('Transitions that left session_transitions'),
  archivedSessions: count.describe('Sessions that were written to the archive and read back'),
  droppedSessions: count.describe('Sessions that were dropped from the database'),
  freedBytes: count.describe('What their texts took, about'),
  details: count.describe('Metrics that were rolled up, failed attempts and briefs that were dropped'),
};
const retentionRun = z
  .object({
    dryRun: z.boolean(),
    policy: retentionPolicy,
    startedAt: instant,
    endedAt: instant,
    projects: z
      .array(
        z.object({
          projectId: id,
          ...figures,
          leftAlone: z
            .enum(['hold', 'restored', 'being_erased', 'host_tables', 'no_archive'])
            .nullable()
            .describe('Why less was done than the policy asks for'),
          failure: failure.nullable().describe('Why the run gave up on it; the next run goes on'),
        }) satisfies z.ZodType<Json<ProjectRetained>>,
      )
      .describe('Of which something is due, 1,000 at most'),
    total: z.object({
      ...figures,
      projects: count.describe('Of which something was due'),
      failed: count.describe('Those of them on which the run gave up'),
    }) satisfies z.ZodType<Json<RetentionTotal>>,
    failure: failure.nullable().describe('Why it ended before it had looked at every project'),
  })
  .meta({ id: 'RetentionRun' }) satisfies z.ZodType<Json<RetentionRun>>;
export const retentionRunSchema = z
  .object({
    id: id.describe('A uuid, or of a run of the schedule its time'),
    workflowId: z.string(),
    state: z.enum(['running', 'finished', 'failed']),
    dryRun: z.boolean(),
    projectId: id.nullable().describe('The only project; null for all'),
    scheduled: z.boolean().describe('Whether the schedule started it'),
    startedAt: instant,
    endedAt: instant.nullable(),
    result: retentionRun.nullable().describe('Null until it is finished'),
    failure: failure.nullable(),
  })
  .meta({ id: 'RetentionRunState' }) satisfies z.ZodType<Json<RetentionRunState>>;
export const retentionStatusSchema = z
  .object({
    schedule: z
      .object({
        every: z.string().describe('As it was installed'),
        paused: z.boolean(),
        nextAt: instant.nullable().describe('Null while it is paused'),
        betweenMs: ms.nullable().describe('Between its next two runs; null where Temporal does not tell'),
        installedAt: instant,
        missed: count.describe('Times at which it did not start, because Temporal was away'),
      })
      .nullable()
      .describe('Null where none is installed'),
    running: z.array(retentionRunSchema),
    lastRun: retentionRunSchema
      .nullable()
      .describe('The last over all projects that ended, dry runs apart; null for none'),
    policies: z
      .array(z.object({ policy: retentionPolicy, workers: z.array(z.string()) }))
      .describe('Of the living workers, that of most workers first'),
    parts: z
      .object({
        planned: count.describe('Begun and not read back yet'),
        verified: count,
        bytes: count.describe('Of the verified ones'),
        lastVerifiedAt: instant.nullable(),
      })
      .describe('Files of the archive'),
  })
  .meta({ id: 'RetentionStatus' }) satisfies z.ZodType<Json<RetentionStatus>>;
const bytes = z.int().min(0).describe('Bytes');
const storedSchema = z.object({ rows: count, bytes });
const storageFigures = {
  archive: z.object({ files: count, bytes }).describe('Files of the archive that were read back'),
  growthPerDay: z
    .object({ last7Days: bytes, last30Days: bytes })
    .describe('What transcripts grow by per day, about'),
  freeable: z
    .object({
      now: bytes.describe('In the next run of retention'),
      later: bytes.describe('Once the period of what is archived is over'),
    })
    .nullable()
    .describe('Of transcripts, about; null where no living worker has an archive'),
  kinds: z.record(z.enum(storedKinds), storedSchema),
};
export const projectStorageSchema = z
  .object({
    ...{
      projectId: id,
      bytes: bytes.describe('Its rows, without indexes and free space'),
      ...storageFigures,
    },
    leftAlone: z
      .enum(['hold', 'restored', 'being_erased'])
      .nullable()
      .describe('Why retention leaves it alone; null where it does not'),
  })
  .meta({ id: 'ProjectStorage' }) satisfies z.ZodType<Json<ProjectStorage>>;
export const storageSchema = z
  .object({
    ...{ bytes: bytes.describe('The tables with their indexes and free space'), ...storageFigures },
    projects: z.array(z.object({ projectId: id, bytes })).describe('Those that take most'),
    isEstimate: z.boolean().describe('Whether projects, growth and what is freed come from samples'),
  })
  .meta({ id: 'Storage' }) satisfies z.ZodType<Json<StorageOverview>>;
const workerLimits = z
  .object({
    maxAgents: count.describe('Agents of steps at the same time'),
    maxChats: count.describe('Answers at the same time'),
    heartbeatThrottleMs: ms,
    shutdownGraceMs: ms.describe('What a stopping worker gives its running steps, in ms'),
    workspaceWaitMs: ms.describe('After which an operation fails whose folder no worker has, in ms'),
    eventsDays: count.describe('Days after which it deletes events'),
    warm: z.boolean().describe('Whether tasks go on in the process of the one before'),
    retention: retentionPolicy,
  })
  .meta({ id: 'WorkerLimits' }) satisfies z.ZodType<Json<WorkerLimitsInForce>>;

export const workersSchema = z
  .object({
    workers: z
      .array(
        z
          .object({
            id: id.describe('Made at its start; a process may run several workers'),
            identity: z.string().describe('Its process, as <pid>-<8 hex>@<hostname>'),
            host: z.string(),
            version: z.string().describe('Of the package session-chain'),
            release: z.string().describe('To Temporal its build id'),
            deployment: z
              .string()
              .nullable()
              .describe('The worker deployment of Temporal whose version the release is; null for none'),
            agentVersion: z.string().nullable().describe('Of Claude Code; null where it did not tell'),
            sdkVersion: z.string().describe('Of the Claude Agent SDK'),
            sandbox: z.enum(['bwrap', 'command', 'none']).describe('How its agents are kept in'),
            namespace: z.string().describe('In Temporal'),
            startedAt: instant,
            seenAt: instant.describe('When it was seen last; it says so every 15 s'),
            alive: z.boolean().describe('Seen within the last minute'),
            taskQueues: z.array(taskQueue).describe('For chains, agents and chats'),
            agents: load('Agents of steps'),
            chats: load('Answers'),
            parked: count.describe(
              'Claude Code processes that wait for the next task of their chain or chat',
            ),
            limits: workerLimits,
            definition: z.object({
              digest: z.string().describe('The same for workers whose chains are the same'),
              file: z.string().nullable().describe('Where it was loaded from; null for no file'),
            }),
          })
          .meta({ id: 'Worker' }),
      )
      .describe(
        'Those that were seen within a day, the living first; one that stopped in order is not there',
      ),
    queues: z
      .array(
        z
          .object({
            taskQueue,
            kind: z.enum(['workflow', 'activity']),
            pollers: count.describe('Workers that poll it; one with all its slots taken does not'),
            backlog: count
              .nullable()
              .describe('Tasks that no worker has taken yet, about; null where it is not counted'),
            oldestAgeMs: ms.nullable().describe('How long the oldest of them has waited, in ms'),
          })
          .meta({ id: 'TaskQueue' }),
      )
      .nullable()
      .describe('Null where Temporal does not answer'),
  })
  .meta({ id: 'Workers' }) satisfies z.ZodType<Json<Workers>>;

const shownStep = z
  .object({
    name: z.string(),
    purpose: z.string().nullable(),
    kind: z.enum([...agentStepKinds, 'activity']),
    role: z.enum(['build', 'deploy']).nullable(),
    critical: z.boolean().describe('A failure of the step fails the chain'),
    model: z
      .string()
      .nullable()
      .describe('`default` for the own choice of Claude Code; null for an activity'),
    allowedTools: z.array(z.string()).describe('The tools that it may use'),
    timeoutMs: ms.describe('Of one attempt, in ms'),
    maxTurns: count.nullable().describe('Model turns of all its attempts together'),
    maxCostUsd: usd.nullable().describe('US dollars of all its attempts together; null for no limit'),
    maxAttempts: count,
    writes: z.array(z.string()).describe('Files and folders of which it should write at least one'),
    column: z.string().nullable().describe('The column of project_versions that gets what it submits'),
    thresholdTokens: count
      .nullable()
      .describe('Of a compaction: the size of the context below which it is skipped'),
    activity: z.string().nullable().describe('The type of the activity of the host'),
    taskQueue: taskQueue.nullable(),
  })
  .meta({ id: 'DefinedStep' }) satisfies z.ZodType<Json<ShownStep>>;

export const definitionsSchema = z
  .object({
    definitions: z.array(
      z
        .object({
          digest: z.string(),
          files: z.array(z.string()).describe('Where workers loaded it from'),
          workers: z.array(z.string()).describe('The living workers that have it, each as pid@host'),
          definition: z.object({
            model: z.string().describe('Of steps that name none'),
            tools: z.array(z.string()).describe('The built-in tools of every step'),
            houseRulesCharacters: count.describe('The size of the house rules'),
            claudeMd: z.boolean().describe('Whether CLAUDE.md of the workspace is read'),
            mcpServers: z.array(z.string()).describe('Their names'),
            steps: z.array(shownStep).describe('In order'),
            reset: z
              .object({
                operations: count.describe('After so many operations; 0 for never'),
                contextTokens: count.describe('Above so many tokens of context; 0 for never'),
              })
              .describe('When a build starts a fresh session'),
            onEnd: z
              .object({ activity: z.string(), taskQueue })
              .nullable()
              .describe('The activity of the host that is called at every end of a chain'),
          }) satisfies z.ZodType<Json<ShownDefinition>>,
        })
        .meta({ id: 'DefinitionInUse' }),
    ),
  })
  .meta({ id: 'Definitions', description: 'What living workers have loaded' }) satisfies z.ZodType<
  Json<{ definitions: DefinitionInUse[] }>
>;

export const keysSchema = z
  .object({
    keys: z.array(
      z
        .object({
          id: id.describe('The public part of the key'),
          name: z.string(),
          scope: z.enum(keyScopes),
          projects: z.array(z.string()).nullable().describe('Null: every project'),
          createdAt: instant,
          expiresAt: instant.nullable().describe('Null: it does not expire'),
          revokedAt: instant.nullable(),
          lastUsedAt: instant.nullable().describe('To the minute; null before its first use'),
          state: z.enum(['valid', 'expired', 'revoked']),
        })
        .meta({ id: 'ApiKey' }),
    ),
  })
  .meta({ id: 'Keys', description: 'The keys of the server, the newest first' });

export const doctorSchema = z
  .object({
    checkedAt: instant.describe('When the checks were made; their result is kept for 30 s'),
    findings: z.array(
      z
        .object({
          check: z.string().describe('As `session-chain doctor` names it'),
          status: z.enum(['ok', 'warn', 'fail']),
          message: z.string(),
          remedy: z.string().nullable().describe('What to do; null where nothing is to be done'),
        })
        .meta({ id: 'Finding' }),
    ),
  })
  .meta({ id: 'Doctor' }) satisfies z.ZodType<Json<DoctorReport>>;
