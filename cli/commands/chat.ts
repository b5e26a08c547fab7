import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import type { Answer, AskRequest } from '../../client/chats.js';
import { type Question, type SessionMoment, sessionMoments } from '../../contracts/question.js';
import { SessionChainError } from '../../contracts/failures.js';
import type { WatchItem } from '../../contracts/events.js';
import { taskQueuesOf } from '../../temporal/names.js';
import { type CommandContext, withContext } from '../context.js';
import { type ExitCode, exitCodes, reportError } from '../errors.js';
import { besideActivity, progressLine, tickMs } from '../follow.js';
import { formatTime, shortId } from '../format.js';
import { createDoing, saidLines } from '../live.js';
import { createLiveView } from '../live-view.js';
import { type StreamFormat, jsonLine, note, print, streamOption, wholeNumber, writeLine } from '../output.js';
import { pollersOf } from '../../temporal/task-queues.js';

interface ChatOptions {
  project: string;
  chat?: string;
  messageId?: string;
  when: SessionMoment;
  aside?: boolean;
  workspace?: string;
  log?: boolean;
  limit: number;
  output: StreamFormat;
}

export function chatCommand(exitWith: (code: ExitCode) => void): Command {
  return new Command('chat')
    .description(
      'Ask about a project. The answer comes from its session, and the files of the project are not changed. The session of the answer becomes the head of the project, unless a chain works or the head moved meanwhile; with --aside it never does.',
    )
    .argument('[message]', 'the question; left out, every line of the input is one')
    .requiredOption('-p, --project <id>', 'the project (projects.project_id)')
    .option('--chat <id>', 'the chat (chat_plan_sessions.session_id; default: the project)')
    .option('--message-id <id>', 'the key of this question; asked again, it returns the first reply')
    .addOption(
      new Option('--when <moment>', 'which session to read while a chain works')
        .choices(sessionMoments)
        .default('now'),
    )
    .option('--aside', 'never move the head: the answer stays beside it, and the next build is told of it')
    .option('-w, --workspace <folder>', "the project's files (default: those of its newest chain)")
    .option('--log', 'show what was asked and answered, and ask nothing')
    .option('-n, --limit <number>', 'with --log: the newest so many', wholeNumber(1), 50)
    .addOption(streamOption())
    .addHelpText(
      'after',
      '\nExample:\n  session-chain chat "Which files hold the search?" --project shop --aside\n',
    )
    .action(async (message: string | undefined, options: ChatOptions) => {
      const exitCode = await withContext((context) => chat(context, message, options));
      if (exitCode !== undefined) exitWith(exitCode);
    });
}

async function chat(
  context: CommandContext,
  message: string | undefined,
  options: ChatOptions,
): Promise<ExitCode | undefined> {
  if (options.log && message !== undefined) {
    throw new SessionChainError(
      'INVALID_INPUT',
      'Nothing was asked: --log takes no message.',
      'Leave out --log to ask, or the message to see what was asked before.',
    );
  }
  if (options.log) return await showLog(context, options);
  if (message !== undefined) return await askOne(context, requestOf(options, message), options.output);
  if (options.output === 'json' || options.messageId !== undefined) {
    throw new SessionChainError(
      'INVALID_INPUT',
      'A message is missing.',
      'Pass the question as an argument.',
    );
  }
  return await askEveryLine(context, options);
}

async function showLog(context: CommandContext, options: ChatOptions): Promise<undefined> {
  const questions = await (
    await context.sessionChain()
  ).questions(options.project, {
    ...(options.chat === undefined ? {} : { chatId: options.chat }),
    limit: options.limit,
  });
  const { projectId, chatId } = questions[0] ?? { projectId: options.project, chatId: options.chat };
  print(options.output, { projectId, chatId, questions }, questions.map(questionText).join('\n\n'));
}

/** A question for a person to read: the question, what became of it, the answer. */
export function questionText(asked: Question): string {
  const session =
    asked.sessionId === null ? [] : [`${shortId(asked.headSessionId)} -> ${shortId(asked.sessionId)}`];
  return [
    [formatTime(asked.askedAt), asked.messageId, asked.kind ?? asked.state, ...session].join('  '),
    `> ${asked.question.replaceAll('\n', '\n> ')}`,
    ...(asked.reply === null ? [] : [asked.reply]),
    ...(asked.failure === null ? [] : [`${asked.failure.code}: ${asked.failure.message}`]),
  ].join('\n');
}

/** Ctrl-C stops waiting, not the answer: asked again under its message id, it returns the reply. */
async function askOne(
  context: CommandContext,
  request: AskRequest,
  output: StreamFormat,
): Promise<ExitCode | undefined> {
  const sessionChain = await context.sessionChain();
  await context.temporal();
  const stopped = new AbortController();
  const stop = () => stopped.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  const answered = new AbortController();
  const warned = warnOfMissingWorker(context, answered.signal);
  const view = createAnswerView(output, process.stderr);
  try {
    const reply = await sessionChain.ask(request, {
      signal: stopped.signal,
      onItem: (item) => view.add(item),
    });
    view.close();
    print(output, reply, reply.reply);
    if (output === 'text') note(remarkOn(reply));
    return undefined;
  } catch (error) {
    view.close();
    if (!stopped.signal.aborted) throw error;
    note('No longer waiting; the question stays asked. See it: session-chain chat --log');
    return exitCodes.interrupted;
  } finally {
    answered.abort();
    await warned;
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}

function remarkOn({ kind, sessionId, repeated }: Answer): string {
  const what =
    kind === 'transition'
      ? `the head is ${shortId(sessionId)} now`
      : `beside the head, as ${shortId(sessionId)}`;
  return repeated ? '(answered before; nothing was asked now)' : `(${what})`;
}

/** One question per line, until the input ends. A failed question is reported, and the next one is asked. */
async function askEveryLine(context: CommandContext, options: ChatOptions): Promise<ExitCode | undefined> {
  const isTerminal = process.stdin.isTTY === true;
  const lines = createInterface({ input: process.stdin, terminal: false });
  let worst: ExitCode | undefined;
  if (isTerminal) process.stderr.write('> ');
  for await (const line of lines) {
    if (line.trim() !== '') {
      const code = await askOne(context, requestOf(options, line), options.output).catch((error: unknown) =>
        reportError(error, options.output === 'jsonl' ? 'json' : 'text', false),
      );
      if (code === exitCodes.interrupted) return code;
      worst ??= code;
    }
    if (isTerminal) process.stderr.write('> ');
  }
  return worst;
}

function requestOf(options: ChatOptions, text: string): AskRequest {
  return {
    projectId: options.project,
    text,
    when: options.when,
    aside: options.aside ?? false,
    ...(options.chat === undefined ? {} : { chatId: options.chat }),
    ...(options.messageId === undefined ? {} : { messageId: options.messageId }),
    ...(options.workspace === undefined ? {} : { workspace: resolve(options.workspace) }),
  };
}

interface AnswerView {
  add(item: WatchItem): void;
  close(): void;
}

/** For programs every item on stdout; on a terminal the tools that are called, and what is being written. The reply itself comes last. */
function createAnswerView(output: StreamFormat, stream: NodeJS.WriteStream): AnswerView {
  if (output === 'jsonl') return { add: (item) => void writeLine(jsonLine(item)), close: () => undefined };
  const view = createLiveView(stream);
  const doing = createDoing();
  const who = 'answer';
  const show = () => {
    const progress = doing.progress(Math.max(20, view.width - besideActivity)) ?? { step: who, tries: 1 };
    view.show(progressLine(progress, who.length, Math.max(0, Date.now() - doing.since().getTime())));
  };
  const timer = setInterval(show, tickMs);
  return {
    add(item) {
      doing.add(item);
      if (item.type === 'live.entry' && view.isTerminal) {
        const parts = item.parts.filter(({ kind }) => kind !== 'text');
        for (const line of saidLines({ ...item, parts }, who, view.width)) view.say(line);
      }
      show();
    },
    close() {
      clearInterval(timer);
      view.clear();
    },
  };
}

/** After this time without an answer it is checked whether a worker runs. */
const answeredWithinMs = 10_000;

async function warnOfMissingWorker(
  { config, temporal, sessionChain }: CommandContext,
  stop: AbortSignal,
): Promise<void> {
  try {
    await delay(answeredWithinMs, undefined, { signal: stop });
    const { chats } = taskQueuesOf(config.SESSION_CHAIN_TASK_QUEUE).chats;
    if ((await pollersOf(await temporal(), chats, 'activity')).length > 0) return;
    // One with all its slots taken does not poll.
    const { workers } = await (await sessionChain()).workers();
    if (workers.some(({ alive, taskQueues }) => alive && taskQueues.includes(chats))) return;
    note(`\nNo worker polls the task queue ${chats}; the question waits. Run: session-chain worker`);
  } catch {
    // Stopped before, or not known: only a remark is lost.
  }
}
