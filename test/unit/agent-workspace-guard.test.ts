import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import { outsideWorkspace, writtenFile } from '../../agent/workspace-guard.js';

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'guard-test-')));
const workspace = join(folder, 'project');
mkdirSync(join(workspace, 'src'), { recursive: true });
mkdirSync(join(folder, 'project-next'));
writeFileSync(join(folder, 'private.txt'), '');
symlinkSync(folder, join(workspace, 'up'));
symlinkSync('src', join(workspace, 'same'));
symlinkSync('../nowhere.txt', join(workspace, 'dangling'));
symlinkSync('src/later.txt', join(workspace, 'fine'));
symlinkSync('ring', join(workspace, 'ring'));
afterAll(() => rmSync(folder, { recursive: true }));

const refused = async (tool: string, input: unknown, cwd = workspace) =>
  (await outsideWorkspace(tool, input, workspace, cwd)) !== null;
const write = (file: string, cwd?: string) => refused('Write', { file_path: file }, cwd);

describe('outsideWorkspace', () => {
  it.each(['a.txt', 'src/new/deep/a.txt', 'same/a.txt', 'fine', './src/../a.txt'])(
    'allows %s',
    async (file) => {
      expect(await write(file)).toBe(false);
      expect(await write(join(workspace, file))).toBe(false);
    },
  );

  it.each([
    '../a.txt',
    'up/private.txt',
    'up/new.txt',
    'dangling',
    'ring',
    'src/../../a.txt',
    '~/a.txt',
    '/etc/passwd',
  ])('refuses %s', async (file) => {
    expect(await write(file)).toBe(true);
  });

  it('is not taken in by a folder whose name begins alike', async () => {
    expect(await write(join(folder, 'project-next', 'a.txt'))).toBe(true);
  });

  it('starts relative paths at the agent’s current folder', async () => {
    expect(await write('../a.txt', join(workspace, 'src'))).toBe(false);
    expect(await write('../../a.txt', join(workspace, 'src'))).toBe(true);
  });

  it('knows every file tool, and search patterns too', async () => {
    for (const tool of ['Read', 'Edit']) expect(await refused(tool, { file_path: '/etc/passwd' })).toBe(true);
    expect(await refused('NotebookEdit', { notebook_path: '/tmp/a.ipynb' })).toBe(true);
    expect(await refused('Grep', { pattern: 'x', path: '/etc' })).toBe(true);
    expect(await refused('Grep', { pattern: '/etc/../x', path: 'src' })).toBe(false);
    for (const pattern of ['/etc/*', '../*', '{src,../..}/*', `${folder}/*.txt`]) {
      expect(await refused('Glob', { pattern })).toBe(true);
    }
    for (const pattern of ['**/*.ts', `${workspace}/**`, 'a..b/*'])
      expect(await refused('Glob', { pattern })).toBe(false);
  });

  it('leaves other tools alone', async () => {
    expect(await refused('Bash', { command: 'cat /etc/passwd' })).toBe(false);
    expect(await refused('Write', null)).toBe(false);
  });
});

describe('writtenFile', () => {
  it('names files that tools write, relative to the workspace', () => {
    const of = (tool: string, input: object) => writtenFile(tool, input, workspace, join(workspace, 'src'));
    expect(of('Write', { file_path: 'a.ts' })).toBe('src/a.ts');
    expect(of('Edit', { file_path: join(workspace, 'b.ts') })).toBe('b.ts');
    expect(of('Read', { file_path: 'a.ts' })).toBeNull();
    expect(of('Write', { file_path: '/etc/passwd' })).toBeNull();
  });
});
