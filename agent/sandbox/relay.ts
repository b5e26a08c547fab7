import { portInside } from '../egress/egress.js';

/**
 * Runs a command in a network of its own, in which a port of the loopback leads to a Unix socket. The command begins once
 * the port is open. The relay ends with the command, also where no sandbox ends it.
 */
export function withRelay(socat: string, socket: string): string[] {
  return ['bash', '--noprofile', '--norc', '-c', script, 'relay', socat, socket];
}

const script = `
socat=$1 socket=$2
shift 2
type -P setpriv >/dev/null && ended=(setpriv --pdeathsig KILL --)
# By its name in its folder: the whole path may be longer than an address of a socket.
(
  cd "\${socket%/*}" &&
    exec "\${ended[@]}" "$socat" TCP-LISTEN:${portInside},fork,reuseaddr,bind=127.0.0.1 "UNIX-CONNECT:\${socket##*/}"
) </dev/null >/dev/null 2>&1 &
until { : <>/dev/tcp/127.0.0.1/${portInside}; } 2>/dev/null; do
  kill -0 $! 2>/dev/null || { echo 'The relay to the proxy of the worker did not start.' >&2; exit 1; }
done
exec "$@"
`;
