import { resolve } from 'node:path';
import { Command } from 'commander';
import { withContext } from '../context.js';
import { facts, shellWord } from '../format.js';
import { type OutputFormat, outputOption, print } from '../output.js';

interface ExportOptions {
  project?: string;
  claudeDir?: string;
  cwd?: string;
  output: OutputFormat;
}

export function exportCommand(): Command {
  return new Command('export')
    .description('Write a session of the store where plain `claude --resume` opens it.')
    .argument('<session>', 'the session')
    .option('-p, --project <id>', 'its project, where several projects have a session of this id')
    .option('--claude-dir <folder>', 'the folder of Claude Code (default: CLAUDE_CONFIG_DIR, else ~/.claude)')
    .option('--cwd <folder>', 'where it will be resumed (default: the folder in which it ran last)')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  session-chain export 0f3c1a52-5a0e-4a53-9d0b-3a7f5d0f6c11\n')
    .action(async (sessionId: string, { project, claudeDir, cwd, output }: ExportOptions) => {
      await withContext(async ({ config, sessionChain }) => {
        const folder = claudeDir ?? config.environment['CLAUDE_CONFIG_DIR'];
        const exported = await (
          await sessionChain()
        ).exportSession({
          sessionId,
          ...(project === undefined ? {} : { projectId: project }),
          ...(folder === undefined || folder === '' ? {} : { claudeDir: folder }),
          ...(cwd === undefined ? {} : { cwd }),
        });
        print(
          output,
          exported,
          facts([
            ['project', exported.projectId],
            ['session', exported.sessionId],
            ['file', exported.path],
            [
              'resume it by',
              `cd ${shellWord(exported.cwd)} && ${claudeDir ? `CLAUDE_CONFIG_DIR=${shellWord(resolve(claudeDir))} ` : ''}claude --resume ${exported.sessionId}`,
            ],
          ]),
        );
      });
    });
}
