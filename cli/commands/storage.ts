import { Command } from 'commander';
import type { ProjectStorage, StorageOverview, Stored, StoredKind } from '../../client/main.js';
import { storedKinds } from '../../contracts/storage.js';
import { withContext } from '../context.js';
import { facts, formatBytes, table } from '../format.js';
import { type OutputFormat, lookOfStdout, note, outputOption, print, wholeNumber } from '../output.js';
import { reasons } from '../retention-text.js';

interface StorageOptions {
  project?: string;
  limit: number;
  output: OutputFormat;
}

export function storageCommand(): Command {
  return new Command('storage')
    .description(
      'What takes space, by kind and by project, how it grows, and what retention frees. It only reads.',
    )
    .option('-p, --project <id>', 'only this project, without indexes and free space')
    .option('-n, --limit <number>', 'projects at most, those that take most', wholeNumber(1), 20)
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  session-chain storage\n  session-chain storage --project shop\n')
    .action(async ({ project, limit, output }: StorageOptions) => {
      await withContext(async ({ sessionChain }) => {
        const client = await sessionChain();
        if (project === undefined) {
          const stored = await client.storage({ limit });
          print(output, stored, overviewText(stored));
          if (stored.isEstimate)
            note(
              'Projects, growth and what is freed are estimated from samples; ask for a project with --project.',
            );
        } else {
          const stored = await client.projectStorage(project);
          print(output, stored, `${kindsTable(stored.kinds)}\n\n${figuresText(stored)}`);
        }
      });
    });
}

function overviewText(stored: StorageOverview): string {
  const { width } = lookOfStdout();
  return [
    kindsTable(stored.kinds),
    ...(stored.projects.length === 0
      ? []
      : [
          '',
          table(
            ['project', 'bytes'],
            stored.projects.map(({ projectId, bytes }) => [projectId, formatBytes(bytes)]),
            { rightAligned: ['bytes'], elastic: ['project'], width },
          ),
        ]),
    '',
    figuresText(stored),
  ].join('\n');
}

const names: Record<StoredKind, string> = {
  texts: 'texts of transcripts',
  batches: 'their order',
  sessions: 'sessions',
  transitions: 'transitions',
  archivedTransitions: 'transitions, archived',
  attempts: 'attempts',
  metrics: 'metrics',
  chains: 'chains and briefs',
  questions: 'questions and answers',
  events: 'events',
};

function kindsTable(kinds: Record<StoredKind, Stored>): string {
  return table(
    ['kind', 'rows', 'bytes'],
    storedKinds.map((kind) => [names[kind], String(kinds[kind].rows), formatBytes(kinds[kind].bytes)]),
    { rightAligned: ['rows', 'bytes'] },
  );
}

function figuresText(stored: StorageOverview | ProjectStorage): string {
  const { bytes, archive, growthPerDay, freeable } = stored;
  const leftAlone = 'leftAlone' in stored ? stored.leftAlone : null;
  return facts(
    [
      ['database', formatBytes(bytes)],
      ['archive', `${formatBytes(archive.bytes)} in ${archive.files} files`],
      [
        'growth',
        `about ${formatBytes(growthPerDay.last7Days)} a day (last 7 days), ${formatBytes(growthPerDay.last30Days)} a day (last 30 days)`,
      ],
      [
        'retention',
        freeable === null
          ? 'frees nothing of transcripts: no living worker has an archive'
          : leftAlone === null
            ? `frees about ${formatBytes(freeable.now)} in its next run, and ${formatBytes(freeable.later)} later of what is archived`
            : reasons[leftAlone],
        'prose',
      ],
    ],
    lookOfStdout(),
  );
}
