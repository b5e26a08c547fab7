import { Command } from 'commander';
import type { RewindOptions, RewoundProject } from '../../client/main.js';
import { withContext } from '../context.js';
import { facts, formatTime, table } from '../format.js';
import { type OutputFormat, lookOfStdout, note, outputOption, print, wholeNumber } from '../output.js';

interface Options extends Omit<RewindOptions, 'versionId'> {
  project: string;
  version?: string;
  output: OutputFormat;
}

export function rewindCommand(): Command {
  return new Command('rewind')
    .description(
      'Take the conversation of a project back, on purpose: a copy of an earlier session becomes the head. The files are not taken back.',
    )
    .requiredOption('-p, --project <id>', 'the project (projects.project_id)')
    .requiredOption(
      '--to <seq>',
      'the transition to go back to, as tree and transitions number them',
      wholeNumber(1),
    )
    .option('-v, --version <id>', 'the version that moves along (default: the newest)')
    .option('-k, --key <key>', 'names this rewind, so that it may be repeated and is done once')
    .option('--dry-run', 'say what would be forgotten, and change nothing')
    .addOption(outputOption())
    .addHelpText(
      'after',
      `
What came after the transition stays in the lineage (session-chain tree), and
can be gone back to as well. For a head whose transcript is lost there is
session-chain recover.

Example:
  session-chain rewind --project shop --to 12 --dry-run
`,
    )
    .action(async ({ project, version, output, ...options }: Options) => {
      await withContext(async ({ sessionChain }) => {
        const rewound = await (
          await sessionChain()
        ).rewind(project, { ...options, ...(version === undefined ? {} : { versionId: version }) });
        print(output, rewound, textOf(rewound));
        if (output === 'text') for (const warning of rewound.warnings) note(`warning: ${warning}`);
      });
    });
}

function textOf(rewound: RewoundProject): string {
  const { sessionId, transitionSeq, toSeq, sourceSessionId, alreadyRewound, forgotten } = rewound;
  return [
    facts([
      ['project', rewound.projectId],
      ['version', rewound.versionId],
      ['head', sessionId ?? '(a copy, under a new id)'],
      ['copy of', `${sourceSessionId}, transition ${toSeq}`],
      ['transition', `${transitionSeq} (rewind)`],
      [
        'rewound',
        sessionId === null
          ? 'not yet: a dry run'
          : alreadyRewound
            ? 'before; nothing was written now'
            : 'now',
      ],
      ['forgotten', forgotten.length === 0 ? 'nothing' : null],
    ]),
    ...(forgotten.length === 0 ? [] : ['', forgottenTable(forgotten, lookOfStdout().width)]),
  ].join('\n');
}

/** A version stands once, in the first of its rows. */
export function forgottenTable(forgotten: RewoundProject['forgotten'], width: number): string {
  return table(
    ['forgotten', 'source', 'version', 'at'],
    forgotten.map(({ seq, source, versionId, createdAt }, index) => [
      String(seq),
      source,
      index > 0 && forgotten[index - 1]?.versionId === versionId ? '' : (versionId ?? '-'),
      formatTime(createdAt),
    ]),
    { rightAligned: ['forgotten'], elastic: ['version', 'source'], width },
  );
}
