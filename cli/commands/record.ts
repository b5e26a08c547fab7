import { Command } from 'commander';
import type { RecordSessionRequest } from '../../client/record-request.js';
import { SessionChainError } from '../../contracts/failures.js';
import { withContext } from '../context.js';
import { facts } from '../format.js';
import { type OutputFormat, dollars, note, outputOption, print, wholeNumber } from '../output.js';

interface RecordOptions {
  project: string;
  version?: string;
  session: string;
  source: RecordSessionRequest['source'];
  costUsd?: number;
  turns?: number;
  notInStore?: boolean;
  output: OutputFormat;
}

export function recordCommand(): Command {
  return new Command('record')
    .description(
      "Record a Claude operation that ran outside a chain: its session, which is in the store, becomes the project's head.",
    )
    .requiredOption('-p, --project <id>', 'the project (projects.project_id)')
    .requiredOption('-s, --session <id>', 'the session on which the operation ended')
    .requiredOption(
      '--source <source>',
      'what the operation was: a step, such as build, or import, recovery …',
    )
    .option('-v, --version <id>', 'the version that moves along (default: the newest)')
    .option('--cost-usd <dollars>', 'what it cost (default: not known)', dollars({ mayBeZero: true }))
    .option('--turns <number>', 'model turns that it took', wholeNumber(0))
    .option(
      '--not-in-store',
      'record it though its transcript is not in the store: no chain can go on from it before it is imported',
    )
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nExample:\n  session-chain record --project shop --session 0f3c1a52-5a0e-4a53-9d0b-3a7f5d0f6c11 --source build\n',
    )
    .action(
      async ({ project, session, source, version, costUsd, turns, notInStore, output }: RecordOptions) => {
        const request: RecordSessionRequest = {
          projectId: project,
          sessionId: session,
          source,
          notInStore: notInStore ?? false,
          ...(version === undefined ? {} : { versionId: version }),
          ...(costUsd === undefined && turns === undefined
            ? {}
            : {
                metrics: {
                  ...(costUsd === undefined ? {} : { costUsd }),
                  ...(turns === undefined ? {} : { turns }),
                },
              }),
        };
        await withContext(async ({ sessionChain }) => {
          const recorded = await (
            await sessionChain()
          )
            .recordSession(request)
            .catch(inWordsOfOptions(request));
          const { oldSessionId, newSessionId, seq, versionId, alreadyRecorded, warnings } = recorded;
          print(
            output,
            recorded,
            facts([
              ['project', recorded.projectId],
              ['version', versionId],
              ['head', newSessionId],
              ['before', oldSessionId ?? '(none)'],
              ['transition', `${seq} (${recorded.source})`],
              ['recorded', alreadyRecorded ? 'before; nothing was written now' : 'now'],
            ]),
          );
          if (output === 'text') for (const warning of warnings) note(`warning: ${warning}`);
        });
      },
    );
}

function inWordsOfOptions({ projectId, sessionId }: RecordSessionRequest) {
  return (error: unknown): never => {
    if (!(error instanceof SessionChainError) || error.code !== 'SESSION_NOT_IN_STORE') throw error;
    throw new SessionChainError(
      error.code,
      error.message,
      `Import it, which makes it the head as well: session-chain import --project ${projectId} --session ${sessionId}. Or record it with --not-in-store, and import it before the next chain.`,
    );
  };
}
