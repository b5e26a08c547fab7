import { describe, expect, test } from '@jest/globals';
import { clockLabel, elapsedLabel, tickStep, ticksOf, timeScale } from '../../dashboard/ui/axis.js';

describe('the ticks of an axis', () => {
  test('are round, and as many as asked for at most, from milliseconds to years', () => {
    for (const durationMs of [0, 1, 7, 480, 4_200, 61_000, 3 * 3_600_000, 5 * 86_400_000, 4e11, 4e14]) {
      for (const most of [1, 4, 10]) {
        const ticks = ticksOf({ from: 1_000, to: 1_000 + durationMs }, most);
        expect(ticks.length).toBeLessThanOrEqual(most + 1);
        expect(ticks[0]?.at).toBe(1_000);
      }
    }
    expect(tickStep(4_200, 6)).toBe(1_000);
    expect(tickStep(3 * 3_600_000, 6)).toBe(30 * 60_000);
    expect(ticksOf({ from: 130, to: 480 }, 4, 0).map(({ at }) => at)).toEqual([200, 300, 400]);
    expect(ticksOf({ from: 10, to: 5 }, 4, 0)).toEqual([]);
  });

  test('say what their step tells apart', () => {
    const said = (ms: number, step: number) => elapsedLabel(ms, step);
    expect([said(0, 100), said(250, 50), said(2_000, 1_000), said(2_500, 500), said(1_250, 50)]).toEqual([
      ...['0', '250 ms', '2 s', '2.5 s', '1.25 s'],
    ]);
    expect([
      said(90_000, 30_000),
      said(120_000, 60_000),
      said(7_500_000, 300_000),
      said(172_800_000, 86_400_000),
    ]).toEqual([...['1:30 min', '2 min', '2:05 h', '2 d']]);
    const noon = new Date(2026, 10, 26, 12, 5, 9).getTime();
    expect([clockLabel(noon, 1_000), clockLabel(noon, 60_000), clockLabel(noon, 86_400_000)]).toEqual([
      ...['12:05:09', '12:05', '26 Nov'],
    ]);
  });
});

describe('the scale of an axis', () => {
  test('shares the width by time, and leaves out what is cut', () => {
    const { share, sections } = timeScale(
      [
        { from: 0, to: 100 },
        { from: 1_000, to: 1_300 },
      ],
      0.2,
    );
    expect(
      [-5, 0, 50, 100, 500, 1_000, 1_300, 9_999].map(share).map((one) => Number(one.toFixed(3))),
    ).toEqual([0, 0, 0.1, 0.2, 0.4, 0.4, 1, 1]);
    expect(sections).toHaveLength(2);
  });
  test('of a moment, and of nothing', () => {
    expect(timeScale([{ from: 5, to: 5 }]).share(5)).toBe(0);
    expect(timeScale([]).share(5)).toBe(0);
  });
});
