import { Command } from 'commander';
import { assertNever } from '../../contracts/assert-never.js';
import type { DriftReason, SyncReport } from '../../client/main.js';
import { withContext } from '../context.js';
import { type ExitCode, exitCodes } from '../errors.js';
import { shortId, tableWithNotes } from '../format.js';
import { type OutputFormat, lookOfStdout, outputOption, print, wholeNumber } from '../output.js';

/** Below this share of projects in sync the command ends with exit code 1. */
const enoughInSync = 0.95;

interface SyncCommandOptions {
  project?: string;
  limit: number;
  output: OutputFormat;
}

export function syncCommand(exitWith: (code: ExitCode) => void): Command {
  return new Command('sync')
    .description(
      'How many projects have a newest version that names their head, and why others have not; exit code 1 under 95 %.',
    )
    .option('-p, --project <id>', 'only this project')
    .option('-n, --limit <number>', 'drifted projects in the list at most', wholeNumber(1), 50)
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  session-chain sync --limit 10\n')
    .action(async ({ project, limit, output }: SyncCommandOptions) => {
      await withContext(async ({ config, sessionChain }) => {
        const report = await (
          await sessionChain()
        ).syncReport({
          ...(project === undefined ? {} : { projectId: project }),
          ...(config.REDIS_URL === undefined ? {} : { redisUrl: config.REDIS_URL }),
          limit,
        });
        print(output, report, syncText(report, lookOfStdout().width));
        if (report.share !== null && report.share < enoughInSync) exitWith(exitCodes.unexpected);
      });
    });
}

export function syncText(
  { projects, inSync, share, withoutVersion, drifted, more, checkpoints }: SyncReport,
  width: number,
): string {
  return [
    share === null
      ? 'No project with a version has a head.'
      : `${inSync} of ${projects} projects with a head are in sync (${percent(share)}).`,
    ...(withoutVersion > 0 ? [`${withoutVersion} with a head have no version and are not counted.`] : []),
    checkpointText(checkpoints),
    ...(drifted.length === 0
      ? []
      : [
          '',
          tableWithNotes(
            ['project', 'version', 'head', 'version has', 'sync'],
            drifted.map((one) => ({
              cells: [
                one.projectId,
                one.versionId ?? '-',
                shortId(one.head),
                shortId(one.versionSession),
                one.inSync ? 'yes' : 'no',
              ],
              notes: [one.reasons.map(reasonText).join('; ')],
            })),
            { elastic: ['project', 'version'], width },
          ),
        ]),
    ...(more ? ['… and more; --limit shows them.'] : []),
  ].join('\n');
}

/** Rounded down, so that 95.0 % is never less than it. */
function percent(share: number): string {
  return `${(Math.floor(share * 1_000) / 10).toFixed(1)} %`;
}

function checkpointText(checkpoints: SyncReport['checkpoints']): string {
  switch (checkpoints.status) {
    case 'compared':
      return `Checkpoints compared: ${checkpoints.compared}.${checkpoints.malformed === 0 ? '' : ` Malformed, and not compared: ${checkpoints.malformed}.`}`;
    case 'off':
      return 'Checkpoints were not compared: REDIS_URL is not set.';
    case 'unavailable':
      return 'Checkpoints were not compared: Redis does not answer.';
    default:
      return assertNever(checkpoints);
  }
}

function reasonText(reason: DriftReason): string {
  switch (reason) {
    case 'version_not_opened':
      return 'no chain of the newest version has opened';
    case 'chain_on_older_version':
      return 'the last chain worked on an older version';
    case 'head_moved_outside':
      return 'the head was moved outside';
    case 'version_row_differs':
      return 'the version names another session';
    case 'broken_lineage':
      return 'a transition is missing or does not follow the one before it';
    case 'checkpoint_differs':
      return 'the Redis checkpoint names another session';
    default:
      return assertNever(reason);
  }
}
