import { Command } from 'commander';
import { withContext } from '../context.js';
import { facts } from '../format.js';
import { type OutputFormat, note, outputOption, print } from '../output.js';

interface RestoredCommandOptions {
  newInstallation?: boolean;
  force?: boolean;
  output: OutputFormat;
}

export function restoredCommand(): Command {
  return new Command('restored')
    .description(
      'Say that the database was restored from a backup, before workers start: no number that was drawn since the backup comes back. Needs the role that owns the tables.',
    )
    .option(
      '--new-installation',
      'the database is a copy that lives beside its original: its workers leave what the original has in Temporal alone',
    )
    .option('--force', 'also while workers say that they run')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  session-chain restored\n  session-chain reconcile --all --dry-run\n')
    .action(async ({ newInstallation = false, force = false, output }: RestoredCommandOptions) => {
      await withContext(async ({ sessionChain }) => {
        const marked = await (await sessionChain()).restored({ newInstallation, force });
        const { installationId, formerId, incarnation, sequences, movedBy } = marked;
        print(
          output,
          marked,
          facts([
            [
              'installation',
              installationId === formerId ? installationId : `${installationId} (before: ${formerId})`,
            ],
            ['incarnation', String(incarnation)],
            ['sequences', `${sequences} moved, by ${movedBy} or a tenth of it`],
          ]),
        );
        if (output === 'text')
          note(
            `Next: start the workers${newInstallation ? ', on a task queue or in a namespace of their own' : ''}; session-chain reconcile --all; session-chain sync.`,
          );
      });
    });
}
