import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { onAbort } from '../../temporal/signal.js';
import type { Connection, Pool } from './pool.js';

/** What is told of a channel. All of it is a hint: whoever listens looks by itself as well, from time to time. */
export interface Listener {
  /** Something was notified. */
  onNotice(payload: string): void;
  /** From now on it hears what is notified, by this connection, until `onDeaf`. */
  onHearing?(connection: Connection): void;
  onDeaf?(): void;
  /** Why it does not hear, once until it hears again; not told behind a pooler, where nobody can. */
  onBroken?(reason: string): void;
}

/**
 * Listens until the returned function is called. All that listen through a pool share one connection, which is none of the pool's
 * but made as the pool makes its own, so that no statement waits for it; it keeps no process from ending. One that breaks is
 * replaced. Behind a pooler, which hands out one server process after another, nothing is heard.
 */
export function listen(pool: Pool, channel: string, listener: Listener): () => void {
  let shared = listeners.get(pool);
  if (!shared) {
    const made = createShared(pool, () => listeners.delete(pool));
    listeners.set(pool, made);
    shared = made;
  }
  return shared.add(channel, listener);
}

const listeners = new WeakMap<Pool, Shared>();

interface Shared {
  add(channel: string, listener: Listener): () => void;
}

const firstPauseMs = 1_000;
const longestPauseMs = 60_000;

/** The connection that hears, and its channels, each with what is done once it listens to that. */
interface Hearing {
  client: pg.Client;
  channels: Map<string, Promise<unknown>>;
}

function createShared(pool: Pool, onUnused: () => void): Shared {
  const all = new Map<Listener, string>();
  const over = new AbortController();
  let hearing: Hearing | null = null;

  async function listenUntilUnused(): Promise<void> {
    let isTold = false;
    for (let pauseMs = firstPauseMs; !over.signal.aborted; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
      const reason = await hearUntilBroken(() => {
        pauseMs = firstPauseMs;
        isTold = false;
      });
      if (over.signal.aborted) return;
      if (reason !== null && !isTold) for (const listener of [...all.keys()]) listener.onBroken?.(reason);
      isTold = true;
      await sleep(pauseMs, undefined, { signal: over.signal, ref: false }).catch(() => undefined);
    }
  }

  /** Why it ended; null where that is no failure. */
  async function hearUntilBroken(onHearing: () => void): Promise<string | null> {
    const client = connectionLike(pool);
    if (!client) return null;
    let forget = () => undefined as void;
    const ended = new Promise<string | null>((resolve) => {
      client.on('error', (error) => resolve(error.message)).on('end', () => resolve('The connection ended.'));
      forget = onAbort(over.signal, () => resolve(null));
    });
    client.on('notification', ({ channel, payload = '' }) => {
      for (const [listener, its] of [...all]) if (its === channel) listener.onNotice(payload);
    });
    const begin = async () => {
      await client.connect();
      const { processID, unref } = client as unknown as { processID: number | null; unref?: () => void };
      unref?.call(client);
      const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
      if (rows[0]?.pid !== processID) return null;
      await client.query(`SET application_name TO 'session-chain listener'`);
      const begun: Hearing = { client, channels: new Map() };
      // Others may come meanwhile, with other channels.
      const missing = () => [...all.values()].find((channel) => !begun.channels.has(channel));
      for (let channel = missing(); channel !== undefined; channel = missing()) await heard(begun, channel);
      if (over.signal.aborted) return null;
      hearing = begun;
      onHearing();
      for (const listener of [...all.keys()]) listener.onHearing?.(client);
      return await ended;
    };
    try {
      return await Promise.race([begin(), ended]);
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    } finally {
      forget();
      if (hearing) for (const listener of [...all.keys()]) listener.onDeaf?.();
      hearing = null;
      client.end().catch(() => undefined);
    }
  }

  async function heard({ client, channels }: Hearing, channel: string): Promise<void> {
    const known = channels.get(channel) ?? client.query(`LISTEN ${channel}`);
    channels.set(channel, known);
    await known;
  }

  async function tell(connection: Hearing, listener: Listener, channel: string): Promise<void> {
    await heard(connection, channel);
    if (hearing === connection && all.has(listener)) listener.onHearing?.(connection.client);
  }

  return {
    add(channel, listener) {
      all.set(listener, channel);
      if (all.size === 1) void listenUntilUnused();
      else if (hearing) tell(hearing, listener, channel).catch(() => undefined);
      return () => {
        if (!all.delete(listener)) return;
        if (all.size === 0) {
          over.abort();
          onUnused();
        } else if (hearing && ![...all.values()].includes(channel)) {
          hearing.channels.delete(channel);
          hearing.client.query(`UNLISTEN ${channel}`).catch(() => undefined);
        }
      };
    },
  };
}

/** A connection as the pool makes its own; null for a pool that does not say how. */
function connectionLike(pool: Pool): pg.Client | null {
  const { Client, options } = pool as unknown as { Client?: typeof pg.Client; options?: pg.ClientConfig };
  return Client && options ? new Client(options) : null;
}
