import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type CellResult, runCell } from './cell.js';
import { stepNames } from './definition.js';
import { type Base, type Lane, prepareBase, startLane } from './lane.js';
import {
  type Cell,
  allCells,
  faultNames,
  modeNames,
  momentNames,
  nameOf,
  notApplicable,
  sample,
} from './matrix.js';
import { type Loss, type TakeoverResult, lossNames, losses, runTakeover } from './takeover.js';

/** A sample of the kill matrix, of which `npm run fault` runs all, and one takeover of each kind. */
const laneCount = 3;
let base: Base;
const lanes: Lane[] = [];
const results = new Map<Cell, Promise<CellResult>>();
const takeovers = new Map<Loss, Promise<TakeoverResult>>();

beforeAll(async () => {
  base = await prepareBase();
  lanes.push(...(await Promise.all(Array.from({ length: laneCount }, () => startLane(base)))));
  // The cells of a lane follow one another, the lanes run side by side.
  sample.forEach((cell, index) => {
    const lane = lanes[index % laneCount];
    const before = sample[index - laneCount];
    if (!lane) return;
    const run = Promise.resolve(before && results.get(before)).then(() =>
      runCell(lane, cell, { stallMs: 8_000 }),
    );
    run.catch(() => undefined);
    results.set(cell, run);
  });
  lossNames.forEach((loss, index) => {
    const lane = lanes[index % laneCount];
    const before = sample[sample.length - laneCount + (index % laneCount)];
    if (!lane) return;
    const run = Promise.resolve(before && results.get(before)).then(() =>
      runTakeover(lane, `takeover_${loss}`, loss),
    );
    run.catch(() => undefined);
    takeovers.set(loss, run);
  });
});
afterAll(async () => {
  await Promise.allSettled([...results.values(), ...takeovers.values()]);
  await Promise.all(lanes.map((lane) => lane.stop()));
  base.remove();
});

describe('the kill matrix', () => {
  it.each(sample.map((cell) => [nameOf(cell), cell] as const))('%s', async (_name, cell) => {
    expect(await results.get(cell)).toMatchObject({ problems: [], paidTwice: 0 });
  });

  it('names a reason for each cell that it leaves out, and a sample that touches every mode, step, moment and fault', () => {
    const cells = allCells();
    expect(cells).toHaveLength(1120);
    expect(cells.filter((cell) => notApplicable(cell) === null)).toHaveLength(851);
    expect(sample.filter((cell) => notApplicable(cell) !== null)).toEqual([]);
    expect(new Set(sample.map(({ mode }) => mode))).toEqual(new Set(modeNames));
    expect(new Set(sample.map(({ step }) => step))).toEqual(new Set(stepNames));
    expect(new Set(sample.map(({ moment }) => moment))).toEqual(new Set(momentNames));
    expect(new Set(sample.map(({ fault }) => fault))).toEqual(new Set(faultNames));
  });
});

describe('an agent that writes without end', () => {
  it.each(lossNames.map((loss) => [losses[loss], loss] as const))(
    'is dead when the next attempt begins, where its worker %s',
    async (_name, loss) => {
      const result = await takeovers.get(loss);
      expect(result).toMatchObject({ problems: [] });
      expect(result?.marginMs).toBeGreaterThan(0);
    },
  );
});
