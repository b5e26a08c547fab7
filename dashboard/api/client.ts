import { signal } from '@preact/signals';
import { type Problem, type components, createHttpClient } from '../../http/client.js';

export type { Problem };
/** What the API answers with, by the names of docs/openapi.json. */
export type Schemas = components['schemas'];

/** Whether the browser is logged in; null until the first answer. */
export const isLoggedIn = signal<boolean | null>(null);
/** Whether the server answers; false from the first request that found none until one does. */
export const isReachable = signal(true);

/** The API, asked with the cookie of the login. */
export const http = createHttpClient({
  baseUrl: location.origin,
  fetch: async (request) => {
    try {
      const response = await fetch(request);
      isReachable.value = true;
      // Other refusals, such as a rate, say nothing of it.
      if (response.ok || response.status === 401) isLoggedIn.value = response.ok;
      return response;
    } catch (error) {
      if (!request.signal.aborted) isReachable.value = false;
      throw error;
    }
  },
});

/** What the server refused, with what to do. */
export class ProblemError extends Error {
  override readonly name = 'ProblemError';
  constructor(readonly problem: Problem) {
    super(problem.detail);
  }
}

/** The data of a call. Throws {@link ProblemError} where the server refused it. */
export async function dataOf<Data>(
  call: Promise<{ data?: Data; error?: unknown; response: Response }>,
): Promise<Data> {
  const { data, error, response } = await call;
  if (data !== undefined) return data;
  throw new ProblemError(isProblem(error) ? error : unknownProblem(response));
}

/** A proxy in front of the server answers in words of its own. */
function isProblem(error: unknown): error is Problem {
  const { detail, remedy } = (error ?? {}) as Partial<Problem>;
  return typeof detail === 'string' && typeof remedy === 'string';
}

function unknownProblem({ status, statusText }: Response): Problem {
  return {
    ...{ type: 'about:blank', title: statusText, status },
    detail: `The server, or a proxy in front of it, answered ${status}.`,
    remedy: 'Try again; their logs may say more.',
    retryable: status >= 500 || status === 429,
  };
}
