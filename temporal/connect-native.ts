import { loadClientConnectConfig } from '@temporalio/envconfig';
import { type NativeConnectionOptions, NativeConnection } from '@temporalio/worker';
import type { Config } from '../config/environment.js';
import { unreachable } from './errors.js';

/** Where a worker finds Temporal. */
export interface WorkerTemporalAddress extends Pick<NativeConnectionOptions, 'apiKey' | 'tls' | 'metadata'> {
  /** `host:port`. */
  address: string;
  /** Default: `default`. */
  namespace?: string;
}

/** A connection that the host has, and closes itself once the worker has stopped. */
export interface HostConnection {
  connection: NativeConnection;
  /** Default: `default`. */
  namespace?: string;
}

export interface NativeTemporal {
  connection: NativeConnection;
  namespace: string;
  /** Closes the connection where it was opened here. */
  close(): Promise<void>;
}

/**
 * A worker's connection to Temporal: one native connection serves workers and client alike. A host's own one is taken as it
 * is. Throws TEMPORAL_UNAVAILABLE.
 */
export async function connectNative(
  temporal: WorkerTemporalAddress | HostConnection,
): Promise<NativeTemporal> {
  const { namespace = 'default', ...rest } = temporal;
  if ('connection' in rest) return { ...rest, namespace, close: async () => undefined };
  try {
    const options = { ...rest, grpcCompression: { codec: 'none' } } satisfies NativeConnectionOptions;
    const connection = await NativeConnection.connect(options);
    return { connection, namespace, close: async () => await connection.close() };
  } catch (error) {
    throw unreachable(rest.address, error);
  }
}

/** Where Temporal is by the standard TEMPORAL_* variables: address, namespace, API key, TLS, profile file. */
export function temporalFromEnvironment({ environment }: Pick<Config, 'environment'>): WorkerTemporalAddress {
  const { connectionOptions, namespace } = loadClientConnectConfig({ overrideEnvVars: environment });
  return {
    ...connectionOptions,
    address: connectionOptions.address ?? 'localhost:7233',
    ...(namespace === undefined ? {} : { namespace }),
  };
}
