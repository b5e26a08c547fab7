import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { transformFileSync } from '@swc/core';
import { until } from './chain-stack.js';

/** A project of its own, outside of the repository, in which the packed package is installed. */
export interface Project {
  folder: string;
  /** The package as npm would publish it. */
  tarball: string;
  /** Where it lies in the project. */
  packageFolder: string;
  write(name: string, text: string): string;
  /** Copies a file of the repository without its types, as `name`. */
  compile(source: string, name: string): string;
  /** Runs Node with these arguments in the folder; rejects with what it printed when it fails. */
  node(args: string[], environment?: Record<string, string>): Promise<string>;
  /** Starts a program that stays, once it has printed `ready`. */
  start(args: string[], environment: Record<string, string>, ready?: string): Promise<Program>;
  /** Runs a command of the shell in the folder, where `session-chain` is found as npx finds it. */
  shell(command: string, environment?: Record<string, string>): Promise<Ended>;
  remove(): void;
}

export interface Program {
  output(): string;
  signal(signal: NodeJS.Signals): void;
  /** Ends it; rejects when it does not end in order. */
  stop(): Promise<void>;
}

export interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

const root = process.cwd();

let packed: { filename: string; content: Buffer } | undefined;

/** What is in dist/, as npm would publish it; packed once per test file. */
function pack(): { filename: string; content: Buffer } {
  if (packed) return packed;
  const folder = mkdtempSync(join(tmpdir(), 'session-chain-packed-'));
  const said = execFileSync(
    'npm',
    ['pack', '--ignore-scripts', '--json', '--loglevel=error', '--pack-destination', folder],
    { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
  );
  const [{ filename } = { filename: '' }] = JSON.parse(said) as { filename: string }[];
  packed = { filename, content: readFileSync(join(folder, filename)) };
  rmSync(folder, { recursive: true });
  return packed;
}

/**
 * Packs what is in dist/ and unpacks it into an empty project, beside links to packages of the repository: `packages`, by
 * default what it declares. An import of anything else fails, as it would for a host.
 */
export function installPackage(packages?: readonly string[]): Project {
  const folder = mkdtempSync(join(tmpdir(), 'session-chain-project-'));
  const { filename, content } = pack();
  const tarball = join(folder, filename);
  writeFileSync(tarball, content);
  const packageFolder = join(folder, 'node_modules/session-chain');
  mkdirSync(packageFolder, { recursive: true });
  execFileSync('tar', ['-xzf', tarball, '-C', packageFolder, '--strip-components=1']);
  const { dependencies } = JSON.parse(readFileSync(join(packageFolder, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  for (const name of packages ?? Object.keys(dependencies)) link(folder, name);
  const command = join(folder, 'node_modules/.bin/session-chain');
  mkdirSync(dirname(command));
  chmodSync(join(packageFolder, 'dist/cli/main.js'), 0o755);
  symlinkSync('../session-chain/dist/cli/main.js', command);
  const project: Project = {
    folder,
    tarball,
    packageFolder,
    write(name, text) {
      const path = join(folder, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text);
      return path;
    },
    compile(source, name) {
      const { code } = transformFileSync(resolve(root, source), {
        jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
        module: { type: 'es6' },
      });
      return project.write(name, code);
    },
    async node(args, environment = {}) {
      const ended = await run(process.execPath, args, folder, environment);
      if (ended.code !== 0) throw new Error(`node ${args.join(' ')} failed: ${ended.stderr}${ended.stdout}`);
      return ended.stdout;
    },
    start: async (args, environment, ready) => await start(args, folder, environment, ready),
    shell: async (command, environment = {}) => await run('/bin/sh', ['-c', command], folder, environment),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
  project.write('package.json', '{ "type": "module", "private": true }');
  return project;
}

/** Links a package of the repository into a project. */
export function link(folder: string, name: string): void {
  const target = join(folder, 'node_modules', name);
  if (existsSync(target)) return;
  mkdirSync(dirname(target), { recursive: true });
  symlinkSync(join(root, 'node_modules', name), target);
}

async function start(
  args: string[],
  cwd: string,
  environment: Record<string, string>,
  ready = '',
): Promise<Program> {
  const child = spawnIn(cwd, process.execPath, args, environment);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data: Buffer) => (output += data.toString()));
  }
  const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  await until(() => {
    if (child.exitCode !== null) throw new Error(`node ${args.join(' ')} ended: ${output}`);
    return output.includes(ready);
  });
  return {
    output: () => output,
    signal: (signal) => void child.kill(signal),
    async stop() {
      child.kill('SIGTERM');
      const [code] = await closed;
      if (code !== 0) throw new Error(`node ${args.join(' ')} ended with ${code}: ${output}`);
    },
  };
}

async function run(
  program: string,
  args: string[],
  cwd: string,
  environment: Record<string, string>,
): Promise<Ended> {
  const child = spawnIn(cwd, program, args, environment);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code: code ?? -1, stdout, stderr };
}

/** A program with nothing of this process's environment but the path. */
function spawnIn(cwd: string, program: string, args: string[], environment: Record<string, string>) {
  return spawn(program, args, {
    cwd,
    env: {
      PATH: `${join(cwd, 'node_modules/.bin')}:${process.env['PATH'] ?? ''}`,
      HOME: cwd,
      ...environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Every file of the package, relative to it. */
export function filesOf({ packageFolder }: Project): string[] {
  return readdirSync(packageFolder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(packageFolder.length + 1));
}
