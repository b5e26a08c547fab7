import { Command } from 'commander';
import { type ExitCode, exitCodes } from '../errors.js';
import { withContext } from '../context.js';
import { wrapped } from '../format.js';
import { type OutputFormat, lookOfStdout, outputOption, print, wholeNumber } from '../output.js';

interface ReplayOptions {
  limit: number;
  output: OutputFormat;
}

export function replayCommand(exitWith: (code: ExitCode) => void): Command {
  return new Command('replay')
    .description(
      'Before a rollout: whether the open workflows go on with this version. It replays their histories from Temporal and changes nothing.',
    )
    .option('-n, --limit <number>', 'workflows at most, the newest', wholeNumber(1), 1_000)
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  session-chain replay\n  session-chain replay --limit 100 -o json\n')
    .action(async ({ limit, output }: ReplayOptions) => {
      await withContext(async ({ config, temporal }) => {
        const taskQueue = config.SESSION_CHAIN_TASK_QUEUE;
        // Loaded for this command only, and with it the worker's native library.
        const [{ replayOpenWorkflows }, { releaseOf }] = await Promise.all([
          import('../../workers/replay.js'),
          import('../../workers/release.js'),
        ]);
        const workflows = [];
        for await (const one of replayOpenWorkflows(await temporal(), { taskQueue, limit }))
          workflows.push(one);
        const release = releaseOf(config.SESSION_CHAIN_RELEASE);
        const failing = workflows.filter(({ failure }) => failure !== null);
        const { width } = lookOfStdout();
        print(
          output,
          { release, taskQueue, workflows },
          [
            failing.length === 0
              ? `The release ${release} goes on with all of ${workflows.length} open workflows on ${taskQueue}.`
              : `${failing.length} of ${workflows.length} open workflows on ${taskQueue} would stand still with the release ${release}:`,
            ...failing.map(({ workflowId, failure }) => `  ${workflowId}\n    ${failure ?? ''}`),
            ...(failing.length === 0
              ? []
              : [
                  '\nwhat to do: let them end on the workers that they have, or pin them there (SESSION_CHAIN_DEPLOYMENT), before this release takes over.',
                ]),
          ]
            .map((text) => wrapped(text, width))
            .join('\n'),
        );
        if (failing.length > 0) exitWith(exitCodes.setUp);
      });
    });
}
