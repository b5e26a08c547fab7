import type { Client } from '@temporalio/client';
import { SessionChainError } from '../contracts/failures.js';
import { mayBeHidden, requireAccess } from '../storage/db/host-access.js';
import { type Connection, classified } from '../storage/db/pool.js';
import { temporalError } from '../temporal/errors.js';
import { withSignal } from '../temporal/signal.js';

type Method = (...args: unknown[]) => unknown;

/** What ends the calls under way: Temporal's client, through which they call, and the signal with the error that they then get. */
export interface Closing {
  temporal: Client;
  closed: AbortSignal;
}

/**
 * The same methods, which throw only our own errors: an error of Postgres or Temporal by its kind, any other as
 * INTERNAL with its cause. The reason of a signal that the caller aborted is passed through. A row that is not found may be
 * hidden by row-level security of the host, which is told instead. With `closing` the signal ends what is under way, and what
 * is called later; what reads item by item ends by itself.
 */
export function throwingOwnErrors<Methods extends object>(
  pool: Connection,
  client: Methods,
  closing?: Closing,
): Methods {
  const methods = Object.entries(client) as [string, Method][];
  return Object.fromEntries(
    methods.map(([name, method]) => [name, guarded(method, pool, closing)]),
  ) as Methods;
}

function guarded(method: Method, pool: Connection, closing: Closing | undefined): Method {
  return (...args) => {
    const own = (error: unknown) => {
      if (isAborted(args)) return error;
      return closing?.closed.aborted ? (closing.closed.reason as Error) : ownError(error);
    };
    try {
      const returned = closing && isAsync(method) ? endedBy(closing, method, args) : method(...args);
      if (returned instanceof Promise) {
        return returned.catch(async (error: unknown) => {
          const known = own(error);
          if (known instanceof SessionChainError && mayBeHidden(known)) await requireAccess(pool);
          throw known;
        });
      }
      return isAsyncGenerator(returned) ? guardedItems(returned, own) : returned;
    } catch (error) {
      throw own(error);
    }
  };
}

async function endedBy({ temporal, closed }: Closing, method: Method, args: unknown[]): Promise<unknown> {
  return await withSignal(temporal, closed, async () => await method(...args));
}

function isAsync(method: Method): boolean {
  return method.constructor.name === 'AsyncFunction';
}

async function* guardedItems(items: AsyncGenerator<unknown>, own: (error: unknown) => unknown) {
  try {
    yield* items;
  } catch (error) {
    throw own(error);
  }
}

function ownError(error: unknown): SessionChainError {
  const known = classified(error);
  return known instanceof SessionChainError ? known : temporalError(known);
}

function isAborted(args: readonly unknown[]): boolean {
  return args.some((arg) => (arg as { signal?: AbortSignal } | null | undefined)?.signal?.aborted === true);
}

function isAsyncGenerator(value: unknown): value is AsyncGenerator<unknown> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
}
