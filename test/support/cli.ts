import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** The compiled command line. */
export interface CommandLine {
  /** As a process of its own. */
  spawn(args: string[], environment: NodeJS.ProcessEnv, cwd?: string): [ChildProcess, Promise<Ended>];
  /** In a process that runs one command after another; commands at the same time have one each. */
  run(args: string[], environment: NodeJS.ProcessEnv, cwd?: string): Promise<Ended>;
  stop(): void;
}

const main = join(import.meta.dirname, '../../dist/cli/main.js');
const host = join(import.meta.dirname, 'cli-host.js');

export function createCommandLine(): CommandLine {
  const hosts = new Set<ChildProcess>();
  const idle: ChildProcess[] = [];
  async function startHost(): Promise<ChildProcess> {
    const started = fork(host, {
      execArgv: [],
      env: { PATH: process.env['PATH'] },
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    });
    hosts.add(started);
    await messageOf(started);
    return started;
  }
  return {
    spawn(args, environment, cwd = '/') {
      const child = spawn(process.execPath, [main, ...args], {
        cwd,
        env: environment,
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const out = { stdout: '', stderr: '' };
      child.stdout.on('data', (data: Buffer) => (out.stdout += data.toString()));
      child.stderr.on('data', (data: Buffer) => (out.stderr += data.toString()));
      return [child, once(child, 'close').then(([code]) => ({ code: code as number | null, ...out }))];
    },
    async run(args, environment, cwd = '/') {
      const host = idle.pop() ?? (await startHost());
      const answer = messageOf(host);
      host.send({ args, env: environment, cwd });
      const { left, ...ended } = (await answer) as Ended & { left?: string };
      if (left !== undefined) throw new Error(`session-chain ${args.join(' ')} would not end. ${left}`);
      idle.push(host);
      return ended;
    },
    stop() {
      for (const host of hosts) host.kill('SIGKILL');
    },
  };
}

/** A command on a terminal of 80 columns; what it wrote to both streams is in `stdout`. */
export async function onTerminal(args: string[], environment: NodeJS.ProcessEnv): Promise<Ended> {
  const words = [process.execPath, main, ...args].map((word) => `'${word.replaceAll("'", `'\\''`)}'`);
  const child = spawn('script', ['-qec', `stty cols 80; exec ${words.join(' ')}`, '/dev/null'], {
    cwd: '/',
    env: environment,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let stdout = '';
  child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr: '' };
}

/** The next message of a host. Rejects where it ends instead. */
async function messageOf(host: ChildProcess): Promise<unknown> {
  const over = new AbortController();
  const { signal } = over;
  try {
    return await Promise.race([
      once(host, 'message', { signal }).then(([message]: unknown[]) => message),
      once(host, 'exit', { signal }).then(([code]) => {
        throw new Error(`The process of the command line ended with ${code}.`);
      }),
    ]);
  } finally {
    over.abort();
  }
}
