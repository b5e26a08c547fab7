import type { SessionKey, SessionStore, SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { SessionChainError } from '../contracts/failures.js';
import { findHole } from '../transcript/hole.js';
import { toolUseIds, turnIds } from '../transcript/entries.js';

/**
 * The Agent SDK mirrors a transcript to its store in the background and does not hold the agent back: with a store that
 * hangs, tools went on running for minutes and what they did was not stored. The gate sits between the two. It passes
 * appends on one after the other, and lets a tool run only when the entry with that tool call is stored; entries are
 * appended in order, so everything before it is stored too. A subagent's calls are in a transcript of its own, under
 * the same session, which began after the call that started it. (Waiting for pending appends is not enough: the hook
 * was measured to come 25 to 45 ms BEFORE the append of the call's own entry.) After the first refused append it
 * refuses all that follow, so that a transcript may end early but never has a hole.
 */
export interface ToolGate {
  /** Give this to the SDK in place of the store. */
  store: SessionStore;
  /** Settles true when the call may run, false when it must not. */
  admit(toolUseId: string): Promise<boolean>;
  /** Whether the call's entry is stored, or soon will be. A call by a compaction's model never gets an entry. */
  isStored(toolUseId: string): Promise<boolean>;
  /** Why the store refused; null while it has not. */
  refusal(): Error | null;
  /** The base session as it was loaded; empty before that, and where there is none. */
  base(): SessionStoreEntry[];
  /** Why the base session could not be loaded: `missing` from the store, or the error. */
  baseFailure(): 'missing' | Error | null;
  /** What was stored under the session's own id, in order. */
  appended(): SessionStoreEntry[];
  /** What was stored of its subagents. */
  appendedBySubagents(): SessionStoreEntry[];
  /** Model turns of the run that are stored, those of subagents included. */
  turns(): number;
}

export interface ToolGateOptions {
  store: SessionStore;
  sessionId: string;
  baseSessionId: string | null;
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

export function createToolGate(options: ToolGateOptions): ToolGate {
  const { store, sessionId, baseSessionId, onRefused } = options;
  const appended: SessionStoreEntry[] = [];
  const bySubagents: SessionStoreEntry[] = [];
  const turns = new Set<string>();
  const storedCalls = new Set<string>();
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
    for (const id of toolUseIds(entries)) storedCalls.add(id);
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

  /** Counts ticks and not time, so that a worker that was frozen for a while does not find its time used up. */
  async function arrives(toolUseId: string, ticks: number): Promise<boolean> {
    let ticksLeft = ticks;
    while (refusal === null && !storedCalls.has(toolUseId)) {
      if (pending === 0 && ticksLeft-- === 0) return false;
      await nextChange();
    }
    return refusal === null;
  }

  async function admit(toolUseId: string): Promise<boolean> {
    if (await arrives(toolUseId, arrivalTicks)) return true;
    refuse(new Error(`The transcript entry of the tool call ${toolUseId} never reached the store.`));
    return false;
  }

  function nextChange(): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, tickMs);
      waiting.add(wake);
    });
  }

  return {
    // Without listSubkeys: a fork does not need the transcripts of its base's subagents; it knows their answers.
    store: { append, load },
    admit,
    isStored: async (toolUseId) => await arrives(toolUseId, soonTicks),
    refusal: () => refusal,
    base: () => base,
    baseFailure: () => baseFailure,
    appended: () => appended,
    appendedBySubagents: () => bySubagents,
    turns: () => turns.size,
  };
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
