import { defineChain } from 'session-chain/config';

/** The steps of a chain, in order. Absent fields are as shipped: docs/configuration.md lists every field. */
export default defineChain({
  // A name alone is a shipped step as it is, an object with a shipped name changes it; steps of your own go anywhere between.
  steps: ['build', 'metadata', { name: 'docs', maxTurns: 30, maxCostUsd: 2 }, 'compact'],
});
