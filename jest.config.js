import { availableParallelism, totalmem } from 'node:os';

/** Jest 30 on ESM: TypeScript is stripped by swc; servers and one workflow bundle are made once, in globalSetup. */
export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { target: 'es2022', parser: { syntax: 'typescript' } }, module: { type: 'es6' } },
    ],
  },
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  modulePathIgnorePatterns: ['<rootDir>/dist', '<rootDir>/.session-chain'],
  globalSetup: '<rootDir>/test/support/global-setup.js',
  globalTeardown: '<rootDir>/test/support/global-teardown.js',
  testTimeout: 600_000,
  testSequencer: '<rootDir>/test/support/longest-first.js',
  // More than cores: a test waits for much of its time, for leases, heartbeats and pauses between tries to end. A worker
  // of Jest takes, with what its tests start, up to 1.5 GB.
  maxWorkers: Math.max(2, Math.min(2 * availableParallelism() + 1, Math.floor(totalmem() / 1.5e9))),
};
