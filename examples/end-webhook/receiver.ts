import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import { Webhook, WebhookVerificationError } from 'standardwebhooks';

// What receives the webhooks: it checks the signature, and takes each id once.

const webhook = new Webhook(process.env['WEBHOOK_SECRET'] ?? '');
/** A table with a unique key in a real application, written in the transaction that acts on the webhook. */
const known = new Set<string>();

const server = createServer((request, response) => void receive(request, response));
server.listen(Number(process.env['PORT'] ?? 8080), '127.0.0.1', () => {
  console.log('listening on', (server.address() as { port: number }).port);
});
process.once('SIGTERM', () => {
  server.close();
  server.closeAllConnections();
});

async function receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  try {
    const event = webhook.verify(Buffer.concat(chunks), request.headers as Record<string, string>);
    const id = String(request.headers['webhook-id']);
    if (!known.has(id)) console.log('received', id, JSON.stringify(event));
    known.add(id);
    response.writeHead(204).end();
  } catch (error) {
    response.writeHead(error instanceof WebhookVerificationError ? 401 : 500).end();
  }
}
