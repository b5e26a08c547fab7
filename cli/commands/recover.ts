import { Command } from 'commander';
import { withContext } from '../context.js';
import { facts } from '../format.js';
import { type OutputFormat, note, outputOption, print } from '../output.js';

interface RecoverOptions {
  project: string;
  session?: string;
  dryRun?: boolean;
  output: OutputFormat;
}

export function recoverCommand(): Command {
  return new Command('recover')
    .description(
      'Say which session a project can go on from. A head that is lost is given up: the next chain goes on from there.',
    )
    .requiredOption('-p, --project <id>', 'the project (projects.project_id)')
    .option('-s, --session <id>', 'the session to look at (default: the head)')
    .option('--dry-run', 'only say what would happen, and write nothing')
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nTo go back on purpose, from a head that is whole, there is session-chain rewind.\n\nExample:\n  session-chain recover --project shop --dry-run\n',
    )
    .action(async ({ project, session, dryRun = false, output }: RecoverOptions) => {
      await withContext(async ({ sessionChain }) => {
        const recovered = await (await sessionChain()).validateAndRecover(project, session, { dryRun });
        const { askedSessionId, outcome, problem, warning, givenUp } = recovered;
        print(
          output,
          recovered,
          facts([
            ['project', recovered.projectId],
            ['session', askedSessionId ?? '(none)'],
            ['is', problem ? `${problem.reason}: ${problem.detail}` : outcome],
            ['goes on from', recovered.sessionId ?? '(a fresh session)'],
            ['next chain', givenUp ? nextChain(dryRun) : null],
          ]),
        );
        if (output === 'text' && warning !== null) note(`warning: ${warning}`);
      });
    });
}

function nextChain(dryRun: boolean): string {
  return dryRun
    ? 'would go on from there, with the source recovery; nothing was written'
    : 'goes on from there, with the source recovery';
}
