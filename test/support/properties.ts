import fc from 'fast-check';

/** Of random values in tests: the same in every run, so that a red run is about the change. Others: TEST_SEED=$RANDOM. */
export const seed = Number(process.env['TEST_SEED'] ?? 18);

fc.configureGlobal({ seed });

export { fc };
