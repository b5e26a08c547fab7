// Programs that only tests use, beside those that a distribution installs: Chromium for pages, promtool for metrics,
// Schemathesis for the HTTP interface, Moto for a server of S3. All but Chromium are kept in the project's cache folder.
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { aptInstall, namesOf, root, run, say } from './ensure-dependencies.js';

/** Programs in Python: everything that each consists of is in scripts/<name>.txt, in fixed versions. */
const pythonPrograms = {
  schemathesis: {
    title: 'Schemathesis',
    command: 'schemathesis',
    check: ['schemathesis', '--version'],
    size: '100 MB',
    why: 'check the HTTP interface with Schemathesis',
  },
  moto: {
    title: 'Moto',
    command: 'moto_server',
    check: ['python', '-c', 'import moto.server'],
    size: '140 MB',
    why: 'archive to the S3 server of Moto',
  },
};

/** The path of each, or undefined. */
export async function findTestPrograms() {
  const { findOnPath, isExecutable } = await import('../dist/dev/find-on-path.js');
  const first = (paths) => paths.find((path) => path !== undefined && isExecutable(path));
  const places = await cachePlaces();
  const ofPython = Object.entries(pythonPrograms).map(([name, { command }]) => [
    name,
    first([join(places[name], 'bin', command)]),
  ]);
  return {
    chromium: first(namesOf('chromium').map(findOnPath)),
    promtool: first([findOnPath('promtool'), places.promtool]),
    ...Object.fromEntries(ofPython),
  };
}

/** Sets up what is missing, except Chromium. Throws, with what to do, where that is impossible. Needs the build. */
export async function ensureTestPrograms() {
  const found = await findTestPrograms();
  if (found.promtool === undefined) await obtainPromtool();
  for (const [name, { check }] of Object.entries(pythonPrograms)) {
    const [program, ...args] = check;
    // One that was made with a Python that is gone does not run.
    if (found[name] === undefined || !(await succeeds(join(dirname(found[name]), program), args, root)))
      await obtainPythonProgram(name);
  }
}

async function cachePlaces() {
  const { cacheDir } = await import('../dist/dev/find-on-path.js');
  const ofPython = Object.keys(pythonPrograms).map((name) => {
    const versions = readFileSync(requirementsOf(name), 'utf8');
    const [, version] = new RegExp(`^${name}==(.*)$`, 'm').exec(versions);
    const hash = createHash('sha256').update(versions).digest('hex').slice(0, 8);
    return [name, join(cacheDir(), `${name}-${version}-${hash}`)];
  });
  return {
    promtool: join(cacheDir(), `promtool-${process.platform}-${process.arch}`),
    ...Object.fromEntries(ofPython),
  };
}

function requirementsOf(name) {
  return join(root, 'scripts', `${name}.txt`);
}

/** Debian's package `prometheus` also has a service and its pages: only the one program is taken out of it. */
async function obtainPromtool() {
  const { promtool } = await cachePlaces();
  const folder = workFolder(promtool);
  try {
    say('Fetching promtool, once …');
    const apt = (...args) => succeeds('apt-get', ['-qq', '-o', 'APT::Sandbox::User=root', ...args], folder);
    const download = () => apt('download', 'prometheus');
    // A new image has no lists of packages.
    const isThere = (await download()) || (isRoot() && (await apt('update')) && (await download()));
    const archive = readdirSync(folder).find((name) => name.endsWith('.deb')) ?? '';
    if (!isThere || !(await succeeds('dpkg-deb', ['-x', archive, '.'], folder))) {
      throw new Error(
        'The tests check metrics with promtool, which could not be fetched; see above. Put it on PATH: ' +
          'apt-get install prometheus, or dnf install golang-github-prometheus, or apk add prometheus.',
      );
    }
    renameSync(join(folder, 'usr', 'bin', 'promtool'), promtool);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A virtual environment cannot be moved, so the one that is whole gets its name by a link. */
async function obtainPythonProgram(name) {
  const { title, size, why } = pythonPrograms[name];
  const { [name]: place } = await cachePlaces();
  const folder = workFolder(place);
  say(`Installing ${title} (about ${size}, once) …`);
  if (!(await succeeds('python3', ['-c', 'import ensurepip, venv'], folder))) {
    await aptInstall(['python3', 'python3-venv']);
  }
  const pip = ['-m', 'pip', 'install', '--quiet', '--no-input', '--disable-pip-version-check'];
  const made =
    (await succeeds('python3', ['-m', 'venv', folder], folder)) &&
    (await succeeds(join(folder, 'bin', 'python'), [...pip, '-r', requirementsOf(name)], folder));
  if (!made) {
    rmSync(folder, { recursive: true, force: true });
    throw new Error(
      `The tests ${why}, which could not be installed; see above. Check the ` +
        'network, and that python3 is 3.10 or newer and has venv and pip: apt-get install python3 python3-venv, ' +
        'or dnf install python3, or apk add python3.',
    );
  }
  const link = `${folder}.link`;
  symlinkSync(basename(folder), link);
  const old = existsSync(place) ? realpathSync(place) : undefined;
  renameSync(link, place);
  if (old !== undefined) rmSync(old, { recursive: true, force: true });
}

/** Beside the place of the result, so that one rename puts that there: another process sees all of it or nothing. */
function workFolder(place) {
  mkdirSync(dirname(place), { recursive: true });
  return mkdtempSync(`${place}.`);
}

/** Whether a program is there and ends well. What it prints goes to stderr. */
async function succeeds(command, args, cwd) {
  return (await run(command, args, { cwd }).catch((error) => (say(error.message), 1))) === 0;
}

function isRoot() {
  return process.getuid?.() === 0;
}
