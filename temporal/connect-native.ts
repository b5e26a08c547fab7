import { type NativeConnectionOptions, NativeConnection } from '@temporalio/worker';
import type { Config } from '../config/environment.js';
import { connectConfigOf } from './connect.js';
import { temporalError, unreachable } from './errors.js';

/** Where a worker finds Temporal. */
export interface WorkerTemporalAddress extends Pick<NativeConnectionOptions, 'apiKey' | 'tls' | 'metadata'> {
  /** `host:port`. */
  address: string;
  /** Default: `default`. */
  namespace?: string;
}

/** A connection that belongs to the host, which closes it once the worker has stopped. */
export interface HostConnection {
  connection: NativeConnection;
  /** Default: `default`. */
  namespace?: string;
}

export interface NativeTemporal {
  connection: NativeConnection;
  namespace: string;
  /** Closes the connection if it was opened here. */
  close(): Promise<void>;
}

/**
 * A worker's connection to a namespace of Temporal that is there: one native connection serves workers and client alike. A
 * host's own one is taken as it is. Throws TEMPORAL_UNAVAILABLE, TEMPORAL_REFUSED.
 */
export async function connectNative(
  temporal: WorkerTemporalAddress | HostConnection,
): Promise<NativeTemporal> {
  const { namespace = 'default', ...rest } = temporal;
  if ('connection' in rest) {
    await requireNamespace(rest.connection, namespace);
    return { ...rest, namespace, close: async () => undefined };
  }
  const connection = await connect(rest);
  try {
    await requireNamespace(connection, namespace);
  } catch (error) {
    await connection.close();
    throw error;
  }
  return { connection, namespace, close: async () => await connection.close() };
}

async function connect(address: Omit<WorkerTemporalAddress, 'namespace'>): Promise<NativeConnection> {
  try {
    const options = { ...address, grpcCompression: { codec: 'none' } } satisfies NativeConnectionOptions;
    return await NativeConnection.connect(options);
  } catch (error) {
    throw unreachable(address.address, error);
  }
}

/** Asked before there is a worker: one that is refused its namespace leaves threads behind, which keep the process. */
async function requireNamespace({ workflowService }: NativeConnection, namespace: string): Promise<void> {
  try {
    await workflowService.describeNamespace({ namespace });
  } catch (error) {
    throw temporalError(error);
  }
}

/** Where Temporal is by the standard TEMPORAL_* variables: address, namespace, API key, TLS, profile file. */
export function temporalFromEnvironment(config: Pick<Config, 'environment'>): WorkerTemporalAddress {
  const { connectionOptions, namespace } = connectConfigOf(config);
  return {
    ...connectionOptions,
    address: connectionOptions.address ?? 'localhost:7233',
    ...(namespace === undefined ? {} : { namespace }),
  };
}
