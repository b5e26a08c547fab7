import { createHash } from 'node:crypto';
import { blocksOf, type MessagesRequest, type TurnBlock } from './messages.js';

/** Token counts of one response, in the shape of the Messages API. */
export interface Usage {
  input_tokens: number;
  cache_creation_input_tokens: number;
  cache_read_input_tokens: number;
  cache_creation: { ephemeral_5m_input_tokens: number; ephemeral_1h_input_tokens: number };
  output_tokens: number;
}

/** What one process remembers of earlier requests, so that usage figures follow the rules of the prompt cache. */
export interface PromptCache {
  /** Accounts for one answered request and stores its prefixes. `nowMs` is epoch milliseconds. */
  account(request: MessagesRequest, nowMs: number): Omit<Usage, 'output_tokens'>;
}

const bytesPerToken = 4;
const minimumPrefixTokens = 1024;
const lookbackBlocks = 20;
const ttlMs = { '5m': 5 * 60_000, '1h': 60 * 60_000 };
type Ttl = keyof typeof ttlMs;

/**
 * The rules of https://docs.claude.com/en/docs/build-with-claude/prompt-caching as a simulator: a prefix is the bytes
 * of tools, system and messages in this order; it is stored at every `cache_control` breakpoint of at least 1,024
 * tokens, found again from a breakpoint or up to 20 blocks before it, and renewed by a hit. Tokens are bytes / 4.
 */
export function createPromptCache(): PromptCache {
  const stored = new Map<string, { ttl: Ttl; expiresAtMs: number }>();

  return {
    account(request, nowMs) {
      for (const [key, entry] of stored) if (entry.expiresAtMs <= nowMs) stored.delete(key);
      const prefixes = prefixesOf(request);
      const breakpoints = prefixes.flatMap(({ ttl, tokens }, index) =>
        ttl && tokens >= minimumPrefixTokens ? [{ index, ttl, tokens }] : [],
      );

      let readTokens = 0;
      for (const { index } of breakpoints) {
        const hit = prefixes
          .slice(Math.max(0, index - lookbackBlocks), index + 1)
          .findLast(({ hash }) => stored.has(hash));
        const entry = hit && stored.get(hit.hash);
        if (!hit || !entry) continue;
        entry.expiresAtMs = nowMs + ttlMs[entry.ttl];
        readTokens = Math.max(readTokens, hit.tokens);
      }

      const written = { '5m': 0, '1h': 0 };
      let coveredTokens = readTokens;
      for (const { index, ttl, tokens } of breakpoints) {
        written[ttl] += Math.max(0, tokens - coveredTokens);
        coveredTokens = Math.max(coveredTokens, tokens);
        const hash = prefixes[index]?.hash;
        if (hash && !stored.has(hash)) stored.set(hash, { ttl, expiresAtMs: nowMs + ttlMs[ttl] });
      }

      return {
        input_tokens: countTokens(request) - coveredTokens,
        cache_creation_input_tokens: written['5m'] + written['1h'],
        cache_read_input_tokens: readTokens,
        cache_creation: {
          ephemeral_5m_input_tokens: written['5m'],
          ephemeral_1h_input_tokens: written['1h'],
        },
      };
    },
  };
}

/** All input tokens of a request, cached or not. */
export function countTokens(request: MessagesRequest): number {
  return Math.max(1, prefixesOf(request).at(-1)?.tokens ?? 0);
}

/** The output tokens of a turn, at least 1. */
export function countOutputTokens(content: readonly TurnBlock[]): number {
  const bytes = content.map((block) =>
    block.type === 'tool_use'
      ? block.name + JSON.stringify(block.input)
      : block.type === 'text'
        ? block.text
        : block.thinking,
  );
  return Math.max(1, Math.ceil(Buffer.byteLength(bytes.join('')) / bytesPerToken));
}

interface Prefix {
  /** Of everything from the start of the prompt to the end of this block. */
  hash: string;
  tokens: number;
  ttl: Ttl | undefined;
}

function prefixesOf(request: MessagesRequest): Prefix[] {
  let hash = digest(request.model);
  let bytes = 0;
  return promptBlocks(request).map(({ place, text, ttl }) => {
    hash = digest(`${hash} ${place} ${text}`);
    bytes += Buffer.byteLength(text);
    return { hash, tokens: Math.ceil(bytes / bytesPerToken), ttl };
  });
}

/** The prompt of a request as one text, in the order in which it is cached. */
export function promptText(request: MessagesRequest): string {
  return promptBlocks(request)
    .map(({ place, text }) => `${place} ${text}\n`)
    .join('');
}

function promptBlocks(request: MessagesRequest): { place: string; text: string; ttl: Ttl | undefined }[] {
  const toBlock = (place: string, block: object) => {
    const { cache_control: cacheControl, ...rest } = block as { cache_control?: { ttl?: Ttl } };
    const ttl = cacheControl && (cacheControl.ttl === '1h' ? ('1h' as const) : ('5m' as const));
    return { place, text: JSON.stringify(rest), ttl };
  };
  // A change of the thinking settings or the tool choice keeps tools and system cached, and nothing after them.
  const settings = JSON.stringify([request.thinking, request.tool_choice]);
  return [
    ...(request.tools ?? []).map((tool) => toBlock('tool', tool)),
    ...blocksOf(request.system).map((block) => toBlock('system', block)),
    ...request.messages.flatMap(({ role, content }) =>
      blocksOf(content).map((block) => toBlock(`${role} ${settings}`, block)),
    ),
  ];
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64');
}
