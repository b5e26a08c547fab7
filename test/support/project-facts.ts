import type { Usage } from '../../contracts/chain.js';
import type { FailureCode } from '../../contracts/failures.js';
import type { SessionId } from '../../contracts/ids.js';
import type { StepName } from '../../contracts/steps.js';
import type { OfflineRequest } from '../../dev/offline-model/request-log.js';
import type { ChainStack } from './chain-stack.js';

/** An attempt as the journal and the ledger know it; null where it has no row in the ledger. */
export interface AttemptFacts {
  step: StepName;
  attempt: number;
  state: string;
  sessionId: SessionId;
  adopts: SessionId | null;
  failure: FailureCode | null;
  outcome: string | null;
  turns: number | null;
  costUsd: number | null;
  costDerived: boolean | null;
  turnInFlightUnknown: boolean | null;
  model: string | null;
  agentVersion: string | null;
  durationMs: number | null;
}

/** The attempts of a project in the order in which they began. */
export async function attemptsOf(stack: ChainStack, projectId: string): Promise<AttemptFacts[]> {
  const { rows } = await stack.database.pool.query<AttemptFacts>(
    `SELECT a.step, a.attempt, a.state, a.session_id AS "sessionId", a.adopts, a.failure ->> 'code' AS failure, m.outcome,
       m.turns, m.cost_usd AS "costUsd", m.cost_derived AS "costDerived", m.turn_in_flight_unknown AS "turnInFlightUnknown",
       m.model, m.agent_version AS "agentVersion", m.duration_ms AS "durationMs"
     FROM session_chain.attempts a LEFT JOIN project_ai_session_metrics m ON m.attempt_id = a.id
     WHERE a.project_id = $1 ORDER BY a.id`,
    [projectId],
  );
  return rows;
}

/** What the offline model was asked for a project, by the sessions that its requests name. */
export async function requestsOf(stack: ChainStack, projectId: string): Promise<OfflineRequest[]> {
  const sessions = new Set<string | undefined>(
    (await attemptsOf(stack, projectId)).map(({ sessionId }) => sessionId),
  );
  return stack.model.requests.filter(({ sessionId }) => sessions.has(sessionId));
}

/** The requests whose answer reached the agent. */
export function answered(requests: readonly OfflineRequest[]): OfflineRequest[] {
  return requests.filter(({ response }) => response?.status === 200);
}

/** What the model's own log says that requests took. */
export function loggedUsage(requests: readonly OfflineRequest[]): Usage {
  const sum = (of: (usage: NonNullable<OfflineRequest['usage']>) => number) =>
    requests.reduce((total, { usage }) => total + (usage ? of(usage) : 0), 0);
  return {
    inputTokens: sum((usage) => usage.input_tokens),
    outputTokens: sum((usage) => usage.output_tokens),
    cacheReadTokens: sum((usage) => usage.cache_read_input_tokens),
    cacheWriteTokens: sum((usage) => usage.cache_creation_input_tokens),
  };
}

/** The tool calls that stand in a session's stored transcript, by id, in their order. */
export async function storedToolCalls(
  stack: ChainStack,
  projectId: string,
  sessionId: string,
): Promise<string[]> {
  const { rows } = await stack.database.pool.query<{ content: string }>(
    `SELECT t.content FROM session_chain.sessions s
     JOIN session_chain.transcript_batches b ON b.session = s.id
     JOIN session_chain.transcript_texts t ON t.id = ANY (b.entry_ids)
     WHERE s.project_id = $1 AND s.session_id = $2 ORDER BY b.ordinal, array_position(b.entry_ids, t.id)`,
    [projectId, sessionId],
  );
  return [...new Set(rows.flatMap(({ content }) => content.match(/toolu_\w+/g) ?? []))];
}
