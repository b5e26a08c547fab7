import { SessionChainError } from '../contracts/failures.js';
import type { AttemptId } from '../contracts/ids.js';
import type { EntryPlace } from '../storage/live/entries.js';

/** How far a watch has read an attempt. */
export interface LivePlace {
  /** The next entry to read. */
  entry: EntryPlace;
  /** The last piece of live text that was read; 0 for none. */
  text: number;
}

/** Where a watch goes on: behind an event, and behind what it has of the attempts that ran then. */
export interface WatchPlace {
  eventId: number;
  /** Null where the cursor does not say: it was given by something that shows no live items. */
  live: ReadonlyMap<AttemptId, LivePlace> | null;
}

export const liveStart: LivePlace = { entry: { append: 1, index: 0 }, text: 0 };

/** `<event id>`, and for a watch that shows live items `~<attempt>:<append>.<index>.<text>,…`, one for each running attempt. */
export function cursorOf({ eventId, live }: WatchPlace): string {
  if (live === null) return String(eventId);
  const places = [...live].map(
    ([attemptId, { entry, text }]) => `${attemptId}:${entry.append}.${entry.index}.${text}`,
  );
  return `${eventId}~${places.join(',')}`;
}

const number = '(?:0|[1-9][0-9]{0,14}|[1-8][0-9]{15})';
const place = `${number}:${number}\\.${number}\\.${number}`;
const cursorPattern = new RegExp(`^(${number})(?:~((?:${place}(?:,${place}){0,99})?))?$`);

/** The place that a caller gives back. Throws INVALID_INPUT. */
export function placeOf(cursor: unknown): WatchPlace {
  const [, eventId, places] = (typeof cursor === 'string' && cursorPattern.exec(cursor)) || [];
  if (eventId === undefined) {
    throw new SessionChainError(
      'INVALID_INPUT',
      `The cursor ${shown(cursor)} is not one that a watch gave.`,
      'Pass the cursor of the last item, unchanged; "0" for the oldest event that is kept, "now" for what comes.',
    );
  }
  if (places === undefined) return { eventId: Number(eventId), live: null };
  const live = places.split(',').flatMap((one): [AttemptId, LivePlace][] => {
    const [attemptId, append, index, text] = one.split(/[:.]/);
    return attemptId ? [[attemptId as AttemptId, placeFrom(append, index, text)]] : [];
  });
  return { eventId: Number(eventId), live: new Map(live) };
}

function placeFrom(
  append: string | undefined,
  index: string | undefined,
  text: string | undefined,
): LivePlace {
  // An append is an integer of Postgres.
  return {
    entry: { append: Math.min(Number(append), 2 ** 31 - 2), index: Math.min(Number(index), 2 ** 31 - 1) },
    text: Number(text),
  };
}

function shown(cursor: unknown): string {
  const text = typeof cursor === 'string' ? JSON.stringify(cursor) : typeof cursor;
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}
