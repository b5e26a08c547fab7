import {
  type ActivityOptions,
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
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import type { Returned } from '../contracts/activities.js';
import type {
  AskInput,
  AskResult,
  ChatActivities,
  ChatInput,
  ChatPolicy,
  PendingQuestion,
  ReadTarget,
  SessionRequest,
} from '../contracts/question.js';
import { sameInstallation } from '../contracts/installation.js';
import { payloadVersion } from '../contracts/plan.js';
import { parseAsk, parseSessionAnswer } from '../contracts/question.js';
import { signals, updates } from '../temporal/names.js';
import { timeOf } from './details.js';
import { type ActivityLimits, failureOf } from './failures.js';
import { offer, onAny, ownQueueOptions } from './own-queue.js';
import { unknownPayload } from './payload-version.js';
import { maxAnswers, requestSession } from './session-requests.js';
import { taskTime } from './task-time.js';

/** Puts a question that the database knows to the project's session, and returns once it is answered or has failed. */
export const ask = defineUpdate<AskResult, [AskInput]>(updates.ask);

/** A chain's answer to `requestSession`; a hint, and any client of Temporal may send anything. */
export const sessionAnswer = defineSignal<[unknown]>(signals.sessionAnswer);

/**
 * One chat: its questions one after the other, each on a fork that may read and not write. Question and answer are in
 * Postgres; the workflow has only the questions' ids. It ends after a while without a question, and the next one starts
 * it again.
 */
export async function chat(input: ChatInput): Promise<void> {
  if (input?.version !== payloadVersion) throw unknownPayload('the input', input?.version);
  const { policy } = input;
  const questions = new Map<string, { question: PendingQuestion; ended: Promise<'answered' | 'failed'> }>();
  const answered = new Set<string>();
  let answers = 0;
  const ready: string[] = [];
  let running: string | null = null;
  /** The queue of the worker that keeps the process of the last answer. */
  let parkedOn: string | undefined;
  let endedQuestions = 0;
  let handsOn = false;

  const mustContinue = () =>
    endedQuestions >= policy.maxQuestionsPerRun || workflowInfo().continueAsNewSuggested;
  let runningSince = taskTime();
  const showDetails = () =>
    setCurrentDetails(detailsOf(endedQuestions, questions.size, running, runningSince));

  function begin(question: PendingQuestion): Promise<'answered' | 'failed'> {
    const ended = run(question);
    questions.set(question.questionId, { question, ended });
    showDetails();
    return ended;
  }

  async function run(question: PendingQuestion): Promise<'answered' | 'failed'> {
    const { questionId } = question;
    try {
      await reachSession(input, question, answered);
      ready.push(questionId);
      await condition(() => running === null && ready[0] === questionId && !mustContinue());
      running = questionId;
      runningSince = taskTime();
      ready.shift();
      showDetails();
      const own = parkedOn;
      parkedOn = undefined;
      parkedOn = await answer(input, questionId, own);
      return 'answered';
    } catch (error) {
      const failure = failureOf(error, limitsOf(policy));
      await CancellationScope.nonCancellable(() =>
        databaseActivities(input).failQuestion({
          version: payloadVersion,
          ...sameInstallation(input),
          projectId: input.projectId,
          questionId,
          failure,
        }),
      );
      return 'failed';
    } finally {
      if (running === questionId) running = null;
      else if (ready.includes(questionId)) ready.splice(ready.indexOf(questionId), 1);
      questions.delete(questionId);
      answered.delete(questionId);
      endedQuestions += 1;
      showDetails();
    }
  }

  // Before the handler exists: a question that is asked again arrives with the first task of this run.
  for (const question of input.pending ?? []) void begin(question);
  setHandler(
    ask,
    async (asked) => {
      const { questionId, when } = asked;
      if (handsOn) {
        if (!questions.has(questionId))
          questions.set(questionId, {
            question: { questionId, when },
            ended: new Promise(() => undefined),
          });
        return { questionId, outcome: 'again' };
      }
      const ended = questions.get(questionId)?.ended ?? begin({ questionId, when });
      let outcome: AskResult['outcome'] | undefined;
      void ended.then((how) => (outcome = how));
      await CancellationScope.nonCancellable(() => condition(() => outcome !== undefined || handsOn));
      return { questionId, outcome: outcome ?? 'again' };
    },
    {
      description: 'Puts a question to the project’s session; its text and the answer are in the database.',
      validator: (asked: unknown) => {
        const question = parseAsk(asked);
        if (!question) throw refusal('INVALID_INPUT', 'The update does not name a question.');
        const theirs = sameInstallation(question).installation ?? input.installation;
        if (theirs !== input.installation)
          throw refusal(
            'OTHER_INSTALLATION',
            `This chat is of the installation ${input.installation ?? ''}, and the question of ${theirs ?? ''}.`,
          );
        if (questions.has(question.questionId) || questions.size < policy.maxPending) return;
        throw refusal('CHAT_BUSY', `${questions.size} questions of this chat wait already.`);
      },
    },
  );
  setHandler(
    sessionAnswer,
    (payload) => {
      const answer = parseSessionAnswer(payload);
      if (answer && questions.has(answer.requestId) && ++answers <= maxAnswers)
        answered.add(answer.requestId);
    },
    { description: 'Says that a chain’s session may be read now; the chat then reads the database again.' },
  );

  try {
    for (;;) {
      const isAwake = await condition(() => questions.size > 0, policy.idleMs);
      if (isAwake) await condition(() => questions.size === 0 || (mustContinue() && running === null));
      if (mustContinue()) break;
      if (!isAwake) {
        await condition(allHandlersFinished);
        if (questions.size === 0) return;
      }
    }
  } catch (error) {
    if (!isCancellation(error)) throw error;
    // Every waiting caller is told, and the question's row says how it ended.
    await CancellationScope.nonCancellable(() =>
      condition(() => questions.size === 0 && allHandlersFinished()),
    );
    throw error;
  }
  // From here on every caller that waits is told to ask again; the questions themselves are handed to the next run.
  handsOn = true;
  await condition(allHandlersFinished);
  await continueAsNew<typeof chat>({
    ...input,
    pending: [...questions.values()].map(({ question }) => question),
  });
}

/**
 * Has a question answered, by the worker that keeps the process of the last answer, where that takes it; where the database went
 * back and lost the attempt, again, as often as it may be tried. Returns the queue of the worker that keeps the process now.
 */
async function answer(
  input: ChatInput,
  questionId: string,
  parkedOn: string | undefined,
): Promise<string | undefined> {
  const { projectId, chatId, policy } = input;
  const { limits, killGraceMs } = policy;
  const asked = { version: payloadVersion, projectId, chatId, questionId, limits, killGraceMs } as const;
  for (let tries = 0, looks = 0, own = parkedOn; ; own = undefined) {
    try {
      const question = { ...asked, ...sameInstallation(input), ...(looks > 0 ? { looks } : {}) };
      const maxAttempts = Math.max(1, limits.maxAttempts - tries);
      const offered =
        own === undefined
          ? {
              taken: true as const,
              result: await onAny(() => onAll(input, maxAttempts).answerQuestion(question)),
            }
          : await offer(() => onOwn(input, own).answerQuestion(question), { maxAttempts, pauseMs });
      if (!offered.taken) {
        tries += offered.tries;
        continue;
      }
      const { result } = offered;
      if (!('waitMs' in result)) return result.parkedOn;
      tries += result.tries;
      looks += 1;
      await sleep(result.waitMs);
    } catch (error) {
      tries += 1;
      if (failureOf(error).code !== 'DATABASE_WENT_BACK' || tries >= limits.maxAttempts) throw error;
    }
  }
}

/** Waits until the question may read the project's session. A chain's answer makes it look; the database decides. */
async function reachSession(
  input: ChatInput,
  question: PendingQuestion,
  answered: Set<string>,
): Promise<void> {
  const { projectId, policy } = input;
  const { questionId, when } = question;
  const read = (target: ReadTarget | null) =>
    databaseActivities(input).readSession({
      version: payloadVersion,
      ...sameInstallation(input),
      projectId,
      when,
      target,
    });
  const isAnswered = () => answered.has(questionId);

  const found = await read(question.target ?? null);
  if (found.outcome === 'ready') return;
  const { target } = found;
  question.target = target;
  await send(target.workflowId, { requestId: questionId, chatWorkflowId: workflowInfo().workflowId, when });
  if (when === 'now') {
    await condition(isAnswered, policy.answerWithinMs);
    return;
  }
  const { initial, max } = policy.lookMs;
  for (let waitMs = initial; ;) {
    if (!(await condition(isAnswered, waitMs))) waitMs = Math.min(2 * waitMs, max);
    answered.delete(questionId);
    if ((await read(target)).outcome === 'ready') return;
  }
}

/** A chain that is over, or runs elsewhere, cannot be signalled: then the database alone decides. */
async function send(workflowId: string, request: SessionRequest): Promise<void> {
  try {
    await getExternalWorkflowHandle(workflowId).signal(requestSession, request);
  } catch (error) {
    if (isCancellation(error)) throw error;
  }
}

// Milliseconds of work that must succeed in the end: a chat that cannot reach Postgres waits visibly. 1 s doubling to 1 min.
function databaseActivities({ policy }: ChatInput): Pick<ChatActivities, 'readSession' | 'failQuestion'> {
  return proxyActivities<ChatActivities>({
    taskQueue: policy.taskQueues.chains,
    startToCloseTimeout: '30 s',
    retry: { initialInterval: '1 s', maximumInterval: '1 min' },
  });
}

// A person waits for the answer: tries follow each other quickly, 1 + 2 + 4 + 8 s apart. The lease in the journal keeps two
// agents apart; the time over the question's own limit is for starting, for a former lease, and for the commit.
const pauseMs = 1_000;

function onAll(input: ChatInput, maximumAttempts: number): AnswerActivity {
  const retry = { initialInterval: pauseMs, maximumInterval: '1 min', maximumAttempts } as const;
  return answerActivity(input, { taskQueue: input.policy.taskQueues.chats, retry });
}

function onOwn(input: ChatInput, taskQueue: string): AnswerActivity {
  return answerActivity(input, { taskQueue, ...ownQueueOptions });
}

interface AnswerActivity {
  answerQuestion(...input: Parameters<ChatActivities['answerQuestion']>): Promise<Answered | Returned>;
}
type Answered = Awaited<ReturnType<ChatActivities['answerQuestion']>>;

function answerActivity(
  { policy }: ChatInput,
  options: Pick<ActivityOptions, 'taskQueue' | 'scheduleToStartTimeout' | 'retry'>,
): AnswerActivity {
  return proxyActivities<Pick<AnswerActivity, 'answerQuestion'>>({
    ...options,
    startToCloseTimeout: limitsOf(policy).startToCloseTimeoutMs,
    heartbeatTimeout: policy.heartbeatTimeoutMs,
    cancellationType: 'WAIT_CANCELLATION_COMPLETED',
  });
}

function limitsOf({ limits: { timeoutMs }, killGraceMs, heartbeatTimeoutMs }: ChatPolicy): ActivityLimits {
  return { timeoutMs, startToCloseTimeoutMs: timeoutMs + killGraceMs + 120_000, heartbeatTimeoutMs };
}

function refusal(
  code: 'INVALID_INPUT' | 'CHAT_BUSY' | 'OTHER_INSTALLATION',
  message: string,
): ApplicationFailure {
  return ApplicationFailure.create({ type: code, message, nonRetryable: true });
}

function detailsOf(ended: number, pending: number, running: string | null, since: Date): string {
  return [
    `**${pending === 0 ? 'idle' : 'busy'}** · ${pending} pending · ${ended} ended in this run`,
    ...(running === null ? [] : [`The agent works on question ${running} since ${timeOf(since)}.`]),
    ...(pending > 1
      ? [`Next: the other ${pending - 1}, in the order in which their sessions can be read.`]
      : []),
  ].join('  \n');
}
