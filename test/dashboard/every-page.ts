import { expect, it } from '@jest/globals';
import type { ChainKey } from '../../contracts/ids.js';
import type { World } from '../support/world.js';
import { type Looking, type OpenOptions, settled } from './looking.js';

interface Place extends Pick<OpenOptions, 'key' | 'refused'> {
  name: string;
  path: (world: World) => string;
}

const chain = ({ projectId, versionId, buildId }: ChainKey) =>
  `/projects/${projectId}/chains/${versionId}/${buildId}`;
const chains = [
  ...[
    'completed',
    'continued',
    'adopted',
    'cancelled',
    'reset',
    'failed',
    'hostile',
    'budget',
    'running',
    'queued',
  ],
  ...['waiting', 'withoutWorker', 'deploying'],
] as (keyof World['chains'])[];

/** Every page with data, without, with an error, and for a key that may not do everything. */
const places: Place[] = [
  { name: 'overview', path: () => '/' },
  { name: 'overview of a key that reads', path: () => '/', key: 'read' },
  { name: 'overview of a key for one project', path: () => '/', key: 'shop', refused: true },
  { name: 'projects', path: () => '/projects' },
  { name: 'projects of a key for one project', path: () => '/projects', key: 'shop', refused: true },
  { name: 'projects, none found', path: () => '/projects?search=none-has-this-name&q=none-has-this-name' },
  { name: 'project', path: () => '/projects/shop' },
  { name: 'project of a key that reads', path: () => '/projects/shop', key: 'read' },
  { name: 'project with a long line', path: () => '/projects/long-line' },
  { name: 'project with a lost head', path: () => '/projects/lost-head' },
  { name: 'project whose head moved outside', path: () => '/projects/moved-outside' },
  { name: 'project without anything', path: () => '/projects/empty' },
  { name: 'project with hostile texts', path: () => '/projects/hostile' },
  { name: 'project that is not there', path: () => '/projects/none', refused: true },
  { name: 'project of others', path: () => '/projects/blog', key: 'shop', refused: true },
  ...chains.map((name) => ({ name: `chain, ${name}`, path: ({ chains }: World) => chain(chains[name]) })),
  { name: 'chain of a key that reads', path: ({ chains }) => chain(chains.running), key: 'read' },
  { name: 'chain that is not there', path: () => '/projects/shop/chains/none/none', refused: true },
  { name: 'transcript', path: ({ sessions }) => `/projects/shop/sessions/${sessions.build}` },
  {
    name: 'transcript after a compaction',
    path: ({ sessions }) => `/projects/shop/sessions/${sessions.compacted}`,
  },
  {
    name: 'transcript of 10,000 entries',
    path: ({ sessions }) => `/projects/long-session/sessions/${sessions.long}`,
  },
  {
    name: 'transcript that is hostile',
    path: ({ sessions }) => `/projects/hostile/sessions/${sessions.hostile}`,
  },
  { name: 'transcript that is not there', path: () => '/projects/shop/sessions/none', refused: true },
  { name: 'integrity', path: () => '/integrity' },
  { name: 'integrity of a key that reads', path: () => '/integrity', key: 'read' },
  { name: 'costs', path: () => '/costs' },
  { name: 'settings', path: () => '/settings' },
  { name: 'settings of a key that reads', path: () => '/settings', key: 'read', refused: true },
  { name: 'settings of a key for one project', path: () => '/settings', key: 'shop', refused: true },
];

/** What holds of every page; that nothing is logged as an error or asked of another host is checked after each test. */
export function everyPageTests(look: () => Looking): void {
  it.each(places)(
    '$name: has a title, can be used by everyone, and fits a narrow window',
    async ({ name, path, ...options }) => {
      const { open, axe, screenshot, hasPictures, world } = look();
      const page = await open(path(world), options);
      const picture = name.replace(/\W+/g, '-');
      expect(await page.title()).toMatch(/^.+ · Session Chain$/);
      expect(await page.locator('h1').count()).toBe(1);
      await axe(page);
      await screenshot(page, `${picture}-light`);
      await page.emulateMedia({ colorScheme: 'dark', reducedMotion: 'reduce' });
      // The other rules do not look at colours.
      await axe(page, ['color-contrast', 'link-in-text-block']);
      await screenshot(page, `${picture}-dark`);
      await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' });
      for (const width of hasPictures ? [1440, 360, 3840] : [1440, 360]) {
        await page.setViewportSize({ width, height: width === 3840 ? 2160 : 800 });
        await settled(page);
        await screenshot(page, `${picture}-${width}`);
        const sideways = await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth');
        expect([width, sideways]).toEqual([width, Math.min(sideways, 0)]);
      }
    },
  );
}
