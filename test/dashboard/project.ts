import { expect, it } from '@jest/globals';
import type { Page } from 'playwright-core';
import { readChainState } from '../../storage/chains/chain-state.js';
import { closeChain } from '../../storage/chains/chains.js';
import { readHead } from '../../storage/heads/heads.js';
import { newKey, noStatus, openNew, runStep } from '../support/chains.js';
import type { Looking } from './looking.js';

const pictureOf = (page: Page) => page.getByRole('group', { name: /^Lineage/ });
const detailsOf = (page: Page) => page.getByRole('complementary', { name: /^Session / });
const addressOf = (page: Page) => new URL(page.url()).searchParams;

/** The page of a project: its lineage, what is beside it, and going back. */
export function projectTests(look: () => Looking): void {
  it('shows the head first, and by the keyboard each session with its details', async () => {
    const page = await look().open('/projects/shop');
    await detailsOf(page).getByText('head', { exact: true }).waitFor();
    const head = pictureOf(page).getByRole('button', { name: /^Head/ });
    expect(await head.isVisible()).toBe(true);
    await head.focus();
    await page.keyboard.press('ArrowLeft');
    await page.keyboard.press('Enter');
    await page.waitForURL(/[?&]session=/);
    const selected = pictureOf(page).locator('[aria-pressed=true]');
    expect(await selected.getAttribute('data-cell')).toBe(addressOf(page).get('session'));
    expect(await detailsOf(page).getByRole('link', { name: 'Transcript' }).getAttribute('href')).toBe(
      `/projects/shop/sessions/${addressOf(page).get('session')}`,
    );
    await look().axe(page);
    await page.reload();
    await selected.waitFor();
  });

  it('has the same sessions as a table, and says in a legend what the shapes mean', async () => {
    const page = await look().open('/projects/shop', { theme: 'dark' });
    await page.getByRole('button', { name: 'Legend' }).click();
    await page.getByRole('list', { name: 'Legend' }).getByText('an answer beside the line').waitFor();
    await look().axe(page);
    const table = page.getByRole('table', { name: /^Sessions of the project/ });
    const first = table.getByRole('row').nth(1).locator('[aria-pressed=false]');
    await first.click();
    await page.waitForURL(/[?&]session=/);
    await look().screenshot(page, 'project-legend-dark');
  });

  it('folds a long line, and unfolds a chain in the address', async () => {
    const page = await look().open('/projects/long-line');
    const folds = pictureOf(page).locator('[aria-expanded=false]');
    const count = await folds.count();
    expect(count).toBeGreaterThan(10);
    const id = await folds.last().getAttribute('data-cell');
    await folds.last().click();
    await page.waitForURL(/[?&]unfold=/);
    await pictureOf(page).locator(`[data-cell="${id}"]`).waitFor({ state: 'detached' });
    expect(await folds.count()).toBe(count - 1);
    await look().screenshot(page, 'project-unfolded');
  });

  it('says of a head that is lost what to do, and does not offer to copy it', async () => {
    const { open, world } = look();
    const { sessionId } = await readHead(world.stack.database.pool, newKey('lost-head').projectId);
    const page = await open(`/projects/lost-head?session=${sessionId}`);
    await detailsOf(page)
      .getByText(/Import it|recover the project/i)
      .waitFor();
    await pictureOf(page)
      .getByText(/lost|hole/)
      .first()
      .waitFor({ state: 'attached' });
    await look().screenshot(page, 'project-lost-head');
  });

  it('goes back to an earlier head after a dry run, and shows the new one by itself', async () => {
    const { open, world } = look();
    const { pool } = world.stack.database;
    const chain = await openNew(pool, newKey('goes-back'));
    const first = await runStep(pool, chain, 'build');
    await runStep(pool, chain, 'metadata');
    const page = await open(`/projects/goes-back?session=${first.newSessionId}`, { refused: true });
    const rewind = detailsOf(page).getByRole('button', { name: 'Rewind to here' });
    await rewind.click();
    const dialog = page.getByRole('dialog');
    // The chain holds the project.
    await dialog.getByRole('alert').getByText('PROJECT_BUSY').waitFor();
    await dialog.getByRole('button', { name: 'Back' }).click();

    await closeChain(pool, chain, {
      ...{ ticket: chain.ticket, runId: chain.runId, versionStatus: noStatus },
      result: { ...(await readChainState(pool, chain)), status: 'completed' },
    });
    await rewind.click();
    await dialog.getByText('The head would forget 1 operation').waitFor();
    expect(await readHead(pool, chain.projectId)).toMatchObject({ seq: 2 });
    await dialog.getByRole('button', { name: 'Rewind to here' }).click();
    await dialog.getByText(/^The head is now/).waitFor();
    expect(await readHead(pool, chain.projectId)).toMatchObject({ seq: 3 });
    await dialog.getByRole('button', { name: 'Close' }).click();
    await pictureOf(page)
      .getByRole('button', { name: /^Head.*rewind to 1/s })
      .waitFor();
  });

  it('tells a key that reads why it may not go back', async () => {
    const { open, world } = look();
    const page = await open(`/projects/shop?session=${world.sessions.build}`, { key: 'read' });
    await detailsOf(page).getByText('Your key may only read').waitFor();
    expect(await detailsOf(page).getByRole('button', { name: 'Rewind to here' }).isDisabled()).toBe(true);
  });

  it('opens a chat with its questions and replies', async () => {
    const page = await look().open('/projects/shop');
    await page.getByRole('button', { expanded: false }).filter({ hasText: 'question' }).first().click();
    await page.waitForURL(/[?&]chat=/);
    await page
      .getByRole('list', { name: /^Questions of the chat/ })
      .getByRole('link', { name: 'in the lineage' })
      .first()
      .waitFor();
    await look().axe(page);
  });

  it('says of a project without sessions what would make one', async () => {
    const page = await look().open('/projects/empty');
    await page.getByText('This project has no sessions yet.').waitFor();
    await page
      .getByText(/session-chain start --project empty/)
      .first()
      .waitFor();
  });

  it('says of a session that is not there where to look', async () => {
    const page = await look().open('/projects/shop?session=none');
    await page.getByText('The session none is not among those that are shown').waitFor();
    await page.getByRole('button', { name: 'Show the head' }).click();
    await detailsOf(page).getByText('head', { exact: true }).waitFor();
  });
}
