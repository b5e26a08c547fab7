import { type StatsFs, readlinkSync, statSync, statfsSync } from 'node:fs';
import { release } from 'node:os';
import type { SandboxLimit } from '../../contracts/limits.js';
import type { SandboxLimits } from '../../contracts/sandbox.js';
import type { Hold } from '../process/hold.js';
import { makeControlGroup } from './cgroup.js';
import { childrenOf, fieldOf, namesIn, orNull, textOf } from './proc.js';

/**
 * What one run of the agent may use is limited twice. The kernel holds what it can, at once: each process (`limitPrefix`),
 * and all of them where it lets the worker make a control group. The worker looks at what they take together and ends the
 * run with a failure that names the limit. Where both count the same, the kernel's own limit lies above, so that the
 * worker sees what passes the limit.
 */
export interface LimitedRun {
  /** Goes before the whole command, outside of its sandbox. */
  prefix: string[];
  /** Looks from now on at a process and at all that descend from it. */
  watch(pid: number | undefined): void;
  /** Once the run is dead. */
  end(): Promise<void>;
}

export interface LimitedRunOptions {
  /** Names its control group. */
  name: string;
  limits: SandboxLimits;
  hold: Hold;
  /** Called once at most. */
  onReached: (limit: SandboxLimit) => void;
}

const aboveTheWorkers = 1.25;
const lookEveryMs = 500;

export function limitRun({ name, limits, hold, onReached }: LimitedRunOptions): LimitedRun {
  const group = makeControlGroup(name, {
    processes: kernels(limits.processes),
    bytes: kernels(limits.memoryMb) * megabyte,
  });
  const shmemBefore = shmemOfMachine();
  let timer: NodeJS.Timeout | undefined;
  let hasReported = false;
  const report = (limit: SandboxLimit | null | undefined) => {
    if (limit === null || limit === undefined || hasReported) return;
    hasReported = true;
    clearInterval(timer);
    onReached(limit);
  };
  return {
    prefix: onLinux([...(group?.prefix ?? []), ...takenFirst, ...boundedIds(limits, hold)]),
    watch(pid) {
      if (pid === undefined) return;
      timer = setInterval(
        () => report(reachedLimit(pid, limits, shmemBefore) ?? group?.reached()),
        lookEveryMs,
      );
    },
    async end() {
      clearInterval(timer);
      // The kernel may have ended the agent itself.
      report(group?.reached());
      await group?.remove();
    },
  };
}

/** When memory runs out, the kernel takes the agent before the worker and the servers beside it. */
const takenFirst = ['choom', '-n', '1000', '--'];

/**
 * Root of the machine is refused no process by `limitPrefix`: the ids of its process namespace are bounded instead, where
 * the kernel keeps them per namespace.
 */
function boundedIds(limits: SandboxLimits, hold: Hold): string[] {
  if (hold !== 'namespace' || process.geteuid?.() !== 0 || !hasIdsPerNamespace()) return [];
  return [
    ...['setpriv', '--pdeathsig', 'KILL', '--', 'unshare', '--pid', '--fork', '--kill-child=KILL', '--'],
    // Where it may not be written, as in a container, the container's own limit holds.
    ...['sh', '-c', '(echo "$0" >/proc/sys/kernel/pid_max) 2>/dev/null; exec "$@"'],
    String(kernels(limits.processes) + firstIdAgain),
  ];
}

/** Ids below are given once only. */
const firstIdAgain = 300;

/** Before, it was one figure for the whole machine. */
function hasIdsPerNamespace(): boolean {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  return major > 6 || (major === 6 && minor >= 14);
}

/**
 * Prefix of the agent's command, inside of its sandbox: no process of it can raise these again. Processes are counted per
 * user, which means anything only where the sandbox has users of its own.
 */
export function limitPrefix(limits: SandboxLimits, ownUsers: boolean): string[] {
  return onLinux([
    'prlimit',
    ...(ownUsers ? [`--nproc=${kernels(limits.processes)}`] : []),
    // A worker that is busy itself looks late, and a command that the kernel ends tells nothing.
    `--cpu=${Math.max(kernels(limits.cpuSeconds), limits.cpuSeconds + 30)}`,
    `--fsize=${limits.fileMb * megabyte}`,
    `--nofile=${limits.openFiles}`,
    '--core=0',
    '--',
  ]);
}

function kernels(limit: number): number {
  return Math.ceil(limit * aboveTheWorkers);
}

function reachedLimit(root: number, limits: SandboxLimits, shmemBefore: number): SandboxLimit | null {
  const processes: Process[] = [];
  let threads = 0;
  for (const one of processesBelow(root)) {
    threads += one.threads;
    // Not to the end: there may be many more.
    if (threads > limits.processes) return 'processes';
    if (one.cpuSeconds >= limits.cpuSeconds) return 'cpuSeconds';
    if (one.openFiles >= limits.openFiles) return 'openFiles';
    processes.push(one);
  }
  const folders = ownFolders(processes);
  if (folders.some(isFull)) return 'tmpMb';
  const inFolders = sum(folders, ({ blocks, bfree, bsize }) => (blocks - bfree) * bsize);
  const hidden = Math.max(0, shmemOfMachine() - shmemBefore);
  const atMost = sum(processes, ({ bytes, tables, shared }) => bytes + tables + shared) + inFolders + hidden;
  const memory = limits.memoryMb * megabyte;
  return atMost > memory && heldTogether(processes, inFolders) > memory ? 'memoryMb' : null;
}

interface Process {
  pid: number;
  threads: number;
  cpuSeconds: number;
  openFiles: number;
  /** Memory of its own; pages that it shares with its parent since a fork count for both. */
  bytes: number;
  /** What it takes besides: page tables, and pages that are counted nowhere else. */
  tables: number;
  /** Memory that it maps together with others. */
  shared: number;
}

/** A process and all that descend from it. */
function* processesBelow(root: number): Generator<Process> {
  const pending = [root];
  for (let pid = pending.pop(); pid !== undefined; pid = pending.pop()) {
    const process = readProcess(pid);
    if (process === null) continue;
    yield process;
    pending.push(...childrenOf(pid, process.threads));
  }
}

function readProcess(pid: number): Process | null {
  const stat = textOf(`/proc/${pid}/stat`);
  const status = textOf(`/proc/${pid}/status`);
  if (stat === null || status === null) return null;
  // After the command's name, which may hold anything.
  const times = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return {
    pid,
    threads: figure(status, 'Threads') || 1,
    cpuSeconds: (Number(times[11]) + Number(times[12])) / ticksPerSecond,
    openFiles: orNull(() => statSync(`/proc/${pid}/fd`).size) ?? 0,
    bytes: kilobytes(status, 'RssAnon', 'VmSwap'),
    tables: kilobytes(status, 'VmPTE', 'HugetlbPages'),
    shared: kilobytes(status, 'RssShmem'),
  };
}

/**
 * What the processes hold when what they share counts once. Costs more than a look, and is asked for only when the sum of
 * all that it could be passes the limit. A process that does not let its worker read this counts in full.
 */
function heldTogether(processes: Process[], inFolders: number): number {
  let own = 0;
  let mapped = 0;
  for (const { pid } of processes) {
    const rollup = textOf(`/proc/${pid}/smaps_rollup`);
    // As it is now: the process may have ended.
    const process = readProcess(pid);
    own += process?.tables ?? 0;
    own += rollup === null ? (process?.bytes ?? 0) : kilobytes(rollup, 'Pss_Anon', 'SwapPss');
    mapped += rollup === null ? (process?.shared ?? 0) : kilobytes(rollup, 'Pss_Shmem');
  }
  return own + Math.max(mapped, inFolders + memoryFiles(processes));
}

/** Bytes of files that are in memory alone, in no folder, and need not be mapped by any process (memfd_create). */
function memoryFiles(processes: Process[]): number {
  const sizes = new Map<number, number>();
  for (const { pid } of processes) {
    for (const name of namesIn(`/proc/${pid}/fd`) ?? []) {
      const path = `/proc/${pid}/fd/${name}`;
      if (!orNull(() => readlinkSync(path))?.startsWith('/memfd:')) continue;
      const file = orNull(() => statSync(path));
      if (file !== null) sizes.set(file.ino, 512 * file.blocks);
    }
  }
  return sum([...sizes.values()], (size) => size);
}

/** Shared memory of the whole machine, all files in memory included: it grows by at least what a run hides in them. */
function shmemOfMachine(): number {
  return kilobytes(textOf('/proc/meminfo') ?? '', 'Shmem');
}

const tmpfsType = 0x01021994;

/** The folders of the sandbox that are in memory, where it has its own. */
function ownFolders(processes: Process[]): StatsFs[] {
  return ['/tmp', '/dev/shm'].flatMap((folder) => {
    const ours = orNull(() => statSync(folder).dev);
    // The first few are what starts the sandbox, and then the agent in it.
    for (const { pid } of processes.slice(0, 8)) {
      const path = `/proc/${pid}/root${folder}`;
      const found = orNull(() => statSync(path).dev);
      if (found === null || found === ours) continue;
      const filesystem = orNull(() => statfsSync(path));
      return filesystem?.type === tmpfsType ? [filesystem] : [];
    }
    return [];
  });
}

/** An empty file takes memory too, and no block: as many files as blocks are too many. */
function isFull({ blocks, bfree, files, ffree }: StatsFs): boolean {
  return blocks > 0 && (bfree === 0 || files - ffree >= blocks);
}

const megabyte = 1024 * 1024;
/** The unit of /proc, whatever the kernel's own. */
const ticksPerSecond = 100;

function sum<Item>(items: readonly Item[], figureOf: (item: Item) => number): number {
  return items.reduce((total, item) => total + figureOf(item), 0);
}

/** Bytes: the sum of lines `Name: figure kB`. */
function kilobytes(text: string, ...names: string[]): number {
  return sum(names, (name) => 1024 * figure(text, name));
}

function figure(text: string, name: string): number {
  return parseInt(fieldOf(text, name), 10) || 0;
}

function onLinux(prefix: string[]): string[] {
  return process.platform === 'linux' ? prefix : [];
}
