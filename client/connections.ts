import type { Client } from '@temporalio/client';
import type pg from 'pg';
import { z } from 'zod';
import { type Pool, createPool } from '../storage/db/pool.js';
import { endCallsWithConnection } from '../temporal/closed-connection.js';
import { type TemporalAddress, lazyClient } from '../temporal/connect.js';
import { has } from './input.js';

/** Where the database is: its address, or a pool (of `pg`) that the host has and closes itself. */
export type DatabaseOptions = { databaseUrl: string; pool?: never } | { pool: pg.Pool; databaseUrl?: never };

export type ConnectionsOptions = DatabaseOptions & {
  /** The namespace in which the chains run: its address, or a client of it that the host has and closes itself. */
  temporal: TemporalAddress | Client;
};

/** A pool that the host gives, not one connection (a Client of `pg`), which has a process of the server. */
export const poolSchema = z.custom<pg.Pool>(
  (value) => has(value, 'query', 'function') && !('processID' in (value as object)),
  'must be a Pool of pg',
);
/** Where one of the two is given. */
export const isOneDatabase = ({ databaseUrl, pool }: { databaseUrl?: unknown; pool?: unknown }): boolean =>
  (databaseUrl === undefined) !== (pool === undefined);
export const giveOneDatabase = { path: ['databaseUrl, pool'], error: 'give one of the two' };

export const connectionsShape = {
  databaseUrl: z.string().min(1).optional(),
  pool: poolSchema.optional(),
  temporal: z.union(
    [
      z.custom<Client>((value) => has(value, 'workflow', 'object') && has(value, 'connection', 'object')),
      z.strictObject({
        address: z.string().min(1),
        namespace: z.string().min(1).optional(),
        apiKey: z.custom<TemporalAddress['apiKey']>().optional(),
        tls: z.custom<TemporalAddress['tls']>().optional(),
      }),
    ],
    { error: 'must be { address, namespace } or a Client of @temporalio/client' },
  ),
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
  if ('workflow' in temporal) endCallsWithConnection(temporal);
  return {
    pool: ownPool ?? (pool as Pool),
    temporal: ownClient ?? (temporal as Client),
    close: once(async () => {
      await Promise.all([ownPool?.end(), ownClient?.connection.close()]);
    }),
  };
}

/** The same for every call after the first. */
function once<Value>(call: () => Promise<Value>): () => Promise<Value> {
  let called: Promise<Value> | undefined;
  return async () => await (called ??= call());
}
