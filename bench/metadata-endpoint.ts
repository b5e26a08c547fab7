import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { z } from 'zod';
import { metadataSchema } from '../definition/metadata-schema.js';
import { submissionToolName } from '../definition/submission.js';

/**
 * The tool through which metadata is submitted, for the shell script: it cannot have one inside its own process as a
 * worker has. MCP over HTTP from a process that runs already costs a step least. Any call is accepted.
 */
export async function startMetadataEndpoint(): Promise<{ url: string; stop(): Promise<void> }> {
  const server = createServer((request, response) => {
    void readJson(request).then((message) => {
      if (message?.id === undefined) {
        // A notification gets no answer; a GET asks for a stream, which does not exist.
        response.writeHead(request.method === 'POST' ? 202 : 405).end();
        return;
      }
      // Every request is answered: the agent waits 5 s at its start for an answer that does not come.
      const result = resultOf(message);
      const answer = result ? { result } : { error: { code: -32601, message: 'Method not found' } };
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ jsonrpc: '2.0', id: message.id, ...answer }));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    async stop() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

interface Message {
  id?: number | string;
  method: string;
  params?: { protocolVersion?: string };
}

function resultOf({ method, params }: Message): object | undefined {
  switch (method) {
    case 'initialize':
      return {
        protocolVersion: params?.protocolVersion ?? '2025-06-18',
        capabilities: { tools: {} },
        serverInfo: { name: 'chain', version: '1.0.0' },
      };
    case 'tools/list':
      return {
        tools: [
          {
            name: submissionToolName('metadata'),
            description: 'Hands in the metadata of the project. Use it only in the step that asks for it.',
            inputSchema: z.toJSONSchema(metadataSchema),
          },
        ],
      };
    case 'tools/call':
      return { content: [{ type: 'text', text: 'Accepted.' }] };
    default:
      return undefined;
  }
}

async function readJson(request: IncomingMessage): Promise<Message | null> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return chunks.length === 0 ? null : (JSON.parse(Buffer.concat(chunks).toString('utf8')) as Message);
}
