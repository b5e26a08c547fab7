import type { FastifyInstance } from 'fastify';
import type { SessionChain } from '../client/session-chain.js';

export async function metrics(
  _app: FastifyInstance,
  _options: { sessionChain: SessionChain },
): Promise<void> {}
