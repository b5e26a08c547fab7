import type { ChainInput, ChainResult } from '../../contracts/chain.js';
import { chain as original } from '../../workflows/chain.js';

/** A chain that was changed carelessly: its steps run in another order. */
export async function chain(input: ChainInput): Promise<ChainResult> {
  return await original({ ...input, steps: [...input.steps].reverse() });
}
