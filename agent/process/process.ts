import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { pipeline, type Readable, Transform } from 'node:stream';
import { promisify } from 'node:util';
import type { SpawnedProcess } from '@anthropic-ai/claude-agent-sdk';
import { SessionChainError } from '../../contracts/failures.js';
import type { SandboxLimit } from '../../contracts/limits.js';
import type { SandboxLimits } from '../../contracts/sandbox.js';
import { type ProcessExit, exitOf } from './exit.js';
import { type GuardOptions, startGuard } from './guard.js';
import { limitRun } from '../sandbox/limits.js';
import { childrenOf, killMarked, killQuietly } from './marked-processes.js';
import { endOf } from '../../contracts/text.js';

/**
 * How the agent and everything it starts is held together, best first:
 * - `namespace`: in a process namespace of its own, whose first process is the agent. The kernel kills all of it when
 *   that one ends; `setpriv --pdeathsig` and `unshare --kill-child` end it with the worker. With a user namespace
 *   besides, the agent cannot read /proc/<worker>/environ either.
 * - `marker`: the agent dies with the worker by `setpriv`; what it started is found by a variable in its environment,
 *   at the step's end by us, after the worker's death by the guard. For containers whose seccomp profile refuses
 *   namespaces.
 * - `group`: where there is no /proc (macOS): the process group is killed. A command that made its own session
 *   survives; best effort.
 * Beside each stands a guard (guard.ts), for a worker that is frozen or has lost its lease.
 */
export interface Containment {
  kind: 'namespace' | 'marker' | 'group';
  /** Prefix of the agent's command for a workspace that belongs to this user. */
  prefix: string[];
  /** The same for a workspace of another user, which a user namespace would hide behind `nobody`. */
  foreignPrefix: string[];
}

export interface AgentExit extends ProcessExit {
  /** Whether the guard ended it: its worker could not prove the lease in time. */
  byGuard: boolean;
}

export interface AgentProcess {
  /** For the SDK. Its `kill` always kills everything. */
  spawned: SpawnedProcess;
  /** The end of what the agent printed to stderr. */
  errorTail(): string;
  /** Settles when the agent and everything it started is dead. Never rejects. */
  ended: Promise<AgentExit>;
  /** Kills the agent and everything it started; `ended` tells when that is done. */
  kill(): void;
}

const dieWithParent = ['setpriv', '--pdeathsig', 'KILL', '--'];
const ownProcesses = ['--pid', '--fork', '--kill-child=KILL', '--'];
/** The user stays the same inside: Claude Code treats root differently. */
const asThisUser = ['unshare', '--user', '--map-current-user'];
const errorTailLength = 4000;
/** More than any request to a model holds, and so any entry of a transcript. */
const maxLineBytes = 64 * 1024 ** 2;

/**
 * Detects once what this platform supports; starts a few short-lived processes. Throws AGENT_NOT_FOUND without bash.
 */
export async function probeContainment(
  env: Readonly<Record<string, string | undefined>>,
): Promise<Containment> {
  const works = async (prefix: string[]): Promise<boolean> => {
    const [command = '', ...args] = [...prefix, 'true'];
    return promisify(execFile)(command, args, { env: { PATH: env.PATH ?? '' }, timeout: 10_000 }).then(
      () => true,
      () => false,
    );
  };
  // The shell of Claude Code and of the guard.
  if (!(await works(['bash', '-c', '"$@"', 'probe']))) {
    throw new SessionChainError('AGENT_NOT_FOUND', 'There is no bash on the PATH of the worker.');
  }
  if (process.platform !== 'linux') return { kind: 'group', prefix: [], foreignPrefix: [] };
  const withUser = [...dieWithParent, ...asThisUser, ...ownProcesses];
  const withoutUser = [...dieWithParent, 'unshare', ...ownProcesses];
  const [canWithUser, canWithoutUser] = [await works(withUser), await works(withoutUser)];
  if (canWithUser) {
    return { kind: 'namespace', prefix: withUser, foreignPrefix: canWithoutUser ? withoutUser : withUser };
  }
  if (canWithoutUser) return { kind: 'namespace', prefix: withoutUser, foreignPrefix: withoutUser };
  const prefix = (await works(dieWithParent)) ? dieWithParent : [];
  return { kind: 'marker', prefix, foreignPrefix: prefix };
}

/** The prefix for a workspace: root keeps its power over other users' files only outside a user namespace. */
export async function prefixFor(containment: Containment, workspace: string): Promise<string[]> {
  const owner = (await stat(workspace)).uid;
  return owner === process.geteuid?.() ? containment.prefix : containment.foreignPrefix;
}

export interface SpawnAgentOptions {
  /** How all that it starts is ended. */
  hold: Containment['kind'];
  /** The agent's command with all that goes before it: a sandbox, or what holds its processes together. */
  command: readonly string[];
  cwd: string;
  env: Record<string, string | undefined>;
  /** `NAME=value` as it is in `env`. */
  marker: string;
  /** How its guard learns the lease, and reports its end. */
  guard: Pick<GuardOptions, 'lease' | 'noticeMs' | 'onEnding' | 'onGone'>;
  limits: SandboxLimits;
  /** The agent and all it started have reached one of them. */
  onLimit: (limit: SandboxLimit) => void;
}

/** Starts the agent in a session of its own, so that a terminal's Ctrl-C reaches the worker alone. */
export function spawnAgent(options: SpawnAgentOptions): AgentProcess {
  const { hold, limits, marker } = options;
  const name = marker.slice(marker.indexOf('=') + 1);
  const limited = limitRun({ name, limits, hold, onReached: options.onLimit });
  const [command = '', ...args] = [...limited.prefix, ...options.command];
  // Before the agent, which never runs without it.
  const guard = startGuard({ ...options.guard, kind: hold, marker, path: options.env.PATH });
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: options.env,
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const { stdin, stderr } = child;
  stdin.on('error', () => undefined);
  const stdout = withBoundedLines(child.stdout, () => {
    errorTail = `Its output had a line of more than ${maxLineBytes / 1024 ** 2} MB.`;
    kill();
  });
  let errorTail = '';
  stderr.setEncoding('utf8').on('data', (text: string) => {
    errorTail = endOf(errorTail + text, errorTailLength);
  });

  if (child.pid !== undefined) guard.watch(child.pid);
  limited.watch(child.pid);
  const kill = () => void killAll(hold, child, marker);
  const ended = exitOf(child).then(async (exit) => {
    await sweep(hold, child, marker);
    await limited.end();
    return { ...exit, byGuard: await guard.dismiss() };
  });
  // `unshare` ignores SIGTERM while it waits, and the agent has had its chance to end in order at the interrupt before:
  // whatever signal the SDK wants to send, it kills.
  const spawned = Object.assign(child, {
    stdin,
    stdout,
    kill: () => {
      kill();
      return true;
    },
  });
  return { spawned, errorTail: () => errorTail, ended, kill };
}

/**
 * The SDK collects a line until it ends, and what the agent started can write to the agent's output as well. Nothing
 * follows once a line was too long.
 */
function withBoundedLines(output: Readable, onTooLong: () => void): Readable {
  let length = 0;
  let isTooLong = false;
  const bounded = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const end = chunk.lastIndexOf('\n');
      length = end === -1 ? length + chunk.length : chunk.length - end - 1;
      if (length > maxLineBytes && !isTooLong) {
        isTooLong = true;
        onTooLong();
      }
      if (isTooLong) done();
      else done(null, chunk);
    },
  });
  pipeline(output, bounded, () => undefined);
  return bounded;
}

async function killAll(hold: Containment['kind'], child: ChildProcess, marker: string): Promise<void> {
  const { pid } = child;
  if (pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  if (hold === 'namespace') {
    // Not `unshare` itself: it waits for the namespace's first process, and that one's end waits for all others.
    const firsts = await childrenOf(pid);
    for (const first of firsts) killQuietly(first, 'SIGKILL');
    // If it was stopped, it must continue to notice the end.
    killQuietly(pid, firsts.length === 0 ? 'SIGKILL' : 'SIGCONT');
    return;
  }
  killQuietly(-pid, 'SIGKILL');
  await sweep(hold, child, marker);
}

/** Ends what outlived the agent. In a namespace nothing can. */
async function sweep(hold: Containment['kind'], child: ChildProcess, marker: string): Promise<void> {
  if (hold === 'namespace' || child.pid === undefined) return;
  killQuietly(-child.pid, 'SIGKILL');
  await killMarked(marker);
}
