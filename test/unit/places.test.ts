import { setImmediate as turn } from 'node:timers/promises';
import { expect, it } from '@jest/globals';
import { createPlaces } from '../../workers/places.js';

/** Places that a worker's two task queues share. */

const context = { slotType: 'activity', taskQueue: 'all', workerIdentity: '', workerBuildId: '' } as const;

function polls(places: ReturnType<typeof createPlaces>) {
  const stop = new AbortController();
  let has = 0;
  let ended: unknown;
  return {
    count: () => has,
    ended: () => ended,
    async poll() {
      void Promise.resolve(places.supplier.reserveSlot({ ...context, isSticky: false }, stop.signal)).then(
        () => (has += 1),
        (error: unknown) => (ended = error),
      );
      await turn();
    },
    async release() {
      has -= 1;
      places.supplier.releaseSlot({ permit: {} });
      await turn();
    },
    async stop() {
      stop.abort();
      await turn();
      return stop.signal.reason as unknown;
    },
  };
}

it('are never more than there are, whichever queue a task comes from; a poll that has brought none comes last', async () => {
  const places = createPlaces(2);
  const all = polls(places);
  await all.poll();
  await all.poll();
  const give = places.take('own');
  expect([all.count(), give]).toEqual([2, expect.any(Function)]);
  expect(places.take('all')).not.toBeNull();
  expect([places.take('all'), places.take('own')]).toEqual([null, null]);
  // What the other poll brought was returned; no poll follows it before a place is free.
  await all.release();
  await all.poll();
  expect(all.count()).toBe(1);
  give?.();
  give?.();
  await turn();
  expect(all.count()).toBe(2);
});

it('stay free for the task that a process is kept for, not for what comes from the queue of all', async () => {
  const places = createPlaces(1);
  const all = polls(places);
  places.keep();
  await all.poll();
  expect(all.count()).toBe(0);
  expect(places.supplier.tryReserveSlot({ ...context, isSticky: false })).toBeNull();
  const give = places.take('own');
  expect(give).not.toBeNull();
  give?.();
  await turn();
  expect(all.count()).toBe(1);
  await all.release();
  expect(places.supplier.tryReserveSlot({ ...context, isSticky: false })).not.toBeNull();
});

it('end a poll that waits for one when the worker stops, with the reason that its library knows', async () => {
  const places = createPlaces(1);
  const all = polls(places);
  expect(places.take('own')).not.toBeNull();
  await all.poll();
  expect(await all.stop()).toBe(all.ended());
  expect(all.ended()).toBeDefined();
});
