import { createInterface } from 'node:readline/promises';
import { Command } from 'commander';
import type { Erasure } from '../../client/main.js';
import { SessionChainError } from '../../contracts/failures.js';
import { withContext } from '../context.js';
import { type ExitCode, exitCodes } from '../errors.js';
import { facts, formatTime, table } from '../format.js';
import { type OutputFormat, lookOfStdout, note, outputOption, print } from '../output.js';

interface Options {
  project: string;
  by?: string;
  reason?: string;
  dryRun?: boolean;
  yes?: boolean;
  certificate?: boolean;
  output: OutputFormat;
}

export function eraseCommand(exitWith: (code: ExitCode) => void): Command {
  return new Command('erase')
    .description(
      'Erase everything of a project, for good: what works for it is stopped, then rows, transcripts, files of the archive, checkpoints and histories go. What stays is a certificate.',
    )
    .requiredOption('-p, --project <id>', 'the project')
    .option('--by <name>', 'who asks, for the certificate')
    .option('--reason <text>', 'why, for the certificate')
    .option('--dry-run', 'only say what there is to erase')
    .option('--certificate', 'only show the erasure that is under way, else the last certificate')
    .option('-y, --yes', 'do not ask')
    .addOption(outputOption())
    .addHelpText(
      'after',
      `
It needs a worker, and goes on when that dies. Ctrl-C ends the wait, not the
erasure. Afterwards the same command looks everywhere anew, as is due after a
backup was restored. The files of the workspace are not touched.

Example:
  session-chain erase --project shop --dry-run
  session-chain erase --project shop --by "Ada Byron" --reason "request 4711"
  session-chain erase --project shop --certificate -o json
`,
    )
    .action(
      async ({ project, by, reason, dryRun = false, yes = false, certificate = false, output }: Options) => {
        await withContext(async ({ sessionChain }) => {
          const client = await sessionChain();
          const show = (erasure: Erasure) => print(output, erasure, textOf(erasure));
          if (certificate) {
            show(await client.erasure(project));
            return;
          }
          if (dryRun) {
            show(await client.erase(project, { dryRun }));
            return;
          }
          if (by === undefined) throw missing('--by: who asks has to be in the certificate', '--by NAME');
          if (!yes) {
            if (process.stdin.isTTY !== true || output === 'json')
              throw missing(
                'Nothing can be asked here, because this is no terminal or the output is JSON',
                '--yes',
              );
            note(textOf(await client.erase(project, { dryRun: true })));
            if (!(await isConfirmed(project))) {
              note('Nothing was erased.');
              exitWith(exitCodes.interrupted);
              return;
            }
          }
          const { workers } = await client.workers();
          if (!workers.some(({ alive }) => alive))
            note('No worker is there: the erasure waits until one starts (session-chain worker).');
          const stopped = new AbortController();
          const stop = () => stopped.abort();
          process.once('SIGINT', stop).once('SIGTERM', stop);
          try {
            const because = reason === undefined ? {} : { reason };
            show(await client.erase(project, { by, ...because, signal: stopped.signal }));
          } catch (error) {
            if (!stopped.signal.aborted) throw error;
            note(
              `The erasure goes on; session-chain erase --project ${project} --certificate tells how it ends.`,
            );
            exitWith(exitCodes.interrupted);
          } finally {
            process.off('SIGINT', stop).off('SIGTERM', stop);
          }
        });
      },
    );
}

function missing(what: string, option: string): SessionChainError {
  return new SessionChainError(
    'INVALID_INPUT',
    `${what}.`,
    `Add ${option}; --dry-run shows what there is to erase.`,
  );
}

async function isConfirmed(project: string): Promise<boolean> {
  const asked = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (
      (await asked.question('This cannot be undone. Type the id of the project to erase it: ')) === project
    );
  } finally {
    asked.close();
  }
}

function textOf({ erasureId, projectId, state, counts, certificate }: Erasure): string {
  const { width } = lookOfStdout();
  const kinds = Object.entries(counts);
  return [
    facts(
      [
        ['project', projectId],
        ['erasure', erasureId],
        ['state', state === 'planned' ? 'a dry run; nothing was erased' : state],
        ['requested by', certificate?.requestedBy ?? null],
        ['reason', certificate?.reason ?? null, 'prose'],
        ['requested at', certificate ? formatTime(certificate.requestedAt) : null],
        ['finished at', certificate ? formatTime(certificate.finishedAt) : null],
        [state === 'planned' ? 'to erase' : 'erased', kinds.length === 0 ? 'nothing' : null],
      ],
      lookOfStdout(),
    ),
    ...(kinds.length === 0
      ? []
      : [
          '',
          table(
            [state === 'planned' ? 'to erase' : 'erased', 'count'],
            kinds.map(([kind, count]) => [kind, String(count)]),
            { rightAligned: ['count'], width },
          ),
        ]),
    ...(certificate && certificate.left.length > 0
      ? ['', 'left:', ...certificate.left.map(({ what, why }) => `- ${what} ${why}`)]
      : []),
    ...(certificate && certificate.later.length > 0
      ? ['', 'goes later:', ...certificate.later.map(({ what, until }) => `- ${what} ${until}`)]
      : []),
  ].join('\n');
}
