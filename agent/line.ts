import {
  type HookCallback,
  type HookCallbackMatcher,
  type HookEvent,
  type Options,
  type Query,
  type SDKUserMessage,
  type SessionKey,
  type SessionStore,
  type SessionStoreEntry,
  query,
} from '@anthropic-ai/claude-agent-sdk';
import type { SessionId } from '../contracts/ids.js';
import type { SandboxLimit } from '../contracts/limits.js';
import type { Counters } from '../transcript/entries.js';
import type { OpenEgress } from './egress/egress.js';
import type { TaskHeaders } from './egress/task-headers.js';
import { type Lease, createLease, createPassedLease, uptimeMs } from './process/lease.js';
import type { AgentProcess } from './process/process.js';
import type { QueryParts } from './query-options.js';
import type { Fence } from './sandbox/fence.js';

/** What a task plugs into the process that does it. */
export interface LineTask {
  headers: TaskHeaders;
  store: Pick<SessionStore, 'append' | 'load'>;
  hooks: NonNullable<Options['hooks']>;
  allowedTools: readonly string[];
  lease: Lease;
  onEnding: () => void;
  onGone: () => void;
  onLimit: (limit: SandboxLimit) => void;
}

export interface LineParts {
  /** What a task must have in common with the first. */
  key: string;
  /** The turns that Claude Code itself lets a task take. */
  maxTurns: number;
  /** US dollars that the process may spend; undefined for no limit. */
  maxCostUsd: number | undefined;
  egress: OpenEgress;
  /** Starts it; called once. */
  options: (parts: QueryParts) => Promise<Options>;
  abortController: AbortController;
  onStarted: (agentProcess: AgentProcess) => void;
  /** Null where the process ends with its first task. */
  fence: ((agentProcess: AgentProcess, config: string) => Fence) | null;
  /** Removes what belongs to it, once the process is dead. */
  close: () => Promise<void>;
}

/**
 * One process of Claude Code that does one task after the other, each of which goes on from the session of the one before.
 * On the wire it keeps the id of its first session; what it appends is cut into a session for each task. While it has no
 * task it is parked: no tool runs, nothing reaches the model and nothing is stored.
 */
export interface Line extends Pick<LineParts, 'key' | 'maxTurns' | 'abortController' | 'close'> {
  readonly messages: Query;
  readonly process: AgentProcess | null;
  /** That of its last task, which it holds in memory. */
  readonly sessionId: SessionId;
  /** The name of its last task. */
  readonly step: string;
  /** Claude Code's running totals after the last task; null before. */
  readonly totals: Counters | null;
  /** US dollars that it may still spend; undefined for no limit. */
  readonly costLeftUsd: number | undefined;
  /** Whether a tool ran that starts processes. */
  readonly hasStartedProcesses: boolean;
  /** From now on appends, hooks, requests and the guard belong to this task. */
  attach(task: LineTask): void;
  readonly say: (text: string) => void;
  /** Nothing more is said; Claude Code ends by itself. */
  readonly end: () => void;
  /** Ends what the task has started; null when another may follow, else why not. */
  closeFence(): Promise<string | null>;
  count(totals: Counters | null, costUsd: number): void;
  /** Takes the task out. `onSpoiled` is called when the process can no longer be used. */
  park(idleMs: number, onSpoiled: (reason: string) => void): void;
}

/** Longer than a parked process may wait: its guard ends it when its worker, which should, is frozen. */
const guardedLongerMs = 30_000;

/** Tools that work inside of Claude Code itself, or of its worker. Every other may leave a process behind. */
const withoutProcesses = new Set(['Read', 'Write', 'Edit', 'NotebookEdit', 'Glob', 'Grep']);

/** Starts the process with its first task. */
export async function openLine(parts: LineParts, first: LineTask): Promise<Line> {
  const wireId = first.headers.sessionId;
  const lease = createPassedLease(first.lease);
  const outbox = createOutbox();
  let task: LineTask | null = null;
  let { sessionId } = first.headers;
  let step = first.headers.task.name;
  let spoil: (reason: string) => void = () => undefined;
  /** Entries that came after the end of a task; the next one appends them. */
  let late: SessionStoreEntry[] = [];
  let { maxCostUsd: costLeftUsd } = parts;
  let process: AgentProcess | null = null;
  let fence: Fence | null = null;
  let totals: Counters | null = null;
  let hasStartedProcesses = false;

  const ofTask = (entries: SessionStoreEntry[]): SessionStoreEntry[] =>
    sessionId === wireId
      ? entries
      : entries.map((entry) => (entry.sessionId === wireId ? { ...entry, sessionId } : entry));

  async function append(key: SessionKey, entries: SessionStoreEntry[]): Promise<void> {
    const isMain = key.sessionId === wireId && key.subpath === undefined;
    if (task === null) {
      // Notes about the turn that has ended. What the model says and what it is told has a task.
      if (!isMain || entries.some(({ type }) => type === 'user' || type === 'assistant'))
        spoil('It went on without a task.');
      else late.push(...entries);
      return;
    }
    const before = isMain ? late : [];
    if (isMain) late = [];
    await task.store.append(key.sessionId === wireId ? { ...key, sessionId } : key, [
      ...ofTask(before),
      ...ofTask(entries),
    ]);
  }

  function attach(next: LineTask): void {
    task = next;
    sessionId = next.headers.sessionId;
    step = next.headers.task.name;
    spoil = () => undefined;
    lease.passTo(next.lease);
    parts.egress.attach(next.headers);
  }

  attach(first);
  const options = await parts.options({
    store: {
      append,
      load: async (key) => {
        if (task === null) throw new Error('No task is under way.');
        return await task.store.load(key);
      },
    },
    hooks: passedHooks(first.hooks, async (event, tool) => {
      if (
        event === 'PreToolUse' &&
        tool !== undefined &&
        !withoutProcesses.has(tool) &&
        !tool.startsWith('mcp__')
      ) {
        hasStartedProcesses = true;
        await fence?.beforeCommand();
      }
      if (task === null) spoil(`It called ${tool ?? event} without a task.`);
      return task?.hooks ?? null;
    }),
    allowedNow: () => task?.allowedTools ?? [],
    abortController: parts.abortController,
    onStarted(started, config) {
      process = started;
      fence = parts.fence?.(started, config) ?? null;
      void started.ended.then(() => spoil('It ended.'));
      parts.onStarted(started);
    },
    lease,
    onEnding: () => (task === null ? spoil('Its lease is about to expire.') : task.onEnding()),
    onGone: () => (task === null ? spoil('Its guard is gone.') : task.onGone()),
    onLimit: (limit) => (task === null ? spoil(`It reached the limit ${limit}.`) : task.onLimit(limit)),
  });
  const messages = query({ prompt: outbox.messages(), options });

  return {
    key: parts.key,
    maxTurns: parts.maxTurns,
    abortController: parts.abortController,
    close: parts.close,
    messages,
    get process() {
      return process;
    },
    get sessionId() {
      return sessionId as SessionId;
    },
    get step() {
      return step;
    },
    get totals() {
      return totals;
    },
    get costLeftUsd() {
      return costLeftUsd;
    },
    get hasStartedProcesses() {
      return hasStartedProcesses;
    },
    attach,
    say: (text) => outbox.put(text),
    end: () => outbox.put(null),
    closeFence: async () => (fence === null ? 'It has no fence.' : await fence.close()),
    count(after, costUsd) {
      if (costLeftUsd !== undefined) costLeftUsd -= costUsd;
      if (after === null) return;
      // The result of a compaction says 0.
      totals = { ...after, apiDurationMs: Math.max(after.apiDurationMs, totals?.apiDurationMs ?? 0) };
    },
    park(idleMs, onSpoiled) {
      task = null;
      spoil = (reason) => {
        spoil = () => undefined;
        onSpoiled(reason);
      };
      parts.egress.attach(null);
      lease.passTo(createLease(uptimeMs() + idleMs + guardedLongerMs));
    },
  };
}

/** The hooks of whatever task there is, for a process that is told of its hooks once. */
function passedHooks(
  first: NonNullable<Options['hooks']>,
  now: (event: HookEvent, tool: string | undefined) => Promise<NonNullable<Options['hooks']> | null>,
): NonNullable<Options['hooks']> {
  const passed = (event: HookEvent, matcher: number, hook: number): HookCallback => {
    return async (input, toolUseId, options) => {
      const tool = 'tool_name' in input ? input.tool_name : undefined;
      const callback = (await now(event, tool))?.[event]?.[matcher]?.hooks[hook];
      // A hook that fails before a tool blocks it.
      if (callback === undefined) throw new Error('No task is under way.');
      return await callback(input, toolUseId, options);
    };
  };
  const events = Object.entries(first) as [HookEvent, HookCallbackMatcher[]][];
  return Object.fromEntries(
    events.map(([event, matchers]) => [
      event,
      matchers.map((matcher, index) => ({
        ...matcher,
        hooks: matcher.hooks.map((_, hook) => passed(event, index, hook)),
      })),
    ]),
  );
}

/** Messages that are read as they come; null ends them. */
function createOutbox() {
  const pending: (string | null)[] = [];
  let wake = () => {};
  return {
    put(text: string | null) {
      pending.push(text);
      wake();
    },
    async *messages(): AsyncGenerator<SDKUserMessage> {
      for (;;) {
        const text = pending.shift();
        if (text === null) return;
        if (text === undefined) await new Promise<void>((resolve) => (wake = resolve));
        else yield userMessage(text);
      }
    },
  };
}

function userMessage(text: string): SDKUserMessage {
  return {
    type: 'user',
    message: { role: 'user', content: [{ type: 'text', text }] },
    parent_tool_use_id: null,
  };
}
