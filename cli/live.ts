import type { LiveProgress } from '../client/progress.js';
import type { EntryPart, LiveEntry, ProjectEvent, WatchItem } from '../contracts/events.js';
import { endOf, startOf } from '../contracts/text.js';
import { assertNever } from '../contracts/assert-never.js';
import { withoutOwnCredentials } from '../config/environment.js';
import { fittingId, formatCost, formatTime, oneLine, shortId, wrapped } from './format.js';
import { printable } from './output.js';

/** What a watch shows, in lines for people. */

/** How much of an id and of a path a line shows. */
const idWidth = 20;
const pathWidth = 40;

/** The lines that an item is worth, each with what it concerns; none for text that is still being written. */
export function itemLines(item: WatchItem, width: number, { ofProject }: { ofProject: boolean }): string[] {
  switch (item.type) {
    case 'live.text':
      return [];
    case 'live.entry': {
      const { step, questionId, role, parts } = item;
      const who = step ?? `question ${questionId ?? ''}`;
      // What the user's entries hold are prompts and results of tools.
      const said = role === 'assistant' ? parts.flatMap(partText) : parts.flatMap(errorText);
      return said.map((text) => `  ${shown(`${who}  ${text}`, width - 2)}`);
    }
    case 'gap':
      return [
        `events are missing here: ${item.reason === 'trimmed' ? 'they are no longer kept' : 'the database went back'}`,
      ];
    default: {
      const { at, projectId, versionId } = item;
      const whose = ofProject ? [] : [projectId];
      const ids = [...whose, versionId ?? '-'].map((id) => fittingId(id, idWidth));
      // Whole, however wide: how it ended comes last.
      return [shown([formatTime(new Date(at)), ...ids, eventText(item)].join('  '), Infinity)];
    }
  }
}

/** What an entry says, whole and wrapped, and the tools that it calls, a line each; the errors that tools returned. */
export function saidLines({ role, parts, subagent }: LiveEntry, who: string, width: number): string[] {
  const indent = ' '.repeat(who.length + 4);
  const said = role === 'assistant' ? parts : parts.filter(({ kind }) => kind === 'tool_result');
  return said.flatMap((part) => {
    // A subagent speaks to the agent, which says what came of it.
    if (part.kind === 'text' && subagent !== null) return [];
    const texts = part.kind === 'tool_result' ? errorText(part) : partText(part);
    return texts.flatMap((text) => {
      const lines =
        part.kind === 'text'
          ? wrapped(printable(withoutOwnCredentials(text)), Math.max(20, width - indent.length)).split('\n')
          : [shown(text, width - indent.length)];
      return lines.map((line, index) => `${index === 0 ? `  ${who}  ` : indent}${line}`.trimEnd());
    });
  });
}

/** What a step or an answer does just now, as a watch tells it. */
export interface Doing {
  add(item: WatchItem): void;
  /** Null while no attempt runs. The activity has at most so many columns. */
  progress(width: number): LiveProgress | null;
  /** Since when: the attempt began, or what happened last. */
  since(): Date;
}

export function createDoing(): Doing {
  let running: LiveProgress | null = null;
  let since = new Date();
  let lastFailure: string | undefined;
  // The message that is being written; empty for a stored one.
  let writing = { message: '', text: '' };
  let isTurn = false;
  const begin = (step: string, tries: number) => {
    running = { step, tries, ...(tries > 1 && lastFailure !== undefined ? { lastFailure } : {}) };
    writing = { message: '', text: '' };
    isTurn = false;
  };
  const doing = (activity: string) => {
    if (running) running = { ...running, activity: activity.replace(/\s+/g, ' ').trim() };
  };
  return {
    add(item) {
      switch (item.type) {
        case 'live.text': {
          const message = `${item.attemptId}/${item.message}`;
          const before = message === writing.message ? writing.text : '';
          writing = { message, text: endOf(before + item.text, longestLine) };
          doing(writing.text);
          return;
        }
        case 'live.entry': {
          const said = item.role === 'assistant' ? item.parts.flatMap(partText).at(-1) : undefined;
          if (said !== undefined) {
            writing = { message: '', text: '' };
            doing(said);
          }
          if (item.subagent !== null || !running) return;
          // What a model writes in one turn is stored as entries that follow each other.
          if (item.role === 'assistant' && !isTurn) running = { ...running, turns: (running.turns ?? 0) + 1 };
          isTurn = item.role === 'assistant';
          return;
        }
        case 'gap':
          return;
        case 'step.started':
          begin(item.data.step, item.data.attempt);
          break;
        case 'question.started':
          begin('answer', item.data.attempt);
          break;
        case 'step.failed':
        case 'question.failed':
          lastFailure = item.data.code;
          running = null;
          break;
        case 'head.moved':
        case 'question.asked':
          break;
        default:
          [running, lastFailure] = [null, undefined];
      }
      since = new Date(item.at);
    },
    progress(width) {
      if (running?.activity === undefined) return running;
      const { activity } = running;
      return { ...running, activity: (writing.message === '' ? startOf : endOf)(activity, width) };
    },
    since: () => since,
  };
}

/** More of a text is on no terminal's line. */
const longestLine = 500;

function shown(line: string, width: number): string {
  return printable(withoutOwnCredentials(oneLine(line.replace(/[\r\n]+/g, ' '), width)));
}

/** `Write src/app.ts`, or what was said. */
function partText(part: EntryPart): string[] {
  switch (part.kind) {
    case 'text':
      return [part.text.trim()].filter((text) => text !== '');
    case 'tool_call':
      return [[part.name, subjectOf(part.input)].filter((word) => word !== '').join(' ')];
    case 'thinking':
    case 'tool_result':
      return [];
    default:
      return assertNever(part);
  }
}

function errorText(part: EntryPart): string[] {
  return part.kind === 'tool_result' && part.isError ? [`error: ${part.text.trim()}`] : [];
}

/** The first text of a tool's input: a path, a command, a question. */
function subjectOf(input: unknown): string {
  const values: unknown[] = typeof input === 'object' && input !== null ? Object.values(input) : [];
  const subject = values.find((value): value is string => typeof value === 'string') ?? '';
  // Of a long path its end.
  return /^\S+$/.test(subject) && subject.length > pathWidth ? `…${endOf(subject, pathWidth)}` : subject;
}

/** What an event says. */
export function eventText(event: ProjectEvent): string {
  switch (event.type) {
    case 'chain.queued':
      return `asked for${event.data.again ? ' again' : ''}`;
    case 'chain.opened':
      return `opened: ${event.data.steps.join(', ')}`;
    case 'chain.waiting':
      return `waits (${event.data.for}) until ${formatTime(new Date(event.data.until))}`;
    case 'chain.closed':
      return ['closed:', event.data.status, event.data.failureCode ?? ''].join(' ').trim();
    case 'step.started':
      return `${event.data.step} began${event.data.attempt > 1 ? `, attempt ${event.data.attempt}` : ''}`;
    case 'step.committed':
      return `${event.data.step} committed  ${event.data.turns} turns  ${formatCost(event.data.costUsd)}`;
    case 'step.completed':
      return `${event.data.step} completed`;
    case 'step.failed':
      return `${event.data.step} ${event.data.waits ? 'waits' : 'failed'}: ${event.data.code}`;
    case 'step.skipped':
      return `${event.data.step} skipped`;
    case 'head.moved':
      return `head ${shortId(event.data.oldSessionId)} -> ${shortId(event.data.newSessionId)} (${event.data.source})`;
    case 'question.asked':
      return `question ${event.data.questionId} asked`;
    case 'question.started':
      return `question ${event.data.questionId} is being answered`;
    case 'question.answered':
      return `question ${event.data.questionId} answered (${event.data.kind})`;
    case 'question.failed':
      return `question ${event.data.questionId} failed: ${event.data.code}`;
    case 'budget.reached':
      return `budget reached${event.data.limit === null ? '' : `: ${event.data.limit.limit}`}`;
    default:
      return (event as { type: string }).type;
  }
}
