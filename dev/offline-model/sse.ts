import type { Turn, TurnBlock } from './messages.js';
import type { Usage } from './usage.js';

/** A finished answer of the Messages API, ids included. */
export interface Message {
  id: string;
  type: 'message';
  role: 'assistant';
  model: string;
  content: (Exclude<TurnBlock, { type: 'tool_use' }> | ToolUse)[];
  stop_reason: Turn['stopReason'];
  stop_sequence: null;
  usage: Usage;
}
interface ToolUse {
  type: 'tool_use';
  id: string;
  name: string;
  input: Record<string, unknown>;
}

export interface StreamEvent {
  type: string;
  [field: string]: unknown;
}

/** A message as the events of a streamed answer; a block's body comes in up to eight deltas. */
export function toStreamEvents(message: Message): StreamEvent[] {
  const { content, stop_reason, stop_sequence, usage, ...envelope } = message;
  return [
    {
      type: 'message_start',
      message: {
        ...envelope,
        content: [],
        stop_reason: null,
        stop_sequence: null,
        usage: { ...usage, output_tokens: 1 },
      },
    },
    { type: 'ping' },
    ...content.flatMap((block, index) => [
      {
        type: 'content_block_start',
        index,
        content_block: emptied(block),
      },
      ...deltasOf(block).map((delta) => ({ type: 'content_block_delta', index, delta })),
      { type: 'content_block_stop', index },
    ]),
    { type: 'message_delta', delta: { stop_reason, stop_sequence }, usage },
    { type: 'message_stop' },
  ];
}

/** One event in the wire format of server-sent events. */
export function encodeEvent(event: StreamEvent): string {
  return `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
}

function emptied(block: Message['content'][number]): object {
  switch (block.type) {
    case 'text':
      return { ...block, text: '' };
    case 'thinking':
      return { ...block, thinking: '', signature: '' };
    case 'tool_use':
      return { ...block, input: {} };
  }
}

function deltasOf(block: Message['content'][number]): object[] {
  switch (block.type) {
    case 'text':
      return pieces(block.text).map((text) => ({ type: 'text_delta', text }));
    case 'thinking':
      return [
        ...pieces(block.thinking).map((thinking) => ({ type: 'thinking_delta', thinking })),
        { type: 'signature_delta', signature: 'c2lnbmVk' },
      ];
    case 'tool_use':
      return pieces(JSON.stringify(block.input)).map((json) => ({
        type: 'input_json_delta',
        partial_json: json,
      }));
  }
}

function pieces(text: string): string[] {
  // By code points: half of a surrogate pair in a delta would become two replacement characters on the wire.
  const points = [...text];
  const size = Math.max(12, Math.ceil(points.length / 8));
  return Array.from({ length: Math.ceil(points.length / size) }, (_, index) =>
    points.slice(index * size, (index + 1) * size).join(''),
  );
}
