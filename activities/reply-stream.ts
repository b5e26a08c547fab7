import { setTimeout as delay } from 'node:timers/promises';
import { type ReplyChunk, addReplyChunk } from '../storage/questions/reply-chunks.js';
import type { ActivityDependencies } from './dependencies.js';

/** Takes a reply piece by piece while the model writes it, and stores it for viewers. */
export interface ReplyStream {
  add(text: string, message: number): void;
  /** Resolves when nothing is under way any more. */
  end(): Promise<void>;
}

/** Often enough for a reader's eye; every batch is a row and a notification. */
const batchMs = 150;

/** Best effort: a batch that cannot be stored is dropped, because the question's row will hold the whole reply. */
export function createReplyStream(
  { pool, log }: Pick<ActivityDependencies, 'pool' | 'log'>,
  questionId: string,
  attempt: number,
): ReplyStream {
  let batch: ReplyChunk | null = null;
  let writing = Promise.resolve();
  const flush = () => {
    const chunk = batch;
    batch = null;
    if (!chunk) return;
    writing = writing
      .then(() => addReplyChunk(pool, questionId, chunk))
      .catch((error: unknown) => log.warn({ err: error, questionId }, 'A piece of a reply was not stored.'));
  };
  return {
    add(text, message) {
      if (batch && batch.message !== message) flush();
      if (batch) {
        batch.text += text;
        return;
      }
      batch = { attempt, message, text };
      void delay(batchMs).then(flush);
    },
    async end() {
      flush();
      await writing;
    },
  };
}
