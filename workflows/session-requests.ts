import { CancellationScope, defineSignal, getExternalWorkflowHandle, setHandler } from '@temporalio/workflow';
import { type SessionRequest, parseSessionRequest } from '../contracts/question.js';
import type { ProjectId, SessionId } from '../contracts/ids.js';
import { signals } from '../temporal/names.js';

/** A chat asks a running chain for the session to read: now, after the step that runs, or once the chain is closed. */
export const requestSession = defineSignal<[unknown]>(signals.requestSession);

/** Keeps the requests of chats until they can be answered. */
export interface SessionRequests {
  /** Answers the chats that wait for the end of the step. */
  stepEnded(): void;
  /** Answers every chat, on whatever path the chain ends; never throws. */
  chainEnded(): Promise<void>;
}

/** More requests than a chain's chats would ever make at a time; a chat that finds no room reads the database. */
const maxWaiting = 100;

/**
 * And more than they make in all, or than a run of a chat gets. Each answer costs five events of a history, which ends the workflow at 51,200; what the
 * server takes of signals, 10,000, costs up to 40,000. A chat that gets no answer reads the database.
 */
export const maxAnswers = 200;

/**
 * Lets chats ask a chain for its session. `head` is the head as the chain knows it and `runsStep` whether a step runs. An
 * answer is a hint by signal: a chat that has ended, or a payload that is not a request, changes nothing.
 */
export function answerSessionRequests(chain: {
  projectId: ProjectId;
  head: () => SessionId | null;
  runsStep: () => boolean;
}): SessionRequests {
  const waiting = new Map<string, SessionRequest>();
  const sending = new Set<Promise<void>>();
  let answers = 0;

  function answer({ requestId, chatWorkflowId }: SessionRequest): void {
    if (++answers > maxAnswers) return;
    // A cancelled chain also answers.
    const sent = CancellationScope.nonCancellable(() =>
      getExternalWorkflowHandle(chatWorkflowId).signal(signals.sessionAnswer, {
        requestId,
        sessionId: chain.head(),
      }),
    )
      .catch(() => undefined)
      .finally(() => sending.delete(sent));
    sending.add(sent);
  }

  function answerAll(which: (request: SessionRequest) => boolean): void {
    for (const [key, request] of waiting) {
      if (!which(request)) continue;
      waiting.delete(key);
      answer(request);
    }
  }

  setHandler(
    requestSession,
    (payload) => {
      const request = parseSessionRequest(payload, chain.projectId);
      if (!request) return;
      const isDue = request.when === 'now' || (request.when === 'after_step' && !chain.runsStep());
      if (isDue) answer(request);
      else if (waiting.size < maxWaiting) {
        waiting.set(`${request.chatWorkflowId} ${request.requestId}`, request);
      }
    },
    { description: 'A chat asks which session to read: now, after_step or committed.' },
  );
  return {
    stepEnded: () => answerAll(({ when }) => when === 'after_step'),
    async chainEnded() {
      answerAll(() => true);
      await Promise.all(sending);
    },
  };
}
