import { expect, it } from '@jest/globals';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { messagesOf } from '../../http/sse.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

async function read(url: string): Promise<ReturnType<typeof messagesOf>> {
  const { body } = await fetch(url);
  if (!body) throw new Error('There is no body.');
  return messagesOf(body);
}

it('reads a stream that was left alone while garbage was collected', async () => {
  const server = createServer((_request, response) => {
    response.write('event: ping\ndata: {}\n\n');
    rest = () => response.end('event: end\ndata: {}\n\n');
  });
  let rest: () => void = () => undefined;
  await once(server.listen(0, '127.0.0.1'), 'listening');
  try {
    const messages = await read(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    for (let count = 0; count < 5; count++) {
      // A collector of finalizers runs in a turn of its own.
      await new Promise((resolve) => setImmediate(resolve));
      collectGarbage();
    }
    rest();
    const events: string[] = [];
    for await (const { event } of messages) events.push(event);
    expect(events).toEqual(['ping', 'end']);
  } finally {
    server.close();
  }
});
