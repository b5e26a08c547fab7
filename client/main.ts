/** `session-chain/client`: what an application imports. */
export {
  type SessionChain,
  type SessionChainOptions,
  type StartRequest,
  type StartedChain,
  chainKey,
  createSessionChain,
} from './session-chain.js';
export type { AskOptions, AskRequest, ChatReply, Chats } from './chat.js';
export type { ConnectionsOptions, DatabaseOptions, TemporalAddress } from './connections.js';
export type {
  ExportSessionRequest,
  ExportedSession,
  HeadImport,
  ImportOptions,
  ImportSessionRequest,
  Imports,
} from './import.js';
export type { LiveProgress } from './progress.js';
export type { RecordSessionRequest, RecordedMetrics } from './record-request.js';
export type { SearchAttributeMode } from '../temporal/attributes.js';
export type { Brief, BriefFacts, BriefPart } from '../contracts/brief.js';
export type {
  AfterState,
  ChainBudget,
  ChainPolicy,
  ChainResult,
  ChainState,
  Head,
  ModelUsage,
  PlaceInLine,
  QueuedChain,
  StepLimits,
  StepProgress,
  StepState,
  TaskQueues,
  Usage,
  WaitPolicy,
} from '../contracts/chain.js';
export type { ChatPolicy, ChatTurn, ChatTurnKind, ChatTurnState, SessionMoment } from '../contracts/chat.js';
export {
  type Failure,
  type FailureCode,
  SessionChainError,
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
  chainWorkflowId,
} from '../contracts/ids.js';
export type { ChainOrigin, ResetPolicy } from '../contracts/origin.js';
export {
  type ChainMode,
  type ChainStatus,
  type ClosedChainStatus,
  type StepName,
  type TransitionSource,
  isClosed,
} from '../contracts/steps.js';
export type { Transition } from '../storage/heads/heads.js';
export type { ChainSpend, Spent } from '../storage/ledger/ledger.js';
export type { ImportedSession } from '../storage/operations/import.js';
export type { Reconciled } from '../storage/chains/queue.js';
export type { RecordedSession } from '../storage/operations/record.js';
export type { RecoveredSession, SessionValidity } from '../storage/heads/recovery.js';
export type { ReplyChunk } from '../storage/questions/reply-chunks.js';
export type { WaitOptions } from '../storage/heads/session-for.js';
export type { CheckpointCheck, DriftReason, DriftedProject, SyncReport } from '../storage/heads/sync.js';
