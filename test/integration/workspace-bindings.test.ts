import { randomUUID } from 'node:crypto';
import { dirname } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type ProjectId, parseProjectId } from '../../contracts/ids.js';
import { closeChain } from '../../storage/chains/chains.js';
import { endSearch, noteLook, othersAtWork } from '../../storage/workspaces/searches.js';
import { type SeenFolder, bindWorkspace, unbindWorkspace } from '../../storage/workspaces/workspaces.js';
import { type OpenedChain, begin, noStatus, openNew } from '../support/chains.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';

/** Whose folder is whose, as Postgres decides it. */

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database.drop();
});

const newPath = () => `/${randomUUID()}/shop`;
/** A folder that was never seen, at this path. */
const folderAt = (path: string, marker: string | null = null): SeenFolder => ({
  ...{ path, marker },
  identity: randomUUID(),
});
const bind = async (chain: OpenedChain, folder: SeenFolder, requested = '/asked') =>
  await bindWorkspace(database.pool, {
    ...{ projectId: chain.projectId, chain, requested, folder, worker: 'test' },
  });
const ask = async (projectId: ProjectId, folder: SeenFolder, requested = '/asked') =>
  await bindWorkspace(database.pool, { projectId, requested, folder, worker: 'test' });
const newChain = async () => await openNew(database.pool);
const close = async (chain: OpenedChain) =>
  await closeChain(database.pool, chain, {
    ...{ ticket: chain.ticket, runId: chain.runId, versionStatus: noStatus },
    result: { status: 'failed' } as Parameters<typeof closeChain>[2]['result'],
  });

/** A chain whose project is bound to a folder. */
async function bound(path = newPath()): Promise<{ chain: OpenedChain; folder: SeenFolder; marker: string }> {
  const [chain, folder] = [await newChain(), folderAt(path)];
  const binding = await bind(chain, folder);
  if (binding.outcome !== 'bound') throw new Error(`Not bound: ${binding.outcome}.`);
  return { chain, folder, marker: binding.marker };
}

describe('the folder of a project', () => {
  it('is the same by its marker wherever it lies, and by its identity without one', async () => {
    const { chain, folder, marker } = await bound();
    const moved = folderAt(newPath(), marker);
    expect(await bind(chain, moved)).toEqual({ outcome: 'bound', marker });
    expect(await bind(chain, { ...moved, marker: null })).toEqual({ outcome: 'bound', marker });
    expect(await ask(chain.projectId, { ...moved, marker: randomUUID() })).toEqual({
      outcome: 'bound',
      marker,
    });
    // Where it lay before it is not any more, and where it lies by now it stays.
    for (const other of [
      { ...folder, marker: null },
      folderAt(moved.path),
      folderAt(moved.path, randomUUID()),
    ]) {
      const found = { outcome: 'other_folder', path: moved.path, worker: 'test' };
      expect(await bind(chain, other)).toEqual(found);
      expect(await ask(chain.projectId, other)).toEqual(found);
    }
  });

  it('is another one as soon as a chain asks for another path, and the former one again when it asks for that', async () => {
    const { chain, folder, marker } = await bound();
    const fresh = folderAt(newPath());
    const former = { ...folder, marker };
    // A question reads what it asks for, and changes nothing.
    expect(await ask(chain.projectId, fresh, '/fresh')).toEqual({ outcome: 'unbound' });
    expect(await bind(chain, former)).toEqual({ outcome: 'bound', marker });
    const anew = await bind(chain, fresh, '/fresh');
    expect(anew).toEqual({ outcome: 'bound', marker: expect.not.stringMatching(marker) });
    const freshMarker = anew.outcome === 'bound' ? anew.marker : null;
    expect(await bind(chain, { ...fresh, marker: freshMarker }, '/fresh')).toEqual(anew);
    // A lost mount in the place of the fresh one; a copy of the former one there.
    for (const other of [folderAt(fresh.path), folderAt(fresh.path, marker)])
      expect(await bind(chain, other, '/fresh')).toMatchObject({ outcome: 'other_folder' });
    // The same folder by another way, such as a link to it.
    expect(await bind(chain, { ...fresh, marker: freshMarker }, '/link')).toEqual(anew);
    expect(await bind(chain, former)).toMatchObject({ outcome: 'bound' });
    // What the project has left is another one's to take, and what another project has is not free.
    const other = await newChain();
    expect(await bind(other, folderAt(fresh.path))).toMatchObject({ outcome: 'bound' });
    expect(await bind(chain, folderAt(fresh.path), '/fresh')).toMatchObject({ outcome: 'taken' });
  });

  it('is bound by a chain that holds the project, and by nothing else', async () => {
    const chain = await newChain();
    expect(await ask(chain.projectId, folderAt(newPath()))).toEqual({ outcome: 'unbound' });
    await close(chain);
    await expect(bind(chain, folderAt(newPath()))).rejects.toMatchObject({
      code: 'FENCED',
      message: expect.stringMatching(/was closed at/),
    });
    expect(await ask(chain.projectId, folderAt(newPath()))).toEqual({ outcome: 'unbound' });
  });

  it('is let go by unbind, but not under a chain', async () => {
    const { chain, folder } = await bound();
    await expect(unbindWorkspace(database.pool, chain.projectId)).rejects.toMatchObject({
      code: 'PROJECT_BUSY',
      message: expect.stringContaining(chain.versionId),
    });
    await close(chain);
    expect(await unbindWorkspace(database.pool, chain.projectId)).toMatchObject({ path: folder.path });
    expect(await unbindWorkspace(database.pool, chain.projectId)).toMatchObject({ path: null });
    expect(await bind(await newChain(), folder)).toMatchObject({ outcome: 'bound' });
  });

  it('is not let go for a project that there is not', async () => {
    const unknown = parseProjectId(`none-${randomUUID()}`);
    await expect(unbindWorkspace(database.pool, unknown)).rejects.toMatchObject({
      code: 'PROJECT_NOT_FOUND',
    });
  });
});

describe('the folder of another project', () => {
  it.each([
    ['the same path', (path: string) => path],
    ['a folder in it', (path: string) => `${path}/a`],
    ['a folder deep in it', (path: string) => `${path}/a/b c/ü`],
    ['a folder around it', dirname],
  ])('is taken: %s', async (_what, other) => {
    const { chain, folder } = await bound();
    const taken = { outcome: 'taken', projectId: chain.projectId, path: folder.path };
    const later = await newChain();
    expect(await bind(later, folderAt(other(folder.path)))).toEqual(taken);
    // A question would read what lies there.
    expect(await ask(later.projectId, folderAt(other(folder.path)))).toEqual(taken);
    await bind(later, folderAt(newPath()));
    expect(await ask(later.projectId, folderAt(other(folder.path)), '/other')).toEqual(taken);
  });

  it.each([
    ['a name that begins like it', '-2'],
    ['a name that begins like it, with a sign before the slash', '!'],
    ['a name that begins like it, with a digit', '0'],
  ])('is not: %s', async (_what, ending) => {
    const { folder } = await bound();
    expect(await bind(await newChain(), folderAt(`${folder.path}${ending}`))).toMatchObject({
      outcome: 'bound',
    });
  });

  it('is in the root of all folders', async () => {
    await bound();
    expect(await bind(await newChain(), folderAt('/'))).toMatchObject({ outcome: 'taken' });
  });

  it('is taken by its identity and by its marker, under whatever path', async () => {
    const { chain, folder, marker } = await bound();
    const taken = { outcome: 'taken', projectId: chain.projectId, path: folder.path };
    const later = await newChain();
    expect(await bind(later, { ...folder, path: newPath() })).toEqual(taken);
    expect(await bind(later, folderAt(newPath(), marker))).toEqual(taken);
    // A project that is bound may have the other's marker copied over its own.
    const own = folderAt(newPath());
    const binding = await bind(later, own);
    expect(await bind(later, { ...own, marker })).toEqual(binding);
    expect(await bind(later, { ...own, path: `${folder.path}/a` })).toEqual(taken);
  });

  it('is free once that project is gone, and no agent of its own may be alive', async () => {
    const { chain, folder } = await bound();
    await begin(database.pool, chain, 'build', { leaseMs: 600_000 });
    const remove = async (table: string) =>
      await database.pool.query(`DELETE FROM ${table} WHERE project_id = $1`, [chain.projectId]);
    await remove('project_versions');
    await remove('projects');
    const later = await newChain();
    expect(await bind(later, folder)).toMatchObject({ outcome: 'taken', projectId: chain.projectId });
    await database.pool.query('UPDATE session_chain.attempts SET lease_ms = 0 WHERE project_id = $1', [
      chain.projectId,
    ]);
    expect(await bind(later, folder)).toMatchObject({ outcome: 'bound' });
  });

  it('is one project’s, however many ask for it and what lies in it at the same time', async () => {
    const top = newPath();
    const chains = await Promise.all(Array.from({ length: 24 }, newChain));
    const paths = [top, `${top}/a`, `${top}/a/b`];
    const bindings = await Promise.all(
      chains.map(async (chain, index) => await bind(chain, folderAt(paths[index % 3] ?? top))),
    );
    const winners = chains.filter((_, index) => bindings[index]?.outcome === 'bound');
    expect(winners).toHaveLength(1);
    expect(bindings.filter(({ outcome }) => outcome === 'taken')).toHaveLength(23);
    const { rows } = await database.pool.query<{ project_id: string }>(
      `SELECT project_id FROM session_chain.workspaces WHERE path LIKE $1`,
      [`${top}%`],
    );
    expect(rows).toEqual([{ project_id: winners[0]?.projectId }]);
    // What keeps them apart is the table itself.
    await expect(
      database.pool.query(
        `INSERT INTO session_chain.workspaces (project_id, requested, path, identity, worker) VALUES ('p', '/asked', $1, 'i', 'w')`,
        [`${top}/a/b/c`],
      ),
    ).rejects.toMatchObject({ constraint: 'workspaces_apart' });
  });
});

describe('the search for a worker that has the folder', () => {
  const trouble = { code: 'WORKSPACE_NOT_ALLOWED', message: 'It is not here.' } as const;
  const look = async (search: string, worker: string, forgetAfterMs = 60_000) =>
    await noteLook(database.pool, { search, worker, trouble, forgetAfterMs });

  it('knows who looked, how often and since when; it begins anew after a long silence and after it ended', async () => {
    const search = `chain:${randomUUID()}`;
    expect(await look(search, '1@a')).toEqual({ looks: 1, searchedMs: 0, workers: { '1@a': trouble } });
    expect(await look(search, '1@b')).toMatchObject({
      looks: 2,
      workers: { '1@a': trouble, '1@b': trouble },
    });
    await database.pool.query(
      `UPDATE session_chain.workspace_searches SET since = since - interval '1 minute' WHERE operation = $1`,
      [search],
    );
    const third = await look(search, '1@a');
    expect(third.looks).toBe(3);
    expect(third.searchedMs).toBeGreaterThanOrEqual(60_000);
    expect(await look(search, '1@a', 0)).toEqual({ looks: 1, searchedMs: 0, workers: { '1@a': trouble } });
    await endSearch(database.pool, search);
    expect(await look(search, '1@b')).toMatchObject({ looks: 1, workers: { '1@b': trouble } });
  });

  it('knows of workers that have not looked and are at work', async () => {
    expect(await othersAtWork(database.pool, [])).toBe(false);
    const chain = await newChain();
    await begin(database.pool, chain, 'build', { leaseMs: 600_000 });
    expect(await othersAtWork(database.pool, ['1@a'])).toBe(true);
    // These attempts are begun by the worker `test`.
    expect(await othersAtWork(database.pool, ['1@a', 'test'])).toBe(false);
    await close(chain);
    expect(await othersAtWork(database.pool, ['1@a'])).toBe(false);
  });
});
