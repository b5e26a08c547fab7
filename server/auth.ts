import type { FastifyInstance } from 'fastify';

export interface AuthOptions {
  keys?: unknown;
}

/** Who calls, and what they may. */
export async function auth(_app: FastifyInstance, _options: AuthOptions): Promise<void> {}
