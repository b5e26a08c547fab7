import type { Usage } from './chain.js';

/** Everything that was sent to the model, whether or not it was read from the prompt cache. */
export function inputTokensOf({ inputTokens, cacheReadTokens, cacheWriteTokens }: Usage): number {
  return inputTokens + cacheReadTokens + cacheWriteTokens;
}

/** The part of all input tokens that was read from the prompt cache, as `92 %`; empty where nothing was sent. */
export function cacheShare(usage: Usage): string {
  const sent = inputTokensOf(usage);
  return sent === 0 ? '' : `${Math.round((100 * usage.cacheReadTokens) / sent)} %`;
}
