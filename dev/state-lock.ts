import { execFileSync } from 'node:child_process';
import { existsSync, linkSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SessionChainError } from '../contracts/failures.js';

/** `startedAt` tells this process from a later one with the same id. */
interface Holder {
  pid: number;
  startedAt: string;
}

/**
 * Claims the state folder for this process; returns the function that releases it (later calls of it do nothing). A
 * claim of a process that no longer exists is taken over. Claims are the files lock.1, lock.2, … of which the highest
 * counts: a name is never used twice while a higher one exists, so that two processes that take over the same dead
 * claim cannot both succeed.
 * @throws SessionChainError STATE_DIR_BUSY, naming the process
 */
export function lockStateDir(stateDir: string): () => void {
  const me: Holder = { pid: process.pid, startedAt: startOf(process.pid) ?? 'unknown' };
  for (;;) {
    const latest = latestClaim(stateDir);
    const holder = readClaim(stateDir, latest);
    if (holder !== undefined && startOf(holder.pid) === holder.startedAt) {
      throw new SessionChainError(
        'STATE_DIR_BUSY',
        `The state folder ${stateDir} is in use by process ${holder.pid}.`,
        `Stop process ${holder.pid} first, or use another state folder.`,
      );
    }
    const mine = latest + 1;
    if (!writeClaim(stateDir, mine, me)) continue;
    if (latestClaim(stateDir) !== mine) {
      rmSync(claimFile(stateDir, mine), { force: true }); // Another process has claimed it meanwhile.
      continue;
    }
    for (const older of claims(stateDir).filter((generation) => generation < mine)) {
      rmSync(claimFile(stateDir, older), { force: true });
    }
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      const released = join(stateDir, `lock-${process.pid}.tmp`);
      writeFileSync(released, '{}', { mode: 0o600 });
      renameSync(released, claimFile(stateDir, mine));
    };
  }
}

/** All at once, content included, or not at all; false when that claim exists. */
function writeClaim(stateDir: string, generation: number, holder: Holder): boolean {
  const draft = join(stateDir, `lock-${process.pid}.tmp`);
  writeFileSync(draft, JSON.stringify(holder), { mode: 0o600 });
  try {
    linkSync(draft, claimFile(stateDir, generation));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

/** Undefined when it was released, does not exist (any more), or was truncated by a power failure. */
function readClaim(stateDir: string, generation: number): Holder | undefined {
  try {
    const { pid, startedAt } = JSON.parse(
      readFileSync(claimFile(stateDir, generation), 'utf8'),
    ) as Partial<Holder>;
    return pid === undefined || startedAt === undefined ? undefined : { pid, startedAt };
  } catch {
    return undefined;
  }
}

function latestClaim(stateDir: string): number {
  return Math.max(0, ...claims(stateDir));
}

function claims(stateDir: string): number[] {
  return readdirSync(stateDir)
    .flatMap((name) => /^lock\.(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number);
}

function claimFile(stateDir: string, generation: number): string {
  return join(stateDir, `lock.${generation}`);
}

/** When that process started, in any form that no later process repeats; undefined when it does not exist. */
function startOf(pid: number): string | undefined {
  try {
    if (!existsSync('/proc/self/stat')) {
      return (
        execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim() || undefined
      );
    }
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    // The second field, the name, may hold spaces and brackets; the start is the 22nd.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const isZombie = fields[0] === 'Z';
    return isZombie ? undefined : `${boot}/${fields[19]}`;
  } catch {
    return undefined;
  }
}
