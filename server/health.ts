import type { FastifyInstance } from 'fastify';
import type { SessionChain } from '../client/session-chain.js';

export async function health(
  _app: FastifyInstance,
  _options: { sessionChain: SessionChain },
): Promise<void> {}
