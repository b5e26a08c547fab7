import type { Query, SDKMessage } from '@anthropic-ai/claude-agent-sdk';
import type { Progress } from './progress.js';
import { observe, retryOf, type Observations, type StopReason } from './results.js';
import type { Stop } from './stop.js';

export interface Reader {
  seen: Observations;
  progress: Progress;
  stop: Stop;
  maxTurns: number;
  /** Called with each message. */
  onMessage: (message: SDKMessage) => void;
  /** Called with each result, once it is observed: there may be more to say to the agent. True ends the reading. */
  onResult: () => boolean;
  onText?: (text: string, message: number) => void;
}

/**
 * Reads the messages to the end of the iterator and not only to the result, unless `onResult` ends it: the agent's
 * counters are appended to the store in between. Never ends the iterator itself.
 */
export async function readMessages(
  messages: Query,
  { seen, progress, stop, maxTurns, onMessage, onResult, onText }: Reader,
): Promise<void> {
  const readText = onText && textReader(onText);
  try {
    for (;;) {
      const { value: message, done } = await messages.next();
      if (done || message === undefined) return;
      observe(seen, message);
      onMessage(message);
      readText?.(message);
      progress.onMessage(message);
      const reason = reasonNotToRetry(message);
      if (reason !== null) stop.orderly(reason);
      // Claude Code counts the turns of each message anew.
      else if (progress.turns() > maxTurns) stop.orderly('turns_used');
      if (message.type === 'result' && onResult()) return;
    }
  } catch (error) {
    seen.thrown = error instanceof Error ? error : new Error(String(error));
  }
}

/**
 * Claude Code repeats a failed request by itself. With a rejected credential it would try ten times over three minutes:
 * twice is enough. And it waits, with its process, for as long as the service asks: the chain does that without a
 * process.
 */
function reasonNotToRetry(message: SDKMessage): StopReason | null {
  const retry = retryOf(message);
  if (retry === null) return null;
  const refused = retry.error_status === 401 || retry.error_status === 403;
  if (refused && retry.attempt >= 2) return 'unauthorized';
  return !refused && retry.retry_delay_ms > longestPauseMs ? 'unavailable' : null;
}

const longestPauseMs = 5_000;

/** Passes on what the model writes, piece by piece; not the text of subagents, and not its thinking. */
function textReader(onText: (text: string, message: number) => void): (message: SDKMessage) => void {
  let count = 0;
  return (message) => {
    if (message.type !== 'stream_event' || message.parent_tool_use_id !== null) return;
    const { event } = message;
    if (event.type === 'message_start') count += 1;
    if (event.type === 'content_block_delta' && event.delta.type === 'text_delta') {
      onText(event.delta.text, count);
    }
    if (event.type === 'content_block_stop') onText('', count);
  };
}
