import { existsSync, lstatSync } from 'node:fs';
import { chmod, chown, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { killQuietly } from '../process/marked-processes.js';
import { type Scratch, removeAll } from '../process/scratch.js';
import type { Sandbox } from './sandbox.js';
import { childrenOf, fieldOf, textOf } from './proc.js';

/**
 * What separates two tasks of one Claude Code process: nothing that commands of the first one have started or written in the
 * private folders is there for the second. The project's folder is not touched.
 */
export interface Fence {
  /** Before a tool runs that may start processes: looks at what none of them has had a chance to change. Never rejects. */
  beforeCommand(): Promise<void>;
  /** After the last tool of a task. Null, or why the process must not go on with another task. Never rejects. */
  close(): Promise<string | null>;
}

export interface FencedProcess {
  /** Of the command that was started: claude itself, or what makes its sandbox. */
  pid: number;
  scratch: Pick<Scratch, 'home' | 'config'>;
  /** CLAUDE_CONFIG_DIR of the process: that of `scratch`, or the one with the transcript that is resumed. */
  config: string;
  workspace: string;
  /** The claude binary, and the PATH of its commands. */
  binary: string;
  path: string;
  sandbox: Pick<Sandbox, 'hasOwnTmp' | 'hasOwnNetwork'>;
  /** How many it may have. */
  processes: number;
}

/** For a process that is the first of a process namespace. */
export function openFence(fenced: FencedProcess): Fence {
  let before: Promise<Before> | null = null;
  return {
    async beforeCommand() {
      before ??= observe(fenced);
      // It must not keep a tool from running; no other task follows then.
      await before.catch(() => undefined);
    },
    async close() {
      try {
        const inside = await endLeftovers(fenced);
        if (before !== null) await cleanUp(fenced, inside.agent, await before);
        return null;
      } catch (error) {
        return error instanceof Error ? error.message : String(error);
      }
    },
  };
}

/** What no command has had a chance to change yet. */
interface Before {
  agent: string;
  relay: string;
  settings: string;
}

async function observe(fenced: FencedProcess): Promise<Before> {
  const { agent, relay } = look(fenced);
  // Of its own accord Claude Code writes this file while it starts, the last time when it knows its plugins.
  for (let waited = 0; waited < settledWithinMs; waited += 10) {
    if (textOf(settingsOf(fenced))?.includes('"pluginUsage"') ?? !existsSync(fenced.config)) break;
    await pause(10);
  }
  return {
    agent: changeable(agent),
    relay: changeable(relay),
    settings: identityOf(settingsOf(fenced)),
  };
}

const settledWithinMs = 5_000;

/** Claude Code's own, with preferences that it reads again whenever the file is newer. */
function settingsOf({ config }: FencedProcess): string {
  return join(config, '.claude.json');
}

/** Differs after any change: no process can set the time of the last one. */
function identityOf(path: string): string {
  const found = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return found ? [found.dev, found.ino, found.mode, found.size, found.mtimeNs, found.ctimeNs].join(' ') : '';
}

/** What one process can change of another of the same user: its limits, its priority and its processors. */
function changeable(pid: number | null): string {
  if (pid === null) return '';
  const stat = textOf(`/proc/${pid}/stat`) ?? '';
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return [
    textOf(`/proc/${pid}/limits`),
    // Nice value, real-time priority, policy.
    ...[fields[16], fields[37], fields[38]],
    fieldOf(textOf(`/proc/${pid}/status`) ?? '', 'Cpus_allowed'),
  ].join('\n');
}

interface Inside {
  agent: number;
  /** Leads to the proxy; null where the network is the worker's. */
  relay: number | null;
  /** Everything else that runs. */
  others: number[];
  /** Of the relay, one for each connection. It alone starts them. */
  connections: number[];
  /** The ids of all, those included that have ended and that the agent does not collect. */
  seen: string;
  dead: number;
}

/**
 * By the ids in the process namespace itself, which nobody inside can choose: the agent is its first process, and the
 * relay the one that the agent started first. Ids as low as these are given once only.
 */
function look({ pid, sandbox: { hasOwnNetwork } }: FencedProcess): Inside {
  const found: { pid: number; parent: number; ids: number[]; isDead: boolean }[] = [];
  const pending = [pid];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const status = textOf(`/proc/${next}/status`);
    if (status === null) continue;
    found.push({
      pid: next,
      parent: Number(fieldOf(status, 'PPid')),
      ids: fieldOf(status, 'NSpid').split(/\s+/).map(Number),
      isDead: /^[ZX]/.test(fieldOf(status, 'State')),
    });
    pending.push(...childrenOf(next, Number(fieldOf(status, 'Threads'))));
  }
  const depth = Math.max(0, ...found.map(({ ids }) => ids.length));
  const inside = found.filter(({ ids }) => ids.length === depth);
  const living = inside.filter(({ isDead }) => !isDead);
  const withId = (id: number) => living.find(({ ids }) => ids.at(-1) === id)?.pid ?? null;
  const agent = withId(1);
  const relay = hasOwnNetwork ? withId(2) : null;
  if (agent === null) throw new Error('The agent has ended.');
  if (hasOwnNetwork && relay === null) throw new Error('The relay to the proxy of the worker has ended.');
  const connections = living.filter(({ parent }) => parent === relay).map((one) => one.pid);
  const spared = new Set([agent, relay, ...connections]);
  return {
    agent,
    relay,
    connections,
    others: living.map((one) => one.pid).filter((one) => !spared.has(one)),
    seen: inside
      .map((one) => `${one.pid}${one.isDead ? 'dead' : ''}`)
      .sort()
      .join(' '),
    dead: inside.length - living.length,
  };
}

const endedWithinMs = 10_000;

/**
 * Kills until two looks have found the same and nothing to kill: between the looks of one that goes from process to
 * process it leaves another dead one.
 */
async function endLeftovers(fenced: FencedProcess): Promise<Inside> {
  const deadline = performance.now() + endedWithinMs;
  let last = '';
  for (;;) {
    const inside = look(fenced);
    for (const one of inside.others) killQuietly(one, 'SIGKILL');
    if (inside.others.length === 0 && inside.seen === last) {
      // Each counts against the limit of the next task.
      if (inside.dead > fenced.processes / 4) {
        throw new Error(`It has left ${inside.dead} dead processes that Claude Code does not collect.`);
      }
      for (const one of [inside.relay, ...inside.connections]) if (one !== null) killQuietly(one, 'SIGCONT');
      return inside;
    }
    last = inside.others.length === 0 ? inside.seen : '';
    if (performance.now() > deadline) throw new Error('What its commands have started does not end.');
    await pause(inside.others.length === 0 ? 0 : 1);
  }
}

/** All that commands may have left in the folders is removed. Claude Code goes on without what it wrote there itself. */
async function cleanUp(fenced: FencedProcess, agent: number, before: Before): Promise<void> {
  const { relay } = look(fenced);
  if (changeable(agent) !== before.agent || changeable(relay) !== before.relay) {
    throw new Error('A command has changed the limits or the priority of the agent or of its relay.');
  }
  if (identityOf(settingsOf(fenced)) !== before.settings) {
    throw new Error('The .claude.json of the agent was changed.');
  }
  const folders = [...new Set([fenced.scratch.home, fenced.scratch.config, fenced.config])];
  if (fenced.sandbox.hasOwnTmp) {
    const mounts = mountsOf(agent);
    for (const folder of [fenced.workspace, ...folders]) {
      if (!mounts.includes(folder)) throw new Error(`A command has moved ${folder}.`);
    }
    const root = `/proc/${agent}/root`;
    await Promise.all(['/tmp', '/dev/shm'].map((folder) => clear(root, folder, 0o1777, mounts)));
  }
  const shells = await snapshotsIn(fenced);
  const kept = settingsOf(fenced);
  for (const folder of folders) {
    await chmod(folder, 0o700);
    await removeAll(
      (await readdir(folder)).map((name) => join(folder, name)).filter((path) => path !== kept),
    );
  }
  await writeSnapshots(fenced, shells);
}

/** Where other file systems lie on top of the agent's own: removing what they lie on would take them away as well. */
function mountsOf(pid: number): string[] {
  const lines = (textOf(`/proc/${pid}/mountinfo`) ?? '').trim().split('\n');
  return lines.map((line) =>
    Buffer.from(
      (line.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_, byte: string) =>
        String.fromCharCode(parseInt(byte, 8)),
      ),
      'latin1',
    ).toString('utf8'),
  );
}

/** `mode` is the folder's own, which a command may have changed. */
async function clear(root: string, folder: string, mode: number, mounts: readonly string[]): Promise<void> {
  await chmod(root + folder, mode);
  const paths = (await readdir(root + folder)).map((name) => `${folder}/${name}`);
  const above = (path: string) => mounts.some((mount) => mount.startsWith(`${path}/`));
  for (const path of paths) if (!mounts.includes(path) && above(path)) await clear(root, path, 0o755, mounts);
  await removeAll(paths.filter((path) => !mounts.includes(path) && !above(path)).map((path) => root + path));
}

const snapshots = 'shell-snapshots';
const snapshotName = /^snapshot-(?:bash|zsh)-\d{1,20}-\w{1,20}\.sh$/;

/**
 * Claude Code lets each shell read one file first, which it makes for the first command of the process, and which any
 * command can write. The names alone are taken over.
 */
async function snapshotsIn({ config }: FencedProcess): Promise<string[]> {
  const names = await readdir(join(config, snapshots)).catch(() => []);
  return names.filter((name) => snapshotName.test(name)).slice(0, 8);
}

/** Without the file, shells would have no `rg`, which Claude Code brings. */
async function writeSnapshots(
  { config, binary, path }: FencedProcess,
  names: readonly string[],
): Promise<void> {
  const folder = join(config, snapshots);
  const { uid, gid } = lstatSync(config);
  const text = `unalias -a 2>/dev/null || true
hash rg 2>/dev/null || rg() { (exec -a rg ${quoted(binary)} "$@"); }
export PATH=${quoted(path)}
`;
  if (names.length === 0) return;
  await mkdir(folder, { mode: 0o755 });
  await chown(folder, uid, gid);
  for (const name of names) {
    await writeFile(join(folder, name), text, { flag: 'wx', mode: 0o644 });
    await chown(join(folder, name), uid, gid);
  }
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
