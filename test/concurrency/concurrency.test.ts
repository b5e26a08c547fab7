import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { transpileRooms } from '../support/transpile.js';
import { runChains } from './chains.js';
import { check } from './checker.js';
import { type LoadOptions, catchMutant, runLoad, unexplained } from './load.js';
import { mutantNames } from './mutants.js';

/** The short form of `npm run concurrency`. */

/** What the processes import. */
const rooms = [
  ...['contracts', 'config', 'temporal', 'transcript', 'workspace', 'client', 'storage'],
  'test/concurrency',
];

let built: string;
let load: Omit<LoadOptions, 'operations' | 'guards'>;
beforeAll(() => {
  built = mkdtempSync(join(tmpdir(), 'session-chain-concurrency-built-'));
  transpileRooms(rooms, built);
  load = {
    writer: join(built, 'test/concurrency/writer.js'),
    writers: 3,
    clientsPerWriter: 5,
    projects: 16,
    faultEveryMs: 40,
  };
});
afterAll(() => rmSync(built, { recursive: true, force: true }));

describe('processes that move the same heads while things break', () => {
  it.each(['kept', 'dropped'] as const)(
    'leave a linearizable history, with the guards of the tables %s',
    async (guards) => {
      const { history, final } = await runLoad({ ...load, operations: 1_500, guards });
      expect(history.length).toBeGreaterThanOrEqual(1_500);
      expect(final.transitions.length).toBeGreaterThan(50);
      expect(final.transitions.filter(({ step }) => step === 'rewind').length).toBeGreaterThan(0);
      expect(unexplained(history)).toEqual([]);
      expect(check(history, final).flatMap(({ violations }) => violations)).toEqual([]);
    },
  );

  it.each(mutantNames)('are caught when the storage functions are the mutant %s', async (guards) => {
    const { broken } = await catchMutant({ ...load, operations: 1_200, guards }, 5);
    expect(broken).not.toEqual([]);
  });
});

describe('whole chains that several processes start at once', () => {
  it('work one after the other in the order of their tickets, and no reader sees a head go back', async () => {
    const { rules, history, transitions } = await runChains({
      starter: join(built, 'test/concurrency/starter.js'),
      starters: 2,
      workers: 1,
      chainsPerProject: [3],
      onProgress: () => undefined,
    });
    expect(rules.flatMap(({ violations }) => violations)).toEqual([]);
    expect(transitions).toBe(12);
    expect(history.length).toBeGreaterThan(2);
  });
});
