import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { type DefaultLogger, Runtime } from '@temporalio/worker';

/** More than one other process would have to take a port in the moment between. */
const maxTries = 5;

/**
 * Installs the runtime of Temporal's library, which a process has once. `measured`: it counts, and the returned function
 * reads what; its metrics have no other way out than a port of loopback.
 */
export async function installRuntime(
  logger: DefaultLogger,
  measured: boolean,
): Promise<() => Promise<string>> {
  const logging = { filter: 'ERROR', forward: {} };
  if (!measured) {
    Runtime.install({ logger, telemetryOptions: { logging } });
    return async () => '';
  }
  for (let tries = 1; ; tries++) {
    const bindAddress = `127.0.0.1:${await freePort()}`;
    const prometheus = {
      bindAddress,
      countersTotalSuffix: true,
      unitSuffix: true,
      useSecondsForDurations: true,
    };
    try {
      Runtime.install({ logger, telemetryOptions: { logging, metrics: { prometheus } } });
    } catch (error) {
      if (tries === maxTries) throw error;
      continue;
    }
    return async () => {
      const response = await fetch(`http://${bindAddress}/metrics`, { signal: AbortSignal.timeout(5_000) });
      return await response.text();
    };
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
