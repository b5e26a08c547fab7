import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';

/**
 * The size of a session's context in tokens, from the last entry that has it: what the last request read, wrote and
 * answered, or what a later compaction left. Null if no entry has it.
 */
export function contextTokensOf(entries: readonly SessionStoreEntry[]): number | null {
  for (const entry of [...entries].reverse()) {
    const tokens = tokensAfterCompaction(entry) ?? tokensOfAnswer(entry);
    if (tokens !== undefined) return tokens;
  }
  return null;
}

function tokensAfterCompaction(entry: SessionStoreEntry): number | undefined {
  if (entry.type !== 'system' || entry.subtype !== 'compact_boundary') return undefined;
  return numberAt(entry.compactMetadata, 'postTokens');
}

function tokensOfAnswer(entry: SessionStoreEntry): number | undefined {
  // What the agent itself writes (an interruption, an API error) says nothing about the context.
  const { message, isApiErrorMessage } = entry;
  if (
    entry.type !== 'assistant' ||
    isApiErrorMessage === true ||
    valueAt(message, 'model') === '<synthetic>'
  ) {
    return undefined;
  }
  const usage = valueAt(message, 'usage');
  const parts = ['input_tokens', 'cache_read_input_tokens', 'cache_creation_input_tokens', 'output_tokens'];
  const tokens = parts.reduce((sum, part) => sum + (numberAt(usage, part) ?? 0), 0);
  return tokens > 0 ? tokens : undefined;
}

function numberAt(value: unknown, key: string): number | undefined {
  const found = valueAt(value, key);
  return Number.isSafeInteger(found) && (found as number) >= 0 ? (found as number) : undefined;
}

function valueAt(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined;
}
