/** One message of a stream of server-sent events. */
export interface SseMessage {
  /** Null where the message has none. */
  id: string | null;
  event: string;
  data: string;
}

/**
 * The messages of a stream, in their order; one that is cut off is dropped. `alive` is called whenever something arrives. The
 * body is locked at once: fetch cancels one that nobody reads when its response is collected as garbage.
 */
export function messagesOf(
  body: ReadableStream<Uint8Array>,
  alive: () => void = () => undefined,
): AsyncGenerator<SseMessage, void, undefined> {
  return readMessages(body.getReader(), alive);
}

async function* readMessages(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  alive: () => void,
): AsyncGenerator<SseMessage, void, undefined> {
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      alive();
      rest += decoder.decode(value, { stream: true });
      // A carriage return at the end may be half of a line's end.
      const blocks = rest.split(/(?:\r\n){2}|\n{2}|\r(?!\n)\r(?!\n|$)/);
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        const message = messageOf(block);
        if (message) yield message;
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** Null for a block without data, such as a comment. */
function messageOf(block: string): SseMessage | null {
  let id: string | null = null;
  let event = 'message';
  const data: string[] = [];
  for (const line of block.split(/\r\n|\n|\r/)) {
    const [, field = '', value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (field === 'id') id = value;
    if (field === 'event') event = value;
    if (field === 'data') data.push(value);
  }
  return data.length === 0 ? null : { id, event, data: data.join('\n') };
}
