import { Command } from 'commander';
import { withContext } from '../context.js';
import { lineageTree } from '../lineage-tree.js';
import { type OutputFormat, lookOfStdout, outputOption, print, wholeNumber } from '../output.js';

export function treeCommand(): Command {
  return new Command('tree')
    .description(
      "A project's sessions as a tree, the oldest first: the line of its heads, and what was forked beside it.",
    )
    .requiredOption('-p, --project <id>', 'the project (projects.project_id)')
    .option('-n, --limit <number>', 'heads at most, the newest', wholeNumber(1), 200)
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  session-chain tree --project shop\n')
    .action(async ({ project, limit, output }: { project: string; limit: number; output: OutputFormat }) => {
      await withContext(async ({ sessionChain }) => {
        const lineage = await (await sessionChain()).tree(project, { limit });
        print(
          output,
          lineage,
          lineage.nodes.length === 0
            ? `The project ${project} has no sessions yet.`
            : lineageTree(lineage, lookOfStdout().width),
        );
      });
    });
}
