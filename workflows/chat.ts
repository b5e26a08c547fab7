import {
  ApplicationFailure,
  CancellationScope,
  allHandlersFinished,
  condition,
  continueAsNew,
  defineSignal,
  defineUpdate,
  getExternalWorkflowHandle,
  isCancellation,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type {
  AskInput,
  AskResult,
  ChatActivities,
  ChatInput,
  PendingTurn,
  ReadTarget,
  SessionRequest,
} from '../contracts/chat.js';
import { parseAsk, parseSessionAnswer } from '../contracts/chat.js';
import { remedyFor } from '../contracts/failures.js';
import { failureOf } from './failures.js';
import { requestSession } from './session-requests.js';

/** Puts a question that the database knows to the project's session, and returns once its turn has ended. */
export const ask = defineUpdate<AskResult, [AskInput]>('ask');

/** A chain's answer to `requestSession`; a hint, and anybody may send anything. */
export const sessionAnswer = defineSignal<[unknown]>('sessionAnswer');

/**
 * One chat: its questions one after the other, each on a fork that may read and not write. Question and reply stand in
 * Postgres; here are their turns' ids. It ends when nobody asks for a while, and the next question starts it again.
 */
export async function chat(input: ChatInput): Promise<void> {
  const { policy } = input;
  const turns = new Map<string, { turn: PendingTurn; ended: Promise<'answered' | 'failed'> }>();
  const answered = new Set<string>();
  const ready: string[] = [];
  let running: string | null = null;
  let endedTurns = 0;
  let handsOn = false;

  const mustContinue = () => endedTurns >= policy.maxTurnsPerRun || workflowInfo().continueAsNewSuggested;
  const showDetails = () => setCurrentDetails(detailsOf(endedTurns, turns.size, running));

  function begin(turn: PendingTurn): Promise<'answered' | 'failed'> {
    const ended = run(turn);
    turns.set(turn.turnId, { turn, ended });
    showDetails();
    return ended;
  }

  async function run(turn: PendingTurn): Promise<'answered' | 'failed'> {
    const { turnId } = turn;
    try {
      await reachSession(input, turn, answered);
      ready.push(turnId);
      await condition(() => running === null && ready[0] === turnId && !mustContinue());
      running = turnId;
      ready.shift();
      showDetails();
      await agentActivities(input).chatPlan({
        projectId: input.projectId,
        chatId: input.chatId,
        turnId,
        limits: policy.limits,
        killGraceMs: policy.killGraceMs,
      });
      return 'answered';
    } catch (error) {
      const failure = failureOf(error);
      await CancellationScope.nonCancellable(() =>
        databaseActivities(input).failTurn({ projectId: input.projectId, turnId, failure }),
      );
      return 'failed';
    } finally {
      if (running === turnId) running = null;
      else if (ready.includes(turnId)) ready.splice(ready.indexOf(turnId), 1);
      turns.delete(turnId);
      answered.delete(turnId);
      endedTurns += 1;
      showDetails();
    }
  }

  // Before the handler is there: a question that is asked again arrives with the first task of this run.
  for (const turn of input.pending ?? []) void begin(turn);
  setHandler(
    ask,
    async (asked) => {
      const { turnId, when } = asked;
      if (handsOn) {
        if (!turns.has(turnId))
          turns.set(turnId, { turn: { turnId, when }, ended: new Promise(() => undefined) });
        return { turnId, outcome: 'again' };
      }
      const ended = turns.get(turnId)?.ended ?? begin({ turnId, when });
      let outcome: AskResult['outcome'] | undefined;
      void ended.then((how) => (outcome = how));
      await CancellationScope.nonCancellable(() => condition(() => outcome !== undefined || handsOn));
      return { turnId, outcome: outcome ?? 'again' };
    },
    {
      description: 'Puts a question to the project’s session; its words and the reply stand in the database.',
      validator: (asked: unknown) => {
        const question = parseAsk(asked);
        if (!question) throw refusal('INVALID_INPUT', 'The update does not name a turn.');
        if (turns.has(question.turnId) || turns.size < policy.maxPending) return;
        throw refusal('CHAT_BUSY', `${turns.size} questions of this chat wait already.`);
      },
    },
  );
  setHandler(
    sessionAnswer,
    (payload) => {
      const answer = parseSessionAnswer(payload);
      if (answer && turns.has(answer.requestId)) answered.add(answer.requestId);
    },
    { description: 'Tells that a chain’s session may be read now; the database is looked at again.' },
  );

  try {
    for (;;) {
      const isAwake = await condition(() => turns.size > 0, policy.idleMs);
      if (isAwake) await condition(() => turns.size === 0 || (mustContinue() && running === null));
      if (mustContinue()) break;
      if (!isAwake) {
        await condition(allHandlersFinished);
        if (turns.size === 0) return;
      }
    }
  } catch (error) {
    if (!isCancellation(error)) throw error;
    // Every question is told, and its row says how it ended.
    await CancellationScope.nonCancellable(() => condition(() => turns.size === 0 && allHandlersFinished()));
    throw error;
  }
  // From here on whoever waits is told to ask once more; the questions themselves go along.
  handsOn = true;
  await condition(allHandlersFinished);
  await continueAsNew<typeof chat>({ ...input, pending: [...turns.values()].map(({ turn }) => turn) });
}

/** Waits until the question may read the project's session. A chain's answer makes it look; the database decides. */
async function reachSession(input: ChatInput, turn: PendingTurn, answered: Set<string>): Promise<void> {
  const { projectId, policy } = input;
  const { turnId, when } = turn;
  const read = (target: ReadTarget | null) =>
    databaseActivities(input).readSession({ projectId, when, target });
  const isAnswered = () => answered.has(turnId);

  const found = await read(turn.target ?? null);
  if (found.outcome === 'ready') return;
  const { target } = found;
  turn.target = target;
  await send(target.workflowId, { requestId: turnId, chatWorkflowId: workflowInfo().workflowId, when });
  if (when === 'now') {
    await condition(isAnswered, policy.answerWithinMs);
    return;
  }
  const { initial, max } = policy.lookMs;
  for (let waitMs = initial; ; waitMs = Math.min(2 * waitMs, max)) {
    await condition(isAnswered, waitMs);
    answered.delete(turnId);
    if ((await read(target)).outcome === 'ready') return;
  }
}

/** A chain that is over, or lives elsewhere, cannot be signalled: then the database alone tells. */
async function send(workflowId: string, request: SessionRequest): Promise<void> {
  try {
    await getExternalWorkflowHandle(workflowId).signal(requestSession, request);
  } catch (error) {
    if (isCancellation(error)) throw error;
  }
}

// Milliseconds of work that must succeed in the end: a chat that cannot reach Postgres waits visibly. 1 s doubling to 1 min.
function databaseActivities({ policy }: ChatInput): Pick<ChatActivities, 'readSession' | 'failTurn'> {
  return proxyActivities<ChatActivities>({
    taskQueue: policy.taskQueues.chains,
    startToCloseTimeout: '30 s',
    retry: { initialInterval: '1 s', maximumInterval: '1 min' },
  });
}

// Somebody waits for the reply: tries follow each other quickly, 1 + 2 + 4 + 8 s apart. The lease in the journal keeps two
// agents apart; the time over the turn's own limit is for starting, for a former agent's end, and for the commit.
function agentActivities({ policy }: ChatInput): Pick<ChatActivities, 'chatPlan'> {
  return proxyActivities<ChatActivities>({
    taskQueue: policy.taskQueues.chats,
    startToCloseTimeout: policy.limits.timeoutMs + policy.killGraceMs + 120_000,
    heartbeatTimeout: policy.heartbeatTimeoutMs,
    retry: {
      initialInterval: '1 s',
      maximumInterval: '1 min',
      maximumAttempts: policy.limits.maxAttempts,
    },
    cancellationType: 'WAIT_CANCELLATION_COMPLETED',
  });
}

function refusal(code: 'INVALID_INPUT' | 'CHAT_BUSY', message: string): ApplicationFailure {
  return ApplicationFailure.create({ type: code, message, nonRetryable: true, details: [remedyFor(code)] });
}

function detailsOf(ended: number, pending: number, running: string | null): string {
  return [
    `**${pending === 0 ? 'idle' : 'busy'}** · ${pending} pending · ${ended} ended in this run`,
    ...(running === null ? [] : [`\nThe agent works on turn ${running}.`]),
  ].join('\n');
}
