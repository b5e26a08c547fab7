import { expect, it } from '@jest/globals';
import type { ChainKey } from '../../contracts/ids.js';
import type { Looking } from './looking.js';

const pathOf = ({ projectId, versionId, buildId }: ChainKey) =>
  `/projects/${projectId}/chains/${versionId}/${buildId}`;

/** The page of a chain. */
export function chainTests(look: () => Looking): void {
  it('shows the lanes of a chain by keyboard, and the same as a table', async () => {
    const { open, world } = look();
    const page = await open(pathOf(world.chains.completed));
    const lanes = page.getByRole('group', { name: /^Lanes/ });
    await lanes.focus();
    await page.keyboard.press('ArrowRight');
    const said = page.locator('[role=status]').filter({ hasText: 'at 0 ms' });
    await said.getByText(/^Queue \d/).waitFor();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('End');
    await page.getByText(/^build, attempt 1 · at /).waitFor();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Step build' }).waitFor();
    expect(new URL(page.url()).searchParams.get('step')).toBe('build');
    expect(new URL(page.url()).searchParams.get('attempt')).toMatch(/^\d+$/);

    await page.getByText('As a table').click();
    const table = page.getByRole('table', { name: 'Where the time of each attempt went' });
    await table.getByRole('row', { name: /^docs 1 committed/ }).waitFor();
    await table.getByRole('link', { name: 'docs 1' }).click();
    await page.getByRole('heading', { name: 'Step docs' }).waitFor();
    await page.getByRole('button', { name: 'Zoom in' }).click();
    await page.getByText('2×').waitFor();
    expect(new URL(page.url()).searchParams.get('zoom')).toBe('2');
  });

  it('shows what the selected step said, wrote and took, by an address that can be sent', async () => {
    const { open, world } = look();
    const page = await open(`${pathOf(world.chains.completed)}?step=metadata`);
    const step = page.getByRole('region', { name: 'Step metadata' });
    await step.getByRole('heading', { name: 'Submitted value' }).waitFor();
    await step.getByText('Read from the cache').waitFor();
    await step.getByRole('link', { name: 'build', exact: false }).first().click();
    const build = page.getByRole('region', { name: 'Step build' });
    const file = build.getByText('index.html', { exact: true });
    await file.click();
    await build.getByRole('region', { name: 'Changes of index.html' }).getByText('<!doctype html>').waitFor();
    const transcript = build.getByRole('link', { name: 'In the transcript' }).first();
    expect(await transcript.getAttribute('href')).toMatch(/\/sessions\/[0-9a-f-]{36}\?entry=[0-9a-f-]{36}$/);
    expect(await page.getByRole('link', { name: 'Open in Temporal' }).getAttribute('href')).toBe(
      `http://127.0.0.1:8233/namespaces/default/workflows/chain%2Fshop%2Fshop-v1%2Fshop-v1`,
    );
  });

  it('says what recovery used: continued and adopted attempts, the rule, and what that saved', async () => {
    const { open, world } = look();
    const continued = await open(pathOf(world.chains.continued));
    await continued.getByRole('definition').filter({ hasText: '1 continued' }).waitFor();
    const build = continued.getByRole('region', { name: 'Step build' });
    await build.getByText('It continued attempt 1.').waitFor();
    await build.getByText('WORKER_LOST').first().waitFor();
    await build.getByText(/its work was begun, and could be continued/).waitFor();
    await build.getByText(/Saved ≥? ?\$/).waitFor();
    const adopted = await open(pathOf(world.chains.adopted));
    await adopted.getByText(/It committed, as it was, the finished session of attempt 1/).waitFor();
    await adopted.getByRole('definition').filter({ hasText: '1 adopted' }).waitFor();
  });

  it('says first what an open chain waits for, and of a closed one why it ended', async () => {
    const { open, world } = look();
    const { chains } = world;
    // In one page: a browser has six connections to a server, and each page holds one for its events.
    const page = await open(pathOf(chains.queued));
    const now = page.getByRole('region', { name: 'Now' });
    const says = async (key: ChainKey, ...texts: (string | RegExp)[]) => {
      await page.goto(new URL(pathOf(key), page.url()).href);
      for (const text of texts) await now.getByText(text).first().waitFor();
    };
    const leadsTo = async () => await now.getByRole('link').getAttribute('href');
    await says(chains.queued, 'Queued, position 1');
    expect(await leadsTo()).toBe(pathOf(chains.running));
    await says(chains.waiting, /^Waiting for the model service in /);
    await says(chains.deploying, /^Waiting for /);
    await says(chains.withoutWorker, /^No worker for /, /no worker polls/);
    expect(await leadsTo()).toBe('/settings');
    await says(chains.running, 'Working on build');
    await says(chains.failed, 'MODEL_REFUSED', 'What to do:');
    await says(chains.budget, 'Budget used up');
  });

  it('offers what the state allows, with a dry run, and to a key that reads why not', async () => {
    const { open, world } = look();
    const { chains } = world;
    const reads = await open(pathOf(chains.running), { key: 'read' });
    expect(await reads.getByRole('button', { name: /not now: your key may only read/ }).isDisabled()).toBe(
      true,
    );
    const failed = await open(pathOf(chains.failed));
    await failed.getByRole('button', { name: 'Start again' }).click();
    await failed
      .getByRole('dialog', { name: 'Start again' })
      .getByText(/queued again/)
      .waitFor();
    const budget = await open(pathOf(chains.budget));
    await budget.getByRole('button', { name: 'Start again' }).click();
    await budget
      .getByRole('dialog')
      .getByLabel(/Limit of the cost/)
      .waitFor();
    const done = await open(`${pathOf(chains.completed)}?step=build`);
    await done.getByRole('button', { name: 'Rewind to here' }).click();
    await done
      .getByRole('dialog')
      .getByText(/The head would be a copy of/)
      .waitFor();
    await done.getByRole('dialog').getByRole('button', { name: 'Back' }).click();
    expect(await done.getByRole('button', { name: 'Cancel' }).count()).toBe(0);
  });

  it('is found by no axe rule, in both themes, and fits 360 px with a table open', async () => {
    const { open, axe, world, screenshot } = look();
    for (const options of [{ theme: 'light' }, { theme: 'dark', width: 360 }] as const) {
      const page = await open(`${pathOf(world.chains.continued)}?step=build`, options);
      await page.getByText('As a table').click();
      await axe(page);
      await screenshot(page, `chain-continued-${options.theme}`);
    }
  });
}
