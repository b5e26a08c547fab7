import { Command } from 'commander';
import { withContext } from '../context.js';
import { type ExitCode, exitCodeOf, exitCodes } from '../errors.js';
import { facts } from '../format.js';
import { type OutputFormat, lookOfStdout, note, outputOption, print } from '../output.js';
import { runText, scheduleFacts, statusText } from '../retention-text.js';

interface Output {
  output: OutputFormat;
}

export function retentionCommand(exitWith: (code: ExitCode) => void): Command {
  return new Command('retention')
    .description('What is old and not needed: install the schedule by which it goes, let it go now, look.')
    .addCommand(installCommand())
    .addCommand(runCommand(exitWith))
    .addCommand(statusCommand())
    .addCommand(removeCommand());
}

function installCommand(): Command {
  return new Command('install')
    .description('Let Temporal run retention at these times, one run at a time. Again changes them in place.')
    .option(
      '--every <times>',
      '"day at 03:00", an interval such as 6h or 1d, or five fields of cron; in UTC',
      'day at 03:00',
    )
    .option('--paused', 'start no run for now')
    .option('--no-paused', 'start runs again')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  session-chain retention install --every "day at 03:00"\n')
    .action(async ({ every, paused, output }: Output & { every: string; paused?: boolean }) => {
      await withContext(async ({ sessionChain }) => {
        const schedule = await (
          await sessionChain()
        ).installRetention({ every, ...(paused === undefined ? {} : { paused }) });
        print(output, schedule, facts(scheduleFacts(schedule), lookOfStdout()));
      });
    });
}

function runCommand(exitWith: (code: ExitCode) => void): Command {
  return new Command('run')
    .description('Run retention now, and wait for its end. Ctrl-C ends the wait, not the run.')
    .option('-p, --project <id>', 'only this project')
    .option('--dry-run', 'only say what would go, and why')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  session-chain retention run --dry-run\n')
    .action(async ({ project, dryRun = false, output }: Output & { project?: string; dryRun?: boolean }) => {
      await withContext(async ({ sessionChain }) => {
        const client = await sessionChain();
        const { workers } = await client.workers();
        if (!workers.some(({ alive }) => alive))
          note('No worker is there: the run waits until one starts (session-chain worker).');
        const stopped = new AbortController();
        const stop = () => stopped.abort();
        process.once('SIGINT', stop).once('SIGTERM', stop);
        try {
          const result = await client.runRetention({
            ...(project === undefined ? {} : { projectId: project }),
            ...{ dryRun, signal: stopped.signal },
          });
          print(output, result, runText(result, lookOfStdout().width));
          const failure = result.failure ?? result.projects.find((one) => one.failure)?.failure;
          if (failure) exitWith(exitCodeOf(failure.code));
        } catch (error) {
          if (!stopped.signal.aborted) throw error;
          note('The run goes on; session-chain retention status tells how it ends.');
          exitWith(exitCodes.interrupted);
        } finally {
          process.off('SIGINT', stop).off('SIGTERM', stop);
        }
      });
    });
}

function statusCommand(): Command {
  return new Command('status')
    .description('When retention runs, what the last run did, and the policies of the workers.')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  session-chain retention status\n')
    .action(async ({ output }: Output) => {
      await withContext(async ({ sessionChain }) => {
        const status = await (await sessionChain()).retentionStatus();
        print(output, status, statusText(status, lookOfStdout().width));
      });
    });
}

function removeCommand(): Command {
  return new Command('remove')
    .description('End the schedule. A run that is under way goes on.')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  session-chain retention remove\n')
    .action(async ({ output }: Output) => {
      await withContext(async ({ sessionChain }) => {
        const { removed } = await (await sessionChain()).removeRetention();
        print(output, { removed }, removed ? 'Retention runs no more by itself.' : 'There was no schedule.');
      });
    });
}
