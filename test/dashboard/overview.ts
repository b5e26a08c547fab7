import { expect, it } from '@jest/globals';
import type { Looking } from './looking.js';

/** The overview and the list of projects, on the world. */
export function overviewTests(look: () => Looking): void {
  it('shows first what needs attention: why, what to do, and which chains', async () => {
    const { open } = look();
    const page = await open('/');
    const attention = page.getByRole('region', { name: 'Needs attention' });
    const failed = attention.getByRole('listitem').filter({ hasText: 'MODEL_REFUSED' }).first();
    await failed.waitFor();
    expect(await failed.innerText()).toMatch(/MODEL_REFUSED · \d+ chains?/);
    await failed.getByRole('link', { name: /forum/ }).click();
    await page.waitForURL(/\/projects\/forum\/chains\//);
    await page.goBack();
    await attention.getByText('No worker polls the task queue').waitFor();
    await attention.getByText(/waits? for the model service/).waitFor();
    await attention.getByRole('link', { name: 'Integrity' }).waitFor();
  });

  it('shows what runs with its steps, what waits and for what, and who is behind whom', async () => {
    const page = await look().open('/');
    const card = (name: string) => page.getByRole('region', { name, exact: true });
    const blog = card('Running').getByRole('row').filter({ hasText: 'blog' });
    await blog.waitFor();
    expect(await blog.getByRole('img').getAttribute('aria-label')).toMatch(/^build: running, /);
    const wiki = card('Waiting').getByRole('row').filter({ hasText: 'wiki' });
    expect(await wiki.innerText()).toContain('the model service');
    const queue = card('Queues of projects').getByRole('row').filter({ hasText: 'blog' });
    expect(await queue.innerText()).toMatch(/v1[\s\S]*1\.\s+\S*v2[\s\S]*2\.\s+\S*v3/);
  });

  it('counts as the API does, and says what each number counts', async () => {
    const { open, url, key } = look();
    const page = await open('/');
    const answer = await fetch(`${url}/v1/chains/counts`, { headers: { authorization: `Bearer ${key}` } });
    const { status } = (await answer.json()) as { status: Record<string, number> };
    const numbers = page.locator('dl').first();
    for (const [label, count] of [
      ['Running', status['running']],
      ['Queued', status['queued']],
    ] as const) {
      const stat = numbers
        .locator('div')
        .filter({ has: page.locator('dt', { hasText: label }) })
        .first();
      await stat.getByRole('link', { name: String(count), exact: true }).waitFor();
      const hint = stat.getByRole('button');
      await hint.focus();
      expect(await stat.getByRole('tooltip').innerText()).not.toBe('');
    }
  });

  it('leads from a card that shows a part to all, by a link that is more than a colour', async () => {
    const { open, axe } = look();
    const page = await open('/');
    const counts = '**/v1/chains/counts*';
    await page.route(counts, async (route) => {
      const response = await route.fetch();
      const read = (await response.json()) as { status: object };
      await route.fulfill({ response, json: { ...read, status: { ...read.status, running: 99 } } });
    });
    await page.reload();
    await page.getByText(/The newest \d+ of 99\./).waitFor();
    await axe(page, ['link-in-text-block']);
    await page.unrouteAll({ behavior: 'wait' });
  });

  it('leaves out, with a key for one project, what such a key may not read', async () => {
    const page = await look().open('/', { key: 'shop', refused: true });
    await page.getByText('this key is not for every project').waitFor();
    await page
      .getByRole('region', { name: 'Ended last' })
      .getByRole('link', { name: /^shop/ })
      .first()
      .waitFor();
    expect(await page.getByText('forum').count()).toBe(0);
  });

  it('finds projects by a part of the id, by status and sync, with all of it in the address', async () => {
    const { open, url } = look();
    const page = await open('/projects');
    const rows = page.getByRole('rowheader');
    await page.getByRole('searchbox').fill('SMALL-01');
    await page.waitForURL(`${url}/projects?search=SMALL-01`);
    await rows.filter({ hasText: 'small-010' }).waitFor();
    await rows.filter({ hasText: 'blog' }).waitFor({ state: 'detached' });
    expect(await rows.count()).toBe(10);
    await page.getByRole('button', { name: 'Clear' }).click();
    await page.getByLabel('Sync').selectOption('false');
    await page.waitForURL(`${url}/projects?inSync=false`);
    const drifted = page.getByRole('row').filter({ hasText: 'moved-outside' });
    await drifted.getByText('The head was moved past session-chain.').waitFor();
    await page.getByLabel('Newest chain').selectOption('failed');
    await page.waitForURL(`${url}/projects?inSync=false&status=failed`);
    const other = await open('/projects?search=forum&status=failed');
    await other.getByRole('row').filter({ hasText: 'MODEL_REFUSED' }).waitFor();
    const none = await open('/projects?search=%25&status=nonsense');
    await none.getByText('No project is like this').waitFor();
  });

  it('goes from page to page of the list and back', async () => {
    const page = await look().open('/projects?order=moved');
    const first = await page.getByRole('rowheader').allInnerTexts();
    expect(first).toHaveLength(50);
    const button = (name: string) => page.getByRole('button', { name, exact: true });
    expect(await button('Previous').isDisabled()).toBe(true);
    await button('Next').click();
    await page
      .getByRole('rowheader')
      .filter({ hasText: first[0] ?? '' })
      .waitFor({ state: 'detached' });
    const second = await page.getByRole('rowheader').allInnerTexts();
    expect(second.filter((name) => first.includes(name))).toEqual([]);
    await button('Previous').click();
    await page
      .getByRole('rowheader')
      .filter({ hasText: first[0] ?? '' })
      .first()
      .waitFor();
  });
}
