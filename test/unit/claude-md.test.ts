import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { readableClaudeMd } from '../../agent/claude-md.js';

let workspace: string;
beforeEach(() => {
  workspace = mkdtempSync(join(tmpdir(), 'claude-md-'));
});
afterEach(() => rmSync(workspace, { recursive: true, force: true }));

function write(name: string, text: string): void {
  mkdirSync(dirname(join(workspace, name)), { recursive: true });
  writeFileSync(join(workspace, name), text);
}
const digest = async () => (await readableClaudeMd({ claudeMd: true }, workspace)).digest;
const isSame = async () => (await digest()) === (await digest());

describe('the digest of what Claude Code reads', () => {
  it('changes with CLAUDE.md and with the rules', async () => {
    const seen = [await digest()];
    for (const [name, text] of [
      ['CLAUDE.md', 'one'],
      ['CLAUDE.md', 'two'],
      ['.claude/CLAUDE.md', 'two'],
      ['.claude/rules/a.md', 'two'],
      ['.claude/rules/deeper/b.md', 'two'],
    ] as const) {
      write(name, text);
      expect(await isSame()).toBe(true);
      seen.push(await digest());
    }
    expect(new Set(seen).size).toBe(seen.length);
  });

  it.each([
    ['imports another file', () => write('CLAUDE.md', 'See @other.md')],
    [
      'is a pipe, which nothing is ever written to',
      () => execFileSync('mkfifo', [join(workspace, 'CLAUDE.md')]),
    ],
    ['is a device without an end', () => rule((path) => symlinkSync('/dev/zero', path))],
    ['is a pipe among the rules', () => rule((path) => execFileSync('mkfifo', [path]))],
    ['is larger than any text', () => write('CLAUDE.md', 'x'.repeat(1024 ** 2 + 1))],
    [
      'is a folder of rules elsewhere',
      () =>
        rule(
          () => undefined,
          () => symlinkSync('/', join(workspace, '.claude/rules')),
        ),
    ],
  ])('is never the same for what %s', async (_what, make) => {
    make();
    expect(await isSame()).toBe(false);
  });
});

function rule(
  make: (path: string) => void,
  folder = () => mkdirSync(join(workspace, '.claude/rules')),
): void {
  mkdirSync(join(workspace, '.claude'));
  folder();
  make(join(workspace, '.claude/rules/rule.md'));
}
