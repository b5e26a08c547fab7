import { loadClientConnectConfig } from '@temporalio/envconfig';
import { type NativeConnectionOptions, NativeConnection } from '@temporalio/worker';
import type { Config } from '../config/environment.js';
import { unreachable } from './errors.js';

export interface NativeTemporal {
  connection: NativeConnection;
  namespace: string;
}

/**
 * Connects a worker to Temporal by the standard TEMPORAL_* variables (address, namespace, API key, TLS, profile file). One
 * native connection serves workers and client alike. Throws TEMPORAL_UNAVAILABLE.
 */
export async function connectNative({ environment }: Pick<Config, 'environment'>): Promise<NativeTemporal> {
  const { connectionOptions, namespace = 'default' } = loadClientConnectConfig({
    overrideEnvVars: environment,
  });
  const options = { ...connectionOptions, grpcCompression: { codec: 'none' } } as NativeConnectionOptions;
  try {
    return { connection: await NativeConnection.connect(options), namespace };
  } catch (error) {
    throw unreachable(connectionOptions.address ?? 'localhost:7233', error);
  }
}
