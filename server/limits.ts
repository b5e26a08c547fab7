import type { FastifyInstance } from 'fastify';

export interface LimitsOptions {
  /** Bytes of a request's body. */
  bodyLimit?: number;
}

export async function limits(_app: FastifyInstance, _options: LimitsOptions | undefined): Promise<void> {}
