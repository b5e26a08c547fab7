import { loadClientConnectConfig } from '@temporalio/envconfig';
import { type NativeConnectionOptions, NativeConnection } from '@temporalio/worker';
import type { Config } from '../config/environment.js';
import { SessionChainError } from '../contracts/failures.js';

export interface TemporalConnection {
  connection: NativeConnection;
  namespace: string;
}

/**
 * Connects to Temporal by the standard TEMPORAL_* variables (address, namespace, API key, TLS, profile file). One native
 * connection serves workers and client alike. Throws TEMPORAL_UNAVAILABLE.
 */
export async function connectTemporal({
  environment,
}: Pick<Config, 'environment'>): Promise<TemporalConnection> {
  const { connectionOptions, namespace = 'default' } = loadClientConnectConfig({
    overrideEnvVars: environment,
  });
  const options = { ...connectionOptions, grpcCompression: { codec: 'none' } } as NativeConnectionOptions;
  try {
    return { connection: await NativeConnection.connect(options), namespace };
  } catch (error) {
    throw new SessionChainError(
      'TEMPORAL_UNAVAILABLE',
      `Temporal at ${connectionOptions.address ?? 'localhost:7233'} cannot be reached: ${error instanceof Error ? error.message : String(error)}`,
      undefined,
      { cause: error },
    );
  }
}
