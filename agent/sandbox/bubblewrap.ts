import { lstatSync, readlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { systemCallFilter } from './system-calls.js';

/** A file or folder that is visible inside, by the same path as outside unless `source` says otherwise. */
export interface Visible {
  path: string;
  source?: string;
  access: 'read' | 'write';
}

export interface View {
  visible: readonly Visible[];
  /** Megabytes of /tmp, and of /dev/shm. */
  tmpMb: number;
}

/** Who owns what the agent writes, where that is not the worker's own user. */
export interface Owner {
  uid: number;
  gid: number;
}

/**
 * Of /etc only what programs need to know users, names, time, and which certificates to trust. Names are resolved by the
 * proxy; private keys lie below /etc/ssl.
 */
const readableOfEtc = [
  ...['passwd', 'group', 'hosts', 'nsswitch.conf', 'localtime', 'timezone', 'alternatives', 'mime.types'],
  ...['ld.so.cache', 'ld.so.conf', 'ld.so.conf.d', 'ssl/certs', 'ssl/openssl.cnf', 'ca-certificates'],
  ...['ca-certificates.conf', 'pki/tls/certs', 'pki/ca-trust/extracted', 'crypto-policies'],
].map((name) => `/etc/${name}`);
const systemFolders = ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'];
const megabyte = 1024 * 1024;

/** Everything in one process namespace, whose first process is the agent: with it all others end. */
const walls = [
  ...['--unshare-user', '--unshare-all', '--disable-userns', '--die-with-parent', '--new-session'],
  ...['--as-pid-1', '--cap-drop', 'ALL'],
];
/** bubblewrap's own root, /dev and /proc would be writable, in part by the user who is root outside as well. */
const readOnly = ['/dev', '/proc', '/'].flatMap((path) => ['--remount-ro', path]);

/**
 * bubblewrap reads its filter of system calls from a descriptor; the subshell that writes it has ended before. What `wait`
 * returns does not count: bash may have lost it (255), and bubblewrap refuses a filter that is cut off.
 */
const filter = filterOf(systemCallFilter());
function filterOf(bytes: Buffer | null) {
  if (!bytes) return { opened: [], used: [] };
  const escaped = [...bytes].map((byte) => `\\0${byte.toString(8)}`).join('');
  const script = 'exec 9< <(printf %b "$0"); wait $!; exec "$@"';
  return { opened: ['bash', '--noprofile', '--norc', '-c', script, escaped], used: ['--seccomp', '9'] };
}

/** The command that runs what follows it in a sandbox of its own, and dies with the process that starts it. */
export function bubblewrap(view: View, cwd: string): string[] {
  return [
    ...dieWithParent,
    ...(process.geteuid?.() === 0 ? protectDevices : []),
    ...filter.opened,
    ...['bwrap', ...walls, ...filter.used, ...files(view), '--proc', '/proc', ...devices(view)],
    ...[...readOnly, '--chdir', cwd, '--'],
  ];
}

/**
 * The same as another user, for a worker that is root. In a user namespace root could not reach the files of others, and
 * the owner alone may not reach the folders above them. So real root lays out the same files once, the user changes,
 * and the sandbox is made from there as that user makes it.
 */
export function bubblewrapAs({ uid, gid }: Owner, view: View, cwd: string): string[] {
  // Already where they belong.
  const laidOut = { ...view, visible: view.visible.map(({ path, access }) => ({ path, access })) };
  return [
    ...[...dieWithParent, 'unshare', '--pid', '--fork', '--kill-child=KILL', '--'],
    ...filter.opened,
    ...[
      'bwrap',
      '--cap-drop',
      'ALL',
      ...['SETUID', 'SETGID', 'SETPCAP'].flatMap((one) => ['--cap-add', `CAP_${one}`]),
    ],
    ...[...files(view), ...devices(view), '--dev-bind', '/proc', '/proc', '--'],
    ...['setpriv', '--reuid', String(uid), '--regid', String(gid), '--clear-groups'],
    ...['--bounding-set=-all', '--inh-caps=-all', '--'],
    ...['bwrap', ...walls, ...filter.used, ...files(laidOut), '--proc', '/proc', ...devices(view)],
    ...[...readOnly, '--chdir', cwd, '--'],
  ];
}

export const dieWithParent = ['setpriv', '--pdeathsig', 'KILL', '--'];

/** The devices inside are those of the machine, and root may change the mode of what belongs to root. */
const protectDevices = [
  ...['unshare', '--user', '--map-current-user', '--mount', '--', 'sh', '-c'],
  ...['mount --rbind /dev /dev && mount -o remount,bind,ro /dev && exec "$@"', 'sh'],
];

function devices({ tmpMb }: View): string[] {
  return ['--dev', '/dev', ...boundedFolder('/dev/shm', tmpMb)];
}

function files({ visible, tmpMb }: View): string[] {
  return [
    ...boundedFolder('/tmp', tmpMb),
    ...systemFolders.flatMap((path) => {
      const found = lstatSync(path, { throwIfNoEntry: false });
      if (!found) return [];
      return found.isSymbolicLink() ? ['--symlink', readlinkSync(path), path] : ['--ro-bind', path, path];
    }),
    ...['/usr', ...readableOfEtc].flatMap((path) => [...madeFor(path), '--ro-bind-try', path, path]),
    // What lies deeper lies on top of what holds it.
    ...[...visible]
      .sort((one, other) => depth(one.path) - depth(other.path))
      .flatMap(({ path, source = path, access }) => [
        ...madeFor(path),
        ...[access === 'read' ? '--ro-bind' : '--bind', source, path],
      ]),
  ];
}

function boundedFolder(path: string, sizeMb: number): string[] {
  return ['--perms', '1777', '--size', String(sizeMb * megabyte), '--tmpfs', path];
}

/** The folders above, one by one: bubblewrap would make them as closed as the folder that they lead to. */
function madeFor(path: string): string[] {
  const parent = dirname(path);
  return parent === '/' ? [] : [...madeFor(parent), '--dir', parent];
}

function depth(path: string): number {
  return path.split('/').length;
}
