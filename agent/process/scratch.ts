import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { lstatSync, writeFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { removeControlGroup } from '../sandbox/cgroup.js';
import { isRunning, killMarked, processHost, processName } from './marked-processes.js';

/** A run's private folders; HOME, configuration and temporary files of the agent go only here. */
export interface Scratch {
  home: string;
  config: string;
  tmp: string;
  /** The socket of the agent's proxy. */
  socket: string;
  /** What a program that makes the sandbox is told. */
  description: string;
  /** In the environment of the agent and so of everything it starts. */
  marker: { name: string; value: string };
  /** Records the folder that the SDK made for a resumed transcript, so that a sweep finds it after a kill. */
  noteResumeFolder(path: string): void;
  remove(): Promise<void>;
}

export const markerName = 'SESSION_CHAIN_AGENT';
const resumeNote = 'resume-folder';
const resumeFolderPattern = /^claude-resume-[0-9a-f-]+$/;

/** Makes the folders of one run below `root`, readable only by this user. */
export async function createScratch(root: string): Promise<Scratch> {
  const name = ['run', await processHost(), await processName(process.pid), randomUUID().slice(0, 8)].join(
    '-',
  );
  const folder = resolve(root, name);
  const scratch = { home: join(folder, 'home'), config: join(folder, 'config'), tmp: join(folder, 'tmp') };
  await mkdir(root, { recursive: true, mode: 0o700 });
  for (const path of [folder, ...Object.values(scratch)]) await mkdir(path, { mode: 0o700 });
  let resumeFolder: string | null = null;
  return {
    ...scratch,
    socket: join(folder, 'egress.sock'),
    description: join(folder, 'sandbox.json'),
    marker: { name: markerName, value: name },
    noteResumeFolder(path) {
      if (!isResumeFolder(path)) return;
      resumeFolder = path;
      writeFileSync(join(folder, resumeNote), path);
    },
    async remove() {
      if (resumeFolder !== null) await removeFolder(resumeFolder);
      await removeFolder(folder);
    },
  };
}

/**
 * Ends what dead workers of this host left: their agents' processes, run folders and resumed transcripts. Runs of
 * living workers and of other hosts and containers that share the folder are not touched. Returns the runs it ended.
 */
export async function sweepScratch(root: string): Promise<{ run: string; killed: number }[]> {
  const host = await processHost();
  const names = await readdir(root).catch(() => []);
  const swept: { run: string; killed: number }[] = [];
  for (const name of names) {
    const [kind, runHost, owner] = name.split('-');
    if (kind !== 'run' || runHost !== host || owner === undefined || (await isRunning(owner))) continue;
    const killed = await killMarked(`${markerName}=${name}`);
    const resumeFolder = await readFile(join(root, name, resumeNote), 'utf8').catch(() => '');
    if (isResumeFolder(resumeFolder)) await removeFolder(resumeFolder);
    await removeControlGroup(name);
    await removeFolder(join(root, name));
    swept.push({ run: name, killed });
  }
  return swept;
}

/** The SDK puts a resumed transcript in the worker's temporary folder and removes it only when it ends in order. */
function isResumeFolder(path: string): boolean {
  return resumeFolderPattern.test(basename(path));
}

export async function removeFolder(path: string): Promise<void> {
  await removeAll([path]);
}

/** Removes files and folders that an agent may have left in any number and in any state. Follows no link. */
export async function removeAll(paths: readonly string[]): Promise<void> {
  const left: string[] = [];
  for (const some of inBatches(paths)) {
    await Promise.all(
      some.map(async (path) => {
        await rm(path, { recursive: true, force: true, maxRetries: 3, retryDelay: 100 }).catch(() =>
          left.push(path),
        );
      }),
    );
  }
  // Folders that an agent has closed, or that lie deeper than a path can name.
  const run = promisify(execFile);
  for (const some of inBatches(left)) {
    // Of a link that it is given, chmod would change what the link leads to.
    const folders = some.filter((path) => lstatSync(path, { throwIfNoEntry: false })?.isDirectory());
    if (folders.length > 0) await run('chmod', ['-R', 'u+rwX', '--', ...folders]).catch(() => undefined);
    await run('rm', ['-rf', '--', ...some]);
  }
}

function inBatches(paths: readonly string[], size = 100): string[][] {
  const batches = Math.ceil(paths.length / size);
  return Array.from({ length: batches }, (_, batch) => paths.slice(batch * size, (batch + 1) * size));
}
