import type { SDKMessage, SessionKey, SessionStore, SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { SessionChainError } from '../contracts/failures.js';
import { findHole } from '../transcript/hole.js';
import { toolUseIds, turnIds } from '../transcript/entries.js';

/**
 * The Agent SDK mirrors a transcript to its store in the background and does not hold the agent back: with a store that
 * hangs, tools went on running for minutes and what they did was not stored. The gate sits between the two. It passes
 * appends on one after the other, and lets a tool run only when the store knows of the call, by one of two ways:
 *
 * - The entry with the call is stored; entries are appended in order, so everything before it is stored too. A
 *   subagent's calls are in a transcript of its own, under the same session, which began after the call that started it.
 * - The call is noted beside the journal. Claude Code appends an entry up to 100 ms after the message that calls the
 *   tool, and a note takes 1 to 2 ms. Calls of one message alone may run on notes: those of another one wait until all
 *   noted calls have their entries, so that what the transcript lacks after a kill is one message. A subagent's calls, and
 *   those whose message was not seen, are not noted.
 *
 * After the first refused append it refuses all that follow, so that a transcript may end early but never has a hole.
 */
export interface ToolGate {
  /** Give this to the SDK in place of the store. */
  store: SessionStore;
  /** Tells what the agent says, before its entries come. */
  onMessage(message: SDKMessage): void;
  /** Settles true when the call may run, false when it must not. */
  admit(call: ToolCall): Promise<boolean>;
  /** Whether the model ended the message with the call in order to have its tools run; false where that is not known yet. */
  endedForTools(toolUseId: string): boolean;
  /** Whether the call's entry is stored, or soon will be. A call by a compaction's model never gets an entry. */
  isStored(toolUseId: string): Promise<boolean>;
  /** Settles once all appends so far are stored or refused. */
  settled(): Promise<void>;
  /** Why the store refused; null while it has not. */
  refusal(): Error | null;
  /** The calls that may have run and whose entries are not stored. */
  openCalls(): string[];
  /** The base session as it was loaded; empty before that, and where there is none. */
  base(): SessionStoreEntry[];
  /** Why the base session could not be loaded: `missing` from the store, or the error. */
  baseFailure(): 'missing' | Error | null;
  /** What was stored under the session's own id, in order. */
  appended(): SessionStoreEntry[];
  /** What was stored of its subagents. */
  appendedBySubagents(): SessionStoreEntry[];
  /** Model turns of the run whose entries or calls are stored or noted, those of subagents included. */
  turns(): number;
}

/** A call of a tool, as the model made it. */
export interface ToolCall {
  id: string;
  name: string;
  input: unknown;
}

export interface ToolGateOptions {
  store: SessionStore;
  sessionId: string;
  baseSessionId: string | null;
  /**
   * Notes the calls that are let run before their entries are stored, in place of those noted before. Rejects where the
   * attempt may not go on. Default: nothing is noted.
   */
  noteCalls?: (calls: ToolCall[]) => Promise<void>;
  /** Called once, at the first refusal. */
  onRefused: (error: Error) => void;
}

/** The SDK silently gives up an append after 60 s; the gate must give up first. */
const appendTimeoutMs = 50_000;
/** How long a tool call's own entry may take to be appended while nothing else is pending. */
const arrivalTicks = 60;
/** The same if nothing depends on it. */
const soonTicks = 5;
const tickMs = 1000;

/** A message of the agent, while it is being written or after. */
interface SeenMessage {
  id: string;
  stopReason: string | null;
}

export function createToolGate(options: ToolGateOptions): ToolGate {
  const { store, sessionId, baseSessionId, onRefused } = options;
  let { noteCalls } = options;
  const appended: SessionStoreEntry[] = [];
  const bySubagents: SessionStoreEntry[] = [];
  const turns = new Set<string>();
  const storedCalls = new Set<string>();
  const messages = new Map<string, SeenMessage>();
  /** To be noted, or noted, and not stored yet. */
  const openCalls = new Map<string, { call: ToolCall; message: SeenMessage; isNoted: boolean }>();
  let speaking: SeenMessage = { id: '', stopReason: null };
  let notes: Promise<void> | null = null;
  const waiting = new Set<() => void>();
  let base: SessionStoreEntry[] = [];
  let turnsOfBase = new Set<string>();
  let baseFailure: 'missing' | Error | null = null;
  let refusal: Error | null = null;
  let pending = 0;
  let tail: Promise<void> = Promise.resolve();

  function wakeAll(): void {
    for (const wake of [...waiting]) wake();
  }

  function refuse(error: Error): void {
    if (refusal !== null) return;
    refusal = error;
    onRefused(error);
    wakeAll();
  }

  async function appendNext(key: SessionKey, entries: SessionStoreEntry[]): Promise<void> {
    if (refusal !== null) throw refusal;
    try {
      // What the agent started can write to its standard output, and so name any session of the project.
      if (key.sessionId !== sessionId)
        throw new Error(`an entry of the session ${key.sessionId} in a run of another`);
      await withTimeout(store.append(key, entries));
    } catch (cause) {
      const error = new Error(`The store refused an append: ${messageOf(cause)}`, { cause });
      refuse(error);
      throw error;
    }
    (key.subpath === undefined ? appended : bySubagents).push(...entries);
    for (const id of toolUseIds(entries)) {
      storedCalls.add(id);
      openCalls.delete(id);
    }
    for (const id of turnIds(entries)) if (!turnsOfBase.has(id)) turns.add(id);
  }

  function append(key: SessionKey, entries: SessionStoreEntry[]): Promise<void> {
    pending += 1;
    const done = tail.then(() => appendNext(key, entries));
    tail = done
      .catch(() => undefined)
      .finally(() => {
        pending -= 1;
        wakeAll();
      });
    return done;
  }

  async function load(key: SessionKey): Promise<SessionStoreEntry[] | null> {
    const isBase = key.sessionId === baseSessionId && key.subpath === undefined;
    try {
      const entries = await store.load(key);
      if (!isBase) return entries;
      base = entries ?? [];
      turnsOfBase = new Set(turnIds(base));
      if (base.length === 0) baseFailure = 'missing';
      const hole = findHole(base);
      if (hole !== null) {
        // Claude Code would silently continue from what comes after the hole.
        throw new SessionChainError(
          'SESSION_NOT_IN_STORE',
          `The transcript of session ${key.sessionId} has a hole before its entry ${hole}.`,
        );
      }
      return entries;
    } catch (cause) {
      if (isBase) baseFailure = cause instanceof Error ? cause : new Error(String(cause));
      throw cause;
    }
  }

  function onMessage(message: SDKMessage): void {
    if (
      (message.type !== 'assistant' && message.type !== 'stream_event') ||
      message.parent_tool_use_id !== null
    )
      return;
    if (message.type === 'assistant') {
      if (speaking.id !== message.message.id) speaking = { id: message.message.id, stopReason: null };
      for (const block of message.message.content) {
        if (block.type === 'tool_use') messages.set(block.id, speaking);
      }
      wakeAll();
    } else if (message.event.type === 'message_start') {
      speaking = { id: message.event.message.id, stopReason: null };
    } else if (message.event.type === 'message_delta') {
      speaking.stopReason = message.event.delta.stop_reason;
    }
  }

  /** Whether only calls of this message are noted and not stored. */
  function isAlone(message: SeenMessage | undefined): boolean {
    return [...openCalls.values()].every((open) => open.message.id === message?.id);
  }

  function isKnown(toolUseId: string): boolean {
    return (
      isAlone(messages.get(toolUseId)) &&
      (storedCalls.has(toolUseId) || openCalls.get(toolUseId)?.isNoted === true)
    );
  }

  /** Begins to note the call, if it may run on a note; several that come meanwhile are one further note. */
  function note(call: ToolCall): void {
    const message = messages.get(call.id);
    if (noteCalls === undefined || message === undefined || openCalls.has(call.id) || !isAlone(message))
      return;
    openCalls.set(call.id, { call, message, isNoted: false });
    notes ??= writeNotes(noteCalls).finally(() => {
      notes = null;
      wakeAll();
    });
  }

  async function writeNotes(write: (calls: ToolCall[]) => Promise<void>): Promise<void> {
    for (;;) {
      const written = [...openCalls.values()];
      if (written.every(({ isNoted }) => isNoted)) return;
      try {
        await write(written.map(({ call }) => call));
      } catch {
        noteCalls = undefined;
        for (const { call, isNoted } of [...openCalls.values()]) if (!isNoted) openCalls.delete(call.id);
        return;
      }
      for (const open of written) open.isNoted = true;
      wakeAll();
    }
  }

  /** Counts ticks and not time, so that a worker that was frozen for a while does not find its time used up. */
  async function comes(isThere: () => boolean, ticks: number): Promise<boolean> {
    let ticksLeft = ticks;
    while (refusal === null && !isThere()) {
      if (pending === 0 && ticksLeft === 0) return false;
      if ((await nextChange()) === 'tick' && pending === 0) ticksLeft -= 1;
    }
    return refusal === null;
  }

  async function admit(call: ToolCall): Promise<boolean> {
    const isKnownOrNoted = () => {
      if (!isKnown(call.id)) note(call);
      return isKnown(call.id);
    };
    if (await comes(isKnownOrNoted, arrivalTicks)) return true;
    const [missing = call.id] = openCalls.keys();
    refuse(neverStored(missing));
    return false;
  }

  function nextChange(): Promise<'change' | 'tick'> {
    return new Promise((resolve) => {
      const end = (why: 'change' | 'tick') => {
        clearTimeout(timer);
        waiting.delete(wake);
        resolve(why);
      };
      const wake = () => end('change');
      const timer = setTimeout(() => end('tick'), tickMs);
      waiting.add(wake);
    });
  }

  return {
    // Without listSubkeys: a fork does not need the transcripts of its base's subagents; it knows their answers.
    store: { append, load },
    onMessage,
    admit,
    endedForTools: (toolUseId) => messages.get(toolUseId)?.stopReason === 'tool_use',
    isStored: async (toolUseId) => await comes(() => storedCalls.has(toolUseId), soonTicks),
    settled: () => tail,
    refusal: () => refusal,
    openCalls: () => [...openCalls.keys()],
    base: () => base,
    baseFailure: () => baseFailure,
    appended: () => appended,
    appendedBySubagents: () => bySubagents,
    turns: () => new Set([...turns, ...[...openCalls.values()].map(({ message }) => message.id)]).size,
  };
}

export function neverStored(toolUseId: string): Error {
  return new Error(`The transcript entry of the tool call ${toolUseId} never reached the store.`);
}

async function withTimeout(append: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`no answer within ${appendTimeoutMs / 1000} s`)),
      appendTimeoutMs,
    );
  });
  try {
    await Promise.race([append, expired]);
  } finally {
    clearTimeout(timer);
  }
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
