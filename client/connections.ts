import type { Client } from '@temporalio/client';
import type pg from 'pg';
import { type Pool, createPool } from '../storage/db/pool.js';
import { type TemporalAddress, lazyClient } from '../temporal/connect.js';

/** Where the database is: its address, or a pool (of `pg`) that the host has and closes itself. */
export type DatabaseOptions = { databaseUrl: string; pool?: never } | { pool: pg.Pool; databaseUrl?: never };

export type ConnectionsOptions = DatabaseOptions & {
  /** The namespace in which the chains run: its address, or a client of it that the host has and closes itself. */
  temporal: TemporalAddress | Client;
};

/** What the client works with. */
export interface Connections {
  pool: Pool;
  temporal: Client;
  /** Closes what was opened here; what the host passed stays open. */
  close: () => Promise<void>;
}

/** Opens what the host did not pass; nothing is connected before its first use. */
export function openConnections({ databaseUrl, pool, temporal }: ConnectionsOptions): Connections {
  const ownPool =
    databaseUrl === undefined ? null : createPool(databaseUrl, { applicationName: 'session-chain client' });
  const ownClient = 'workflow' in temporal ? null : lazyClient(temporal);
  return {
    pool: ownPool ?? (pool as Pool),
    temporal: ownClient ?? (temporal as Client),
    async close() {
      await Promise.all([ownPool?.end(), ownClient?.connection.close()]);
    },
  };
}
