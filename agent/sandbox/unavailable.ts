import { execFile } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { promisify } from 'node:util';
import { SessionChainError } from '../../contracts/failures.js';
import { endOf } from '../../contracts/text.js';

/** The path of a program; null where it is not on the PATH. */
export function findProgram(name: string, path: string): string | null {
  const candidates = isAbsolute(name) ? [name] : path.split(delimiter).map((folder) => join(folder, name));
  return candidates.find(isExecutable) ?? null;
}

/** Throws SANDBOX_UNAVAILABLE that names what is missing and the packages that have it. */
export function requirePrograms(names: readonly string[], path: string): void {
  const missing = names.filter((name) => findProgram(name, path) === null);
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((name) => packageOf[name]))].filter(Boolean);
  throw new SessionChainError(
    'SANDBOX_UNAVAILABLE',
    `The sandbox of the agents needs ${listed.format(missing)}, not found ${missing.every(isAbsolute) ? 'there' : 'on the PATH of the worker'}.`,
    packages.length === 0
      ? 'Correct SESSION_CHAIN_SANDBOX_COMMAND (sandbox.command).'
      : `On Debian and Ubuntu: apt-get install ${packages.join(' ')}.${withoutWall}`,
  );
}

const listed = new Intl.ListFormat('en-GB');
const packageOf: Record<string, string> = {
  bwrap: 'bubblewrap',
  socat: 'socat',
  setpriv: 'util-linux',
  prlimit: 'util-linux',
  choom: 'util-linux',
  unshare: 'util-linux',
  mount: 'mount',
  bash: 'bash',
};
// Root is refused without one.
const withoutWall =
  process.geteuid?.() === 0 ? '' : ' SESSION_CHAIN_SANDBOX=none runs agents without a wall.';

/** Throws SANDBOX_UNAVAILABLE, with what the sandbox itself says and what it means, where it cannot run `true`. */
export async function requireWorking(prefix: readonly string[], path: string): Promise<void> {
  await outputOf([...prefix, 'true'], path, 30_000);
}

/** What a command in a sandbox prints. Throws SANDBOX_UNAVAILABLE, as above, where it does not end well. */
export async function outputOf(
  [command = '', ...args]: readonly string[],
  path: string,
  timeout: number,
): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(command, args, { env: { PATH: path }, timeout });
    return stdout;
  } catch (error) {
    const { stderr, code, signal } = error as { stderr?: string; code?: unknown; signal?: unknown };
    const said =
      endOf(stderr?.trim() ?? '', 500).replaceAll('\n', ' ') || `it ended with ${String(code ?? signal)}`;
    // Not with its cause, which quotes the whole command.
    throw new SessionChainError(
      'SANDBOX_UNAVAILABLE',
      `The sandbox of the agents does not work here: ${said}`,
      `${whatToSet(said)}${withoutWall}`,
    );
  }
}

function whatToSet(said: string): string {
  if (/proc/.test(said) && /mount/.test(said)) {
    return 'Parts of /proc are masked, which keeps a sandbox from having its own: in Docker, start the worker with systempaths=unconfined and the seccomp profile of this package.';
  }
  if (readSetting('user/max_user_namespaces') === '0') return 'Set sysctl user.max_user_namespaces=15000.';
  if (readSetting('kernel/unprivileged_userns_clone') === '0')
    return 'Set sysctl kernel.unprivileged_userns_clone=1.';
  if (readSetting('kernel/apparmor_restrict_unprivileged_userns') === '1') {
    return 'AppArmor refuses user namespaces: give bwrap a profile that allows userns, or set sysctl kernel.apparmor_restrict_unprivileged_userns=0.';
  }
  if (/namespace|uid map|not permitted|denied/i.test(said)) {
    return existsSync('/.dockerenv') || existsSync('/run/.containerenv')
      ? 'The container refuses user namespaces: start it with the seccomp profile of this package.'
      : 'This system refuses user namespaces: allow them to the user of the worker, in a container by a seccomp profile.';
  }
  return 'Correct what it names, or else sandbox.read or the program of sandbox.command.';
}

function readSetting(name: string): string | null {
  try {
    return readFileSync(`/proc/sys/${name}`, 'utf8').trim();
  } catch {
    return null;
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
