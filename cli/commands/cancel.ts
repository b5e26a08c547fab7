import { Command } from 'commander';
import { chainWorkflowId } from '../../temporal/names.js';
import { isClosed } from '../../contracts/steps.js';
import { type ChainOptions, keyArguments, keyOf, withChainOptions } from '../chain-options.js';
import { withContext } from '../context.js';
import { type ExitCode, exitCodes } from '../errors.js';
import { followChain } from '../follow.js';
import { facts } from '../format.js';
import { type StreamFormat, streamOption, print } from '../output.js';

interface CancelOptions extends ChainOptions {
  wait?: boolean;
  force?: boolean;
  output: StreamFormat;
}

export function cancelCommand(exitWith: (code: ExitCode) => void): Command {
  return withChainOptions(new Command('cancel'))
    .description(
      'Ask a chain to stop. The agent is interrupted; the head stays at the last committed session.',
    )
    .option('--wait', 'wait until the chain has ended')
    .option('--force', 'close the chain though its workflow is gone, once the lease of its agent has expired')
    .addOption(streamOption())
    .addHelpText('after', '\nExample:\n  session-chain cancel --project shop --version v2 --wait\n')
    .action(async (options: CancelOptions) => {
      const exitCode = await withContext(async (context) => {
        const key = keyOf(options);
        const readStatus = async () => (await (await context.sessionChain()).state(key)).status;
        const before = await readStatus();
        const over = isClosed(before);
        if (!over) {
          await context.temporal();
          await (await context.sessionChain()).cancel(key, { force: options.force ?? false });
        }
        if (!over && options.wait) {
          // However it ended: it no longer works, which is what was asked for.
          const result = await followChain(context, key, options.output);
          return result === null ? exitCodes.interrupted : exitCodes.ok;
        }
        const status = over ? before : await readStatus();
        const works = !isClosed(status);
        const asked = works ? '; asked to stop' : '';
        print(
          options.output,
          { workflowId: chainWorkflowId(key), ...key, status, cancelRequested: !over },
          facts([
            ['chain', chainWorkflowId(key)],
            ['status', `${status}${over ? '; it is over, there is nothing to cancel' : asked}`],
            ['follow it', works ? `session-chain status ${keyArguments(key)}` : null],
          ]),
        );
        return undefined;
      });
      if (exitCode !== undefined) exitWith(exitCode);
    });
}
