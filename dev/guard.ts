import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Readable, Writable } from 'node:stream';

export interface GuardedServer {
  /** The server's own process id, not that of its guard. */
  readonly pid: number;
  /** Settles when the server is gone: its exit code (128 + signal number when killed), null when it was not seen. */
  readonly exited: Promise<number | null>;
  /** Stops the server (its signal, SIGKILL 8 s later) and returns when it is gone. May be called again. */
  stop(): Promise<void>;
}

export interface GuardedCommand {
  /** For messages. */
  name: string;
  command: string;
  args: readonly string[];
  /** Replaces the environment of this process; left out, the server inherits it. */
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  uid?: number;
  gid?: number;
  /** The output of the server is appended to it. */
  logFile: string;
  /** Whether only its user may read what it writes. */
  keepsPrivate?: boolean;
  stopSignal?: 'TERM' | 'INT';
}

const stopGraceSeconds = 8;

/**
 * Starts a server that cannot outlive this process. It runs under a small shell in a session of its own (a terminal's
 * Ctrl-C does not reach it) whose standard input is a pipe from us: when that closes, for whatever reason, SIGKILL of
 * this process included, the shell stops the server. The server alone holds the write end of a second pipe, so that
 * the end of that pipe, and not the shell's exit, tells that the server is gone.
 */
export async function startGuarded(guarded: GuardedCommand): Promise<GuardedServer> {
  mkdirSync(dirname(guarded.logFile), { recursive: true, mode: 0o700 });
  const log = openSync(guarded.logFile, 'a', 0o600);
  const stopSignal = guarded.stopSignal ?? 'TERM';
  const guard = spawn(
    '/bin/sh',
    [
      ...['-c', guarded.keepsPrivate ? `umask 077\n${guardScript}` : guardScript, 'guard'],
      ...[stopSignal, String(stopGraceSeconds), guarded.command, ...guarded.args],
    ],
    {
      detached: true,
      stdio: ['pipe', 'pipe', log, 'pipe'],
      cwd: guarded.cwd ?? '/',
      env: guarded.env ?? process.env,
      ...(guarded.uid === undefined ? {} : { uid: guarded.uid }),
      ...(guarded.gid === undefined ? {} : { gid: guarded.gid }),
    },
  );
  closeSync(log);
  const [ownership, report, , life] = guard.stdio as [Writable, Readable, null, Readable, ...unknown[]];
  // The other end of each may vanish at any time; that is what they are for.
  for (const stream of [ownership, report, life]) stream.on('error', () => undefined);
  life.resume();

  let reported = '';
  report.setEncoding('utf8').on('data', (text: string) => (reported += text));
  const lines = () => reported.split('\n').slice(0, -1).map(Number);
  // 'close' comes after the shell's exit and the end of every pipe, and so after the server's end.
  const exited = new Promise<number | null>((resolve) =>
    guard.once('close', () => resolve(lines()[1] ?? null)),
  );

  const pid = await new Promise<number>((resolve, reject) => {
    guard.once('error', reject);
    report.on('data', () => {
      const [first] = lines();
      if (first !== undefined) resolve(first);
    });
    guard.once('close', () =>
      reject(new Error(`The guard of ${guarded.name} ended before it had started it.`)),
    );
  });
  return {
    pid,
    exited,
    async stop() {
      ownership.destroy();
      await exited;
    },
  };
}

/**
 * Arguments: stop signal, seconds of grace, the command. Descriptors: 0 = the pipe from us, 1 = the server's pid and
 * later its exit code, 2 = the log, 3 = held by the server alone. Signals are ignored only after the server has
 * started, because it would inherit that. The watcher only ever signals a child that the shell has not yet reaped.
 */
const guardScript = `
signal=$1 grace=$2
shift 2
exec 4<&0
"$@" </dev/null >&2 4<&- &
server=$!
exec 3>&-
trap '' HUP INT TERM
echo "$server"
(
  read -r _ <&4
  kill -s "$signal" "$server"
  tenths=$((grace * 10))
  while [ "$tenths" -gt 0 ] && kill -0 "$server"; do
    sleep 0.1
    tenths=$((tenths - 1))
  done
  kill -KILL "$server"
) >/dev/null 2>&1 &
watcher=$!
exec 4<&-
wait "$server"
code=$?
kill -KILL "$watcher" 2>/dev/null
echo "$code"
`;
