import { execFile } from 'node:child_process';
import { chownSync, lstatSync, readdirSync, writeFileSync } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { join } from 'node:path';
import { SessionChainError } from '../../contracts/failures.js';
import type { SandboxSettings } from '../../contracts/sandbox.js';
import type { Hold } from '../process/hold.js';
import type { Scratch } from '../process/scratch.js';
import { requireApart } from './apart.js';
import { type Owner, type Visible, bubblewrap, bubblewrapAs, dieWithParent } from './bubblewrap.js';
import { withRelay } from './relay.js';
import { systemCallFilter } from './system-calls.js';
import { findProgram, requirePrograms, requireWorking } from './unavailable.js';

/** What holds the agents of a worker. */
export interface Sandbox {
  kind: SandboxSettings['kind'];
  /** How the agent, and all that it starts, is ended. */
  hold: Hold;
  /** Whether the agent has a network of its own, from which only the socket of its proxy leads out. */
  hasOwnNetwork: boolean;
  /** Whether /tmp inside is the agent's own. */
  hasOwnTmp: boolean;
  /** Whether system calls are refused by which one process reaches into another. */
  hasFilter: boolean;
  /**
   * Prepares a run, and returns how its command is started. Throws WORKSPACE_NOT_ALLOWED for a folder that the sandbox
   * could not keep apart from the worker, SANDBOX_UNAVAILABLE where the sandbox does not work for the folder's owner.
   */
  prepare(run: SandboxedRun): Promise<(agent: AgentCommand) => string[]>;
}

export interface SandboxedRun {
  /** The real path of the project's folder. */
  workspace: string;
  scratch: Scratch;
  scratchRoot: string;
  /** The real path of the claude binary. */
  binary: string;
}

export interface AgentCommand {
  command: readonly string[];
  /** The folder with its configuration: the run's own, or the one with the transcript that is resumed. */
  config: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Where the socket of the proxy is inside. */
const socketInside = '/run/egress.sock';
const socatInside = '/run/socat';

/**
 * Finds out once whether the sandbox works here; starts a few short-lived processes. Throws SANDBOX_UNAVAILABLE that
 * says what to install or set, AGENT_NOT_FOUND without bash.
 */
export async function openSandbox(settings: SandboxSettings, environment: Environment): Promise<Sandbox> {
  switch (settings.kind) {
    case 'bwrap':
      return await bubblewrapSandbox(settings, environment);
    case 'command':
      return await commandSandbox(settings, environment);
    case 'none':
      return await noSandbox(environment);
  }
}

/** What it means to run agents without a sandbox, for a person. */
export function withoutSandbox(hold: Hold): string {
  const means =
    'Agents run without a sandbox: their shell commands read and write what the user of the worker can, the folders of other projects included, and reach its network.';
  return hold === 'namespace'
    ? means
    : `${means} They can read the environment of the worker, and a command that detaches itself may outlive its step.`;
}

async function bubblewrapSandbox(settings: SandboxSettings, environment: Environment): Promise<Sandbox> {
  const PATH = environment.PATH ?? '';
  const own = process.geteuid?.() ?? 0;
  requirePrograms(
    ['bwrap', 'socat', 'setpriv', 'prlimit', 'choom', 'bash', ...(own === 0 ? ['unshare', 'mount'] : [])],
    PATH,
  );
  const socat = await realpath(findProgram('socat', PATH) ?? 'socat');
  const { tmpMb } = settings.limits;
  const read = settings.read.map((path) => ({ path, access: 'read' as const }));
  const empty = { visible: read, tmpMb };
  await requireWorking(bubblewrap(empty, '/'), PATH);
  const others = new Map<number, Promise<void>>();
  return {
    kind: 'bwrap',
    hold: 'namespace',
    hasOwnNetwork: true,
    hasOwnTmp: true,
    hasFilter: systemCallFilter() !== null,
    async prepare({ workspace, scratch, scratchRoot, binary }) {
      await requireApart(workspace, { scratchRoot, binary });
      const { uid, gid } = await stat(workspace);
      const owner = own === 0 && uid !== own ? { uid, gid } : null;
      if (owner) {
        const known = others.get(uid) ?? requireWorking(bubblewrapAs(owner, empty, '/'), PATH);
        others.set(uid, known);
        await known;
        for (const path of [scratch.home, scratch.config]) giveTo(owner, path);
      }
      const marker = join(workspace, '.session-chain');
      const isMarked = lstatSync(marker, { throwIfNoEntry: false })?.isDirectory() ?? false;
      return ({ command, config }) => {
        if (owner && config !== scratch.config) giveTo(owner, config);
        if (owner) chownSync(scratch.socket, owner.uid, owner.gid);
        const visible: Visible[] = [
          ...read,
          ...[...new Set([workspace, scratch.home, scratch.config, config])].map((path) => ({
            path,
            access: 'write' as const,
          })),
          ...[binary, ...(isMarked ? [marker] : [])].map((path) => ({ path, access: 'read' as const })),
          { path: socketInside, source: scratch.socket, access: 'read' },
          { path: socatInside, source: socat, access: 'read' },
        ];
        const view = { visible, tmpMb };
        return [
          ...(owner ? bubblewrapAs(owner, view, workspace) : bubblewrap(view, workspace)),
          ...withRelay(socatInside, socketInside),
          ...command,
        ];
      };
    },
  };
}

/**
 * `<program> <file> -- <command…>`: the file is JSON with what the command must find inside, by the same paths. The
 * program must end all of it when it is killed.
 */
async function commandSandbox(settings: SandboxSettings, environment: Environment): Promise<Sandbox> {
  const program = settings.command ?? '';
  const PATH = environment.PATH ?? '';
  requirePrograms([program, 'bash'], PATH);
  const prefix = (await works(dieWithParent, PATH)) ? dieWithParent : [];
  return {
    kind: 'command',
    hold: process.platform === 'linux' ? 'marker' : 'group',
    hasOwnNetwork: true,
    hasOwnTmp: false,
    hasFilter: false,
    async prepare({ workspace, scratch, scratchRoot, binary }) {
      await requireApart(workspace, { scratchRoot, binary });
      return ({ command, config }) => {
        const own = [scratch.home, scratch.config, scratch.tmp];
        const description = {
          workspace,
          write: [...new Set([workspace, ...own, config])],
          read: [...settings.read, binary, join(workspace, '.session-chain')],
          egressSocket: scratch.socket,
          limits: settings.limits,
        };
        writeFileSync(scratch.description, JSON.stringify(description), { mode: 0o600 });
        return [
          ...[...prefix, program, scratch.description, '--'],
          ...[...withRelay('socat', scratch.socket), ...command],
        ];
      };
    },
  };
}

/** No wall; what an agent starts is held together as well as the system lets the user of the worker. */
async function noSandbox({ PATH = '' }: Environment): Promise<Sandbox> {
  // The shell of Claude Code and of the guard.
  if (findProgram('bash', PATH) === null) {
    throw new SessionChainError('AGENT_NOT_FOUND', 'There is no bash on the PATH of the worker.');
  }
  const { hold, prefix } = await holdWithoutWall(PATH);
  return {
    kind: 'none',
    hold,
    hasOwnNetwork: false,
    hasOwnTmp: false,
    hasFilter: false,
    async prepare() {
      return ({ command }) => [...prefix, ...command];
    },
  };
}

async function holdWithoutWall(path: string): Promise<{ hold: Hold; prefix: string[] }> {
  if (process.platform !== 'linux') return { hold: 'group', prefix: [] };
  const ownProcesses = [
    ...[...dieWithParent, 'unshare', '--user', '--map-current-user'],
    ...['--pid', '--fork', '--kill-child=KILL', '--'],
  ];
  if (await works(ownProcesses, path)) return { hold: 'namespace', prefix: ownProcesses };
  return { hold: 'marker', prefix: (await works(dieWithParent, path)) ? dieWithParent : [] };
}

async function works(prefix: readonly string[], path: string): Promise<boolean> {
  const [command = '', ...args] = [...prefix, 'true'];
  return await promisify(execFile)(command, args, { env: { PATH: path }, timeout: 10_000 }).then(
    () => true,
    () => false,
  );
}

/** Follows no link. */
function giveTo(owner: Owner, path: string): void {
  const found = lstatSync(path);
  if (found.isSymbolicLink()) return;
  chownSync(path, owner.uid, owner.gid);
  if (found.isDirectory()) for (const name of readdirSync(path)) giveTo(owner, join(path, name));
}
