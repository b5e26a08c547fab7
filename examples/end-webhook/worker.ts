import { NativeConnection, Worker } from '@temporalio/worker';
import type { ChainEndCall } from 'session-chain/config';
import { Webhook } from 'standardwebhooks';

// The host's own worker: it posts each end of a chain as a webhook that is signed by https://www.standardwebhooks.com.

const url = process.env['WEBHOOK_URL'] ?? 'http://localhost:8080/chain-ended';
const webhook = new Webhook(process.env['WEBHOOK_SECRET'] ?? '');
const connection = await NativeConnection.connect({
  address: process.env['TEMPORAL_ADDRESS'] ?? 'localhost:7233',
});
const worker = await Worker.create({
  connection,
  taskQueue: process.env['WEBHOOK_TASK_QUEUE'] ?? 'webhooks',
  activities: { chainEnded },
});
await worker.run();
await connection.close();

/** Called until it succeeds: what it throws is tried again. The id of the webhook is the same at every call for one end. */
async function chainEnded({ key, endedAt, ...data }: ChainEndCall): Promise<void> {
  const body = JSON.stringify({ type: 'chain.closed', timestamp: endedAt, data });
  const now = new Date();
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'webhook-id': key,
      'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
      'webhook-signature': webhook.sign(key, now, body),
    },
    body,
    redirect: 'error',
    signal: AbortSignal.timeout(15_000),
  });
  await response.body?.cancel();
  if (!response.ok) throw new Error(`${url} answered ${response.status}.`);
}
