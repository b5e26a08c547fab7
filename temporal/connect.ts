import { Client, Connection, type ConnectionOptions } from '@temporalio/client';
import { type ClientConnectConfig, loadClientConnectConfig } from '@temporalio/envconfig';
import type { Config } from '../config/environment.js';
import { SessionChainError } from '../contracts/failures.js';
import { retriesUntilClosed } from './closed-connection.js';
import { unreachable } from './errors.js';

/** Where Temporal is. With an API key, as for Temporal Cloud, `tls` is on by default. */
export interface TemporalAddress extends Pick<ConnectionOptions, 'apiKey' | 'tls'> {
  /** `host:port`. */
  address: string;
  /** Default: `default`. */
  namespace?: string;
}

/** A client that connects at its first use. Throws INVALID_INPUT for an address that cannot be one. */
export function lazyClient({ namespace = 'default', ...address }: TemporalAddress): Client {
  return new Client({ connection: lazyConnection(address), namespace });
}

function lazyConnection(options: ConnectionOptions): Connection {
  try {
    return Connection.lazy({ ...options, interceptors: retriesUntilClosed });
  } catch (cause) {
    throw unusable('The address of Temporal', cause);
  }
}

const connectTimeoutMs = 5_000;

/** What the standard TEMPORAL_* variables, and the file that they may name, say of a client. Throws INVALID_INPUT. */
export function connectConfigOf({ environment }: Pick<Config, 'environment'>): ClientConnectConfig {
  try {
    return loadClientConnectConfig({ overrideEnvVars: environment });
  } catch (cause) {
    throw unusable('What the variables TEMPORAL_* say', cause);
  }
}

function unusable(what: string, cause: unknown): SessionChainError {
  const [why = ''] = (cause instanceof Error ? cause.message : String(cause)).split('\n');
  return new SessionChainError(
    'INVALID_INPUT',
    `${what} cannot be used: ${why}.`,
    'Correct the address (TEMPORAL_ADDRESS, as host:port), the TLS files, or the profile of Temporal.',
    { cause },
  );
}

/**
 * A client by the standard TEMPORAL_* variables that connects at its first use, within about `timeoutMs`. Throws
 * INVALID_INPUT.
 */
export function lazyClientOf(config: Pick<Config, 'environment'>, timeoutMs = connectTimeoutMs): Client {
  const { connectionOptions, namespace = 'default' } = connectConfigOf(config);
  return new Client({
    connection: lazyConnection({ ...connectionOptions, connectTimeout: timeoutMs }),
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
export function temporalAddressOf(config: Pick<Config, 'environment'>): string {
  const { connectionOptions } = connectConfigOf(config);
  return connectionOptions.address ?? 'localhost:7233';
}
