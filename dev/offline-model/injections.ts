import type { Turn } from './messages.js';
import type { OfflineRequest } from './request-log.js';

/** A disturbance of the requests that it matches. Fields combine: holds and delays come first, then failures. */
export interface Injection {
  /** Which `POST /v1/messages` requests it applies to; all when left out. */
  when?: (request: OfflineRequest) => boolean;
  /** How many requests it applies to, 1 when left out. */
  times?: number;
  /** Keeps the request waiting before the answer, or after its first delta, until `release()`. */
  hold?: 'before' | 'midStream';
  /** Waits before the answer. */
  delayMs?: number;
  /** Answers with an HTTP error in the API's form. */
  fail?: ApiFailure;
  /** Cuts the connection before the answer, or after its first delta. */
  drop?: 'before' | 'midStream';
  /** Changes the answer; see {@link answers} for the endings that a real model has. */
  answer?: (turn: Turn) => Turn;
}

export interface ApiFailure {
  status: number;
  /** The API's error type; default: the one that belongs to the status. */
  type?: string;
  message?: string;
  /** Header names in lower case, such as `retry-after` in seconds or `x-should-retry`. */
  headers?: Record<string, string>;
}

/** The handle by which a test controls an injection. */
export interface InjectionHandle {
  /** Resolves with the first request that it was applied to (for a mid-stream hold: once the first delta is out). */
  reached: Promise<OfflineRequest>;
  /** The requests that it was applied to so far. */
  hits: readonly OfflineRequest[];
  /** Lets held requests continue, also those that come later. */
  release(): void;
  /** Applies to no further request and releases what it held. */
  remove(): void;
}

/** Answers that replace what the model would have said. */
export const answers = {
  /** Cut off by the output limit, in the middle of a text. */
  maxTokens: (): Turn => ({
    content: [{ type: 'text', text: 'I begin with the' }],
    stopReason: 'max_tokens',
  }),
  refusal: (): Turn => ({
    content: [{ type: 'text', text: 'I cannot help with that.' }],
    stopReason: 'refusal',
  }),
  /** A stop reason that a model may give for any text. */
  ending:
    (stopReason: string, text = 'I begin with the') =>
    (): Turn => ({ content: [{ type: 'text', text }], stopReason }),
  /** The whole output limit spent on thinking. */
  onlyThinking: (): Turn => ({
    content: [{ type: 'thinking', thinking: 'What if I begin with the' }],
    stopReason: 'max_tokens',
  }),
  pauseTurn: (): Turn => ({ content: [{ type: 'text', text: 'I pause here.' }], stopReason: 'pause_turn' }),
  /** Text where a tool call was expected. */
  textOnly: (): Turn => ({
    content: [{ type: 'text', text: 'I would rather talk.' }],
    stopReason: 'end_turn',
  }),
  /** A submission without its fields. */
  invalidMetadata: (turn: Turn): Turn => ({
    ...turn,
    content: turn.content.map((block) =>
      block.type === 'tool_use' ? { ...block, input: { tags: 'none' } } : block,
    ),
  }),
  /** The turn ends without a word; as a summary it makes a compaction fail. */
  nothing: (): Turn => ({ content: [], stopReason: 'end_turn' }),
} as const;

/** The active side of an injection, for the server. */
export interface ActiveInjection extends InjectionHandle {
  injection: Injection;
  matches(request: OfflineRequest): boolean;
  hit(request: OfflineRequest): void;
  markReached(request: OfflineRequest): void;
  released: Promise<void>;
}

export function activate(injection: Injection): ActiveInjection {
  let remaining = injection.times ?? 1;
  const reached = deferred<OfflineRequest>();
  const released = deferred<void>();
  const hits: OfflineRequest[] = [];
  return {
    injection,
    hits,
    reached: reached.promise,
    released: released.promise,
    matches: (request) => remaining > 0 && (injection.when?.(request) ?? true),
    hit(request) {
      remaining -= 1;
      hits.push(request);
    },
    markReached: reached.resolve,
    release: released.resolve,
    remove() {
      remaining = 0;
      released.resolve();
    },
  };
}

/** Promise.withResolvers, which Node 20 lacks. */
function deferred<Value>(): { promise: Promise<Value>; resolve: (value: Value) => void } {
  let resolve: (value: Value) => void = () => undefined;
  const promise = new Promise<Value>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
