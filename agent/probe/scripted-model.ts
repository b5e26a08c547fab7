import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * A loopback server that speaks the streaming Messages API and answers exactly what it is told to: a specific tool
 * call, an API error, a reply that never ends. The probe of an agent and tests use it; the offline model of `npm start`
 * plays a plausible app builder instead.
 */
export interface ModelReply {
  text?: string;
  tools?: { name: string; input: Record<string, unknown> }[];
  /** Ends the last tool call after this many characters of its input. */
  cutInputAt?: number;
  /** Answered instead of a message, with this HTTP status. */
  error?: { status: number; type: string; message: string };
  stopReason?: string;
  /** The headers are sent and nothing follows until the connection goes. */
  hang?: boolean;
  inputTokens?: number;
  outputTokens?: number;
  cacheReadTokens?: number;
  cacheWriteTokens?: number;
}

export interface ModelRequest {
  headers: IncomingHttpHeaders;
  system: unknown;
  tools: { name: string; defer_loading?: boolean }[];
  messages: { role: string; content: unknown }[];
  maxTokens: number;
  model: string;
}

export interface ScriptedModel {
  url: string;
  /** Every request to /v1/messages so far. */
  requests: ModelRequest[];
  stop(): Promise<void>;
}

/** `reply` is called with each request and its index, counted from 0. */
export async function startScriptedModel(
  reply: (request: ModelRequest, index: number) => ModelReply | Promise<ModelReply>,
): Promise<ScriptedModel> {
  const requests: ModelRequest[] = [];
  const server = createServer((incoming, outgoing) => {
    void answer(incoming, outgoing).catch((error: unknown) => outgoing.destroy(error as Error));
  });

  async function answer(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    if (incoming.method !== 'POST' || !/^\/v1\/messages(\?|$)/.test(incoming.url ?? '')) {
      outgoing.writeHead(404).end('{}');
      return;
    }
    const body = JSON.parse(Buffer.concat(chunks).toString('utf8')) as Record<string, unknown>;
    const request: ModelRequest = {
      headers: incoming.headers,
      system: body.system,
      tools: (body.tools ?? []) as ModelRequest['tools'],
      messages: body.messages as ModelRequest['messages'],
      maxTokens: body.max_tokens as number,
      model: body.model as string,
    };
    requests.push(request);
    const index = requests.length - 1;
    const turn = await reply(request, index);
    if (turn.error !== undefined) {
      outgoing.writeHead(turn.error.status, { 'content-type': 'application/json' });
      outgoing.end(
        JSON.stringify({ type: 'error', error: { type: turn.error.type, message: turn.error.message } }),
      );
      return;
    }
    outgoing.writeHead(200, { 'content-type': 'text/event-stream' });
    if (turn.hang) return void outgoing.flushHeaders();
    for (const event of events(turn, request.model, index)) {
      outgoing.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
    }
    outgoing.end();
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The contents of all tool results in the request, as text, oldest first. */
export function toolResults(request: ModelRequest): string[] {
  return request.messages
    .flatMap((message) => blocksOf(message.content))
    .filter((block) => block.type === 'tool_result')
    .map((block) =>
      typeof block.content === 'string'
        ? block.content
        : blocksOf(block.content)
            .map((part) => (typeof part.text === 'string' ? part.text : ''))
            .join(''),
    );
}

function blocksOf(content: unknown): Record<string, unknown>[] {
  if (typeof content === 'string') return [{ type: 'text', text: content }];
  return Array.isArray(content) ? (content as Record<string, unknown>[]) : [];
}

function* events(
  turn: ModelReply,
  model: string,
  index: number,
): Generator<{ type: string } & Record<string, unknown>> {
  const id = `msg_${process.pid}_${Date.now().toString(36)}_${index}`;
  const inputTokens = turn.inputTokens ?? 1000;
  const outputTokens = turn.outputTokens ?? 50;
  const written = turn.cacheWriteTokens ?? 0;
  const usage = {
    input_tokens: inputTokens,
    cache_creation_input_tokens: written,
    cache_read_input_tokens: turn.cacheReadTokens ?? 0,
    cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: written },
    output_tokens: 1,
  };
  yield {
    type: 'message_start',
    message: {
      id,
      type: 'message',
      role: 'assistant',
      model,
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage,
    },
  };
  let block = 0;
  if (turn.text !== undefined) {
    yield { type: 'content_block_start', index: block, content_block: { type: 'text', text: '' } };
    yield { type: 'content_block_delta', index: block, delta: { type: 'text_delta', text: turn.text } };
    yield { type: 'content_block_stop', index: block++ };
  }
  for (const tool of turn.tools ?? []) {
    const toolId = `toolu_${index}_${block}_${Date.now().toString(36)}`;
    yield {
      type: 'content_block_start',
      index: block,
      content_block: { type: 'tool_use', id: toolId, name: tool.name, input: {} },
    };
    const partial = JSON.stringify(tool.input).slice(0, turn.cutInputAt);
    yield {
      type: 'content_block_delta',
      index: block,
      delta: { type: 'input_json_delta', partial_json: partial },
    };
    yield { type: 'content_block_stop', index: block++ };
  }
  const stopReason =
    turn.stopReason ?? (turn.tools !== undefined && turn.tools.length > 0 ? 'tool_use' : 'end_turn');
  yield {
    type: 'message_delta',
    delta: { stop_reason: stopReason, stop_sequence: null },
    usage: { output_tokens: outputTokens },
  };
  yield { type: 'message_stop' };
}
