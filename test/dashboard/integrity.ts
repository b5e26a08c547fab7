import { expect, it } from '@jest/globals';
import type { Looking } from './looking.js';

/** The page Integrity: what is not as it should be, why, and what to do. */
export function integrityTests(look: () => Looking): void {
  it('says first what was found, then why and what to do', async () => {
    const page = await look().open('/integrity');
    await page.getByRole('heading', { name: /^\d of 5 checks found something$/ }).waitFor();
    const broken = page.getByRole('table', { name: 'Broken sessions' });
    for (const [project, what] of [
      ['quarantined', 'in quarantine'],
      ['with-hole', 'has a hole'],
      ['never-stored', 'never stored'],
    ] as const) {
      const row = broken
        .getByRole('row')
        .filter({ has: page.getByRole('link', { name: project, exact: true }) });
      expect(await row.innerText()).toContain(what);
      expect(await row.innerText()).toContain(`session-chain recover --project ${project} --dry-run`);
    }
    const drifted = page.getByRole('table', { name: 'Projects out of sync' });
    expect(await drifted.innerText()).toContain('The head was moved past session-chain.');
    const fenced = page.getByRole('table', { name: /^Fenced attempts/ });
    expect(await fenced.innerText()).toMatch(/WORKER_LOST/);
  });

  it('recovers by a dry run first, which says what would be done', async () => {
    const page = await look().open('/integrity');
    await page.getByRole('button', { name: 'Recover quarantined' }).click();
    const dialog = page.getByRole('dialog', { name: 'Recover quarantined' });
    await dialog.getByText(/would be given up/).waitFor();
    await dialog.getByRole('button', { name: 'Back' }).click();
    expect(await dialog.count()).toBe(0);
  });

  it('lets a key that reads look, and says what its buttons take', async () => {
    const page = await look().open('/integrity', { key: 'read' });
    expect(await page.getByRole('button', { name: /^Recover quarantined/ }).isDisabled()).toBe(true);
    await page.getByText(/take a key of the scope/).waitFor();
  });

  it('shows a key for one project that project alone', async () => {
    const page = await look().open('/integrity', { key: 'shop', refused: true });
    await page.getByText('1 of 1 projects name their head').waitFor();
    expect(await page.getByRole('link', { name: 'quarantined' }).count()).toBe(0);
  });
}
