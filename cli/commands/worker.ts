import { Command } from 'commander';
import { findAgentSdk } from '../../agent/process/binary.js';
import { processEnvironment } from '../../config/environment.js';
import { type OutputFormat, outputOption, print } from '../output.js';

export function workerCommand(): Command {
  return new Command('worker')
    .description('Run a worker until SIGTERM or Ctrl-C; its log goes to stderr. Any number may run.')
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nNeeds DATABASE_URL, TEMPORAL_ADDRESS, SESSION_CHAIN_WORKSPACE_ROOTS and a model\ncredential.\n\n' +
        'Example:\n  SESSION_CHAIN_WORKSPACE_ROOTS=/srv/projects SESSION_CHAIN_MAX_AGENTS=4 session-chain worker\n',
    )
    .action(async ({ output }: { output: OutputFormat }) => {
      findAgentSdk();
      // The agent SDK and the worker's native library are loaded for this command only.
      const { runWorkerProcess } = await import('../../workers/main.js');
      await runWorkerProcess(processEnvironment());
      print(output, { status: 'stopped' }, '');
    });
}
