import { type Pool, queryOne } from '../db/pool.js';

/** Of the newest chains that opened, at most 20: how many, and how many of them had no limit of cost as a whole. */
export async function chainsWithoutCostLimit(pool: Pool): Promise<{ chains: number; unlimited: number }> {
  return await queryOne<{ chains: number; unlimited: number }>(pool, {
    text: `SELECT count(*)::integer AS chains,
             count(*) FILTER (WHERE (c.budget ->> 'maxCostUsd') IS NULL)::integer AS unlimited
           FROM (SELECT budget FROM session_chain.chains WHERE opened_at IS NOT NULL ORDER BY id DESC LIMIT 20) c`,
  });
}
