import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { z } from 'zod';
import type { BriefPart } from '../contracts/brief.js';
import { shorten } from '../contracts/text.js';

/** What a session is told because it cannot remember it. Pure text; the model reads it below the prompt of its step. */

/** What is known of a project, in words that a brief quotes. */
export interface KnownState {
  /** The session whose memory is replaced, with its transcript; null where that is lost. */
  memory: { sessionId: string; entries: readonly SessionStoreEntry[] } | null;
  metadata: { versionId: string; value: unknown } | null;
  /** What callers asked of earlier builds, oldest first. */
  requests: readonly { versionId: string; instruction: string }[];
  /** Files of the project. */
  documents: readonly { path: string; text: string }[];
  /** The last operations, oldest first. */
  operations: readonly Operation[];
}

export interface Operation {
  seq: number;
  source: string;
  versionId: string | null;
  createdAt: Date;
}

const longest = { summary: 16_000, reply: 1_500, replies: 10, request: 600, metadata: 4_000 } as const;

/** The state of a project for a fresh session. The same state gives the same text. */
export function briefOf(known: KnownState): { content: string; parts: BriefPart[] } {
  const sections = [
    ...summarySection(known),
    ...repliesSection(known),
    ...requestsSection(known),
    ...metadataSection(known),
    ...documentSections(known),
    ...operationsSection(known),
  ];
  const opening =
    'This session is new. The project is not: it was worked on in earlier sessions, whose memory is not here. What is ' +
    'known of that work follows. The files in the current folder are the project as it stands; where they differ from ' +
    'what is said here, the files are right.';
  return {
    content: [opening, ...sections.map(({ title, text }) => `## ${title}\n\n${text}`)].join('\n\n'),
    parts: sections.map(({ part, from, text }) => ({ part, from, characters: text.length })),
  };
}

interface Section extends Omit<BriefPart, 'characters'> {
  title: string;
  text: string;
}

function summarySection({ memory }: KnownState): Section[] {
  const summary = memory && lastSummary(memory.entries);
  if (!memory || !summary) return [];
  return [
    {
      part: 'summary',
      from: memory.sessionId,
      title: 'Summary of the earlier work',
      text: shorten(summary.text, longest.summary),
    },
  ];
}

function repliesSection({ memory }: KnownState): Section[] {
  if (!memory) return [];
  const since = memory.entries.slice((lastSummary(memory.entries)?.index ?? -1) + 1);
  const replies = finalReplies(since).slice(-longest.replies);
  if (replies.length === 0) return [];
  return [
    {
      part: 'replies',
      from: memory.sessionId,
      title: 'What you said at the end of the last operations',
      text: replies.map((reply) => shorten(reply, longest.reply)).join('\n\n---\n\n'),
    },
  ];
}

function requestsSection({ requests }: KnownState): Section[] {
  if (requests.length === 0) return [];
  return [
    {
      part: 'requests',
      from: requests.map(({ versionId }) => versionId).join(', '),
      title: 'What was asked for before, the oldest first',
      text: requests
        .map(
          ({ versionId, instruction }) => `- ${versionId}: ${shorten(instruction.trim(), longest.request)}`,
        )
        .join('\n'),
    },
  ];
}

function metadataSection({ metadata }: KnownState): Section[] {
  if (!metadata) return [];
  const text = shorten(JSON.stringify(metadata.value, null, 2), longest.metadata);
  return [{ part: 'metadata', from: metadata.versionId, title: 'The project in its own metadata', text }];
}

function documentSections({ documents }: KnownState): Section[] {
  return documents.map(({ path, text }) => ({
    part: 'document',
    from: path,
    title: `The file ${path}, perhaps only its beginning`,
    text: text.trimEnd(),
  }));
}

function operationsSection({ operations }: KnownState): Section[] {
  const [first, last] = [operations[0], operations.at(-1)];
  if (!first || !last) return [];
  return [
    {
      part: 'operations',
      from: `transitions ${first.seq} to ${last.seq}`,
      title: 'The last operations',
      text: listOf(operations),
    },
  ];
}

/** For a session that continues from an earlier state than the project's files have. */
export function lostOperationsNote(operations: readonly Operation[]): string {
  return [
    "What you remember is not the project's latest state: the transcripts of later operations are lost. Their work is in " +
      'the files; look at them before you trust what you remember. Lost are:',
    listOf(operations),
  ].join('\n\n');
}

/** For a session that a rewind took back to an earlier state than the project's files have. */
export function rewoundNote({
  operations,
  count,
}: {
  operations: readonly Operation[];
  count: number;
}): string {
  const more = count - operations.length;
  return [
    'The conversation of this project was taken back on purpose: you do not remember the operations below, and what was ' +
      'said in them does not count any more. Only the conversation was taken back, not the files: the current folder may ' +
      'still hold what these operations wrote. Look at the files before you trust what you remember. Taken back were:',
    `${more > 0 ? `- ${more} earlier ${more === 1 ? 'operation' : 'operations'}\n` : ''}${listOf(operations)}`,
  ].join('\n\n');
}

/** For a build: what was asked and answered beside the main line since the last one. */
export function sideBranchesNote(
  branches: readonly { question: string; reply: string; answeredAt: Date }[],
): string {
  return [
    'Since the last build these questions about the project were asked and answered in conversations of their own, which ' +
      'are not part of this session. Nothing was changed in them; take what was planned there into account:',
    ...branches.map(
      ({ question, reply }) =>
        `Question: ${shorten(question, longest.request)}\n\nAnswer: ${shorten(reply, longest.reply)}`,
    ),
  ].join('\n\n');
}

function listOf(operations: readonly Operation[]): string {
  return operations
    .map(
      ({ seq, source, versionId, createdAt }) =>
        `- ${seq}: ${source}${versionId === null ? '' : ` of version ${versionId}`}, ${createdAt.toISOString().slice(0, 16).replace('T', ' ')} UTC`,
    )
    .join('\n');
}

const summaryEntry = z.object({
  type: z.literal('user'),
  isCompactSummary: z.literal(true),
  message: z.object({
    content: z.union([z.string(), z.array(z.looseObject({ text: z.string().optional() }))]),
  }),
});
const finalEntry = z.object({
  type: z.literal('assistant'),
  isApiErrorMessage: z.literal(false).optional(),
  message: z.object({
    stop_reason: z.literal('end_turn'),
    content: z.array(z.looseObject({ type: z.string(), text: z.string().optional() })),
  }),
});

/** The last summary that a compaction left, without Claude Code's text around it, and its position. */
function lastSummary(entries: readonly SessionStoreEntry[]): { text: string; index: number } | null {
  const index = entries.findLastIndex((entry) => summaryEntry.safeParse(entry).success);
  const parsed = summaryEntry.safeParse(entries[index]);
  if (!parsed.success) return null;
  const { content } = parsed.data.message;
  const said = typeof content === 'string' ? content : content.map(({ text = '' }) => text).join('\n');
  const [, afterOpening = said] =
    /^This session is being continued[^\n]*\n+(?:<system-reminder>[\s\S]*?<\/system-reminder>\n*)*(?:Summary:\n)?([\s\S]*)$/.exec(
      said,
    ) ?? [];
  const [text = ''] = afterOpening.split(
    /\n+(?:If you need specific details from before compaction|Please continue the conversation|Continue the conversation from where)/,
  );
  return { text: text.trim(), index };
}

/** What the model said at the end of each finished operation. */
function finalReplies(entries: readonly SessionStoreEntry[]): string[] {
  return entries.flatMap((entry) => {
    const parsed = finalEntry.safeParse(entry);
    const text = parsed.success
      ? parsed.data.message.content.map((block) => (block.type === 'text' ? (block.text ?? '') : '')).join('')
      : '';
    return text.trim() === '' ? [] : [text.trim()];
  });
}
