import { Command } from 'commander';
import { chainWorkflowId } from '../../contracts/ids.js';
import { isClosed } from '../../contracts/steps.js';
import { readChainState } from '../../storage/chain-state.js';
import { type ChainOptions, keyArguments, keyOf, withChainOptions } from '../chain-options.js';
import { withContext } from '../context.js';
import { type ExitCode, exitCodes } from '../errors.js';
import { followChain } from '../follow.js';
import { facts } from '../format.js';
import { type OutputFormat, outputOption, print } from '../output.js';

interface CancelOptions extends ChainOptions {
  wait?: boolean;
  output: OutputFormat;
}

export function cancelCommand(exitWith: (code: ExitCode) => void): Command {
  return withChainOptions(new Command('cancel'))
    .description(
      'Ask a chain to stop. The agent is interrupted; the head stays at the last committed session.',
    )
    .option('--wait', 'wait until the chain has ended')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  session-chain cancel --project shop --version v2 --wait\n')
    .action(async (options: CancelOptions) => {
      const exitCode = await withContext(async (context) => {
        const key = keyOf(options);
        const { status } = await readChainState(await context.database(), key);
        const over = isClosed(status);
        if (!over) await (await context.sessionChain()).cancel(key);
        if (!over && options.wait) {
          // However it ended: it works no more, which is what was asked for.
          const result = await followChain(context, key, options.output);
          return result === null ? exitCodes.interrupted : exitCodes.ok;
        }
        print(
          options.output,
          { workflowId: chainWorkflowId(key), ...key, status, cancelRequested: !over },
          facts([
            ['chain', chainWorkflowId(key)],
            [
              'status',
              over ? `${status}; it is over, there is nothing to cancel` : `${status}; asked to stop`,
            ],
            ['follow it', over ? null : `session-chain status ${keyArguments(key)}`],
          ]),
        );
        return undefined;
      });
      if (exitCode !== undefined) exitWith(exitCode);
    });
}
