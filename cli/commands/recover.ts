import { Command } from 'commander';
import { parseProjectId, parseSessionId } from '../../contracts/ids.js';
import { validateAndRecover } from '../../storage/heads/recovery.js';
import { withContext } from '../context.js';
import { facts } from '../format.js';
import { type OutputFormat, note, outputOption, print } from '../output.js';

interface RecoverOptions {
  project: string;
  session?: string;
  output: OutputFormat;
}

export function recoverCommand(): Command {
  return new Command('recover')
    .description(
      'Say which session a project can go on from. A head that is lost is given up: the next chain goes on from there.',
    )
    .requiredOption('-p, --project <id>', 'the project (projects.project_id)')
    .option('-s, --session <id>', 'the session to look at (default: the head)')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  session-chain recover --project shop\n')
    .action(async ({ project, session, output }: RecoverOptions) => {
      const projectId = parseProjectId(project);
      const sessionId = session === undefined ? undefined : parseSessionId(session);
      await withContext(async ({ database }) => {
        const recovered = await validateAndRecover(await database(), projectId, sessionId);
        const { askedSessionId, outcome, problem, warning, givenUp } = recovered;
        print(
          output,
          recovered,
          facts([
            ['project', projectId],
            ['session', askedSessionId ?? '(none)'],
            ['is', problem ? `${problem.reason}: ${problem.detail}` : outcome],
            ['goes on from', recovered.sessionId ?? '(a fresh session)'],
            ['next chain', givenUp ? 'goes on from there, with the source recovery' : null],
          ]),
        );
        if (output === 'text' && warning !== null) note(`warning: ${warning}`);
      });
    });
}
