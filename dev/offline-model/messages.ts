import { z } from 'zod';

/**
 * The part of the Messages API that Claude Code uses. Objects stay loose: what is not named here is kept, because the
 * token count and the prompt cache go by every byte.
 */
const contentBlock = z.looseObject({ type: z.string() });
const content = z.union([z.string(), z.array(contentBlock)]);

const requestSchema = z.looseObject({
  model: z.string().min(1),
  max_tokens: z.int().positive().optional(),
  stream: z.boolean().optional(),
  system: content.optional(),
  // Claude Code describes its environment to newer models in messages with the role `system`.
  messages: z.array(z.looseObject({ role: z.enum(['user', 'assistant', 'system']), content })).min(1),
  tools: z.array(z.looseObject({ name: z.string(), input_schema: z.looseObject({}).optional() })).optional(),
  metadata: z.looseObject({ user_id: z.string().optional() }).optional(),
});

export type MessagesRequest = z.infer<typeof requestSchema>;
export type ContentBlock = z.infer<typeof contentBlock>;
export type JsonSchema = Record<string, unknown>;

/** One assistant turn: what the model says and which tools it calls. Ids are given by the server. */
export interface Turn {
  content: TurnBlock[];
  /** A stop reason of the API, or one that a later API may have. */
  stopReason: string;
}
export type TurnBlock =
  | { type: 'text'; text: string }
  | { type: 'thinking'; thinking: string }
  | { type: 'tool_use'; name: string; input: Record<string, unknown> };

/** Says something and calls tools. */
export function callTools(text: string, ...calls: { name: string; input: Record<string, unknown> }[]): Turn {
  return {
    content: [{ type: 'text', text }, ...calls.map((call) => ({ type: 'tool_use' as const, ...call }))],
    stopReason: 'tool_use',
  };
}

/** Says something and ends the turn. */
export function say(text: string): Turn {
  return { content: [{ type: 'text', text }], stopReason: 'end_turn' };
}

/** A request that the Messages API would answer with 400 `invalid_request_error`; the message names the field. */
export class InvalidRequestError extends Error {
  override readonly name = 'InvalidRequestError';
}

/** Parses the body of `POST /v1/messages` with the API's own rules. Throws {@link InvalidRequestError}. */
export function parseMessagesRequest(bodyText: string): MessagesRequest {
  let json: unknown;
  try {
    json = JSON.parse(bodyText);
  } catch (error) {
    throw new InvalidRequestError('The request body is not valid JSON.', { cause: error });
  }
  const parsed = requestSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new InvalidRequestError(`${issue?.path.join('.') ?? 'body'}: ${issue?.message ?? 'invalid'}`);
  }
  // The parsed copy may order keys differently; the bytes as they were sent are what counts for the cache.
  const request = json as MessagesRequest;
  requireFirstMessageOfUser(request);
  requireToolResults(request);
  requireFewBreakpoints(request);
  return request;
}

/** Message, system or tool-result content as blocks: a string is one text block. */
export function blocksOf(value: unknown): ContentBlock[] {
  if (typeof value === 'string') return value === '' ? [] : [{ type: 'text', text: value }];
  return Array.isArray(value) ? (value as ContentBlock[]) : [];
}

/** The text of a block, '' for a block without. */
export function textOf(block: ContentBlock): string {
  return block.type === 'text' && typeof block.text === 'string' ? block.text : '';
}

function requireFirstMessageOfUser(request: MessagesRequest): void {
  if (request.messages[0]?.role !== 'user') {
    throw new InvalidRequestError('messages: first message must use the "user" role');
  }
}

/** The API's rule that a broken transcript breaks first: every tool_use is answered in the very next message. */
function requireToolResults({ messages }: MessagesRequest): void {
  messages.forEach((message, index) => {
    const next = messages[index + 1];
    if (message.role !== 'assistant' || !next) return;
    const answered = new Set(blocksOf(next.content).map((block) => block.tool_use_id));
    const open = blocksOf(message.content).filter(
      (block) => block.type === 'tool_use' && !answered.has(block.id),
    );
    if (open.length > 0) {
      const ids = open.map((block) => String(block.id)).join(', ');
      throw new InvalidRequestError(
        `messages.${index}: \`tool_use\` ids were found without \`tool_result\` blocks immediately after: ${ids}`,
      );
    }
  });
  messages.forEach((message, index) => {
    const asked = new Set(blocksOf(messages[index - 1]?.content).map((block) => block.id));
    for (const block of blocksOf(message.content)) {
      if (block.type === 'tool_result' && !asked.has(block.tool_use_id)) {
        throw new InvalidRequestError(
          `messages.${index}: unexpected \`tool_use_id\` found in \`tool_result\` blocks: ${String(block.tool_use_id)}`,
        );
      }
    }
  });
}

function requireFewBreakpoints({ tools, system, messages }: MessagesRequest): void {
  const blocks = [
    ...(tools ?? []),
    ...blocksOf(system),
    ...messages.flatMap(({ content }) => blocksOf(content)),
  ];
  const found = blocks.filter((block) => block.cache_control).length;
  if (found > 4) {
    throw new InvalidRequestError(
      `A maximum of 4 blocks with cache_control may be provided. Found ${found}.`,
    );
  }
}
