import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundleWorkflowCode } from '@temporalio/worker';
import type { WorkerCommand } from './chain-stack.js';
import type { Ended } from './cli.js';

export interface Release {
  /** Starts a worker of it. */
  command: WorkerCommand;
  /** Runs its command line. */
  run(args: string[], environment: NodeJS.ProcessEnv): Promise<Ended>;
}

/** Another release of the compiled program, in a folder of its own: with this version and this bundle of workflows. */
export function makeRelease(
  folder: string,
  { version, bundle }: { version: string; bundle: string },
): Release {
  mkdirSync(folder);
  cpSync('dist', join(folder, 'dist'), { recursive: true });
  for (const name of ['node_modules', 'migrations'])
    symlinkSync(join(process.cwd(), name), join(folder, name));
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({ name: 'session-chain', version, type: 'module' }),
  );
  writeFileSync(join(folder, 'dist/workers/workflow-bundle.js'), bundle);
  const main = join(folder, 'dist/cli/main.js');
  return {
    command: (node, [, ...args]) => [node, [main, ...args]],
    run: async (args, env) =>
      await new Promise((settle) => {
        const child = execFile(process.execPath, [main, ...args], { env }, (_error, stdout, stderr) =>
          settle({ code: child.exitCode, stdout, stderr }),
        );
      }),
  };
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
