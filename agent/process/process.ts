import { spawn, type ChildProcess } from 'node:child_process';
import { pipeline, type Readable, Transform } from 'node:stream';
import type { SpawnedProcess } from '@anthropic-ai/claude-agent-sdk';
import type { SandboxLimit } from '../../contracts/limits.js';
import type { SandboxLimits } from '../../contracts/sandbox.js';
import { type ProcessExit, exitOf } from './exit.js';
import { type GuardOptions, startGuard } from './guard.js';
import type { Hold } from './hold.js';
import { limitRun } from '../sandbox/limits.js';
import { childrenOf, killMarked, killQuietly } from './marked-processes.js';
import { endOf } from '../../contracts/text.js';

export interface AgentExit extends ProcessExit {
  /** Whether the guard ended it: its worker could not prove the lease in time. */
  byGuard: boolean;
}

export interface AgentProcess {
  /** Of the command: the agent itself, or what makes its sandbox. Undefined where it could not be started. */
  pid: number | undefined;
  /** For the SDK. Its `kill` always kills everything. */
  spawned: SpawnedProcess;
  /** The end of what the agent printed to stderr. */
  errorTail(): string;
  /** Settles when the agent and everything it started is dead. Never rejects. */
  ended: Promise<AgentExit>;
  /** Kills the agent and everything it started; `ended` tells when that is done. */
  kill(): void;
}

const errorTailLength = 4000;
/** More than any request to a model holds, and so any entry of a transcript. */
const maxLineBytes = 64 * 1024 ** 2;

export interface SpawnAgentOptions {
  /** How all that it starts is ended. */
  hold: Hold;
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
  const guard = startGuard({ ...options.guard, hold, marker, path: options.env.PATH });
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
  return { pid: child.pid, spawned, errorTail: () => errorTail, ended, kill };
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

async function killAll(hold: Hold, child: ChildProcess, marker: string): Promise<void> {
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
async function sweep(hold: Hold, child: ChildProcess, marker: string): Promise<void> {
  if (hold === 'namespace' || child.pid === undefined) return;
  killQuietly(-child.pid, 'SIGKILL');
  await killMarked(marker);
}
