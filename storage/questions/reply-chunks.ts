import { setTimeout as sleep } from 'node:timers/promises';
import { type Pool, queryRows } from '../db/pool.js';

/** A piece of a reply as it is being written. */
export interface ReplyChunk {
  /** The attempt that wrote it; a higher one than before has begun anew. */
  attempt: number;
  /** Counts the messages of the attempt, from 1; the last one is the reply. */
  message: number;
  text: string;
}

const channel = 'session_chain_reply';

/** Adds a piece of a reply and tells those who listen. */
export async function addReplyChunk(pool: Pool, turnId: string, chunk: ReplyChunk): Promise<void> {
  await queryRows(pool, {
    name: 'add_reply_chunk',
    text: `WITH chunk AS (
             INSERT INTO session_chain.reply_chunks (turn_id, attempt, message, content) VALUES ($1, $2, $3, $4)
             RETURNING turn_id
           )
           SELECT pg_notify('${channel}', turn_id::text) FROM chunk`,
    values: [turnId, chunk.attempt, chunk.message, chunk.text],
  });
}

/** Forgets the pieces of a chat's earlier replies. */
export async function forgetReplyChunks(pool: Pool, chatId: string, beforeTurnId: string): Promise<void> {
  await queryRows(pool, {
    name: 'forget_reply_chunks',
    text: `DELETE FROM session_chain.reply_chunks c USING project_chat_log_minimal t
           WHERE t.session_id = $1 AND t.turn_id < $2 AND c.turn_id = t.turn_id`,
    values: [chatId, beforeTurnId],
  });
}

/**
 * Calls back with the pieces of a reply as they are stored, in order, until the signal aborts. Best effort: it rejects when
 * the database goes, and whoever needs the reply reads the turn.
 */
export async function followReply(
  pool: Pool,
  turnId: string,
  onChunk: (chunk: ReplyChunk) => void,
  signal: AbortSignal,
): Promise<void> {
  const connection = await pool.connect();
  let broken: Error | undefined;
  let wake = () => {};
  const onError = (error: Error) => {
    broken = error;
    wake();
  };
  const onNotification = ({ payload }: { payload?: string | undefined }) => {
    if (payload === turnId) wake();
  };
  connection.on('error', onError).on('notification', onNotification);
  const aborted = () => wake();
  signal.addEventListener('abort', aborted);
  try {
    await connection.query(`LISTEN ${channel}`);
    let last = '0';
    for (;;) {
      // What was stored before the end is told, too.
      const isLast = signal.aborted;
      const woken = new Promise<void>((resolve) => (wake = resolve));
      const rows = await queryRows<ReplyChunk & { ordinal: string }>(pool, {
        name: 'read_reply_chunks',
        text: `SELECT c.ordinal::text, c.attempt, c.message, c.content AS text FROM session_chain.reply_chunks c
               WHERE c.turn_id = $1 AND c.ordinal > $2 ORDER BY c.ordinal`,
        values: [turnId, last],
      });
      for (const { ordinal, ...chunk } of rows) {
        last = ordinal;
        onChunk(chunk);
      }
      if (isLast) return;
      // A notification may get lost with its connection: look now and then all the same.
      if (!signal.aborted) await Promise.race([woken, sleep(2_000, undefined, { ref: false })]);
      if (broken) throw broken;
    }
  } finally {
    signal.removeEventListener('abort', aborted);
    connection.off('error', onError).off('notification', onNotification);
    if (!broken) await connection.query(`UNLISTEN ${channel}`).catch(onError);
    connection.release(broken);
  }
}
