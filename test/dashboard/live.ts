import { expect, it } from '@jest/globals';
import type { Page } from 'playwright-core';
import { until } from '../support/chain-stack.js';
import type { Looking } from './looking.js';

/** Waits until the main part of a page says something. */
async function says(page: Page, what: RegExp, isThere = true): Promise<void> {
  let said = '';
  try {
    await until(async () => {
      said = await page.locator('main').innerText();
      return what.test(said) === isThere;
    });
  } catch {
    throw new Error(
      `${page.url()} ${isThere ? 'does not say' : 'goes on saying'} ${String(what)}: ${said.slice(0, 2_000)}`,
    );
  }
}

/** Where the links of the main part lead, each once. */
const linksOf = async (page: Page) =>
  await page.evaluate<string[]>(
    `[...new Set([...document.querySelectorAll('main a')].map((link) => link.getAttribute('href')))].sort()`,
  );

/**
 * A chain that is watched from the queue to its end, while the server is killed; nobody reloads a page. It is the one that stands
 * behind the running one of the world, which ends here.
 */
export function liveTests(
  look: () => Looking,
  server: { kill: () => Promise<void>; start: () => Promise<void> },
): void {
  it('a chain is shown as it goes on, also by pages that were without a server for a while', async () => {
    const { open, world } = look();
    const { sessionChain, model, root } = world.stack;
    const { running, queued, queuedSecond } = world.chains;
    const path = ({ projectId, versionId, buildId }: typeof queued) =>
      `/projects/${projectId}/chains/${versionId}/${buildId}`;
    const [chain, overview] = [
      await open(path(queued), { refused: true }),
      await open('/', { refused: true }),
    ];
    for (const page of [chain, overview]) await page.evaluate(`window.isNotReloaded = true`);
    const runs = overview.getByRole('table', { name: 'Running chains' });
    await says(chain, /queued/i);
    await says(chain, /position 1/i);
    await runs
      .locator(`a[href^="${path(running)}"]`)
      .first()
      .waitFor();

    let asked = 0;
    const held = model.inject({
      hold: 'midStream',
      when: ({ step, bodyText }) =>
        step === 'build' && bodyText.includes(`${root}/blog`) && (asked += 1) === 2,
    });
    await sessionChain.cancel(queuedSecond);
    await sessionChain.cancel(running);
    await held.reached;
    await says(chain, /working on build/i);
    await says(chain, /Bash/);
    await runs
      .locator(`a[href^="${path(queued)}"]`)
      .first()
      .waitFor();
    await runs
      .locator(`a[href^="${path(running)}"]`)
      .first()
      .waitFor({ state: 'detached' });

    await server.kill();
    for (const page of [chain, overview]) await says(page, /the server does not answer/i);
    held.release();
    expect(await sessionChain.wait(queued)).toMatchObject({ status: 'completed' });
    await server.start();
    for (const page of [chain, overview]) await says(page, /the server does not answer/i, false);
    await says(chain, /completed/);
    await says(chain, /working on/i, false);
    await overview
      .getByRole('table', { name: 'Chains that ended last' })
      .locator(`a[href^="${path(queued)}"]`)
      .first()
      .waitFor();
    for (const page of [chain, overview]) expect(await page.evaluate(`window.isNotReloaded`)).toBe(true);
    // What a page would show that was never without a server.
    const [again, overviewAgain] = [await open(path(queued)), await open('/')];
    await until(async () => JSON.stringify(await linksOf(chain)) === JSON.stringify(await linksOf(again)));
    await until(
      async () => JSON.stringify(await linksOf(overview)) === JSON.stringify(await linksOf(overviewAgain)),
    );
  });
}
