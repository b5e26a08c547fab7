import { Command } from 'commander';
import type { ReconciledAll } from '../../client/installation.js';
import { SessionChainError } from '../../contracts/failures.js';
import { withContext } from '../context.js';
import { type ExitCode, exitCodes } from '../errors.js';
import { formatDuration, formatTime, table } from '../format.js';
import { type OutputFormat, lookOfStdout, outputOption, print } from '../output.js';

interface ReconcileCommandOptions {
  project?: string;
  all?: boolean;
  dryRun?: boolean;
  terminateUnknown?: boolean;
  output: OutputFormat;
}

export function reconcileCommand(exitWith: (code: ExitCode) => void): Command {
  return new Command('reconcile')
    .description(
      'Compare database and Temporal: close chains whose workflows are gone, and list chains that Temporal knows and the database does not. Exit code 1 where something is left to do.',
    )
    .option('-p, --project <id>', 'of this project (projects.project_id)')
    .option('--all', 'of all projects')
    .option('--dry-run', 'only say what would be done, and write nothing')
    .option('--terminate-unknown', 'terminate the workflows of open chains that the database does not know')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  session-chain reconcile --all --dry-run\n')
    .action(async ({ project, all, output, ...options }: ReconcileCommandOptions) => {
      if ((project === undefined) !== (all === true)) {
        throw new SessionChainError(
          'INVALID_INPUT',
          project === undefined ? 'Which projects?' : '--project and --all exclude each other.',
          'Pass --project with an id, or --all.',
        );
      }
      const done = await withContext(async (context) => {
        await context.temporal();
        const sessionChain = await context.sessionChain();
        return await sessionChain.reconcileAll({
          ...options,
          ...(project === undefined ? {} : { projectId: project }),
        });
      });
      print(output, done, reconcileText(done));
      const isLeft = done.endingInMs !== null || done.unknownOpen > done.terminated;
      if (isLeft || (done.dryRun && done.releasedChains > 0)) exitWith(exitCodes.unexpected);
    });
}

const shown = 50;

function reconcileText(done: ReconciledAll): string {
  const { dryRun, projects, released, releasedChains, endingInMs, unknown, ofOthers } = done;
  const { unknownOpen, unknownClosed, terminated } = done;
  return [
    `${projects} ${projects === 1 ? 'project' : 'projects'} with open chains looked at.`,
    `${releasedChains} ${releasedChains === 1 ? 'chain whose workflow is' : 'chains whose workflows are'} gone ${dryRun ? 'would be' : releasedChains === 1 ? 'was' : 'were'} closed.`,
    ...released.slice(0, shown).map((workflowId) => `  ${workflowId}`),
    ...(releasedChains > shown ? ['  … and more; -o json lists 1,000.'] : []),
    ...(endingInMs === null
      ? []
      : [`Others once the leases of their agents expire, in ${formatDuration(endingInMs)}: run it again.`]),
    `Temporal knows ${unknownOpen + unknownClosed} chains that the database does not: ${unknownOpen} open, ${unknownClosed} over.`,
    ...(unknown.length === 0
      ? []
      : [
          table(
            ['workflow', 'status', 'started', 'incarnation'],
            unknown
              .slice(0, shown)
              .map((one) => [
                one.workflowId,
                one.status.toLowerCase(),
                formatTime(one.startedAt),
                String(one.incarnation),
              ]),
            { elastic: ['workflow'], width: lookOfStdout().width },
          ),
        ]),
    ...(terminated > 0 ? [`${terminated} of them terminated.`] : []),
    ...(unknownOpen > terminated
      ? [
          'The open ones end with REQUEST_LOST as soon as they ask the database; --terminate-unknown ends them now.',
        ]
      : []),
    ...(ofOthers > 0 ? [`${ofOthers} chains of other installations in the namespace are left alone.`] : []),
  ].join('\n');
}
