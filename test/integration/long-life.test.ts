import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { lifePlot } from '../../bench/life-plot.js';
import { type Life, liveLong } from '../../bench/long-life.js';
import { lineageTree } from '../../cli/lineage-tree.js';
import { readLineage } from '../../storage/heads/lineage.js';
import { type ChainStack, longHeartbeatTimeoutMs, startChainStack } from '../support/chain-stack.js';

/** A short life with everything in it; `npm run bench -- --only long-life` lives a long one. */

let stack: ChainStack;
let life: Life;
beforeAll(async () => {
  stack = await startChainStack('long-life', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  await stack.startWorker();
  // As on a host's database, where older writers may move a head.
  await stack.database.pool.query('ALTER TABLE projects DROP CONSTRAINT projects_head_is_last_transition');
  const { sessionChain, model, root, database } = stack;
  life = await liveLong(
    { pool: database.pool, sessionChain, model, folder: root },
    { projectId: 'life', operations: 20, resetAfter: 8, loseAt: 10, writeAt: 15 },
    () => undefined,
  );
});
afterAll(async () => {
  await stack.stop();
});

describe('a project with updates, chats, resets, a lost transcript and an older writer', () => {
  it('keeps every guarantee', () => {
    expect(life.broken).toEqual([]);
    expect(life.operations.length).toBeGreaterThanOrEqual(20);
    expect(life.sideBranches).toBeGreaterThan(0);
    const sources = life.operations.map(({ source }) => source);
    expect(sources).toEqual(expect.arrayContaining(['build', 'chat_plan', 'context_reset', 'import']));
    expect(sources.filter((source) => source === 'recovery')).toHaveLength(2);
  });

  it('is drawn as a plot with all its marks', () => {
    const plot = lifePlot(life.operations);
    expect(plot.match(/<polyline/g)).toHaveLength(3);
    expect(plot.match(/stroke="#c2410c"/g)).toHaveLength(3 * 2);
    expect(plot).not.toMatch(/NaN|undefined|Infinity/);
  });

  it('is shown as a tree: the line of heads, and what hangs beside it', async () => {
    const lineage = await readLineage(stack.database.pool, life.projectId, 100);
    const tree = lineageTree(lineage);
    const lines = tree.split('\n');
    expect(lines.filter((line) => line.startsWith('●'))).toHaveLength(life.operations.length);
    expect(lines.at(-1)).toMatch(/^● .* ← head$/);
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
    expect(tree).toMatch(/●\s+\d+ {2}context_reset .* fresh$/m);
    expect(tree).toMatch(/●\s+\d+ {2}import .* outside {2}not stored/);
    expect(tree).toMatch(/●\s+\d+ {2}recovery \(build\).*forked [0-9a-f]{8}/);
    expect(tree).toMatch(/^├─ ○ [0-9a-f]{8} {2}side branch chat:\d+/m);
    const cut = await readLineage(stack.database.pool, life.projectId, 3);
    expect(cut.isCut).toBe(true);
    expect(cut.nodes.filter(({ kind }) => kind === 'head')).toHaveLength(3);
  });
});
