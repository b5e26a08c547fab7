// Lets a script end with all that it started, however it is ended.
import { spawn } from 'node:child_process';

const graceSeconds = 3;
/** The signals that end a script: a terminal's Ctrl-C, a supervisor's stop, a terminal that is closed. */
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/**
 * Runs this script once more in a process group of its own, passes signals on to it, and ends as it ends; in the script that
 * runs there it returns at once. Nothing of the group outlives this process, SIGKILL included, nor the npm that runs it: a
 * small shell leads the group, and its descriptor 3 is a pipe from here. When that closes, the group is ended.
 */
export async function inOwnGroup() {
  const leader = Number(process.env.SESSION_CHAIN_GROUP);
  delete process.env.SESSION_CHAIN_GROUP;
  if (leader === process.ppid) return;

  const parent = process.ppid;
  const guard = spawn(
    '/bin/sh',
    [
      '-c',
      guardScript,
      'guard',
      String(graceSeconds),
      process.execPath,
      ...process.execArgv,
      ...process.argv.slice(1),
    ],
    { detached: true, stdio: ['inherit', 'inherit', 'inherit', 'pipe'] },
  );
  const pass = (signal) => {
    try {
      process.kill(-guard.pid, signal);
    } catch {
      // It has ended.
    }
  };
  guard.stdio[3].on('error', () => undefined);
  let ending = false;
  const end = (signal) => {
    pass(signal);
    if (ending) return;
    ending = true;
    setTimeout(() => pass('SIGKILL'), graceSeconds * 1_000);
  };
  for (const signal of signals) process.on(signal, () => end(signal === 'SIGHUP' ? 'SIGTERM' : signal));
  // A parent that was killed says nothing; ours is then another process.
  setInterval(() => process.ppid === parent || end('SIGTERM'), 250).unref();
  const code = await new Promise((resolve, reject) => {
    guard.once('error', reject);
    guard.once('exit', (status) => resolve(status ?? 1));
  });
  pass('SIGKILL');
  process.exit(code);
}

/**
 * Arguments: seconds of grace, the command. The watcher stays: who reads the shell's exit ends the group, and where nobody
 * does, the pipe is closed. It ignores the signals that the group gets, once the command has started, which
 * would inherit that.
 */
const guardScript = `
grace=$1
shift
exec 4<&0
SESSION_CHAIN_GROUP=$$ "$@" <&4 3<&- 4<&- &
script=$!
exec 4<&-
trap '' HUP INT TERM
(
  read -r _ <&3
  kill -s TERM 0
  sleep "$grace"
  kill -s KILL 0
) >/dev/null 2>&1 &
exec 3<&-
wait "$script"
`;
