import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import type { AxeResults } from 'axe-core';
import { type Browser, type BrowserContext, type Page, chromium } from 'playwright-core';
import { until } from '../support/chain-stack.js';
import { testProgram } from '../support/programs.js';
import type { World } from '../support/world.js';

export interface OpenOptions {
  theme?: 'light' | 'dark';
  /** Of the window, in px. Default: 1440. */
  width?: number;
  /** Which of the world's keys is logged in. Default: `admin`. */
  key?: keyof World['keys'];
  /** The page asks for what is not there or may not be read: the browser's log of such answers is no problem. */
  refused?: boolean;
}

/** The dashboard in Chromium, on the world. */
export interface Looking {
  world: World;
  /** Of the server. */
  url: string;
  /** The admin key. */
  key: string;
  /** Opens a page of the dashboard, logged in, and waits until it shows what it read. It is left after the test, see {@link Looking.close}. */
  open: (path: string, options?: OpenOptions) => Promise<Page>;
  /** Fails for what axe finds on the page as it is now; `rules` are all of WCAG A and AA and axe's best practices unless some are named. */
  axe: (page: Page, rules?: string[]) => Promise<void>;
  /** Whether pictures are kept, see {@link Looking.screenshot}. */
  hasPictures: boolean;
  /** Keeps a picture of the whole page in the folder that SESSION_CHAIN_SCREENSHOTS names; without one does nothing. */
  screenshot: (page: Page, name: string) => Promise<void>;
  /** Leaves the pages that were opened, and fails for what went wrong on any: see {@link watchFor}. */
  close: () => Promise<void>;
  stop: () => Promise<void>;
}

/** Opens Chromium on a server of the dashboard. */
export async function startLooking(world: World, url: string): Promise<Looking> {
  const browser = await chromium.launch({
    executablePath: testProgram('chromium'),
    args: ['--no-sandbox', '--disable-gpu'],
  });
  const folder = process.env['SESSION_CHAIN_SCREENSHOTS'];
  const contexts = new Map<string, Promise<BrowserContext>>();
  const opened: { page: Page; key: string; problems: string[] }[] = [];
  // One of each key is used again: a new page costs the browser as much as what it shows.
  const idle = new Map<string, Page>();
  const contextOf = (key: string) => {
    const known = contexts.get(key) ?? loggedIn(browser, url, key);
    contexts.set(key, known);
    return known;
  };
  return {
    world,
    url,
    key: world.keys.admin,
    async open(path, { theme = 'light', width = 1440, key = 'admin', refused = false } = {}) {
      const page = idle.get(key) ?? (await (await contextOf(world.keys[key])).newPage());
      idle.delete(key);
      opened.push({ page, key, problems: watchFor(page, url, refused) });
      await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' });
      await page.setViewportSize({ width, height: width < 500 ? 800 : 1000 });
      await page.goto(url + path);
      await settled(page);
      return page;
    },
    axe: async (page, rules) => await runAxe(page, rules),
    hasPictures: Boolean(folder),
    async screenshot(page, name) {
      if (!folder) return;
      mkdirSync(folder, { recursive: true });
      await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
    },
    async close() {
      const all = opened.splice(0);
      for (const { page, key, problems } of all) {
        if (await page.evaluate('window.canary !== undefined')) problems.push('Something hostile ran.');
        for (const event of watched) page.removeAllListeners(event);
        if (idle.has(key)) await page.close();
        else idle.set(key, page);
      }
      expect(all.flatMap(({ problems }) => problems)).toEqual([]);
    },
    stop: async () => await browser.close(),
  };
}

/** A browser's profile with the cookie of a key. */
async function loggedIn(browser: Browser, url: string, key: string): Promise<BrowserContext> {
  const answer = await fetch(`${url}/v1/codes`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}` },
  });
  const context = await browser.newContext();
  // As long as everything else is waited for.
  context.setDefaultTimeout(240_000);
  const page = await context.newPage();
  await page.goto(((await answer.json()) as { url: string }).url);
  await page.close();
  return context;
}

/** Once the page has its heading and nothing on it is being loaded. */
export async function settled(page: Page): Promise<void> {
  await page.locator('h1').first().waitFor();
  // Not in the page, whose policy allows no evaluation.
  const loading = page.getByRole('status').filter({ hasText: /^Loading$/ });
  await until(async () => (await loading.count()) === 0);
}

/** The events that {@link watchFor} listens to. */
const watched = ['console', 'pageerror', 'request', 'dialog', 'popup', 'download', 'framenavigated'];

/**
 * Notes what no page may do: errors of scripts or in the console (a violation of the policy is one), requests to other hosts,
 * dialogs, windows, downloads, other pages.
 */
function watchFor(page: Page, url: string, refused: boolean): string[] {
  const problems: string[] = [];
  page.on('console', (message) => {
    const isNetwork = message.text().startsWith('Failed to load resource');
    if (message.type() === 'error' && !(refused && isNetwork))
      problems.push(`console: ${message.text()} (${message.location().url})`);
  });
  page.on('pageerror', ({ message }) => problems.push(`script: ${message}`));
  page.on('request', (request) => {
    if (!/^(blob:|data:)/.test(request.url()) && !request.url().startsWith(`${url}/`))
      problems.push(`request to another host: ${request.url().slice(0, 200)}`);
  });
  page.on('dialog', (dialog) => {
    problems.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on('popup', (popup) => problems.push(`window: ${popup.url()}`));
  page.on('download', (download) => problems.push(`download: ${download.url().slice(0, 200)}`));
  page.on('framenavigated', (frame) => {
    if (frame !== page.mainFrame() || !frame.url().startsWith(`${url}/`))
      problems.push(`navigation: ${frame.url().slice(0, 200)}`);
  });
  return problems;
}

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

async function runAxe(page: Page, rules?: string[]): Promise<void> {
  if (await page.evaluate('window.axe === undefined')) await page.evaluate(axeSource);
  const options = { resultTypes: ['violations'], ...(rules ? { runOnly: rules } : {}) };
  const { violations } = await page.evaluate<AxeResults>(`axe.run(document, ${JSON.stringify(options)})`);
  const found = violations.flatMap(({ id, help, nodes }) =>
    nodes
      .slice(0, 5)
      .map(({ html, failureSummary }) => `${id} (${help}): ${html.slice(0, 200)} ${failureSummary}`),
  );
  expect(found).toEqual([]);
}
