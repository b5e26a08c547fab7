import type { Query } from '@anthropic-ai/claude-agent-sdk';
import type { AgentProcess } from './process/process.js';
import type { StopReason } from './results.js';

/** Ends a run early: in order if there is time for that, and reliably in any case. */
export interface Stop {
  attachQuery(messages: Query): void;
  attachProcess(agentProcess: AgentProcess): void;
  /** Interrupts the agent, which then stores what it has; kills it when that takes longer than the grace. */
  orderly(reason: StopReason): void;
  /** Kills at once. */
  now(reason: StopReason): void;
  /** The first reason; null while nothing was stopped. */
  reason(): StopReason | null;
  /** Returns when the process that was killed is dead. */
  killed(): Promise<void>;
  /** Returns when the agent and all it started are dead; one that has not ended within the grace is killed. */
  finish(): Promise<void>;
}

/** `abortController` is the SDK's; it is aborted once the process is dead, so that the messages also end. */
export function createStop(killGraceMs: number, abortController: AbortController): Stop {
  let messages: Query | null = null;
  let agentProcess: AgentProcess | null = null;
  let reason: StopReason | null = null;
  let killTimer: NodeJS.Timeout | undefined;

  function interrupt(): void {
    // Before the query exists, and when it has just ended, there is nothing to interrupt; the kill remains.
    messages?.interrupt().catch(() => undefined);
  }

  function kill(): void {
    clearTimeout(killTimer);
    if (agentProcess === null) {
      abortController.abort();
      return;
    }
    agentProcess.kill();
    // Not immediately: the SDK reacts by waiting 2 s for a process that is dead by then.
    void agentProcess.ended.then(() => abortController.abort());
  }

  return {
    attachQuery(query) {
      messages = query;
      if (reason !== null) interrupt();
    },
    attachProcess(started) {
      agentProcess = started;
      if (abortController.signal.aborted) started.kill();
    },
    orderly(why) {
      if (reason !== null) return;
      reason = why;
      interrupt();
      killTimer = setTimeout(kill, killGraceMs);
    },
    now(why) {
      reason ??= why;
      kill();
    },
    reason: () => reason,
    async killed() {
      await agentProcess?.ended;
    },
    async finish() {
      clearTimeout(killTimer);
      if (agentProcess === null) return;
      const { ended } = agentProcess;
      const late = setTimeout(kill, killGraceMs);
      await ended;
      clearTimeout(late);
    },
  };
}
