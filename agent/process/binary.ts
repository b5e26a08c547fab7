import { execFile } from 'node:child_process';
import { constants, readFileSync } from 'node:fs';
import { access, mkdtemp, realpath, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { SessionChainError } from '../../contracts/failures.js';
import { startOf } from '../../contracts/text.js';

/**
 * The Claude Code binary: the given path, or the one that came with the Agent SDK for this platform.
 * Throws AGENT_NOT_FOUND when there is none that can be executed.
 */
export async function findAgentBinary(binaryPath?: string): Promise<string> {
  const candidate = binaryPath ?? packagedBinary();
  try {
    await access(candidate, constants.X_OK);
    return await realpath(candidate);
  } catch (cause) {
    throw new SessionChainError('AGENT_NOT_FOUND', `${candidate} cannot be executed.`, undefined, { cause });
  }
}

/** Path and version of the binary, by running it once (about 0.1 s). Throws AGENT_NOT_FOUND. */
export async function describeAgentBinary(binaryPath?: string): Promise<{ path: string; version: string }> {
  const path = await findAgentBinary(binaryPath);
  const home = await mkdtemp(join(tmpdir(), 'session-chain-version-'));
  try {
    const { stdout } = await promisify(execFile)(path, ['--version'], {
      env: { HOME: home, CLAUDE_CONFIG_DIR: home, DISABLE_AUTOUPDATER: '1' },
      timeout: 30_000,
    });
    const version = /\d+\.\d+\.\d+\S*/.exec(stdout)?.[0];
    if (version === undefined) throw new Error(`It printed ${JSON.stringify(startOf(stdout, 200))}.`);
    return { path, version };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SessionChainError('AGENT_NOT_FOUND', `${path} --version failed: ${why}`, undefined, { cause });
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

/**
 * The version of the binary as it is now; it is run again only if the file has been replaced. Null if it cannot be
 * determined.
 */
export function versionReader(binaryPath?: string): () => Promise<string | null> {
  let known: { stamp: string; version: string } | undefined;
  return async () => {
    try {
      const path = await findAgentBinary(binaryPath);
      const { ino, size, mtimeMs, ctimeMs } = await stat(path);
      const stamp = [path, ino, size, mtimeMs, ctimeMs].join(' ');
      if (known?.stamp !== stamp) known = { stamp, version: (await describeAgentBinary(path)).version };
      return known.version;
    } catch {
      return null;
    }
  };
}

const sdk = '@anthropic-ai/claude-agent-sdk';
const { resolve } = createRequire(import.meta.url);

/**
 * Where the agent SDK is, which is installed beside this package where workers run. Throws AGENT_NOT_FOUND that
 * names the version to install.
 */
export function findAgentSdk(): string {
  try {
    return resolve(sdk);
  } catch (cause) {
    const { peerDependencies } = JSON.parse(readFileSync(resolve('session-chain/package.json'), 'utf8')) as {
      peerDependencies: Record<string, string>;
    };
    throw new SessionChainError(
      'AGENT_NOT_FOUND',
      `The package ${sdk} is not installed.`,
      `Install it where the worker runs: npm install --save-exact ${sdk}@${peerDependencies[sdk] ?? 'latest'}`,
      { cause },
    );
  }
}

/** The agent SDK that is installed, by its own package.json. Throws AGENT_NOT_FOUND. */
export function installedSdk(): { version: string } {
  const manifest = join(dirname(findAgentSdk()), 'package.json');
  return JSON.parse(readFileSync(manifest, 'utf8')) as { version: string };
}

function packagedBinary(): string {
  const name = `${sdk}-${process.platform}-${process.arch}`;
  const beside = createRequire(findAgentSdk());
  try {
    return beside.resolve(`${name}/${process.platform === 'win32' ? 'claude.exe' : 'claude'}`);
  } catch (cause) {
    throw new SessionChainError('AGENT_NOT_FOUND', `The package ${name} is not installed.`, undefined, {
      cause,
    });
  }
}
