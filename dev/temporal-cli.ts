import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { SessionChainError } from '../contracts/failures.js';
import { cacheDir, findOnPath, isExecutable } from './find-on-path.js';

const version = '1.5.1';
/** What `go install -v` prints for this version with a cold build cache. */
const packagesToCompile = 1_300;
/** A download that takes longer is on a network that drops packets. */
const downloadTimeoutMs = 300_000;

interface FindOptions {
  /** Gets one line whenever there is news about slow work; at most about one a second. */
  onProgress?: (message: string) => void;
}

/**
 * The path of a Temporal CLI (the binary that holds the dev server and its Web UI). The first of these that works:
 * $TEMPORAL_CLI_PATH (which is then the only candidate), PATH, our own cache, the SDK's download into that cache,
 * `go install` into it (3 to 6 minutes, seconds with a warm build cache).
 * @throws SessionChainError TEMPORAL_CLI_NOT_FOUND
 */
export async function findTemporalCli({ onProgress = () => undefined }: FindOptions = {}): Promise<string> {
  const chosen = process.env['TEMPORAL_CLI_PATH'];
  if (chosen) {
    if (isTemporalCli(chosen)) return chosen;
    throw new SessionChainError(
      'TEMPORAL_CLI_NOT_FOUND',
      `TEMPORAL_CLI_PATH=${chosen} is not a Temporal CLI that runs.`,
      'Correct TEMPORAL_CLI_PATH, or unset it so that the CLI is looked for.',
    );
  }
  const onPath = findOnPath('temporal');
  if (onPath !== undefined && isTemporalCli(onPath)) return onPath;
  const cached = join(cacheDir(), `temporal-${version}-${process.platform}-${process.arch}`, 'temporal');
  if (isTemporalCli(cached)) return cached;

  const tries: string[] = [];
  for (const obtain of [download, goInstall]) {
    mkdirSync(dirname(cached), { recursive: true });
    const workDir = mkdtempSync(`${dirname(cached)}.`);
    try {
      const binary = await obtain(workDir, onProgress);
      if (isTemporalCli(binary)) {
        renameSync(binary, cached); // Atomic: another process sees no CLI or the whole CLI.
        return cached;
      }
      tries.push(`${binary} does not run`);
    } catch (error) {
      tries.push((error as Error).message);
    } finally {
      rmSync(workDir, { recursive: true, force: true });
    }
  }
  throw new SessionChainError(
    'TEMPORAL_CLI_NOT_FOUND',
    `There is no Temporal CLI on PATH or in ${cached}, and it could not be obtained: ${tries.join('; ')}.`,
  );
}

/** Runs in a process of its own: it can be abandoned, and it claims the SDK's one runtime per process. */
const downloadScript = `
import { TestWorkflowEnvironment } from '@temporalio/testing';
const [, version, downloadDir] = process.argv;
const executable = { type: 'cached-download', version, downloadDir };
const environment = await TestWorkflowEnvironment.createLocal({ server: { executable } });
await environment.teardown();
`;

async function download(workDir: string, onProgress: (message: string) => void): Promise<string> {
  onProgress(`Temporal CLI ${version}: trying the SDK's download`);
  const startedAt = Date.now();
  const ticker = setInterval(() => {
    const seconds = Math.round((Date.now() - startedAt) / 1000);
    onProgress(`Temporal CLI ${version}: downloading (${seconds} s)`);
  }, 1_000);
  try {
    // The folder is that of this file, because a script without a file resolves packages from there.
    await run(process.execPath, ['--input-type=module', '--eval', downloadScript, `v${version}`, workDir], {
      cwd: import.meta.dirname,
      timeoutMs: downloadTimeoutMs,
    });
  } catch (error) {
    throw new Error('the download failed (is temporal.download reachable?)', { cause: error });
  } finally {
    clearInterval(ticker);
  }
  const files = readdirSync(workDir).map((name) => join(workDir, name));
  const binary = files.find(isExecutable);
  if (binary === undefined) throw new Error('the download brought no executable file');
  return binary;
}

async function goInstall(workDir: string, onProgress: (message: string) => void): Promise<string> {
  const go = findOnPath('go');
  if (go === undefined) throw new Error('Go is not installed, so it cannot be built either');
  const module = `github.com/temporalio/cli/cmd/temporal@v${version}`;
  let downloads = 0;
  let compiled = 0;
  let lastReport = 0;
  await run(go, ['install', '-v', '-ldflags', linkerFlags, module], {
    cwd: workDir,
    env: { ...process.env, GOBIN: workDir, CGO_ENABLED: '0', GOFLAGS: '-buildvcs=false' },
    onLine: (line) => {
      if (line.startsWith('go: ')) downloads += 1;
      else compiled += 1;
      if (Date.now() - lastReport < 1_000) return;
      lastReport = Date.now();
      const progress =
        compiled === 0
          ? `fetching modules (${downloads})`
          : `compiling, ${compiled} of about ${Math.max(compiled, packagesToCompile)} packages`;
      onProgress(`Temporal CLI ${version}, built by Go once: ${progress}`);
    },
  });
  return join(workDir, 'temporal');
}

/** Stamps the version and leaves out debug tables. Other flags would mean another build cache. */
const linkerFlags = `-s -w -X github.com/temporalio/cli/temporalcli.Version=${version}`;

interface RunOptions {
  cwd: string;
  env?: NodeJS.ProcessEnv;
  timeoutMs?: number;
  onLine?: (line: string) => void;
}

/** Runs a program to its end; rejects with the end of what it printed unless it exits 0. */
async function run(command: string, args: readonly string[], options: RunOptions): Promise<void> {
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: options.env ?? process.env,
    timeout: options.timeoutMs,
    killSignal: 'SIGKILL',
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const tail: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => {
    tail.push(line);
    if (tail.length > 5) tail.shift();
    options.onLine?.(line);
  });
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`${command} ended with ${code ?? signal}: ${tail.join(' | ')}`));
    });
  });
}

function isTemporalCli(file: string): boolean {
  if (!isExecutable(file)) return false;
  const { status, stdout } = spawnSync(file, ['--version'], { encoding: 'utf8', timeout: 20_000 });
  return status === 0 && stdout.startsWith('temporal version');
}
