import { Client, Connection, type ConnectionOptions } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import type { Config } from '../config/environment.js';
import { unreachable } from './errors.js';

/** Where Temporal is. For Temporal Cloud with an API key `tls` is on by itself. */
export interface TemporalAddress extends Pick<ConnectionOptions, 'apiKey' | 'tls'> {
  /** `host:port`. */
  address: string;
  /** Default: `default`. */
  namespace?: string;
}

/** A client that connects at its first use. */
export function lazyClient({ namespace = 'default', ...address }: TemporalAddress): Client {
  return new Client({ connection: Connection.lazy(address), namespace });
}

const connectTimeoutMs = 5_000;

/** A client by the standard TEMPORAL_* variables that connects at its first use, within about `timeoutMs`. */
export function lazyClientOf(
  { environment }: Pick<Config, 'environment'>,
  timeoutMs = connectTimeoutMs,
): Client {
  const { connectionOptions, namespace = 'default' } = loadClientConnectConfig({
    overrideEnvVars: environment,
  });
  return new Client({
    connection: Connection.lazy({ ...connectionOptions, connectTimeout: timeoutMs }),
    namespace,
  });
}

/** The client, once it is connected. Throws TEMPORAL_UNAVAILABLE. */
export async function connected(
  client: Client,
  config: Pick<Config, 'environment'>,
  timeoutMs = connectTimeoutMs,
): Promise<Client> {
  try {
    await client.connection.ensureConnected();
    return client;
  } catch (error) {
    throw unreachable(temporalAddressOf(config), error, timeoutMs);
  }
}

/** A client by the standard TEMPORAL_* variables. Throws TEMPORAL_UNAVAILABLE within about `timeoutMs`. */
export async function connectClient(
  config: Pick<Config, 'environment'>,
  timeoutMs = connectTimeoutMs,
): Promise<Client> {
  return await connected(lazyClientOf(config, timeoutMs), config, timeoutMs);
}

/** Where Temporal is looked for. */
export function temporalAddressOf({ environment }: Pick<Config, 'environment'>): string {
  const { connectionOptions } = loadClientConnectConfig({ overrideEnvVars: environment });
  return connectionOptions.address ?? 'localhost:7233';
}
