import type { StepHint } from './headers.js';
import { parseMessagesRequest, type Turn } from './messages.js';
import { promptText, type Usage } from './usage.js';

/** One `POST /v1/messages` as it was received and answered. */
export interface OfflineRequest extends StepHint {
  /** Counts from 1 over the life of the server. */
  number: number;
  /** ISO 8601. */
  at: string;
  model: string;
  /** The Claude session that the agent names in the request's metadata. */
  sessionId: string | undefined;
  /** The subagent that asks; undefined for the agent itself. */
  subagent: string | undefined;
  /** The body as it came over the wire; see {@link repeatedPart}. */
  bodyText: string;
  /** Set once the answer has ended; absent while it is under way and when the connection was cut. */
  response?: ResponseSummary;
  /** Set once the answer was accounted for, even if its stream was cut. */
  usage?: Usage;
}

export interface ResponseSummary {
  status: number;
  messageId?: string;
  stopReason?: Turn['stopReason'];
  /** All text blocks, joined. */
  text: string;
  toolCalls: { name: string; input: Record<string, unknown> }[];
}

/** The session id inside `metadata.user_id`, which the agent writes as a JSON text. */
export function sessionIdOf(userId: string | undefined): string | undefined {
  return userId === undefined ? undefined : /"session_id":"([^"]+)"/.exec(userId)?.[1];
}

/**
 * The part of an earlier request's prompt (0 to 1) that a later one repeats from its start. It compares what the model
 * reads: tools, system and messages in this order, without the cache breakpoints, which move from request to request.
 */
export function repeatedPart(earlier: OfflineRequest, later: OfflineRequest): number {
  const [first, second] = [earlier, later].map(({ bodyText }) => promptText(parseMessagesRequest(bodyText)));
  if (first === undefined || second === undefined || first === '') return 0;
  let same = 0;
  while (same < first.length && first[same] === second[same]) same += 1;
  return same / first.length;
}
