import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type CellResult, runCell } from './cell.js';
import { stepNames } from './definition.js';
import { type Base, type Lane, prepareBase, startLane } from './lane.js';
import { type Cell, allCells, faultNames, momentNames, nameOf, notApplicable, sample } from './matrix.js';

/** A sample of the kill matrix; `npm run fault` runs all of it. */
const laneCount = 3;
let base: Base;
const lanes: Lane[] = [];
const results = new Map<Cell, Promise<CellResult>>();

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
});
afterAll(async () => {
  await Promise.allSettled(results.values());
  await Promise.all(lanes.map((lane) => lane.stop()));
  base.remove();
});

describe('the kill matrix', () => {
  it.each(sample.map((cell) => [nameOf(cell), cell] as const))('%s', async (_name, cell) => {
    expect(await results.get(cell)).toMatchObject({ problems: [], paidTwice: 0 });
  });

  it('names a reason for each cell that it leaves out, and a sample that touches every step, moment and fault', () => {
    const cells = allCells();
    expect(cells).toHaveLength(448);
    expect(cells.filter((cell) => notApplicable(cell) === null)).toHaveLength(378);
    expect(sample.filter((cell) => notApplicable(cell) !== null)).toEqual([]);
    expect(new Set(sample.map(({ step }) => step))).toEqual(new Set(stepNames));
    expect(new Set(sample.map(({ moment }) => moment))).toEqual(new Set(momentNames));
    expect(new Set(sample.map(({ fault }) => fault))).toEqual(new Set(faultNames));
  });
});
