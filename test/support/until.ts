import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Waits for a condition, with a look every 50 ms, and says what it waited for where it does not come true. The time is for a
 * machine that is busy with other things; no test is about it.
 */
export async function until(condition: () => boolean | Promise<boolean>, timeoutMs = 240_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadline)
      throw new Error(`It did not come true within ${timeoutMs} ms: ${condition.toString()}`);
    await sleep(50);
  }
}
