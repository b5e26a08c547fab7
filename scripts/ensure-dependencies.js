// Makes a fresh clone runnable. Node built-ins only, because nothing else is installed yet; everything that it prints
// goes to stderr, so that the standard output of the command that uses it stays that command's own.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
const oldestNode = [20, 20];
/** Programs that the tests and the stack start, each with the package that has it in apt, dnf and apk. */
const packageOf = {
  'redis-server': ['redis-server', 'redis', 'redis'],
  bwrap: ['bubblewrap', 'bubblewrap', 'bubblewrap'],
  socat: ['socat', 'socat', 'socat'],
  setpriv: ['util-linux', 'util-linux', 'setpriv'],
  prlimit: ['util-linux', 'util-linux', 'util-linux-misc'],
  chromium: ['chromium', 'chromium', 'chromium'],
  pgbouncer: ['pgbouncer', 'pgbouncer', 'pgbouncer'],
  openssl: ['openssl', 'openssl', 'openssl'],
};
/** Under which a program is also found. */
const otherNames = { chromium: ['chromium-browser', 'google-chrome'] };
const installers = ['apt-get install', 'dnf install', 'apk add'];
/** What the sandbox of the agents is made of. */
export const sandboxPrograms = ['bwrap', 'socat', 'setpriv', 'prlimit'];

/** Throws, with what to do, on a Node that is too old. */
export function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > oldestNode[0] || (major === oldestNode[0] && minor >= oldestNode[1])) return;
  throw new Error(
    `session-chain needs Node ${oldestNode.join('.')} or newer; this is ${process.versions.node}. ` +
      'Install a newer one from https://nodejs.org and try again.',
  );
}

/** Runs `npm ci` unless what package-lock.json asks for is installed. Throws when it fails. */
export async function ensureDependencies() {
  if (dependenciesAreInstalled()) return;
  say('Installing the dependencies (about 1 GB, once) …');
  // The npm that runs us, if one does; its log level must not silence an installation that fails.
  const npm = process.env.npm_execpath;
  const args = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=warn'];
  const ended = npm?.endsWith('.js') ? run(process.execPath, [npm, ...args]) : run('npm', args);
  if ((await withTicker('installing', ended)) !== 0) {
    throw new Error('The dependencies could not be installed; see above. Check the network and run: npm ci');
  }
}

/** Compiles to dist/ and builds the workflow bundle unless both match the present sources. Throws when that fails. */
export async function ensureBuild() {
  const stampFile = join(root, 'dist', '.sources');
  const stamp = sourcesHash();
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return;
  say('Compiling …');
  const compiler = [join('node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.build.json'];
  const steps = [
    compiler,
    [join('dist', 'workers', 'build-bundle.js')],
    [join('scripts', 'build-dashboard.js')],
  ];
  for (const args of steps) {
    if ((await run(process.execPath, args)) !== 0)
      throw new Error(`The build failed at: node ${args.join(' ')}`);
  }
  mkdirSync(dirname(stampFile), { recursive: true });
  writeFileSync(stampFile, stamp);
}

/**
 * Installs the missing ones of these programs where that can be done without asking: as root on Debian. Returns those
 * that are still missing, with what to do. Needs the build.
 */
export async function ensurePrograms(programs) {
  const { findOnPath } = await import('../dist/dev/find-on-path.js');
  const missing = () => programs.filter((program) => namesOf(program).every((name) => !findOnPath(name)));
  if (missing().length > 0) await aptInstall(packagesWith(missing(), 0));
  return { missing: missing(), advice: installAdvice(missing()) };
}

/** The names of a program, the usual one first. */
export function namesOf(program) {
  return [program, ...(otherNames[program] ?? [])];
}

/** Installs packages as root on Debian; elsewhere it does nothing. Needs the build. */
export async function aptInstall(packages) {
  const { findOnPath } = await import('../dist/dev/find-on-path.js');
  const apt = findOnPath('apt-get');
  if (process.getuid?.() !== 0 || !apt || !existsSync('/etc/debian_version')) return;
  say(`Installing ${packages.join(', ')} …`);
  const options = { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } };
  // Without the network the packages of an image that has their lists may still be there.
  await run(apt, ['update'], options);
  const code = await run(apt, ['install', '-y', '--no-install-recommends', ...packages], options);
  if (code !== 0) say('apt-get could not install them; see above.');
}

function installAdvice(programs) {
  const commands = installers.map((command, index) => [command, ...packagesWith(programs, index)].join(' '));
  return `Install what is missing (${programs.join(', ')}): ${commands.join(', or ')}.`;
}

function packagesWith(programs, installer) {
  return [...new Set(programs.map((program) => packageOf[program][installer]))];
}

/** Runs a program in the project's folder, both its outputs on our stderr; resolves with its exit code. */
export function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 2, 2], ...options });
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? 1));
  });
}

export function say(text) {
  process.stderr.write(`${text}\n`);
}

/**
 * npm's own record of what it installed holds every package of the lock file in its version. It is written at the end
 * of an installation, so an interrupted one has none; optional packages may be absent (those of other platforms).
 */
function dependenciesAreInstalled() {
  const record = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(record)) return false;
  const wanted = packagesOf(join(root, 'package-lock.json'));
  let installed;
  try {
    installed = packagesOf(record);
  } catch {
    return false; // It is truncated, so the installation was interrupted.
  }
  return Object.entries(wanted).every(([path, { version, optional }]) => {
    if (path === '') return true;
    const found = installed[path];
    return found === undefined ? optional === true : found.version === version;
  });
}

function packagesOf(lockFile) {
  return JSON.parse(readFileSync(lockFile, 'utf8')).packages;
}

/** Of everything that the build reads, or of all that a file can import. Contents, not times: a checkout changes those. */
export function sourcesHash({ ofTests = false } = {}) {
  const aside = new Set(['node_modules', 'dist', 'coverage', 'scripts', ...(ofTests ? [] : ['test'])]);
  const folders = readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.') && !aside.has(entry.name))
    .map((entry) => entry.name);
  const sources = folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => /\.(tsx?|css|html|svg)$/.test(file) && !file.endsWith('.test.ts'))
      .map((file) => join(folder, file)),
  );
  const hash = createHash('sha256').update(process.versions.node);
  for (const file of [...sources, 'tsconfig.json', 'tsconfig.build.json', 'package-lock.json'].sort()) {
    hash
      .update(`${file}\0`)
      .update(readFileSync(join(root, file)))
      .update('\0');
  }
  return hash.digest('hex');
}

/** On a terminal npm shows its own progress; elsewhere a line from time to time shows that there is some. */
async function withTicker(what, ended) {
  const startedAt = Date.now();
  const ticker = setInterval(
    () => say(`… ${what} (${Math.round((Date.now() - startedAt) / 1000)} s)`),
    10_000,
  );
  if (process.stderr.isTTY) clearInterval(ticker);
  try {
    return await ended;
  } finally {
    clearInterval(ticker);
  }
}
