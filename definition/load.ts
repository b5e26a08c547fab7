import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createJiti } from 'jiti';
import { shippedDefinition } from './shipped.js';
import { SessionChainError } from '../contracts/failures.js';
import { type CheckedDefinition, checkDefinition } from './check.js';
import type { Config } from '../config/environment.js';
import * as forConfigurations from './define-chain.js';

const fileNames = ['session-chain.config.ts', 'session-chain.config.js', 'session-chain.config.mjs'];
const loadsWithinMs = 30_000;

/**
 * The definition of this worker's chains: from the file that SESSION_CHAIN_CONFIG names, else from a session-chain.config
 * file in the folder, else the shipped one. Throws INVALID_CONFIG that names the file.
 */
export async function loadChainDefinition(
  {
    SESSION_CHAIN_CONFIG: named,
    SESSION_CHAIN_MODEL: model,
  }: Pick<Config, 'SESSION_CHAIN_CONFIG' | 'SESSION_CHAIN_MODEL'>,
  folder = process.cwd(),
): Promise<CheckedDefinition> {
  const file = named === undefined ? findIn(folder) : resolve(folder, named);
  if (file === null) {
    return { definition: { ...shippedDefinition, ...(model === undefined ? {} : { model }) }, warnings: [] };
  }
  if (!existsSync(file)) {
    throw new SessionChainError(
      'INVALID_CONFIG',
      `SESSION_CHAIN_CONFIG names ${file}, which does not exist.`,
    );
  }
  try {
    return checkDefinition(await defaultExportOf(file), { file, model });
  } catch (cause) {
    const why = messageOf(cause);
    throw new SessionChainError('INVALID_CONFIG', `${file}: ${why}`, undefined, { cause });
  }
}

function findIn(folder: string): string | null {
  return fileNames.map((name) => join(folder, name)).find((path) => existsSync(path)) ?? null;
}

async function defaultExportOf(file: string): Promise<unknown> {
  const jiti = createJiti(file, {
    // The worker's own copy: a file needs the package installed beside it for its types only.
    virtualModules: { 'session-chain/config': forConfigurations },
    // No traces in the folder of the host, and a file that was changed is read anew.
    fsCache: false,
    moduleCache: false,
    interopDefault: false,
  });
  const loaded = await within(loadsWithinMs, jiti.import<{ default?: unknown }>(file));
  if (loaded.default === undefined)
    throw new Error('It has no default export: export default defineChain({ … })');
  return loaded.default;
}

async function within<Value>(limitMs: number, loading: Promise<Value>): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`It did not load within ${limitMs / 1000} s.`)), limitMs);
  });
  try {
    return await Promise.race([loading, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** On one line; the rest of a loader's message is its own stack of files. */
function messageOf(error: unknown): string {
  const message = error instanceof Error || hasMessage(error) ? error.message : String(error);
  return message.replace(/\nRequire stack:[\s\S]*$/, '').replace(/\s*\n\s*/g, ' ');
}

function hasMessage(error: unknown): error is { message: string } {
  return (
    typeof error === 'object' && error !== null && 'message' in error && typeof error.message === 'string'
  );
}
