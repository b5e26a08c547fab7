import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { shippedDefinition } from './shipped.js';
import { SessionChainError } from '../contracts/failures.js';
import { type CheckedDefinition, checkDefinition } from './check.js';
import type { Config } from '../config/environment.js';
import type { ChainDefinitionInput } from './definition.js';
import * as forConfigurations from './define-chain.js';

const fileNames = ['session-chain.config.ts', 'session-chain.config.js', 'session-chain.config.mjs'];
const loadsWithinMs = 30_000;

/**
 * The definition of this worker's chains: from the file that SESSION_CHAIN_CONFIG names, else from a session-chain.config
 * file in the folder, else the shipped one. Throws INVALID_CONFIG that names the file.
 */
export async function loadChainDefinition(
  config: Pick<Config, 'SESSION_CHAIN_CONFIG' | 'SESSION_CHAIN_MODEL'>,
  folder = process.cwd(),
): Promise<CheckedDefinition> {
  return await loadDefinition(definitionFile(config, folder), config.SESSION_CHAIN_MODEL);
}

/** The file of the definition; undefined for the shipped one. Throws INVALID_CONFIG where the named one is missing. */
export function definitionFile(
  { SESSION_CHAIN_CONFIG: named }: Pick<Config, 'SESSION_CHAIN_CONFIG'>,
  folder = process.cwd(),
): string | undefined {
  const file = named === undefined ? findIn(folder) : resolve(folder, named);
  if (file === undefined || existsSync(file)) return file;
  throw new SessionChainError('INVALID_CONFIG', `SESSION_CHAIN_CONFIG names ${file}, which does not exist.`);
}

/**
 * A definition, checked and completed: from a file, from what `defineChain` returned, or the shipped one. `model` is
 * used if the definition names none. Throws INVALID_CONFIG.
 */
export async function loadDefinition(
  source: string | ChainDefinitionInput | undefined,
  model?: string,
): Promise<CheckedDefinition> {
  if (source === undefined) {
    return { definition: { ...shippedDefinition, ...(model === undefined ? {} : { model }) }, warnings: [] };
  }
  const file = typeof source === 'string' ? resolve(source) : 'the definition in the options of the worker';
  try {
    const written = typeof source === 'string' ? await defaultExportOf(file) : source;
    return checkDefinition(written, { file, model });
  } catch (cause) {
    const why = messageOf(cause);
    throw new SessionChainError('INVALID_CONFIG', `${file}: ${why}`, undefined, { cause });
  }
}

function findIn(folder: string): string | undefined {
  return fileNames.map((name) => join(folder, name)).find((path) => existsSync(path));
}

async function defaultExportOf(file: string): Promise<unknown> {
  const { createJiti } = await import('jiti');
  const jiti = createJiti(file, {
    // The worker's own copy: a file needs the package installed beside it for its types only.
    virtualModules: { 'session-chain/config': forConfigurations },
    // No traces in the folder of the host, and a changed file is read again.
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
