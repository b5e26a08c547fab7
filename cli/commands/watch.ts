import { setMaxListeners } from 'node:events';
import { Command, Option } from 'commander';
import { SessionChainError } from '../../contracts/failures.js';
import { keyOf } from '../chain-options.js';
import { withContext } from '../context.js';
import { type ExitCode, exitCodes } from '../errors.js';
import { itemLines } from '../live.js';
import { jsonLine, lookOfStdout, note, writeLine } from '../output.js';

interface WatchOptions {
  project?: string;
  version?: string;
  build?: string;
  all?: boolean;
  after?: string;
  output: 'text' | 'jsonl';
}

export function watchCommand(exitWith: (code: ExitCode) => void): Command {
  return new Command('watch')
    .description(
      'What happens to a chain, a project or all projects, line by line as it happens: events, and of running steps and answers what they say and which tools they call. Of a chain until it ends, else until Ctrl-C.',
    )
    .option('-p, --project <id>', 'the project (projects.project_id)')
    .option('-v, --version <id>', 'only the chain of this version, from its start')
    .option('-b, --build <id>', 'the build, where the chain has a key of its own (default: the version)')
    .option('--all', 'the events of all projects')
    .option(
      '--after <cursor>',
      'goes on after this item, whose `cursor` -o jsonl shows; 0 for the oldest event',
    )
    .addOption(
      new Option(
        '-o, --output <format>',
        'what to print: text for people, jsonl for all of it, a line of JSON per item',
      )
        .choices(['text', 'jsonl'])
        .default('text'),
    )
    .addHelpText(
      'after',
      '\nExample:\n  session-chain watch --project shop --version v2\n  session-chain watch --all --after 0 -o jsonl\n',
    )
    .action(async (options: WatchOptions) => {
      const subject = subjectOf(options);
      await withContext(async ({ sessionChain }) => {
        const stopped = new AbortController();
        setMaxListeners(0, stopped.signal);
        const stop = () => stopped.abort();
        process.once('SIGINT', stop).once('SIGTERM', stop);
        const { after, output } = options;
        let last = after;
        try {
          const items = (await sessionChain()).watch(subject, {
            signal: stopped.signal,
            ...(after === undefined ? {} : { after }),
          });
          for await (const item of items) {
            last = item.cursor;
            const look = { ofProject: options.all !== true };
            const lines = output === 'jsonl' ? [jsonLine(item)] : itemLines(item, lookOfStdout().width, look);
            for (const line of lines) if (!(await writeLine(line))) stop();
          }
        } finally {
          process.off('SIGINT', stop).off('SIGTERM', stop);
        }
        if (!stopped.signal.aborted) return;
        if (last !== undefined && output === 'text') note(`Go on from here: --after ${last}`);
        exitWith(exitCodes.interrupted);
      });
    });
}

function subjectOf({ project, version, build, all }: WatchOptions) {
  if (all) {
    if ([project, version, build].some((given) => given !== undefined))
      throw refused(
        '--all takes no --project, --version or --build.',
        'Leave out --all to watch one of them.',
      );
    return { all: true } as const;
  }
  if (project === undefined)
    throw refused('What is to be watched is missing.', 'Name a project with --project, or pass --all.');
  if (version !== undefined) return keyOf({ project, version, ...(build === undefined ? {} : { build }) });
  if (build !== undefined) throw refused('--build needs --version.', 'Name the version, too.');
  return project;
}

function refused(message: string, remedy: string): SessionChainError {
  return new SessionChainError('INVALID_INPUT', message, remedy);
}
