/** `session-chain/client`: what an application imports. */
export {
  type SessionChain,
  type SessionChainOptions,
  type StartedChain,
  chainKey,
  createSessionChain,
} from './session-chain.js';
export type { ChainFilter } from './chain-filter.js';
export type {
  BudgetLeft,
  ChainCounts,
  ChainDetails,
  ChainPage,
  ChainReads,
  ChainSummary,
  StepDetails,
} from './chains.js';
export type { ChainWork } from './chain-work.js';
export type { Saved } from './saved.js';
export type { StartRequest } from './start-request.js';
export type { Answer, AskOptions, AskRequest, ChatPage, Chats, QuestionPage } from './chats.js';
export type { Entries, EntriesPage, EntriesRequest, EntryRequest, SessionEntry } from './entries.js';
export type { EraseOptions, Erasures } from './erasure.js';
export type { ConnectionsOptions, DatabaseOptions } from './connections.js';
export type {
  ExportSessionRequest,
  ExportedSession,
  HeadImport,
  ImportOptions,
  ImportSessionRequest,
  Imports,
} from './import.js';
export type {
  Installations,
  ReconcileAllOptions,
  ReconciledAll,
  RestoredOptions,
  UnknownChain,
} from './installation.js';
export type { MarkedRestored } from '../storage/db/installation.js';
export type { Installation } from '../contracts/installation.js';
export type { IntegrityOptions, IntegrityReads } from './integrity.js';
export type { ProjectFilter, ProjectPage, ProjectReads, SpendOptions } from './projects.js';
export type { LiveProgress } from './progress.js';
export type { RecordSessionRequest, RecordedMetrics } from './record-request.js';
export type {
  InstallRetentionOptions,
  Retention,
  RetentionSchedule,
  RetentionStatus,
  RunRetentionOptions,
} from './retention.js';
export type { StorageOptions, StorageReads } from './storage.js';
export type { HoldOptions, RestoreProjectRequest, Restores } from './restore.js';
export type { RewindOptions } from './rewind-request.js';
export type { EventPage, ReplyChunk, WatchOptions, WatchSubject, Watches } from './watch.js';
export type { DefinitionInUse, QueueSummary, WorkerReads, WorkerSummary, Workers } from './workers.js';
export type { SessionAttempt, SessionDetails } from '../storage/transcripts/session.js';
export type { Compaction, ModelRequest } from '../transcript/entries.js';
export type { SearchAttributeMode } from '../temporal/attributes.js';
export type { Brief, BriefFacts, BriefPart } from '../contracts/brief.js';
export type {
  ChainPolicy,
  ChainResult,
  ChainState,
  Head,
  ModelUsage,
  QueuePosition,
  QueuedChain,
  StepProgress,
  StepState,
  TaskQueues,
  Usage,
  WaitPolicy,
} from '../contracts/chain.js';
export type { ChainChanges, FileChange, Hunk } from '../contracts/changes.js';
export type { ChainEnd, ChainEndCall } from '../contracts/end.js';
export type { ErasedCounts, Erasure, ErasureCertificate } from '../contracts/erasure.js';
export type {
  ChainBudget,
  Limit,
  LimitOwner,
  ReachedLimit,
  SandboxLimit,
  StepLimits,
} from '../contracts/limits.js';
export type { ProjectHold, Restoration, Restored } from '../contracts/retention.js';
export type { ChainOverrides } from '../contracts/plan.js';
export type {
  AnswerKind,
  ChatPolicy,
  Question,
  QuestionState,
  SessionMoment,
} from '../contracts/question.js';
export {
  type Failure,
  type FailureCategory,
  type FailureCode,
  SessionChainError,
  categoryOf,
  failureCategories,
  failureCodes,
  isFailureCode,
  isRetryable,
  remedyFor,
} from '../contracts/failures.js';
export {
  type AttemptId,
  type BuildId,
  type ChainId,
  type ChainKey,
  type ProjectId,
  type SessionId,
  type VersionId,
} from '../contracts/ids.js';
export type { AttemptTimeline, ChainTimeline, SpanKind, TimeSpan } from '../contracts/timeline.js';
export type { FailingTask, WaitKind, WaitingFor } from '../contracts/waiting.js';
export type { ShownDefinition, ShownStep, WorkerLimitsInForce } from '../contracts/workers.js';
export type {
  EntryPart,
  EventData,
  EventType,
  LiveEntry,
  LiveText,
  ProjectEvent,
  WatchGap,
  WatchItem,
} from '../contracts/events.js';
export type { ChainOrigin, ResetPolicy } from '../contracts/origin.js';
export type {
  ProjectRetained,
  RetentionPolicy,
  RetentionRun,
  RetentionRunState,
  RetentionTotal,
} from '../contracts/retention.js';
export type {
  ProjectStorage,
  StorageFigures,
  StorageOverview,
  Stored,
  StoredKind,
} from '../contracts/storage.js';
export {
  type AgentStepKind,
  type ChainMode,
  type ChainStatus,
  type ClosedChainStatus,
  type StepKind,
  type StepName,
  type StepRole,
  type TransitionSource,
  isClosed,
} from '../contracts/steps.js';
export type { ActivityDetails, AttemptDetails } from '../storage/chains/chain-journal.js';
export type { Transition } from '../storage/heads/heads.js';
export type { Lineage, LineageChain, LineageNode } from '../storage/heads/lineage.js';
export type { JudgedEvidence } from '../storage/operations/operations.js';
export type { ChainSpend, GroupedSpend, SpendGroup, Spent } from '../storage/ledger/ledger.js';
export type { LivePiece } from '../storage/live/text.js';
export type { ChatSummary } from '../storage/questions/questions.js';
export type { OpenStatus, Queue, Stats } from '../storage/ledger/stats.js';
export type { BrokenSession } from '../storage/heads/broken-sessions.js';
export type { FencedAttempt } from '../storage/operations/fenced-attempts.js';
export type { LastChain, ProjectOrder, ProjectSummary } from '../storage/heads/projects.js';
export type { ImportedSession } from '../storage/operations/import.js';
export type { ReconcileOptions, Reconciled } from '../storage/chains/queue.js';
export type { RecordedSession } from '../storage/operations/record.js';
export type { ArchiveParts } from '../storage/retention/status.js';
export type { RewoundProject } from '../storage/operations/rewind.js';
export type { PastOperation } from '../storage/chains/brief.js';
export type { RecoverOptions, RecoveredSession, SessionValidity } from '../storage/heads/recovery.js';
export type { SessionFitness } from '../storage/transcripts/store.js';
export type { UnboundWorkspace } from '../storage/workspaces/workspaces.js';
export type { WaitOptions } from '../storage/heads/session-for.js';
export type { CheckpointCheck, DriftReason, DriftedProject, SyncReport } from '../storage/heads/sync.js';
export type { TemporalAddress } from '../temporal/connect.js';
export { chainWorkflowId } from '../temporal/names.js';
