import { Command } from 'commander';
import { showsStackTraces } from '../config/environment.js';
import { packageVersion } from '../config/package-version.js';
import { cancelCommand } from './commands/cancel.js';
import { chatCommand } from './commands/chat.js';
import { completionCommand } from './commands/completion.js';
import { doctorCommand } from './commands/doctor.js';
import { eraseCommand } from './commands/erase.js';
import { exportCommand } from './commands/export.js';
import { holdCommand } from './commands/hold.js';
import { importCommand } from './commands/import.js';
import { initCommand } from './commands/init.js';
import { keysCommand } from './commands/keys.js';
import { listCommand } from './commands/list.js';
import { migrateCommand } from './commands/migrate.js';
import { chainCommand, headCommand, statusCommand, transitionsCommand } from './commands/read.js';
import { recordCommand } from './commands/record.js';
import { recoverCommand } from './commands/recover.js';
import { reconcileCommand } from './commands/reconcile.js';
import { restoredCommand } from './commands/restored.js';
import { retentionCommand } from './commands/retention.js';
import { replayCommand } from './commands/replay.js';
import { restoreCommand } from './commands/restore.js';
import { rewindCommand } from './commands/rewind.js';
import { serveCommand } from './commands/serve.js';
import { startCommand } from './commands/start.js';
import { storageCommand } from './commands/storage.js';
import { syncCommand } from './commands/sync.js';
import { treeCommand } from './commands/tree.js';
import { unbindCommand } from './commands/unbind.js';
import { watchCommand } from './commands/watch.js';
import { workerCommand } from './commands/worker.js';
import { type ExitCode, exitCodeMeanings, exitCodes, reportError } from './errors.js';
import { defaultWidth, facts, wrapped } from './format.js';
import { outputFormatOf } from './output.js';
import { refuseMisplaced } from './strict-arguments.js';

/** Runs the command line on `argv` (node and script first) and returns the exit code. Never throws. */
export async function run(argv: readonly string[]): Promise<number> {
  let exitCode: ExitCode = exitCodes.ok;
  try {
    await createProgram((code) => (exitCode = code)).parseAsync([...argv]);
    return exitCode;
  } catch (error) {
    return reportError(error, outputFormatOf(argv), showsStackTraces());
  }
}

/** The whole command line. A command that succeeds with an exit code other than 0 calls `exitWith`. */
export function createProgram(exitWith: (code: ExitCode) => void): Command {
  const program = new Command('session-chain')
    .description('Durable Claude session chains: start them, watch them, read where a project stands.')
    .version(packageVersion())
    // `--version` after a command names a project's version.
    .enablePositionalOptions()
    .addHelpText('after', helpEnd);
  for (const command of [
    initCommand(),
    migrateCommand(exitWith),
    workerCommand(),
    serveCommand(packageVersion),
    startCommand(exitWith),
    listCommand(),
    statusCommand(exitWith),
    watchCommand(exitWith),
    headCommand(),
    chainCommand(),
    transitionsCommand(),
    treeCommand(),
    cancelCommand(exitWith),
    recordCommand(),
    recoverCommand(),
    rewindCommand(),
    restoreCommand(),
    restoredCommand(),
    reconcileCommand(exitWith),
    holdCommand(),
    unbindCommand(),
    importCommand(exitWith),
    exportCommand(),
    syncCommand(exitWith),
    retentionCommand(exitWith),
    storageCommand(),
    chatCommand(exitWith),
    keysCommand(),
    eraseCommand(exitWith),
    doctorCommand(exitWith),
    replayCommand(exitWith),
    completionCommand(program),
  ]) {
    program.addCommand(command);
  }
  for (const command of withSubcommands(program)) {
    // Errors are reported in one place, as text or JSON.
    command.exitOverride().configureOutput({ outputError: () => undefined });
    refuseMisplaced(command);
  }
  return program;
}

function withSubcommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap(withSubcommands)];
}

const helpEnd = `
Exit codes:
${facts(
  Object.entries(exitCodes).map(([name, code]) => [
    `  ${code}`,
    exitCodeMeanings[name as keyof typeof exitCodes],
    'prose',
  ]),
)}

${wrapped(
  'Errors go to stderr, with a code and what to do; with -o json as {"error":{"code","message","remedy"}}, and stdout stays empty. The environment (DATABASE_URL, TEMPORAL_ADDRESS, SESSION_CHAIN_*) is filled up from .session-chain/env in the current folder, which npm start writes.',
  defaultWidth,
)}

Example:
  session-chain start --project shop --version v2 --workspace ./shop --prompt "Add a search field" --wait
`;
