// `npm test`: sets up what the tests need, then all tests, and beside them format, lint, types and unused code. With
// arguments only Jest runs, and gets them. The last line is `N passed, N failed`: tests, and each check as one.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants, setPriority, tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import {
  checkNode,
  ensureBuild,
  ensureDependencies,
  ensurePrograms,
  root,
  sandboxPrograms,
  say,
  sourcesHash,
} from './ensure-dependencies.js';
import { inOwnGroup } from './own-group.js';
import { ensureTestPrograms } from './test-programs.js';

await inOwnGroup();

const jestArgs = process.argv.slice(2);
const total = { passed: 0, failed: 0 };
const interruption = forwardSignals();

try {
  checkNode();
  heading('set-up');
  await ensureDependencies();
  await ensureBuild();
  await ensureTemporalCli();
  const { missing, advice } = await ensurePrograms([
    ...sandboxPrograms,
    ...['redis-server', 'chromium', 'pgbouncer', 'openssl'],
  ]);
  if (missing.length > 0)
    throw new Error(
      `The tests run agents in their sandbox, Redis, PgBouncer, OpenSSL, and a browser. ${advice}`,
    );
  await ensureTestPrograms();
  // The checks beside the tests, which leave cores idle now and then.
  if (!interruption.signal) await Promise.all([jestArgs.length === 0 && runChecks(), runJest()]);
} catch (error) {
  say(error.remedy ? `${error.message} ${error.remedy}` : error.message);
  total.failed += 1;
}
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exitCode = interruption.signal ? 130 : total.failed > 0 ? 1 : 0;

/** Each a name and what Node is to run. A failed check does not keep the next one from running. */
function checks() {
  const tool = (...path) => join(root, 'node_modules', ...path);
  // By content, because a checkout changes times.
  const caches = 'node_modules/.cache';
  const cache = (location) => ['--cache', '--cache-strategy', 'content', '--cache-location', location];
  const known = (name) => ['--incremental', '--tsBuildInfoFile', `${caches}/typescript/${name}.json`];
  keepLintCache(join(root, caches, 'eslint'));
  return Object.entries({
    format: [tool('prettier', 'bin', 'prettier.cjs'), '--check', ...cache(`${caches}/prettier/.cache`), '.'],
    lint: [tool('eslint', 'bin', 'eslint.js'), ...cache(`${caches}/eslint/`), '.'],
    types: [tool('typescript', 'bin', 'tsc'), '--noEmit', ...known('types')],
    'types of the dashboard': [
      ...[tool('typescript', 'bin', 'tsc'), '--noEmit', '-p', 'dashboard'],
      ...known('types-of-the-dashboard'),
    ],
    'unused code': [tool('knip', 'bin', 'knip.js')],
  });
}

/**
 * ESLint caches results by a file's own content, but they also depend on the types of other files: its cache is valid
 * until a file changes that others import. Tests are imported by no other file.
 */
function keepLintCache(folder) {
  const stampFile = join(folder, 'sources');
  const stamp = sourcesHash({ ofTests: true });
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(stampFile, stamp);
}

/** All at once, for each is busy with one core, and less urgent than the tests; what one printed is shown in one piece. */
async function runChecks() {
  await Promise.all(
    checks().map(async ([name, args]) => {
      const startedAt = Date.now();
      const printed = [];
      const outcome = (await node(args, printed)) === 0 ? 'passed' : 'failed';
      total[outcome] += 1;
      heading(name);
      process.stderr.write(Buffer.concat(printed));
      say(`${name}: ${outcome} after ${((Date.now() - startedAt) / 1000).toFixed(1)} s`);
    }),
  );
}

async function runJest() {
  const results = join(mkdtempSync(join(tmpdir(), 'session-chain-test-')), 'results.json');
  const jest = join(root, 'node_modules', 'jest', 'bin', 'jest.js');
  heading('tests');
  const code = await node([
    ...['--experimental-vm-modules', '--disable-warning=ExperimentalWarning', jest],
    ...['--json', `--outputFile=${results}`, ...jestArgs],
  ]);
  const counted = existsSync(results) ? JSON.parse(readFileSync(results, 'utf8')) : undefined;
  rmSync(join(results, '..'), { recursive: true });
  listSlowest(counted?.testResults ?? []);
  const passed = counted?.numPassedTests ?? 0;
  let failed = (counted?.numFailedTests ?? 0) + (counted?.numRuntimeErrorTestSuites ?? 0);
  // A skipped test proves nothing; it is accepted only when a selection was asked for.
  if (jestArgs.length === 0) failed += counted?.numPendingTests ?? 0;
  // Jest itself failed: in its set-up or teardown, or it found no test.
  if (failed === 0 && code !== 0) failed = 1;
  total.passed += passed;
  total.failed += failed;
}

/** Where the time went, of the test files that ran. */
function listSlowest(files) {
  const timed = files.map(({ name, startTime, endTime }) => ({
    name,
    seconds: (endTime - startTime) / 1000,
  }));
  const slowest = timed.sort((one, other) => other.seconds - one.seconds).slice(0, 10);
  if (slowest.length > 0) heading('slowest test files');
  for (const { name, seconds } of slowest) {
    say(`${seconds.toFixed(1).padStart(7)} s  ${relative(root, name)}`);
  }
}

function heading(name) {
  say(`\n== ${name} ==`);
}

/** From here on every look-up of the CLI, in tests too, finds this one at once. */
async function ensureTemporalCli() {
  const { findTemporalCli } = await import('../dist/dev/temporal-cli.js');
  process.env.TEMPORAL_CLI_PATH = await findTemporalCli({ onProgress: say });
  say(`Temporal CLI: ${process.env.TEMPORAL_CLI_PATH}`);
}

/** Runs Node to its end and resolves with the exit code. Where `printed` is given, it gets what would be shown at once. */
function node(args, printed) {
  return new Promise((resolve, reject) => {
    const output = printed ? 'pipe' : 'inherit';
    const child = spawn(process.execPath, args, { cwd: root, stdio: ['inherit', output, output] });
    interruption.children.add(child);
    if (printed && child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_BELOW_NORMAL);
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (data) => printed.push(data));
    child.once('error', reject);
    child.once('close', (code) => {
      interruption.children.delete(child);
      resolve(code ?? 1);
    });
  });
}

/** When interrupted, what runs may clean up (a terminal's Ctrl-C reaches it directly), and nothing more is begun. */
function forwardSignals() {
  const state = { signal: undefined, children: new Set() };
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.on(signal, () => {
      state.signal = signal;
      if (signal === 'SIGTERM') for (const child of state.children) child.kill(signal);
    });
  }
  return state;
}
