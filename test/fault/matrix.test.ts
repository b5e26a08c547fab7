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
  // What a lane runs follows one another, the lanes run side by side.
  const tails = lanes.map(async () => await Promise.resolve());
  function follow<Result>(index: number, run: (lane: Lane) => Promise<Result>): Promise<Result> {
    const place = index % laneCount;
    const result = Promise.resolve(tails[place]).then(async () => await run(lanes[place] as Lane));
    tails[place] = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }
  sample.forEach((cell, index) =>
    results.set(
      cell,
      follow(index, (lane) => runCell(lane, cell, { stallMs: 8_000 })),
    ),
  );
  lossNames.forEach((loss, index) =>
    takeovers.set(
      loss,
      follow(sample.length + index, (lane) => runTakeover(lane, `takeover_${loss}`, loss)),
    ),
  );
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
