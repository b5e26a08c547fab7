import type { Query, SDKMessage } from '@anthropic-ai/claude-agent-sdk';
import type { Progress } from './progress.js';
import { observe, type Observations } from './results.js';
import type { Stop } from './stop.js';

/**
 * Reads the messages to the end of the iterator and not only to the result: the agent's counters are appended to the
 * store in between.
 */
export async function readToTheEnd(
  messages: Query,
  seen: Observations,
  progress: Progress,
  stop: Stop,
): Promise<void> {
  try {
    for await (const message of messages) {
      observe(seen, message);
      progress.onMessage(message);
      if (isHopelessRetry(message)) stop.orderly('unauthorized');
    }
  } catch (error) {
    seen.thrown = error instanceof Error ? error : new Error(String(error));
  }
}

/** Claude Code asks ten times over three minutes with a credential that was refused; twice is enough. */
function isHopelessRetry(message: SDKMessage): boolean {
  if (message.type !== 'system' || message.subtype !== 'api_retry') return false;
  return (message.error_status === 401 || message.error_status === 403) && message.attempt >= 2;
}
