import { Command } from 'commander';
import { type RecordSessionRequest, parseRecordRequest } from '../../client/record-request.js';
import { recordSession } from '../../storage/operations/record.js';
import { withContext } from '../context.js';
import { facts } from '../format.js';
import { type OutputFormat, note, outputOption, print, wholeNumber } from '../output.js';

interface RecordOptions {
  project: string;
  version?: string;
  session: string;
  source: RecordSessionRequest['source'];
  costUsd?: number;
  turns?: number;
  output: OutputFormat;
}

export function recordCommand(): Command {
  return new Command('record')
    .description(
      "Record a Claude operation that ran outside a chain: its session becomes the project's head.",
    )
    .requiredOption('-p, --project <id>', 'the project (projects.project_id)')
    .requiredOption('-s, --session <id>', 'the session on which the operation ended')
    .requiredOption(
      '--source <source>',
      'what the operation was: a step, such as build, or import, recovery …',
    )
    .option('-v, --version <id>', 'the version that moves along (default: the newest)')
    .option('--cost-usd <amount>', 'what it cost (default: not known)', Number)
    .option('--turns <number>', 'model turns that it took', wholeNumber(0))
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nExample:\n  session-chain record --project shop --session 0f3c1a52-5a0e-4a53-9d0b-3a7f5d0f6c11 --source build\n',
    )
    .action(async ({ project, session, source, version, costUsd, turns, output }: RecordOptions) => {
      const request = parseRecordRequest({
        projectId: project,
        sessionId: session,
        source,
        ...(version === undefined ? {} : { versionId: version }),
        ...(costUsd === undefined && turns === undefined
          ? {}
          : {
              metrics: {
                ...(costUsd === undefined ? {} : { costUsd }),
                ...(turns === undefined ? {} : { turns }),
              },
            }),
      });
      await withContext(async ({ database }) => {
        const recorded = await recordSession(await database(), request);
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
    });
}
