import { userInfo } from 'node:os';
import { Command } from 'commander';
import type { ProjectHold } from '../../client/main.js';
import { SessionChainError } from '../../contracts/failures.js';
import { withContext } from '../context.js';
import { facts, formatTime } from '../format.js';
import { type OutputFormat, outputOption, print } from '../output.js';

interface Options {
  project: string;
  reason?: string;
  by?: string;
  release?: boolean;
  output: OutputFormat;
}

export function holdCommand(): Command {
  return new Command('hold')
    .description(
      'Put a project on legal hold, so that nothing of it is archived away, dropped or erased; release it; or say whether it is.',
    )
    .requiredOption('-p, --project <id>', 'the project (projects.project_id)')
    .option('--reason <text>', 'put it on hold, and why')
    .option('--by <name>', 'who says so (default: the name of the user of this machine)')
    .option('--release', 'end the hold')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  session-chain hold --project shop --reason "case 17/4"\n')
    .action(async ({ project, reason, by, release = false, output }: Options) => {
      if (release && reason !== undefined) {
        throw new SessionChainError(
          'INVALID_INPUT',
          'A project is either put on hold (--reason) or released (--release).',
          'Give one of the two, or none to see whether it is on hold.',
        );
      }
      await withContext(async ({ sessionChain }) => {
        const client = await sessionChain();
        if (release) {
          const released = await client.release(project);
          print(output, released, textOf(released, released.released ? 'released' : 'no; it was on none'));
          return;
        }
        const held =
          reason === undefined
            ? await client.projectHold(project)
            : await client.hold(project, { reason, by: by ?? userInfo().username });
        print(output, held, textOf(held, 'no'));
      });
    });
}

function textOf({ projectId, hold, restoredUntil }: ProjectHold, without: string): string {
  return facts([
    ['project', projectId],
    ['on hold', hold ? `since ${formatTime(hold.since)}` : without],
    ['by', hold?.by ?? null],
    ['reason', hold?.reason ?? null],
    ['kept until', restoredUntil && `${formatTime(restoredUntil)}, because something of it was restored`],
  ]);
}
