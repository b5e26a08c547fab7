import { spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { exitOf } from './exit.js';
import type { Hold } from './hold.js';
import { type Lease, uptimeMs } from './lease.js';

/** Beside every agent: ends it, and all it started, when its worker is gone or can no longer prove its lease. */
export interface Guard {
  /** Tells it which process the agent is. */
  watch(agent: number): void;
  /** Ends the guard once the agent is dead; says whether the guard ended the agent. */
  dismiss(): Promise<boolean>;
}

export interface GuardOptions {
  hold: Hold;
  /** `NAME=value` in the environment of the agent and of all it starts. */
  marker: string;
  /** The PATH on which `bash` is looked up. */
  path: string | undefined;
  lease: Lease;
  /** How long before the guard strikes `onEnding` is called. */
  noticeMs: number;
  /** The lease is about to expire: this worker, or the guard, has not received an extension. */
  onEnding: () => void;
  /** The guard has ended: it has struck, or was itself killed. */
  onGone: () => void;
}

/**
 * The guard keeps the time because a frozen worker cannot, and the worker does because the guard may be frozen. They
 * keep the same time: the worker counts on an extension only once the guard has repeated it. It is a process in a
 * session of its own, so that what stops the worker's group does not stop it. Throws where it cannot be started.
 */
export function startGuard({ hold, marker, path, lease, noticeMs, onEnding, onGone }: GuardOptions): Guard {
  const args = [hold, marker, hundredths(lease.endsAtMs()), String(Math.floor(uptimeMs() / 1000))];
  // Without --norc it mistakes a standard input that is a socket for a remote login, and reads ~/.bashrc.
  const guard = spawn('bash', ['--noprofile', '--norc', '-c', script, 'guard', ...args], {
    detached: true,
    env: path === undefined ? {} : { PATH: path },
    stdio: ['pipe', 'pipe', 'ignore', 'pipe'],
  });
  const gone = exitOf(guard);
  if (guard.pid === undefined) throw new Error('The guard of the agent, a bash, could not be started.');
  const [input, output, , idle] = guard.stdio as [Writable, Readable, null, Readable, ...unknown[]];
  for (const stream of [input, output, idle]) stream.on('error', () => undefined);
  // Otherwise it would stay open after the guard's end.
  idle.resume();

  let isDismissed = false;
  let ending: NodeJS.Timeout | undefined;
  const count = (endsAtMs: number) => {
    clearTimeout(ending);
    if (isDismissed) return;
    ending = setTimeout(onEnding, Math.max(0, endsAtMs - noticeMs - uptimeMs()));
  };
  count(lease.endsAtMs());
  let heard = '';
  let hasStruck = false;
  output.setEncoding('utf8').on('data', (text: string) => {
    const lines = (heard + text).split('\n');
    heard = lines.pop() ?? '';
    const last = lines.at(-1);
    if (last === 'struck') hasStruck = true;
    else if (last !== undefined) count(Number(last) * 10);
  });
  const saidAll = new Promise((resolve) => output.once('close', resolve));

  let agent: number | undefined;
  const tell = () => input.write(`${hundredths(lease.endsAtMs())} ${agent ?? ''}\n`);
  const forget = lease.onExtended(tell);
  void gone.then(() => {
    clearTimeout(ending);
    if (!isDismissed) onGone();
  });
  return {
    watch(pid) {
      agent = pid;
      tell();
    },
    async dismiss() {
      isDismissed = true;
      forget();
      clearTimeout(ending);
      guard.kill('SIGKILL');
      // It reports before it strikes: the agent may be dead long before the guard has looked at all processes.
      await Promise.all([gone, saidAll]);
      return hasStruck;
    },
  };
}

function hundredths(ms: number): string {
  return String(Math.floor(ms / 10));
}

/**
 * Arguments: how it is held, marker, when to strike in 1/100 s of uptime, the uptime in s. Each line of the input is a
 * later time to strike and the agent's process id, and is repeated; the end of the input is the end of the worker,
 * which reads no more then. It waits by reading descriptor 3, where nothing ever comes: a read of the input that
 * reached its time limit would sometimes lose a character. Builtins only: an agent that has used up all processes must
 * not keep it from anything. In a namespace the agent's first child takes all others with it, and the agent's own
 * process waits for that.
 */
const script = `
trap '' PIPE
hold=$1 marker=$2 strike=$3 SECONDS=$4 agent= look=0.2
((BASH_VERSINFO[0] < 4)) && look=1

is_time() {
  local now
  if read -r now _ </proc/uptime; then now=\${now/./}; else now=$((SECONDS * 100)); fi
  ((10#$now >= strike))
}

is_marked() {
  local variable
  while IFS= read -r -d '' variable; do
    [[ $variable == "$marker" ]] && return 0
  done <"/proc/$1/environ"
  return 1
}

while ! is_time; do
  if read -t 0; then
    read -r later process || break
    is_time && break
    strike=$later agent=$process
    echo "$strike"
  else
    read -t "$look" -u 3
  fi
done

echo struck
if [[ $hold == group ]]; then
  kill -KILL -- "-$agent"
elif [[ $hold == namespace && $agent ]] && is_marked "$agent"; then
  read -r first <"/proc/$agent/task/$agent/children"
  kill -KILL \${first:-$agent}
  kill -CONT "$agent"
fi
for round in {1..50}; do
  found=
  for process in /proc/[0-9]*; do
    process=\${process#/proc/}
    [[ $hold == namespace && $process == "$agent" ]] && continue
    is_marked "$process" && kill -KILL "$process" && found=1
  done
  [[ $found ]] || break
done
exit 0
`;
