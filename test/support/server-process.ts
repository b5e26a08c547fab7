import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { until } from './chain-stack.js';

export interface ServerProcess {
  process: ChildProcess;
  url: string;
  log(): string;
  /** Resolves once it has ended. */
  kill(signal: NodeJS.Signals): Promise<void>;
}

/** `session-chain serve`, compiled, as a process on a port of loopback, once it listens. */
export async function startServerProcess(
  port: number,
  environment: Record<string, string>,
): Promise<ServerProcess> {
  const child = spawn(process.execPath, [join(process.cwd(), 'dist/cli/main.js'), 'serve'], {
    cwd: '/',
    env: {
      PATH: process.env['PATH'],
      TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'],
      SESSION_CHAIN_HTTP_PORT: String(port),
      SESSION_CHAIN_SHUTDOWN_GRACE_MS: '2000',
      ...environment,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  child.stderr.on('data', (data: Buffer) => (log += data.toString()));
  const exited = once(child, 'exit');
  await until(() => {
    if (child.exitCode !== null) throw new Error(`The server did not start: ${log}`);
    return log.includes('The server listens on ');
  });
  return {
    process: child,
    url: `http://127.0.0.1:${port}`,
    log: () => log,
    async kill(signal) {
      child.kill(signal);
      await exited;
    },
  };
}
