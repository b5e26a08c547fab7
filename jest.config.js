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
  // More than two cores: a test waits for a fifth of its time, for leases and heartbeats to end.
  maxWorkers: 3,
};
