import { chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { removeAll } from '../../agent/process/scratch.js';

/** As a user who may not do everything, where the tests run as root. */
const isRoot = process.geteuid?.() === 0;
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'scratch-'));
  if (isRoot) chownSync(folder, 12_345, 12_345);
  if (isRoot) process.seteuid?.(12_345);
});
afterEach(() => {
  if (isRoot) process.seteuid?.(0);
  rmSync(folder, { recursive: true, force: true });
});

const modeOf = (path: string) => statSync(path).mode & 0o777;
const children = () =>
  readdirSync('/proc/self/task').flatMap((task) =>
    readFileSync(`/proc/self/task/${task}/children`, 'utf8').split(' ').filter(Boolean),
  ).length;

describe('what an agent has left', () => {
  it('leads to no change of what its links lead to', async () => {
    const [home, outside] = [join(folder, 'home'), join(folder, 'outside')];
    for (const path of [home, outside]) mkdirSync(path);
    symlinkSync(outside, join(home, 'link'));
    for (const path of [home, outside]) chmodSync(path, 0o500);
    await expect(removeAll([join(home, 'link')])).rejects.toThrow(/Permission denied/);
    expect(modeOf(outside)).toBe(0o500);
    chmodSync(home, 0o700);
    await removeAll([join(home, 'link')]);
    expect(readdirSync(home)).toEqual([]);
  });

  it('takes no process for each folder that is closed', async () => {
    const paths = Array.from({ length: 250 }, (_, index) => join(folder, String(index)));
    for (const path of paths) {
      mkdirSync(path);
      writeFileSync(join(path, 'file'), '');
      chmodSync(path, 0);
    }
    let most = 0;
    const looks = setInterval(() => (most = Math.max(most, children())), 1);
    await removeAll(paths);
    clearInterval(looks);
    expect(readdirSync(folder)).toEqual([]);
    expect(most).toBeLessThan(20);
  });
});
