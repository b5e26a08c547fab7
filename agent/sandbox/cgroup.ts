import { mkdirSync, readFileSync, rmdirSync, statfsSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { dirname, join } from 'node:path';
import type { SandboxLimit } from '../../contracts/limits.js';

/** A control group (version 2) of one run: the kernel counts all that its processes take, seen by the worker or not. */
export interface ControlGroup {
  /** Prefix of a command that begins its life in the group. */
  prefix: string[];
  /** The limit at which the kernel has refused or ended something; null while there is none. */
  reached(): SandboxLimit | null;
  /** Ends what is left in it, and removes it. */
  remove(): Promise<void>;
}

const mountedAt = '/sys/fs/cgroup';
const cgroupType = 0x63677270;

/**
 * Makes one where the worker may: beside or below its own. A group with groups below it holds no processes, so a
 * service manager has to put the worker in one that is below what it hands over. Null where that is not so.
 */
export function makeControlGroup(
  name: string,
  limits: { processes: number; bytes: number },
): ControlGroup | null {
  for (const parent of parentGroups()) {
    const group = join(parent, name);
    try {
      writeFileSync(join(parent, 'cgroup.subtree_control'), '+memory +pids');
      mkdirSync(group);
    } catch {
      continue;
    }
    const set = (file: string, value: number) => writeFileSync(join(group, file), String(value));
    try {
      set('pids.max', limits.processes);
      set('memory.max', limits.bytes);
      set('memory.swap.max', 0);
      return controlGroup(group);
    } catch {
      rmdirSync(group);
    }
  }
  return null;
}

/** Removes the group of a run whose worker is dead; its processes are dead as well. */
export async function removeControlGroup(name: string): Promise<void> {
  for (const parent of parentGroups()) await remove(join(parent, name));
}

function controlGroup(group: string): ControlGroup {
  const hasSeen = (event: string, file: string) =>
    new RegExp(`^${event} [1-9]`, 'm').test(textOf(join(group, file)));
  return {
    prefix: ['sh', '-c', 'echo 0 2>/dev/null >"$0"; exec "$@"', join(group, 'cgroup.procs')],
    reached() {
      if (hasSeen('max', 'pids.events')) return 'processes';
      return hasSeen('oom_kill', 'memory.events') ? 'memoryMb' : null;
    },
    remove: () => remove(group),
  };
}

async function remove(group: string): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    try {
      rmdirSync(group);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY') return;
    }
    // The kernel may still be taking leave of processes that are dead.
    writeFileSync(join(group, 'cgroup.kill'), '1');
    await delay(20);
  }
}

/** The worker's own group, and the one above it. */
function parentGroups(): string[] {
  try {
    if (statfsSync(mountedAt).type !== cgroupType) return [];
    const path = /^0::(.+)$/m.exec(textOf('/proc/self/cgroup'))?.[1];
    if (path === undefined) return [];
    return [...new Set([join(mountedAt, path), join(mountedAt, dirname(path))])];
  } catch {
    return [];
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
