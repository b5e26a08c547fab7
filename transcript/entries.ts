import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { z } from 'zod';
import type { ModelUsage, Usage } from '../contracts/chain.js';

/**
 * Readers of stored transcript entries. The entry format is Claude Code's own and not published: every reader takes
 * what it needs by a schema and skips entries of another shape.
 */

const assistantEntry = z.object({
  type: z.literal('assistant'),
  isApiErrorMessage: z.boolean().optional(),
  message: z.object({
    id: z.string(),
    model: z.string(),
    stop_reason: z.string().nullish(),
    content: z.array(z.looseObject({ type: z.string() })).default([]),
    usage: z
      .object({
        input_tokens: z.number().nullish(),
        output_tokens: z.number().nullish(),
        cache_read_input_tokens: z.number().nullish(),
        cache_creation_input_tokens: z.number().nullish(),
      })
      .nullish(),
  }),
});
type AssistantEntry = z.infer<typeof assistantEntry>;

const userEntry = z.object({
  type: z.literal('user'),
  message: z.object({ content: z.array(z.looseObject({ type: z.string() })) }),
});
const boundaryEntry = z.object({
  type: z.literal('system'),
  subtype: z.literal('compact_boundary'),
  uuid: z.string(),
  compactMetadata: z.object({ preTokens: z.number(), postTokens: z.number().optional() }),
});
const summaryEntry = z.object({
  type: z.literal('user'),
  isCompactSummary: z.literal(true),
  parentUuid: z.string(),
});
const costStateEntry = z.object({
  type: z.literal('cost-state'),
  totalCostUSD: z.number(),
  totalAPIDuration: z.number().default(0),
  modelUsage: z.record(
    z.string(),
    z.object({
      inputTokens: z.number().default(0),
      outputTokens: z.number().default(0),
      cacheReadInputTokens: z.number().default(0),
      cacheCreationInputTokens: z.number().default(0),
      costUSD: z.number().default(0),
    }),
  ),
});

/** Counters as Claude Code keeps them: running totals, see counters.ts. */
export interface Counters {
  costUsd: number;
  apiDurationMs: number;
  usage: Usage;
  byModel: Record<string, ModelCounters>;
}

export interface ModelCounters extends Usage {
  costUsd: number;
}

/** The request to the model whose answer an entry is part of; an answer is stored in several entries. */
export interface ModelRequest {
  /** The id of the answer. */
  id: string;
  model: string;
  /** Of the whole request, as far as it is known when the entry is stored: the last entry of an answer counts. */
  usage: Usage;
  stopReason: string | null;
}

/** Null for an entry that no model wrote. */
export function requestOf(entry: SessionStoreEntry): ModelRequest | null {
  const { success, data } = assistantEntry.safeParse(entry);
  if (!success || data.isApiErrorMessage || data.message.model === '<synthetic>') return null;
  const { id, model, stop_reason: stopReason } = data.message;
  return { id, model, usage: usageOf(data), stopReason: stopReason ?? null };
}

/** A compaction, as its boundary tells it: tokens of the context before and after; null where it does not say. */
export interface Compaction {
  tokensBefore: number;
  tokensAfter: number | null;
}

/** Null for an entry that is no boundary of a compaction. */
export function compactionOf(entry: SessionStoreEntry): Compaction | null {
  const { success, data } = boundaryEntry.safeParse(entry);
  if (!success) return null;
  const { preTokens, postTokens } = data.compactMetadata;
  return { tokensBefore: preTokens, tokensAfter: postTokens ?? null };
}

/** The entries that a session added itself: those whose uuid its parent does not have. */
export function ownEntries(entries: SessionStoreEntry[], base: SessionStoreEntry[]): SessionStoreEntry[] {
  const inherited = new Set(base.map((entry) => entry.uuid).filter((uuid) => uuid !== undefined));
  return entries.filter((entry) => entry.uuid === undefined || !inherited.has(entry.uuid));
}

/** The last `cost-state` of a transcript; null where none was written, as after a kill. Forks do not copy it. */
export function lastCounters(entries: SessionStoreEntry[]): Counters | null {
  const last = parseAll(entries, costStateEntry).at(-1);
  if (last === undefined) return null;
  const byModel = countersByModel(last.modelUsage);
  return {
    costUsd: last.totalCostUSD,
    apiDurationMs: last.totalAPIDuration,
    usage: sumUsage(Object.values(byModel)),
    byModel,
  };
}

/** Claude Code's names for the counters of each model, translated to ours. */
export function countersByModel(
  modelUsage: Record<
    string,
    {
      inputTokens: number;
      outputTokens: number;
      cacheReadInputTokens: number;
      cacheCreationInputTokens: number;
      costUSD: number;
    }
  >,
): Record<string, ModelCounters> {
  return Object.fromEntries(
    Object.entries(modelUsage).map(([model, counters]) => [
      model,
      {
        inputTokens: counters.inputTokens,
        outputTokens: counters.outputTokens,
        cacheReadTokens: counters.cacheReadInputTokens,
        cacheWriteTokens: counters.cacheCreationInputTokens,
        costUsd: counters.costUSD,
      },
    ]),
  );
}

/**
 * Usage of the model's turns, counted once per message, although a message is stored once per content block, and
 * again in the transcript of a subagent that continues from it. What else Claude Code spends (a compaction's summary)
 * is in no entry; the counters have it.
 */
export function usageOfTurns(entries: SessionStoreEntry[]): {
  turns: number;
  usage: Usage;
  byModel: Record<string, Usage>;
} {
  const messages = [...new Map(modelTurns(entries).map((entry) => [entry.message.id, entry])).values()];
  const models = [...new Set(messages.map((entry) => entry.message.model))];
  return {
    turns: messages.length,
    usage: sumUsage(messages.map(usageOf)),
    byModel: Object.fromEntries(
      models.map((model) => [
        model,
        sumUsage(messages.filter((entry) => entry.message.model === model).map(usageOf)),
      ]),
    ),
  };
}

/** Tokens whose cost is not known yet. */
export function withUnknownCost(byModel: Record<string, Usage>): Record<string, ModelUsage> {
  return Object.fromEntries(
    Object.entries(byModel).map(([model, usage]) => [model, { ...usage, costUsd: null }]),
  );
}

/** The model of the last turn; null where there was no turn. */
export function lastModel(entries: SessionStoreEntry[]): string | null {
  return modelTurns(entries).at(-1)?.message.model ?? null;
}

/** The version of Claude Code that wrote the last entry that names one; null where none does. */
export function agentVersion(entries: SessionStoreEntry[]): string | null {
  const versions = entries.map((entry) => entry.version).filter((version) => typeof version === 'string');
  return versions.at(-1) ?? null;
}

/**
 * The model's last words: its last message, with the messages before it that were cut off and continued in it, even
 * if it called a tool in between. Nothing continues across a compaction.
 */
export function answerText(entries: SessionStoreEntry[]): string {
  const turns = messagesOf(sinceCompaction(entries));
  const ends = ({ reason, callsTool }: ModelMessage) =>
    reason === 'tool_use' || reason === 'refusal' || callsTool;
  const afterEnd = (of: ModelMessage[]) => of.findLastIndex((turn) => ends(turn)) + 1;
  let begins = afterEnd(turns);
  for (;;) {
    const [cut, goesOn] = turns.slice(Math.max(0, begins - 2), begins);
    // A message that was cut off and continued in one with a tool call.
    if (cut === undefined || goesOn === undefined || ends(cut) || !goesOn.callsTool) break;
    begins = afterEnd(turns.slice(0, begins - 1));
  }
  return turns
    .slice(begins)
    .map(({ text }) => text)
    .join('');
}

/** Whether the model's last message asks for no further one, however badly it ended; a refusal does not count. */
export function hasClosed(entries: SessionStoreEntry[]): boolean {
  const last = messagesOf(entries).at(-1);
  if (last === undefined || last.reason === null || last.reason === 'refusal') return false;
  // The model continues after a tool call that ran; one that was cut off, or is missing, did nothing.
  return !(last.reason === 'tool_use' && last.callsTool);
}

interface ModelMessage {
  reason: string | null;
  text: string;
  callsTool: boolean;
}

/** The model's turns as whole messages; they are stored once per content block. */
function messagesOf(entries: SessionStoreEntry[]): ModelMessage[] {
  const messages = new Map<string, ModelMessage>();
  for (const turn of modelTurns(entries)) {
    const before = messages.get(turn.message.id);
    messages.set(turn.message.id, {
      reason: turn.message.stop_reason ?? null,
      text: (before?.text ?? '') + textOf(turn),
      callsTool: before?.callsTool === true || turn.message.content.some(({ type }) => type === 'tool_use'),
    });
  }
  return [...messages.values()];
}

/** Whether the model did anything: called a tool or wrote text. */
export function saidOrDidSomething(entries: SessionStoreEntry[]): boolean {
  return modelTurns(entries).some(
    (turn) => textOf(turn).trim() !== '' || turn.message.content.some(({ type }) => type === 'tool_use'),
  );
}

/** Whether the entries contain a compaction. */
export function isCompacted(entries: SessionStoreEntry[]): boolean {
  return sinceCompaction(entries).length < entries.length;
}

/** Whether the last answer ended because the model's context was full, and no compaction has made room since. */
export function endsWithFullContext(entries: SessionStoreEntry[]): boolean {
  return lastStopReason(sinceCompaction(entries)) === 'model_context_window_exceeded';
}

/** How many answers in a row, up to the last, ended because they or the context became too long. */
export function cutAnswers(entries: SessionStoreEntry[]): number {
  const messages = messagesOf(entries);
  const before = messages.findLastIndex(
    ({ reason }) => reason !== 'max_tokens' && reason !== 'model_context_window_exceeded',
  );
  return messages.length - 1 - before;
}

function sinceCompaction(entries: SessionStoreEntry[]): SessionStoreEntry[] {
  return entries.slice(entries.findLastIndex((entry) => boundaryEntry.safeParse(entry).success) + 1);
}

/** The stop reason of the last model turn; null where there was no turn. Synthetic entries are no turns. */
export function lastStopReason(entries: SessionStoreEntry[]): string | null {
  return modelTurns(entries).at(-1)?.message.stop_reason ?? null;
}

/**
 * Whether the conversation ends with a message of the model that ended its turn: nothing of the user, such as a tool
 * result, comes after it.
 */
export function endsWithFinishedTurn(own: SessionStoreEntry[]): boolean {
  const last = own.filter(({ type }) => type === 'user' || type === 'assistant').at(-1);
  return last !== undefined && lastStopReason([last]) === 'end_turn';
}

/**
 * A compaction that the session itself made and that is proved: its boundary is followed by a summary, and the context
 * got smaller. Otherwise null.
 */
export function verifiedCompaction(
  own: SessionStoreEntry[],
): { preTokens: number; postTokens: number } | null {
  const boundary = parseAll(own, boundaryEntry).at(-1);
  if (boundary === undefined) return null;
  const { preTokens, postTokens } = boundary.compactMetadata;
  const summarised = parseAll(own, summaryEntry).some((summary) => summary.parentUuid === boundary.uuid);
  if (!summarised || postTokens === undefined || postTokens >= preTokens) return null;
  return { preTokens, postTokens };
}

/** The last value that the model submitted through a tool and the tool accepted; null where there was none. */
export function acceptedSubmission(
  own: SessionStoreEntry[],
  toolName: string,
  schema: z.ZodObject,
): Record<string, unknown> | null {
  const submissions = acceptedCalls(own)
    .filter(({ name }) => name === toolName)
    .flatMap(({ input }): Record<string, unknown>[] => {
      try {
        const parsed = schema.safeParse(input);
        return parsed.success ? [parsed.data] : [];
      } catch {
        // A schema with asynchronous checks: the tool made them before it accepted the call.
        return [input as Record<string, unknown>];
      }
    });
  return submissions.at(-1) ?? null;
}

/**
 * What a schema threw on a value that was submitted; null where it took and refused all as a schema does. The tool has told the
 * model of it as of a wrong value.
 */
export function schemaError(own: SessionStoreEntry[], toolName: string, schema: z.ZodObject): Error | null {
  for (const { name, input } of toolCalls(own)) {
    if (name !== toolName) continue;
    try {
      schema.safeParse(input);
    } catch (error) {
      if (error instanceof z.core.$ZodAsyncError) return null;
      return error instanceof Error ? error : new Error(String(error));
    }
  }
  return null;
}

/** The model's tool calls that were answered without an error, in order. */
export function acceptedCalls(own: SessionStoreEntry[]): { name: string; input: unknown }[] {
  const accepted = new Set(
    parseAll(own, userEntry)
      .flatMap((entry) => entry.message.content)
      .filter((block) => block.type === 'tool_result' && block.is_error !== true)
      .map((block) => block.tool_use_id),
  );
  return toolCalls(own).flatMap(({ id, ...call }) => (accepted.has(id) ? [call] : []));
}

function toolCalls(own: SessionStoreEntry[]): { id: unknown; name: string; input: unknown }[] {
  return modelTurns(own)
    .flatMap((entry) => entry.message.content)
    .filter((block) => block.type === 'tool_use')
    .map(({ id, name, input }) => ({ id, name: String(name), input }));
}

/** The ids of the model's turns in these entries, one for each content block. */
export function turnIds(entries: SessionStoreEntry[]): string[] {
  return modelTurns(entries).map(({ message }) => message.id);
}

/** The ids of the tool calls in these entries. */
export function toolUseIds(entries: SessionStoreEntry[]): string[] {
  return parseAll(entries, assistantEntry)
    .flatMap((entry) => entry.message.content)
    .flatMap((block) => (block.type === 'tool_use' && typeof block.id === 'string' ? [block.id] : []));
}

export const noUsage: Usage = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 };

export function sumUsage(usages: readonly Usage[]): Usage {
  return usages.reduce(
    (sum, usage) => ({
      inputTokens: sum.inputTokens + usage.inputTokens,
      outputTokens: sum.outputTokens + usage.outputTokens,
      cacheReadTokens: sum.cacheReadTokens + usage.cacheReadTokens,
      cacheWriteTokens: sum.cacheWriteTokens + usage.cacheWriteTokens,
    }),
    noUsage,
  );
}

/** Assistant entries that a model made: neither API errors nor entries that Claude Code writes itself. */
function modelTurns(entries: SessionStoreEntry[]): AssistantEntry[] {
  return parseAll(entries, assistantEntry).filter(
    (entry) => entry.isApiErrorMessage !== true && entry.message.model !== '<synthetic>',
  );
}

function textOf({ message }: AssistantEntry): string {
  return message.content
    .flatMap((block) => (block.type === 'text' && typeof block.text === 'string' ? [block.text] : []))
    .join('');
}

function usageOf(entry: AssistantEntry): Usage {
  const usage = entry.message.usage;
  return {
    inputTokens: usage?.input_tokens ?? 0,
    outputTokens: usage?.output_tokens ?? 0,
    cacheReadTokens: usage?.cache_read_input_tokens ?? 0,
    cacheWriteTokens: usage?.cache_creation_input_tokens ?? 0,
  };
}

function parseAll<Value>(entries: SessionStoreEntry[], schema: z.ZodType<Value>): Value[] {
  return entries.flatMap((entry) => {
    const parsed = schema.safeParse(entry);
    return parsed.success ? [parsed.data] : [];
  });
}
