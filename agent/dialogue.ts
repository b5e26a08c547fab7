import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import {
  endsWithFullContext,
  isCompacted,
  lastStopReason,
  verifiedCompaction,
} from '../transcript/entries.js';
import { kinds } from './kinds/kinds.js';
import { isWordless } from './kinds/work.js';
import type { Observations } from './results.js';
import type { AgentRequest } from './run.js';

/** What the agent is told in one run: the task, and how to continue after a turn that did not end it. */
export interface Dialogue {
  /** The message that begins it. */
  first: string;
  /** After a result, depending on what is stored of the task: how the agent is to continue; null for not at all. */
  afterResult(seen: Observations, own: SessionStoreEntry[]): string | null;
}

const compact = '/compact';

const requestTooLarge = 413;

/** As often as Claude Code itself asks for the rest of an answer that hit the output limit. */
const mostRequestsToGoOn = 3;

/**
 * A run begins with the task, or continues from what earlier attempts left. A turn that stopped on the way, or ended
 * without the submission, is continued. One that filled the model's context is compacted, once per run, and continued;
 * then the task is sent again, because the summary may not hold it. So the number of requests is bounded whatever the
 * model does, and none of this takes another attempt.
 */
export function createDialogue({
  task,
  prompt,
  baseSessionId,
  earlierEntries,
  warning,
}: AgentRequest): Dialogue {
  const kind = kinds[task.kind];
  const goOn = kind.continueMessage(task.name);
  const continued = (entries: SessionStoreEntry[]) =>
    parts(goOn, ...(isCompacted(entries) ? [prompt] : []), warning);
  let told =
    goOn === null
      ? prompt
      : !earlierEntries
        ? parts(prompt, warning)
        : endsWithFullContext(earlierEntries)
          ? compact
          : continued(earlierEntries);
  let hasCompacted = told === compact;
  let requestsToGoOn = 0;

  function next({ result, error, lostEntries }: Observations, own: SessionStoreEntry[]): string | null {
    if (goOn === null || result?.subtype !== 'success') return null;
    if (told === compact) {
      return verifiedCompaction(own) !== null && !endsWithFullContext(own) ? continued(own) : null;
    }
    if (kind.evidence(task, own).kind === 'finished') return null;
    // Claude Code has asked for a continuation by then, or was kept from asking, see hooks.ts.
    const isCutByContext = endsWithFullContext(own) && (!result.is_error || error === 'max_output_tokens');
    const isTooLarge = result.api_error_status === requestTooLarge;
    if (isCutByContext || (isTooLarge && (baseSessionId !== null || lastStopReason(own) !== null))) {
      if (hasCompacted) return null;
      hasCompacted = true;
      return compact;
    }
    if (result.is_error || result.stop_reason === 'max_tokens') return null;
    const isPartial = !isWordless(result) && kind.evidence(task, own).kind === 'partial';
    if (!isPartial || lostEntries !== null || requestsToGoOn === mostRequestsToGoOn) return null;
    requestsToGoOn += 1;
    return continued(own);
  }

  return {
    first: told,
    afterResult(seen, own) {
      const text = next(seen, own);
      if (text === null) return null;
      // The end of the last message decides.
      seen.result = null;
      seen.compactionError = null;
      told = text;
      return text;
    },
  };
}

function parts(...texts: (string | null | undefined)[]): string {
  return texts.filter((text) => text !== null && text !== undefined).join('\n\n---\n\n');
}
