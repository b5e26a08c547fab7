import { Command } from 'commander';
import { describeAgentBinary } from '../../agent/process/binary.js';
import type { HeadImport, ImportedSession } from '../../client/main.js';
import type { Config } from '../../config/environment.js';
import { SessionChainError } from '../../contracts/failures.js';
import { type CommandContext, withContext } from '../context.js';
import { type ExitCode, exitCodes } from '../errors.js';
import { facts } from '../format.js';
import { type OutputFormat, note, outputOption, print } from '../output.js';

interface ImportOptions {
  project?: string;
  session?: string;
  version?: string;
  all?: boolean;
  claudeDir?: string;
  output: OutputFormat;
}

export function importCommand(exitWith: (code: ExitCode) => void): Command {
  return new Command('import')
    .description(
      'Take sessions of a local Claude Code into the store: transcripts with their subagents, and the head of the project.',
    )
    .option('-p, --project <id>', 'the project (projects.project_id)')
    .option('-s, --session <id>', 'the session that it goes on from')
    .option('-v, --version <id>', 'the version that moves along (default: the newest)')
    .option('--all', 'the head of every project (projects.last_ai_session_id), instead of one session')
    .option('--claude-dir <folder>', 'the folder of Claude Code (default: CLAUDE_CONFIG_DIR, else ~/.claude)')
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nMay be repeated. Exit code 1 with --all: some heads could not be imported.\n\nExample:\n  session-chain import --project shop --session 0f3c1a52-5a0e-4a53-9d0b-3a7f5d0f6c11\n  session-chain import --all\n',
    )
    .action(async (options: ImportOptions) => {
      await withContext(async (context) => {
        if (options.all) {
          if (options.project ?? options.session ?? options.version)
            throw eitherOr('--all takes no --project, --session or --version');
          exitWith(await importAll(context, options));
          return;
        }
        const { project, session } = options;
        if (project === undefined || session === undefined)
          throw eitherOr('both --project and --session are needed');
        await importOne(context, options, { projectId: project, sessionId: session });
      });
    });
}

function eitherOr(why: string): SessionChainError {
  return new SessionChainError(
    'INVALID_INPUT',
    `Nothing was imported: ${why}.`,
    'Pass either --project and --session, or --all.',
  );
}

async function importOne(
  { config, sessionChain }: CommandContext,
  { version, output, ...options }: ImportOptions,
  session: { projectId: string; sessionId: string },
): Promise<void> {
  const imported = await (
    await sessionChain()
  ).importSession({
    ...session,
    ...(version === undefined ? {} : { versionId: version }),
    ...(await sourceOf(config, options)),
  });
  const { projectId, sessionId, transition, warnings } = imported;
  print(
    output,
    imported,
    facts([
      ['project', projectId],
      ['session', sessionId],
      ['transcript', transcriptLine(imported)],
      [
        'transition',
        transition
          ? `${transition.seq} (${transition.source})${transition.isNew ? '' : ', from before'}`
          : '(none)',
      ],
    ]),
  );
  if (output === 'text') for (const warning of warnings) note(`warning: ${warning}`);
}

async function importAll(
  { config, sessionChain }: CommandContext,
  options: ImportOptions,
): Promise<ExitCode> {
  const { output } = options;
  const heads: HeadImport[] = [];
  for await (const head of (await sessionChain()).importHeads(await sourceOf(config, options))) {
    heads.push(head);
    if (output !== 'text') continue;
    // One line per project as it is done: there may be many.
    print(output, head, `${head.projectId} ${head.sessionId} ${outcomeLine(head)}`);
    if (head.outcome === 'imported')
      for (const warning of head.imported.warnings) note(`warning: ${warning}`);
  }
  const count = (outcome: HeadImport['outcome']) => heads.filter((head) => head.outcome === outcome).length;
  const summary = {
    imported: count('imported'),
    alreadyThere: count('already_there'),
    failed: count('failed'),
  };
  print(
    output,
    { ...summary, projects: heads },
    `${summary.imported} imported, ${summary.alreadyThere} there before, ${summary.failed} failed`,
  );
  return summary.failed > 0 ? exitCodes.unexpected : exitCodes.ok;
}

function outcomeLine(head: HeadImport): string {
  switch (head.outcome) {
    case 'imported':
      return transcriptLine(head.imported);
    case 'already_there':
      return 'there before';
    case 'failed':
      return `failed: ${head.failure.code}: ${head.failure.message}`;
  }
}

function transcriptLine({ transcript, entries }: ImportedSession): string {
  switch (transcript) {
    case 'copied':
      return `copied, ${entries} entries`;
    case 'extended':
      return `${entries} more entries`;
    case 'unchanged':
      return 'there before';
  }
}

/** The local Claude Code, and the one that will continue from its sessions. */
async function sourceOf(
  { environment, SESSION_CHAIN_AGENT_PATH }: Config,
  { claudeDir = environment['CLAUDE_CONFIG_DIR'] }: Pick<ImportOptions, 'claudeDir'>,
) {
  // Importing needs no binary: without one, no transcript is known to be newer.
  const agent = await describeAgentBinary(SESSION_CHAIN_AGENT_PATH).catch(() => null);
  return {
    ...(claudeDir === undefined || claudeDir === '' ? {} : { claudeDir }),
    ...(agent ? { agentVersion: agent.version } : {}),
  };
}
