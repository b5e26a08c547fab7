import { Command } from 'commander';
import type { Restored } from '../../client/main.js';
import { withContext } from '../context.js';
import { facts, formatTime } from '../format.js';
import { type OutputFormat, note, outputOption, print, wholeNumber } from '../output.js';

interface Options {
  project: string;
  session?: string;
  month?: string;
  keep?: number;
  output: OutputFormat;
}

export function restoreCommand(): Command {
  return new Command('restore')
    .description(
      'Bring a session, a month or everything of a project back from the archive, byte for byte, and wait for that.',
    )
    .requiredOption('-p, --project <id>', 'the project (projects.project_id)')
    .option('-s, --session <id>', 'only this session')
    .option('--month <YYYY-MM>', 'what was archived of this month, and the transitions from it on')
    .option('--keep <days>', 'how long retention leaves the project alone (default: 30)', wholeNumber(1))
    .addOption(outputOption())
    .addHelpText(
      'after',
      `
A worker that has the archive does it, a file at a time, each as a whole or not
at all; what is here and the same is left. When this command is interrupted, the
worker goes on. A head whose transcript is in the archive needs no restore: the
step that continues from it restores it.

Example:
  session-chain restore --project shop --month 2026-03
`,
    )
    .action(async ({ project, session, month, keep, output }: Options) => {
      await withContext(async ({ sessionChain, temporal }) => {
        await temporal();
        const restored = await (
          await sessionChain()
        ).restore({
          projectId: project,
          ...(session === undefined ? {} : { sessionId: session }),
          ...(month === undefined ? {} : { month }),
          ...(keep === undefined ? {} : { keepDays: keep }),
        });
        print(output, restored, textOf(restored));
        if (output === 'text') for (const warning of leftOut(restored)) note(`warning: ${warning}`);
      });
    });
}

function textOf({ projectId, files, sessions, entries, transitions, details, keptUntil }: Restored): string {
  return facts([
    ['project', projectId],
    ['files read', String(files)],
    [
      'sessions',
      sessions > 0
        ? `${sessions}, with ${entries} entries`
        : files > 0
          ? 'none; those of the files are here'
          : 'none',
    ],
    ['transitions', transitions === 0 ? null : String(transitions)],
    ['details', details === 0 ? null : `${details} attempts and briefs`],
    ['kept until', formatTime(keptUntil)],
  ]);
}

function leftOut({ left }: Restored): string[] {
  return [
    ...(left.transitions === 0
      ? []
      : [`${left.transitions} transitions lead to none that is here, and were left out.`]),
    ...(left.details === 0
      ? []
      : [`${left.details} attempts belong to chains that are not here, and were left out.`]),
  ];
}
