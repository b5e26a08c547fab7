import { posix } from 'node:path';
import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { z } from 'zod';
import type { FileChange, Hunk } from '../contracts/changes.js';
import { relativeTo, writtenPath } from './written-files.js';

const call = z.object({
  type: z.literal('assistant'),
  message: z.object({ content: z.array(z.looseObject({ type: z.string() })) }),
});
const answer = z.object({
  type: z.literal('user'),
  uuid: z.string().nullish(),
  timestamp: z.string().nullish(),
  message: z.object({ content: z.array(z.looseObject({ type: z.string() })) }),
  toolUseResult: z.unknown().optional(),
});
/** What Claude Code says of a file that it wrote, beside what it tells the model. */
const outcome = z.looseObject({
  type: z.string().nullish(),
  structuredPatch: z
    .array(
      z.object({
        oldStart: z.number(),
        newStart: z.number(),
        lines: z.array(z.string()),
      }),
    )
    .default([]),
});
const edit = z.object({ old_string: z.string(), new_string: z.string() });
const input = z.union([
  z.object({ edits: z.array(edit) }),
  edit.transform((one) => ({ edits: [one] })),
  z.object({ content: z.string() }),
  z.object({ new_source: z.string() }).transform(({ new_source: content }) => ({ content })),
]);

/**
 * What these entries wrote with file tools, write by write, in order. A tool's own account of what it changed comes first; without
 * one its input is shown, which does not say in which line. What a shell command wrote is not known.
 */
export function fileChanges(entries: readonly SessionStoreEntry[]): FileChange[] {
  const folder = entries.map(({ cwd }) => cwd).findLast((cwd) => typeof cwd === 'string') ?? '/';
  const calls = new Map(
    entries.flatMap((entry) =>
      (call.safeParse(entry).data?.message.content ?? []).map((block) => [block.id, block] as const),
    ),
  );
  return entries.flatMap((entry): FileChange[] => {
    const answered = answer.safeParse(entry).data;
    return (answered?.message.content ?? []).flatMap((block): FileChange[] => {
      const asked = calls.get(block.tool_use_id);
      if (block.type !== 'tool_result' || block.is_error === true || asked === undefined) return [];
      const path = writtenPath(String(asked.name), asked.input);
      if (path === null) return [];
      const told = outcome.safeParse(answered?.toolUseResult).data;
      return [
        {
          path: relativeTo(folder, posix.resolve(folder, path)),
          tool: String(asked.name),
          isNew: told?.type === 'create',
          entryId: answered?.uuid ?? null,
          at: answered?.timestamp ?? null,
          hunks: told && told.structuredPatch.length > 0 ? told.structuredPatch : hunksOf(asked.input),
          isCut: false,
        },
      ];
    });
  });
}

function hunksOf(given: unknown): Hunk[] {
  const parsed = input.safeParse(given).data;
  if (!parsed) return [];
  const lines = (text: string, sign: '+' | '-') =>
    text === ''
      ? []
      : text
          .replace(/\n$/, '')
          .split('\n')
          .map((line) => `${sign}${line}`);
  if ('content' in parsed) return [{ oldStart: 0, newStart: 1, lines: lines(parsed.content, '+') }];
  return parsed.edits.map((one) => ({
    oldStart: null,
    newStart: null,
    lines: [...lines(one.old_string, '-'), ...lines(one.new_string, '+')],
  }));
}

const mostOfLine = 400;
const mostLines = 400;

/** The changes as far as they fit: lines and changes are cut, and the later changes left out, of which it says how many. */
export function boundedChanges<Change extends FileChange>(
  changes: readonly Change[],
  mostBytes: number,
): { changes: Change[]; bytes: number; leftOut: number } {
  const kept: Change[] = [];
  let bytes = 0;
  for (const change of changes) {
    const one = cut(change);
    const size = one.hunks.reduce(
      (sum, { lines }) => lines.reduce((total, line) => total + Buffer.byteLength(line) + 3, sum + 40),
      200,
    );
    if (bytes + size > mostBytes) break;
    bytes += size;
    kept.push(one);
  }
  return { changes: kept, bytes, leftOut: changes.length - kept.length };
}

function cut<Change extends FileChange>(change: Change): Change {
  let left = mostLines;
  let isCut = false;
  const hunks = change.hunks.flatMap((hunk): Hunk[] => {
    const lines = hunk.lines.slice(0, left).map((line) => {
      if (line.length <= mostOfLine) return line;
      isCut = true;
      return `${line.slice(0, mostOfLine - 1)}…`;
    });
    isCut ||= lines.length < hunk.lines.length;
    left -= lines.length;
    return lines.length === 0 ? [] : [{ ...hunk, lines }];
  });
  return { ...change, hunks, isCut };
}
