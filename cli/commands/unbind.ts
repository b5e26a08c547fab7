import { Command } from 'commander';
import { withContext } from '../context.js';
import { facts } from '../format.js';
import { type OutputFormat, outputOption, print } from '../output.js';

interface UnbindOptions {
  project: string;
  output: OutputFormat;
}

export function unbindCommand(): Command {
  return new Command('unbind')
    .description(
      "Let go of a project's folder: the next chain binds the project to the folder that it is given, and another project may have this one.",
    )
    .requiredOption('-p, --project <id>', 'the project (projects.project_id)')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  session-chain unbind --project shop\n')
    .action(async ({ project, output }: UnbindOptions) => {
      await withContext(async ({ sessionChain }) => {
        const unbound = await (await sessionChain()).unbindWorkspace(project);
        print(
          output,
          unbound,
          facts([
            ['project', unbound.projectId],
            ['let go of', unbound.path ?? '(it had no folder)'],
          ]),
        );
      });
    });
}
