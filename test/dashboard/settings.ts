import { expect, it } from '@jest/globals';
import type { Looking } from './looking.js';

/** Settings: who works and by what, keys, and what is not in order. */
export function settingsTests(look: () => Looking): void {
  const card = (page: Awaited<ReturnType<Looking['open']>>, name: string | RegExp) =>
    page.getByRole('region', { name });

  it('shows the living worker, the one that was killed, and the queue that nobody polls', async () => {
    const { open, world } = look();
    const page = await open('/settings');
    const workers = card(page, 'Workers');
    const living = workers.getByRole('row', { name: new RegExp(`^${world.worker.process.pid}-`) });
    await living.getByText('alive').waitFor();
    await living.getByText(/\d+ of 8/).waitFor();
    const queue = card(page, 'Task queues').getByRole('row', { name: /-of-nobody/ });
    await queue.getByText('none').waitFor();
  });

  it('shows the definition in use: its steps in order, with limits and tools, and no prompt', async () => {
    const page = await look().open('/settings');
    const definition = card(page, /^Definition [0-9a-f]{8}$/);
    const names = await definition.getByRole('rowheader').allTextContents();
    expect(names.map((name) => /^\d\. (build|metadata|docs|compact|deploy|review)/.exec(name)?.[1])).toEqual([
      ...['build', 'metadata', 'docs', 'compact', 'deploy', 'review'],
    ]);
    const build = definition.getByRole('row', { name: /^1\. build/ });
    await build.getByText('fails the chain').waitFor();
    await build.getByText('1 h', { exact: true }).waitFor();
    await build.getByText('NotebookEdit').waitFor();
    expect(await page.content()).not.toContain('Make the first working version');
  });

  it('shows keys without a secret, and how one is made and revoked', async () => {
    const { open, world } = look();
    const page = await open('/settings');
    const keys = card(page, 'Keys');
    const id = world.keys.read.split('_')[1] ?? '';
    await keys.getByText(`session-chain keys revoke ${id}`).waitFor();
    await keys.getByText(/cannot make a key/).waitFor();
    for (const key of Object.values(world.keys))
      expect(await page.content()).not.toContain(key.split('_')[2]);
  });

  it('shows what doctor found, the worst first, with what to do, and checks again later', async () => {
    const page = await look().open('/settings');
    const doctor = card(page, 'Doctor');
    const first = doctor.getByRole('row').nth(1);
    // Tests connect as a superuser.
    await first.getByText('is a superuser').waitFor();
    await first.getByText(/migrate --grants/).waitFor();
    await doctor.getByRole('row', { name: /^temporal ok/ }).waitFor();
    expect(await doctor.getByRole('button', { name: 'Run again' }).count()).toBe(1);
  });

  it('says to a key that may not see a part what it takes', async () => {
    const { open } = look();
    const reads = await open('/settings', { key: 'read' });
    await card(reads, 'Doctor').getByText('a key of the scope admin').waitFor();
    await card(reads, 'Keys').getByText('Yours has the scope read.').waitFor();
    await card(reads, 'Workers').getByText('alive').first().waitFor();
    const shop = await open('/settings', { key: 'shop', refused: true });
    await card(shop, 'Workers').getByText('a key for every project').waitFor();
    await card(shop, 'This server').getByRole('link', { name: 'shop' }).waitFor();
  });
}
