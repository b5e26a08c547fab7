import { expect, it } from '@jest/globals';
import type { Page } from 'playwright-core';
import { type Looking, settled } from './looking.js';

/** The rows that are there just now; of a long transcript those in sight. */
const rows = (page: Page) => page.getByRole('feed', { name: 'Transcript' }).getByRole('article');

export function transcriptTests(look: () => Looking): void {
  it('groups a build by requests, with its tools and images folded', async () => {
    const { open, world } = look();
    const page = await open(`/projects/shop/sessions/${world.sessions.build}`);
    await page.getByText('Written by').waitFor();
    expect(await page.getByRole('link', { name: /^build of shop-v1/ }).getAttribute('href')).toContain(
      '/projects/shop/chains/shop-v1/shop-v1?step=build&attempt=',
    );
    await rows(page).first().waitFor();
    expect(await page.getByRole('article', { name: 'Prompt' }).count()).toBeGreaterThan(0);
    const call = page.getByRole('button', { name: /^Write / }).first();
    await call.click();
    await page
      .getByRole('group', { name: /^Change: \d+ lines added/ })
      .first()
      .waitFor();
    expect(await call.getAttribute('aria-expanded')).toBe('true');
    // The raw entry is read where it is wanted.
    await page.getByRole('article', { name: 'Prompt' }).first().getByRole('button', { name: 'JSON' }).click();
    await page.getByText('"promptId"').first().waitFor();
  });

  it('shows what was copied only where it is wanted, and a compaction as before and after', async () => {
    const { open, world } = look();
    const page = await open(`/projects/shop/sessions/${world.sessions.compacted}`);
    const compaction = page.getByRole('article', { name: 'Compaction' }).last();
    await compaction.waitFor();
    expect(await compaction.innerText()).toMatch(/[\d,]+ tokens before → [\d,]+ after/);
    await compaction.getByRole('button', { name: /^Summary/ }).click();
    await compaction.getByText('Primary Request and Intent').waitFor();
    expect(await page.getByRole('article', { name: 'Prompt' }).count()).toBe(0);
    await page.getByRole('button', { name: 'Show the copied part' }).click();
    await page.getByRole('article', { name: 'Prompt' }).first().waitFor();
  });

  it('holds of 10,000 entries only those in sight, and goes by keyboard and search to any of them', async () => {
    const { open, world } = look();
    const page = await open(`/projects/long-session/sessions/${world.sessions.long}`);
    await page.locator('[role=feed][aria-busy=false]').waitFor();
    const size = Number(await rows(page).first().getAttribute('aria-setsize'));
    expect(size).toBeGreaterThan(1_000);
    expect(await rows(page).count()).toBeLessThan(60);

    await rows(page).first().focus();
    for (const key of ['j', 'ArrowDown', 'k']) await page.keyboard.press(key);
    await page.locator('article[aria-posinset="2"]:focus').waitFor();
    await page.keyboard.press('End');
    await page.locator(`article[aria-posinset="${size}"]:focus`).waitFor();
    expect(await rows(page).count()).toBeLessThan(60);
    await page.mouse.wheel(0, -100_000_000);
    await page.locator('article[aria-posinset="1"]').waitFor();

    await page.getByRole('searchbox').fill('export const n = 99');
    await page.getByRole('status').filter({ hasText: /^\d+$/ }).waitFor();
    await page.getByRole('button', { name: 'Next match' }).click();
    await page
      .getByRole('status')
      .filter({ hasText: /^1 of \d+$/ })
      .waitFor();
    expect(new URL(page.url()).searchParams.get('q')).toBe('export const n = 99');
    await page.getByRole('searchbox').fill('nothing has these words');
    await page.getByText('nothing found').waitFor();
  });

  it('is opened by a link at an entry and with a filter, and says where there is no such entry', async () => {
    const { open, world, url, key } = look();
    const path = `/projects/long-session/sessions/${world.sessions.long}`;
    const answer = await fetch(`${url}/v1${path}/entries?limit=10000&raw=false&maxText=1`, {
      headers: { authorization: `Bearer ${key}` },
    });
    const { entries } = (await answer.json()) as { entries: { entryId: string | null; type: string }[] };
    const wanted = entries.filter(({ type }) => type === 'assistant').at(-40)?.entryId ?? '';
    const page = await open(`${path}?entry=${wanted}`);
    const marked = page.locator('article[aria-current=true]');
    await marked.waitFor();
    await page.locator('article[aria-current=true]:focus').waitFor();
    const { y = -1 } = (await marked.boundingBox()) ?? {};
    expect(y).toBeGreaterThanOrEqual(0);
    expect(y).toBeLessThan(1_000);

    const filtered = await open(`/projects/shop/sessions/${world.sessions.build}?show=tools&entry=none`);
    await filtered.getByText('is not in this session').waitFor();
    expect(await filtered.getByRole('button', { name: 'Tools', pressed: true }).count()).toBe(1);
    expect(await filtered.getByRole('article', { name: 'Prompt' }).count()).toBe(0);
    await filtered.getByRole('button', { name: 'Thinking', exact: true }).click();
    await filtered.waitForURL(/show=thinking/);
  });

  it('makes of the Markdown of a model no more than text and links that say where they lead', async () => {
    const { open, world, axe } = look();
    const page = await open(`/projects/hostile/sessions/${world.sessions.hostile}?q=heading of the model`);
    await page.getByRole('button', { name: 'Next match' }).click();
    const heading = page.getByText('A heading of the model').first();
    await heading.waitFor();
    await page.getByText('(example.com)').first().waitFor();
    const addresses = await page
      .getByRole('feed')
      .locator('a')
      .evaluateAll((links) => links.map((link) => (link as { protocol?: string }).protocol));
    expect(addresses.filter((one) => !['http:', 'https:', 'mailto:'].includes(String(one)))).toEqual([]);
    expect(await page.getByRole('feed').locator('img').count()).toBe(0);
    await axe(page);
  });

  it('says of a session that nothing is known of what to do', async () => {
    const page = await look().open('/projects/shop/sessions/none', { refused: true, width: 360 });
    await page.getByText('SESSION_NOT_IN_STORE').waitFor();
    await settled(page);
    expect(await page.getByRole('alert').count()).toBe(1);
  });
}
