import { setTimeout as sleep } from 'node:timers/promises';
import { type Pool, queryRows } from '../db/pool.js';

/** A piece of a reply as it is being written. */
export interface ReplyChunk {
  /** The attempt that wrote it; a higher one than before has started over. */
  attempt: number;
  /** Counts the messages of the attempt, from 1; the last one is the reply. */
  message: number;
  text: string;
}

const channel = 'session_chain_reply';

/** Adds a piece of a reply and tells its listeners. */
export async function addReplyChunk(pool: Pool, questionId: string, chunk: ReplyChunk): Promise<void> {
  await queryRows(pool, {
    name: 'add_reply_chunk',
    text: `WITH chunk AS (
             INSERT INTO session_chain.reply_chunks (question_id, attempt, message, content) VALUES ($1, $2, $3, $4)
             RETURNING question_id
           )
           SELECT pg_notify('${channel}', question_id::text) FROM chunk`,
    values: [questionId, chunk.attempt, chunk.message, chunk.text],
  });
}

/** Deletes the pieces of a chat's earlier replies. */
export async function forgetReplyChunks(pool: Pool, chatId: string, beforeQuestionId: string): Promise<void> {
  await queryRows(pool, {
    name: 'forget_reply_chunks',
    text: `DELETE FROM session_chain.reply_chunks c USING project_chat_log_minimal t
           WHERE t.session_id = $1 AND t.question_id < $2 AND c.question_id = t.question_id`,
    values: [chatId, beforeQuestionId],
  });
}

/**
 * Calls back with the pieces of a reply as they are stored, in order, until the signal aborts. Best effort: it rejects
 * when the database goes away; the reply itself is stored with the question.
 */
export async function followReply(
  pool: Pool,
  questionId: string,
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
    if (payload === questionId) wake();
  };
  connection.on('error', onError).on('notification', onNotification);
  const aborted = () => wake();
  signal.addEventListener('abort', aborted);
  try {
    await connection.query(`LISTEN ${channel}`);
    let last = '0';
    for (;;) {
      // What was stored before the end is delivered, too.
      const isLast = signal.aborted;
      const woken = new Promise<void>((resolve) => (wake = resolve));
      const rows = await queryRows<ReplyChunk & { ordinal: string }>(pool, {
        name: 'read_reply_chunks',
        text: `SELECT c.ordinal::text, c.attempt, c.message, c.content AS text FROM session_chain.reply_chunks c
               WHERE c.question_id = $1 AND c.ordinal > $2 ORDER BY c.ordinal`,
        values: [questionId, last],
      });
      for (const { ordinal, ...chunk } of rows) {
        last = ordinal;
        onChunk(chunk);
      }
      if (isLast) return;
      // A notification may be lost with its connection, so look from time to time.
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
