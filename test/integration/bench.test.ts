import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Row } from '../../bench/report.js';

/** `npm run bench` itself, in its smallest size. What it measured on a machine that does other work is of no interest. */

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'session-chain-bench-test-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function bench(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return await new Promise((resolve) => {
    execFile(
      process.execPath,
      [join(import.meta.dirname, '../../dist/bench/main.js'), ...args],
      (error, stdout, stderr) => resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
    );
  });
}

describe('npm run bench', () => {
  it('prints a part with its ratios, and writes it to a file', async () => {
    const out = join(folder, 'bench.json');
    const { code, stdout } = await bench(
      ...['--only', 'empty', '--runs', '1', '--chains', '1', '--out', out],
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(/^empty +chain of empty steps .* ms .* stock dev server and worker +\d+\.\d+ /m);
    const { rows, failures } = JSON.parse(readFileSync(out, 'utf8')) as {
      rows: Row[];
      failures: unknown[];
    };
    expect(failures).toEqual([]);
    expect(rows).toHaveLength(6);
    for (const { ratio } of rows) expect(ratio).toBeGreaterThan(0);
  });

  it.each([
    ['a part that does not exist', ['--only', 'forks,heads'], /--only takes chain, .*"forks,heads" is none/],
    ['no whole number', ['--runs', '1.5'], /--runs takes a whole number of at least 1, not "1.5"/],
    ['an unknown option', ['--round', '3'], /Unknown option '--round'/],
    [
      'a file that cannot be written',
      ['--out', '/nowhere/bench.json'],
      /The file of --out cannot be written/,
    ],
  ])('refuses %s before it measures anything', async (_what, args, message) => {
    const { code, stdout, stderr } = await bench(...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(message);
    expect(stderr).toContain('what to do: ');
    expect(stderr).not.toContain('Starting');
  });
});
