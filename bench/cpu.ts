import { readFileSync, readdirSync } from 'node:fs';

/** Clock ticks a second of /proc/<pid>/stat, on every Linux. */
const ticksPerSecond = 100;

/** User and system time of a process so far, with that of the children it has waited for; 0 where there is no /proc. */
export function cpuMsOf(pid: number): number {
  return milliseconds(statOf(pid)?.slice(11, 15));
}

/** The same of the children alone. */
export function cpuMsOfEndedChildren(pid: number): number {
  return milliseconds(statOf(pid)?.slice(13, 15));
}

function milliseconds(times: readonly string[] = []): number {
  return (times.reduce((sum, ticks) => sum + Number(ticks), 0) * 1000) / ticksPerSecond;
}

/** The same for processes and everything that they started. */
export async function cpuMsOfTree(pids: readonly number[]): Promise<number> {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    const parent = /^\d+$/.test(name) ? Number(statOf(Number(name))?.[1]) : NaN;
    if (!Number.isNaN(parent)) parents.set(Number(name), parent);
  }
  const isBelow = (pid: number): boolean => {
    for (let at: number | undefined = pid; at !== undefined && at > 1; at = parents.get(at)) {
      if (pids.includes(at)) return true;
    }
    return false;
  };
  return [...parents.keys()].filter(isBelow).reduce((sum, pid) => sum + cpuMsOf(pid), 0);
}

/** Resident memory in MB; 0 where there is no /proc. */
export function residentMbOf(pid: number): number {
  try {
    const [, kB] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return Number(kB ?? 0) / 1000;
  } catch {
    return 0;
  }
}

/** The fields of /proc/<pid>/stat behind the name, from the state on; null where the process is gone. */
function statOf(pid: number): string[] | null {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? null;
  } catch {
    return null;
  }
}
