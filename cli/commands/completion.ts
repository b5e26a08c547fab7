import { Argument, Command } from 'commander';
import { type Shell, completionScript, shells } from '../completion.js';
import { type OutputFormat, outputOption, print } from '../output.js';

/** `program` is the whole command line, with this command in it. */
export function completionCommand(program: Command): Command {
  return new Command('completion')
    .description('Print a script by which your shell completes commands, options and their values.')
    .addArgument(new Argument('<shell>', 'the shell').choices(shells))
    .addOption(outputOption())
    .addHelpText(
      'after',
      `
Example:
  eval "$(session-chain completion bash)"         in ~/.bashrc; zsh likewise, after compinit
  session-chain completion fish | source          in ~/.config/fish/config.fish
`,
    )
    .action((shell: Shell, { output }: { output: OutputFormat }) => {
      const script = completionScript(shell, program);
      print(output, { shell, script }, script.trimEnd());
    });
}
