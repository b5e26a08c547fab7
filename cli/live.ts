import type { EntryPart, ProjectEvent, WatchItem } from '../contracts/events.js';
import { endOf } from '../contracts/text.js';
import { assertNever } from '../contracts/assert-never.js';
import { withoutOwnCredentials } from '../config/environment.js';
import { fittingId, formatCost, formatTime, oneLine, shortId } from './format.js';
import { jsonText, printable } from './output.js';

/** What a watch shows, in lines for people or for programs. */

/** A watch's item as one line of JSON. */
export function jsonLine(item: unknown): string {
  return withoutOwnCredentials(jsonText(item));
}

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

/** What a stored entry says or calls last; null for an item that does not say. */
export function doingNow(item: WatchItem): string | null {
  if (item.type !== 'live.entry' || item.role !== 'assistant') return null;
  return item.parts.flatMap(partText).at(-1)?.replace(/\s+/g, ' ') ?? null;
}

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

function eventText(event: ProjectEvent): string {
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
