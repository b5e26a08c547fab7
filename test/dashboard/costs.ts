import { expect, it } from '@jest/globals';
import type { Looking } from './looking.js';

/** The page Costs: what was spent in which days, and by what. */
export function costsTests(look: () => Looking): void {
  it('shows the sums, a bar and a line per day, and what cost most', async () => {
    const page = await look().open('/costs');
    await page.getByText(/attempts; the cost is more than is shown/).waitFor();
    const picture = page.getByRole('img', { name: /^Cost by day\. ≥ \$[\d.]+ in 30 days; most on / });
    expect(await picture.count()).toBe(1);
    await page.getByText('As a table').click();
    expect(
      await page
        .getByRole('table', { name: /^Cost by day/ })
        .getByRole('row')
        .count(),
    ).toBe(31);
    const steps = page.getByRole('table', { name: /^Cost by step/ });
    expect(await steps.getByRole('row').nth(1).innerText()).toMatch(/^build\s+≥ \$/);
    expect(await page.getByRole('table', { name: /^Cost by model/ }).innerText()).toMatch(/claude-/);
  });

  it('keeps days and project in the address, and follows them', async () => {
    const page = await look().open('/costs?since=2026-01-01&until=2026-01-02');
    await page.getByText('Nothing was spent in these days.').waitFor();
    await page.getByRole('link', { name: '90 days' }).click();
    await page
      .getByRole('table', { name: /^Cost by project/ })
      .getByRole('link', { name: 'long-line' })
      .click();
    await page.waitForURL(/since=.*project=long-line/);
    await page.getByText('of the project').waitFor();
    expect(await page.getByRole('table', { name: /^Cost by project/ }).count()).toBe(0);
    await page.getByRole('link', { name: 'All projects' }).click();
    await page.getByRole('table', { name: /^Cost by project/ }).waitFor();
  });

  it('offers each table as CSV, of the same days and project', async () => {
    const { open, url } = look();
    const page = await open('/costs?project=shop');
    const links = page.getByRole('link', { name: 'CSV' });
    await links.nth(2).waitFor();
    const href = (await links.first().getAttribute('href')) ?? '';
    expect(href).toMatch(/^\/v1\/spend\.csv\?by=day&since=.*&projectId=shop$/);
    const answer = await page.request.get(`${url}${href}`);
    expect([answer.status(), (await answer.text()).split(',')[0]]).toEqual([200, 'day']);
  });

  it('says what to do about a project that there is not, and takes days that are none for the default', async () => {
    const { open } = look();
    const page = await open('/costs?project=none-such', { refused: true });
    await page.getByRole('alert').getByText('PROJECT_NOT_FOUND').waitFor();
    const other = await open('/costs?since=yesterday&until=2026-13-45');
    await other.getByRole('img', { name: / in 30 days; / }).waitFor();
  });
}
