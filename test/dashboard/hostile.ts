import { expect, it } from '@jest/globals';
import type { Page } from 'playwright-core';
import { until } from '../support/chain-stack.js';
import { tricks } from '../support/world-hostile.js';
import { type Looking, settled } from './looking.js';

/** What a browser would run, load or follow on its own, or show as something else than it is. */
const dangers = `(() => {
  const found = [];
  for (const element of document.querySelectorAll('*')) {
    const name = element.localName;
    const note = (what) => found.push(what + ': ' + element.outerHTML.slice(0, 200));
    if (['iframe', 'frame', 'object', 'embed', 'base', 'template', 'foreignobject', 'animate', 'math'].includes(name)) note('element');
    if (name === 'script' && !(element.getAttribute('src') ?? '').startsWith('/assets/')) note('script');
    if (name === 'meta' && element.hasAttribute('http-equiv')) note('meta');
    if (name === 'form' && element.hasAttribute('action')) note('form');
    for (const { name: attribute, value } of element.attributes) {
      if (/^on/i.test(attribute) || /^(ping|srcdoc|formaction|srcset|background|poster)$/i.test(attribute)) note('attribute ' + attribute);
      if (/^(href|src|xlink:href)$/i.test(attribute)) {
        const { protocol, origin } = new URL(value, location.href);
        const isPicture = name === 'img' && /^(data:image\\/(png|jpeg|gif|webp);base64,|blob:)/.test(value);
        const isLink = name === 'a' && ['http:', 'https:', 'mailto:'].includes(protocol);
        if (!isPicture && !isLink && origin !== location.origin) note('address');
        if (isLink && origin !== location.origin && !/\\bno(opener|referrer)\\b/.test(element.rel)) note('link');
      }
    }
  }
  return found;
})()`;

/** Everything that the page says, in attributes too. */
const words = `[document.title, document.body.innerText, ...[...document.querySelectorAll('[title], [aria-label], [alt], [placeholder]')]
  .flatMap((element) => ['title', 'aria-label', 'alt', 'placeholder'].map((name) => element.getAttribute(name) ?? ''))].join('\\n')`;

const unseen =
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\u0085\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|\u{e0041}/u;

async function expectHarmless(page: Page): Promise<string> {
  expect(await page.evaluate(dangers)).toEqual([]);
  const said = await page.evaluate<string>(words);
  const [character = ''] = unseen.exec(said) ?? [];
  const place = said.indexOf(character);
  expect(
    character === ''
      ? ''
      : `${JSON.stringify(character)} in ${JSON.stringify(said.slice(place - 60, place + 60))}`,
  ).toBe('');
  return said;
}

/**
 * Opens what is folded, and what that shows folded, for as long as there is something. The raw entry of the line of 1 MB stays
 * folded: it is shown as those of all other entries are.
 */
async function unfold(page: Page): Promise<void> {
  const open = `(() => {
    const isLong = (button) => button.textContent === 'JSON' && button.closest('article')?.textContent.includes('A line of 1 MB');
    const folded = [...document.querySelectorAll('main [aria-expanded=false], main details:not([open]) > summary')]
      .filter((button) => !isLong(button));
    for (const button of folded) button.click();
    return folded.length;
  })()`;
  for (let rounds = 0; rounds < 5 && (await page.evaluate<number>(open)) > 0; rounds++) await settled(page);
}

/** Nothing of what a model, a tool or a user wrote runs, loads or hides; that it did not is also checked after each test. */
export function hostileTests(look: () => Looking): void {
  it('a transcript full of tricks is text, folded and unfolded, to its end', async () => {
    const { open, world } = look();
    const page = await open(`/projects/hostile/sessions/${world.sessions.hostile}`);
    let said = '';
    const end = page.getByText('The end of the hostile transcript.').first();
    for (let screens = 0; screens < 100; screens++) {
      await unfold(page);
      said += await expectHarmless(page);
      const before = await scrolled(page);
      if ((await end.count()) > 0 && before.isAtEnd) break;
      await page.mouse.move(700, 700);
      await page.mouse.wheel(0, before.toEndOfRows);
      await page.evaluate(
        'new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))',
      );
    }
    expect(await end.count()).toBeGreaterThan(0);
    for (const text of [
      '<script>window.canary',
      '<img src=x onerror',
      '<svg onload',
      'javascript:window.canary',
      '\u27e8U+202E\u27e9',
    ])
      expect([text, said.includes(text)]).toEqual([text, true]);
  });

  it.each([
    '/',
    '/projects',
    '/projects/hostile',
    '/projects/hostile/chains/hostile-v1/hostile-v1',
    '/integrity',
  ])('%s shows the words of users and of failures as text', async (path) => {
    const page = await look().open(path);
    await unfold(page);
    const said = await expectHarmless(page);
    if (path.includes('/chains/')) expect(said).toContain('<script>window.canary');
  });

  it.each(['/projects/%E2%80%AEpohs', '/costs?project=%E2%80%AEpohs', '/projects?search=%E2%80%AEpohs'])(
    '%s shows what its address hides',
    async (path) => {
      await expectHarmless(await look().open(path, { refused: true }));
    },
  );

  it('what a proxy answers in place of the server is told as such', async () => {
    const page = await look().open('/projects', { refused: true });
    await page.route('**/v1/spend*', (route) =>
      route.fulfill({ status: 502, contentType: 'text/html', body: `<h1>Bad Gateway</h1>${tricks.script}` }),
    );
    await page.goto(`${look().url}/costs`);
    const alert = page.getByRole('alert').first();
    await alert.waitFor();
    await expectHarmless(page);
    expect(await alert.innerText()).toMatch(/The server, or a proxy in front of it, answered 502\./);
    await page.unrouteAll({ behavior: 'wait' });
    // Each part of the page was refused, and is asked for again by its own button. All at once: each goes with its answer.
    await page
      .getByRole('button', { name: 'Try again' })
      .evaluateAll((buttons) =>
        buttons.forEach((button) => (button as unknown as { click(): void }).click()),
      );
    await until(async () => (await page.getByRole('alert').count()) === 0);
  });
}

/**
 * Of what scrolls in the page: the window, or the highest part of it that does. All rows that are there have been looked at, those
 * beyond the window too, so that the next screen begins with the end of the last one.
 */
async function scrolled(page: Page): Promise<{ isAtEnd: boolean; toEndOfRows: number }> {
  return await page.evaluate(`(() => {
    const scrolling = [document.scrollingElement, ...document.querySelectorAll('main *')]
      .filter((element) => element.scrollHeight > element.clientHeight + 1 && element.clientHeight > 200 &&
        (element === document.scrollingElement || /auto|scroll/.test(getComputedStyle(element).overflowY)));
    const ends = [...document.querySelectorAll('main article')].map((row) => row.getBoundingClientRect().bottom);
    return { toEndOfRows: Math.max(600, ...ends.map((end) => end - 200)), isAtEnd: scrolling.every((element) => element.scrollTop + element.clientHeight >= element.scrollHeight - 2) };
  })()`);
}
