import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundleWorkflowCode } from '@temporalio/worker';
import type { WorkerCommand } from './chain-stack.js';

/**
 * Another release of the compiled program, in a folder of its own: with this version and this bundle of workflows. What
 * it returns starts a worker of it.
 */
export function makeRelease(
  folder: string,
  { version, bundle }: { version: string; bundle: string },
): WorkerCommand {
  mkdirSync(folder);
  cpSync('dist', join(folder, 'dist'), { recursive: true });
  for (const name of ['node_modules', 'migrations'])
    symlinkSync(join(process.cwd(), name), join(folder, name));
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({ name: 'session-chain', version, type: 'module' }),
  );
  writeFileSync(join(folder, 'dist/workers/workflow-bundle.js'), bundle);
  return (node, [, ...args]) => [node, [join(folder, 'dist/cli/main.js'), ...args]];
}

/** The workflows of a release whose chains run their steps in another order: open chains do not replay on it. */
export async function reversedBundle(): Promise<string> {
  const reversed = join(process.cwd(), 'test/replay/reversed-chain.ts');
  const { code } = await bundleWorkflowCode({
    workflowsPath: reversed,
    workflowInterceptorModules: [reversed],
    payloadConverterPath: join(process.cwd(), 'dist/workflows/payload-converter.js'),
    logger: { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} },
  });
  return code;
}
