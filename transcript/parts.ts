import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { z } from 'zod';
import type { EntryPart } from '../contracts/events.js';

/** An entry of a conversation, for people to read. */
export interface ShownEntry {
  role: 'user' | 'assistant' | 'system';
  parts: EntryPart[];
}

const blocks = z.array(z.looseObject({ type: z.string() }));
const content = z.union([z.string(), blocks]);
const shownEntry = z.union([
  z.object({ type: z.enum(['user', 'assistant']), message: z.object({ content }) }),
  z.object({ type: z.literal('system'), content }),
]);

/**
 * What an entry says, part by part; null for one that says nothing, such as a counter, and for one of another shape. An empty
 * part is left out.
 */
export function shownEntryOf(entry: SessionStoreEntry): ShownEntry | null {
  const parsed = shownEntry.safeParse(entry);
  if (!parsed.success) return null;
  const said = parsed.data.type === 'system' ? parsed.data.content : parsed.data.message.content;
  const parts = (typeof said === 'string' ? [{ type: 'text', text: said }] : said).flatMap(partOf);
  return parts.length === 0 ? null : { role: parsed.data.type, parts };
}

/**
 * What an entry is: the type that Claude Code gives it, with its kind behind a slash. Of a user's entries `user/meta`,
 * `user/summary` and `user/command` are those that Claude Code wrote, `assistant/error` is an answer that failed.
 */
export function typeOf(entry: SessionStoreEntry): string {
  const { success, data } = typedEntry.safeParse(entry);
  if (!success) return 'unknown';
  const { type, subtype, attachment } = data;
  if (type === 'user') {
    if (data.isCompactSummary) return 'user/summary';
    if (data.isMeta) return 'user/meta';
    return typeof data.message?.content === 'string' &&
      /^<(command|local-command)-/.test(data.message.content)
      ? 'user/command'
      : 'user';
  }
  if (type === 'assistant') return data.isApiErrorMessage ? 'assistant/error' : type;
  const kind = subtype ?? attachment?.type;
  return kind === undefined ? type : `${type}/${kind}`;
}

const typedEntry = z.object({
  type: z.string(),
  subtype: z.string().optional(),
  isMeta: z.boolean().optional(),
  isCompactSummary: z.boolean().optional(),
  isApiErrorMessage: z.boolean().optional(),
  attachment: z.object({ type: z.string() }).optional(),
  message: z.object({ content: z.unknown() }).optional(),
});

/** The number of images in an entry, those in results of tools included. */
export function imagesIn(entry: SessionStoreEntry): number {
  const parsed = shownEntry.safeParse(entry);
  if (!parsed.success || parsed.data.type === 'system') return 0;
  const said = parsed.data.message.content;
  const nested =
    typeof said === 'string' ? [] : [...said, ...said.flatMap((block) => blocksOf(block.content))];
  return nested.filter(({ type }) => type === 'image').length;
}

function blocksOf(given: unknown): Block[] {
  const parsed = blocks.safeParse(given);
  return parsed.success ? parsed.data : [];
}

/** The parts with every text cut to a length, and whether one was longer. */
export function cutParts(parts: EntryPart[], maxText: number): { parts: EntryPart[]; isCut: boolean } {
  let isCut = false;
  const cutText = (text: string) => {
    if (text.length <= maxText) return text;
    isCut = true;
    // No half of a surrogate pair.
    return text.slice(0, maxText).replace(/[\uD800-\uDBFF]$/, '');
  };
  const cut = (value: unknown): unknown => {
    if (typeof value === 'string') return cutText(value);
    if (Array.isArray(value)) return value.map(cut);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, cut(one)]));
  };
  const cutOnes = parts.map((part) =>
    part.kind === 'tool_call' ? { ...part, input: cut(part.input) } : { ...part, text: cutText(part.text) },
  );
  return { parts: cutOnes, isCut };
}

/** The subagent whose transcript lies at a subpath of a session; null for the main conversation. */
export function subagentOf(subpath: string): string | null {
  return subpath === '' ? null : subpath.replace(/^subagents\//, '');
}

type Block = z.infer<typeof blocks>[number];

function partOf(block: Block): EntryPart[] {
  const { type, text, thinking, id, name, input, tool_use_id: answers, is_error: isError } = block;
  // What a hosted tool does (`server_tool_use`, `web_search_tool_result`) has the shape of any tool.
  if (typeof answers === 'string')
    return [{ kind: 'tool_result', id: answers, isError: isError === true, text: textOf(block.content) }];
  if (type.endsWith('tool_use') && typeof id === 'string' && typeof name === 'string')
    return [{ kind: 'tool_call', id, name, input: input ?? null }];
  if (type === 'text' && typeof text === 'string') return text === '' ? [] : [{ kind: 'text', text }];
  if (type === 'thinking' && typeof thinking === 'string')
    return thinking === '' ? [] : [{ kind: 'thinking', text: thinking }];
  return isMedium(type) ? [{ kind: 'text', text: `[${type}]` }] : [];
}

/** The text of a tool's result. */
function textOf(given: unknown): string {
  const parsed = content.safeParse(given);
  if (!parsed.success) return '';
  if (typeof parsed.data === 'string') return parsed.data;
  return parsed.data
    .flatMap(({ type, text }) => (typeof text === 'string' ? [text] : isMedium(type) ? [`[${type}]`] : []))
    .join('\n');
}

/** Shown as its name in brackets. */
function isMedium(type: string): boolean {
  return type === 'image' || type === 'document';
}
