import type { AttemptId } from '../contracts/ids.js';
import { type LivePiece, addLiveText, forgetLiveText } from '../storage/live/text.js';
import { toSessionChainError } from '../contracts/failures.js';
import type { ActivityDependencies } from './dependencies.js';
import { failureFields } from './log.js';

/** Takes the text of an attempt piece by piece while the model writes it, and stores it for viewers. */
export interface LiveText {
  /** An empty text says that a block has ended: what there is of it is stored now. */
  add(text: string, message: number): void;
  /** Resolves when nothing is under way any more. */
  end(): Promise<void>;
}

/** Often enough for a reader's eye; every batch is a row. */
const batchMs = 250;

/** Best effort: a batch that cannot be stored is dropped, because the transcript will hold the whole text. */
export function createLiveText(
  { pool, log }: Pick<ActivityDependencies, 'pool' | 'log'>,
  attemptId: AttemptId,
): LiveText {
  let pieces: LivePiece[] = [];
  let timer: NodeJS.Timeout | undefined;
  let isTold = false;
  const tell = (error: unknown) => {
    if (!isTold) log.info('live_text.not_stored', failureFields(toSessionChainError(error)));
    isTold = true;
  };
  const write = async (work: () => Promise<void>) => await work().catch((error: unknown) => tell(error));
  let writing = write(() => forgetLiveText(pool));
  const flush = () => {
    clearTimeout(timer);
    timer = undefined;
    if (pieces.length === 0) return;
    // What comes while a batch is being written goes with the next one.
    writing = writing.then(async () => {
      const batch = pieces;
      pieces = [];
      await write(async () => {
        for (const piece of batch) await addLiveText(pool, attemptId, piece);
      });
    });
  };
  return {
    add(text, message) {
      if (text === '') {
        flush();
        return;
      }
      const last = pieces.at(-1);
      if (last?.message === message) last.text += text;
      else pieces.push({ message, text });
      timer ??= setTimeout(flush, batchMs);
    },
    async end() {
      flush();
      await writing;
    },
  };
}
