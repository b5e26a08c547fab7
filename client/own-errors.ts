import { SessionChainError } from '../contracts/failures.js';
import { requireAccess } from '../storage/db/host-access.js';
import { type Connection, classified } from '../storage/db/pool.js';
import { temporalError } from '../temporal/errors.js';

type Method = (...args: unknown[]) => unknown;

/**
 * The same methods, which throw only our own errors: an error of Postgres or Temporal by its kind, any other as
 * INTERNAL with its cause. The reason of a signal that the caller aborted is passed through. A row that is not found may be
 * hidden by row-level security of the host, which is told instead.
 */
export function throwingOwnErrors<Client extends object>(pool: Connection, client: Client): Client {
  const methods = Object.entries(client) as [string, Method][];
  return Object.fromEntries(methods.map(([name, method]) => [name, guarded(method, pool)])) as Client;
}

function guarded(method: Method, pool: Connection): Method {
  return (...args) => {
    const own = (error: unknown) => (isAborted(args) ? error : ownError(error));
    let returned: unknown;
    try {
      returned = method(...args);
    } catch (error) {
      throw own(error);
    }
    if (returned instanceof Promise) {
      return returned.catch(async (error: unknown) => {
        const known = own(error);
        if (known instanceof SessionChainError && /^(PROJECT|VERSION)_NOT_FOUND$/.test(known.code)) {
          await requireAccess(pool);
        }
        throw known;
      });
    }
    return isAsyncGenerator(returned) ? guardedItems(returned, own) : returned;
  };
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
