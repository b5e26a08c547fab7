import type { ProjectId } from '../contracts/ids.js';
import type { KeyScope } from '../contracts/keys.js';

/** Who calls, and what it may see. */
export interface Caller {
  /** Null: no key was asked for. */
  keyId: string | null;
  /** What it may do; of nobody the least. */
  scope: KeyScope;
  /** Null: every project. A route that is over several projects shows those of the list alone. */
  projects: readonly ProjectId[] | null;
  /** Whether its key is still valid, for an answer that goes on for long. */
  isStillAllowed(): Promise<boolean>;
}

declare module 'fastify' {
  interface FastifyRequest {
    caller: Caller;
  }
}

/** The caller of a route that is open to every request. */
export const anonymous: Caller = {
  keyId: null,
  scope: 'read',
  projects: [],
  isStillAllowed: async () => true,
};
