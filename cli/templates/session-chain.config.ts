import { defineChain } from 'session-chain/config';

/** What a build makes the agents do. What is left out is as shipped: docs/configuration.md lists every field. */
export default defineChain({
  houseRules: 'Keep the README of the project true.',
  steps: {
    build: { maxTurns: 200, maxCostUsd: 10 },
  },
});
