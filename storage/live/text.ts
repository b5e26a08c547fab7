import type { AttemptId } from '../../contracts/ids.js';
import { type Pool, queryRows } from '../db/pool.js';

/** Text of an attempt as the model writes it. Best effort: what it comes to is in the transcript. */
export interface LivePiece {
  /** Counts the messages of the attempt, from 1. */
  message: number;
  text: string;
}

/** Nothing waits for it for long: a transcript that cannot be stored either has its own way to wait. */
const statementMs = 5_000;

/** Adds a piece. Who watches the attempt looks for it by itself: nothing is notified. */
export async function addLiveText(pool: Pool, attemptId: AttemptId, piece: LivePiece): Promise<void> {
  const add = {
    name: 'add_live_text',
    text: 'INSERT INTO session_chain.live_chunks (attempt_id, message, content) VALUES ($1, $2, $3)',
    values: [attemptId, piece.message, piece.text],
    query_timeout: statementMs,
  };
  await queryRows(pool, add);
}

/** Deletes what was written so long ago that the transcript has it. */
export async function forgetLiveText(pool: Pool): Promise<void> {
  const forget = {
    name: 'forget_live_text',
    text: `DELETE FROM session_chain.live_chunks WHERE written_at < clock_timestamp() - interval '10 minutes'`,
    query_timeout: statementMs,
  };
  await queryRows(pool, forget);
}

/** The pieces of an attempt after one of them, in order. */
export async function readLiveText(
  pool: Pool,
  attemptId: AttemptId,
  after: number,
): Promise<(LivePiece & { ordinal: number })[]> {
  return await queryRows<LivePiece & { ordinal: number }>(pool, {
    name: 'read_live_text',
    text: `SELECT ordinal, message, content AS text FROM session_chain.live_chunks
           WHERE attempt_id = $1 AND ordinal > $2 ORDER BY ordinal LIMIT 1000`,
    values: [attemptId, after],
  });
}
