import type { Client } from '@temporalio/client';
import { SessionChainError } from '../contracts/failures.js';
import { mayBeHidden, requireAccess } from '../storage/db/host-access.js';
import { type Connection, classified } from '../storage/db/pool.js';
import { temporalError } from '../temporal/errors.js';
import { unlessAborted, withSignal } from '../temporal/signal.js';

type Method = (...args: unknown[]) => unknown;

/** What ends the calls under way: Temporal's client, through which they call, and the signal with the error that they then get. */
export interface Closing {
  temporal: Client;
  closed: AbortSignal;
  /** The methods that give item after item: whether that error ends them, or they just end. */
  items: Readonly<Record<string, 'fails' | 'ends'>>;
}

/**
 * The same methods, which throw only our own errors: an error of Postgres or Temporal by its kind, any other as
 * INTERNAL with its cause. The reason of a signal that the caller aborted is passed through. A row that is not found may be
 * hidden by row-level security of the host, which is told instead. With `closing` the signal ends what is under way, and what
 * is called later.
 */
export function throwingOwnErrors<Methods extends object>(
  pool: Connection,
  client: Methods,
  closing?: Closing,
): Methods {
  const methods = Object.entries(client) as [string, Method][];
  return Object.fromEntries(
    methods.map(([name, method]) => {
      const ending = closing?.items[name];
      return [
        name,
        closing && ending ? givingItems(method, pool, closing, ending) : guarded(method, pool, closing),
      ];
    }),
  ) as Methods;
}

function guarded(method: Method, pool: Connection, closing: Closing | undefined): Method {
  const call = async (args: unknown[]) => await told(pool, async () => await method(...args));
  return async (...args) => {
    try {
      return await (closing ? withSignal(closing.temporal, closing.closed, () => call(args)) : call(args));
    } catch (error) {
      throw ownErrorOf(error, args, closing);
    }
  };
}

/** With the error that row-level security hides a row in place of the one that it is not found. */
async function told<Result>(pool: Connection, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof SessionChainError && mayBeHidden(error)) await requireAccess(pool);
    throw error;
  }
}

function givingItems(method: Method, pool: Connection, closing: Closing, ending: 'fails' | 'ends'): Method {
  const { closed } = closing;
  return (...args) => {
    const own = (error: unknown) => ownErrorOf(error, args, closing);
    try {
      closed.throwIfAborted();
      const items = method(...args) as AsyncGenerator<unknown>;
      return itemsUntil(closed, items, async () => await told(pool, () => items.next()), own, ending);
    } catch (error) {
      throw own(error);
    }
  };
}

async function* itemsUntil(
  closed: AbortSignal,
  items: AsyncGenerator<unknown>,
  next: () => Promise<IteratorResult<unknown>>,
  own: (error: unknown) => unknown,
  ending: 'fails' | 'ends',
): AsyncGenerator<unknown> {
  try {
    for (;;) {
      // One that waits for a connection of a pool that is closed would never go on.
      const item = await unlessAborted(closed, next());
      if (item.done) return;
      yield item.value;
    }
  } catch (error) {
    if (!closed.aborted || ending === 'fails') throw own(error);
  } finally {
    const returned = items.return(undefined);
    // What it is about is not waited for.
    if (closed.aborted) returned.catch(() => undefined);
    else await returned;
  }
}

function ownErrorOf(error: unknown, args: readonly unknown[], closing: Closing | undefined): unknown {
  if (isAborted(args)) return error;
  return closing?.closed.aborted ? closing.closed.reason : ownError(error);
}

function ownError(error: unknown): SessionChainError {
  const known = classified(error);
  return known instanceof SessionChainError ? known : temporalError(known);
}

function isAborted(args: readonly unknown[]): boolean {
  return args.some((arg) => (arg as { signal?: AbortSignal } | null | undefined)?.signal?.aborted === true);
}
