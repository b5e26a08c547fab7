import { readdir, readFile, readlink } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { hostname } from 'node:os';

/**
 * Finding processes by a variable in their environment, which every child inherits. The way to find what an agent
 * started where no namespace holds it, and what a dead worker left behind. A process that cleared its environment
 * is not found. Needs /proc; elsewhere nothing is found.
 */
export async function findMarked(assignment: string): Promise<number[]> {
  const found = await Promise.all(
    (await processIds()).map(async (pid) => {
      const environ = await readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '');
      return `\0${environ}`.includes(`\0${assignment}\0`) ? pid : null;
    }),
  );
  return found.filter((pid): pid is number => pid !== null && pid !== process.pid);
}

/** Kills marked processes until none is found: one may start another between two looks. Returns how many it found. */
export async function killMarked(assignment: string): Promise<number> {
  const met = new Set<number>();
  for (let round = 0; round < 50; round++) {
    const pids = await findMarked(assignment);
    if (pids.length === 0) break;
    for (const pid of pids) {
      met.add(pid);
      killQuietly(pid, 'SIGKILL');
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return met.size;
}

/** The child processes of a process, by /proc; empty elsewhere. */
export async function childrenOf(parent: number): Promise<number[]> {
  const parents = await Promise.all(
    (await processIds()).map(async (pid) => ({ pid, parent: Number((await statOf(pid))?.[1]) })),
  );
  return parents.filter((process) => process.parent === parent).map((process) => process.pid);
}

/**
 * Identifies one process permanently: a process id alone is reused. The start time is empty where there is no /proc.
 */
export async function processName(pid: number): Promise<string> {
  const startTime = (await statOf(pid))?.[19] ?? '';
  return `${pid}.${startTime}`;
}

/** Whether the process with this identity still runs. */
export async function isRunning(name: string): Promise<boolean> {
  const pid = Number(name.split('.')[0]);
  return killQuietly(pid, 0) && (await processName(pid)) === name;
}

/**
 * Identifies the set of processes that this one can see: process ids of another host or container mean nothing here.
 */
export async function processHost(): Promise<string> {
  const parts = await Promise.all([
    readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => ''),
    readlink('/proc/self/ns/pid').catch(() => ''),
  ]);
  return createHash('sha256')
    .update([hostname(), ...parts].join('\n'))
    .digest('hex')
    .slice(0, 12);
}

/** False when there is no such process (any more), or it is not ours. */
export function killQuietly(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}

async function processIds(): Promise<number[]> {
  const names = await readdir('/proc').catch(() => []);
  return names.filter((name) => /^\d+$/.test(name)).map(Number);
}

/** The fields of /proc/<pid>/stat after the command's name: state, parent, … start time (the 20th). */
async function statOf(pid: number): Promise<string[] | null> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => null);
  return stat === null ? null : stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}
