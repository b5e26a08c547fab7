import { resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import type { StartedChain } from '../../client/session-chain.js';
import type { StartRequest } from '../../client/start-request.js';
import { type ChainMode, type StepName, chainModes, stepNamePattern } from '../../contracts/steps.js';
import { readTextFile } from '../../workspace/text-file.js';
import { type ChainOptions, keyArguments, withChainOptions } from '../chain-options.js';
import { type CommandContext, withContext } from '../context.js';
import { type ExitCode, exitCodeOfResult } from '../errors.js';
import { followChain } from '../follow.js';
import { facts } from '../format.js';
import { type StreamFormat, dollars, durationMs, streamOption, print, wholeNumber } from '../output.js';

interface StartOptions extends ChainOptions {
  workspace: string;
  mode?: ChainMode;
  prompt?: string;
  promptFile?: string;
  steps?: StepName[];
  model?: string;
  compactThreshold?: number;
  maxCostUsd?: number;
  maxTurns?: number;
  maxTime?: number;
  recover?: boolean;
  create?: boolean;
  wait?: boolean;
  output: StreamFormat;
}

export function startCommand(exitWith: (code: ExitCode) => void): Command {
  return withChainOptions(new Command('start'))
    .description('Start the chain of a build. Calling it again for the same build starts nothing twice.')
    .requiredOption(
      '-w, --workspace <folder>',
      "the project's files, below one of SESSION_CHAIN_WORKSPACE_ROOTS",
    )
    .addOption(
      new Option(
        '-m, --mode <mode>',
        'how to build (default: initial for a project without a session, else update)',
      ).choices(chainModes),
    )
    .addOption(
      new Option('--prompt <text>', 'what to build; default: a standard instruction of the mode').conflicts(
        'promptFile',
      ),
    )
    .option('--prompt-file <file>', 'the same from a file')
    .addOption(
      new Option(
        '--steps <names>',
        "a part of the steps of the workers' definition, by comma, such as build,docs (default: all)",
      ).argParser(parseSteps),
    )
    .option('--model <name>', "the model of every step (default: what the worker's definition says)")
    .option(
      '--compact-threshold <tokens>',
      "skip the compaction of a smaller context (default: what the worker's definition says)",
      wholeNumber(0),
    )
    .addOption(
      new Option(
        '--max-cost-usd <dollars>',
        'what the chain may cost at most, over all its attempts (default: no limit)',
      ).argParser(dollars()),
    )
    .option('--max-turns <number>', 'model turns that the chain may take at most', wholeNumber(1))
    .addOption(
      new Option('--max-time <time>', 'how long the chain may work, such as 45min or 2h').argParser(
        durationMs,
      ),
    )
    .option('--recover', 'go on from the nearest session in the store, where the head itself is not in it')
    .option(
      '--create',
      'insert missing rows of the project and the version; only where session-chain migrate made the tables',
    )
    .option('--wait', 'follow the chain until it ends; Ctrl-C stops following, not the chain')
    .addOption(streamOption())
    .addHelpText(
      'after',
      '\nExample:\n  session-chain start --project shop --version v2 --workspace ./shop --prompt "Add a search field" --wait\n',
    )
    .action(async (options: StartOptions) => {
      const request = await requestOf(options);
      await withContext(async (context) => {
        // The database first: it is the one that knows what is wrong with most requests. Nothing is written without Temporal.
        const sessionChain = await context.sessionChain();
        await context.temporal();
        const started = await sessionChain.start(request);
        const exitCode = await tell(context, started, options);
        if (exitCode !== undefined) exitWith(exitCode);
      });
    });
}

async function tell(
  context: CommandContext,
  started: StartedChain,
  { wait, output }: StartOptions,
): Promise<ExitCode | undefined> {
  if (wait) return exitCodeOfResult(await followChain(context, started, output));
  print(
    output,
    started,
    facts([
      ['chain', started.workflowId],
      [
        'status',
        started.alreadyStarted
          ? `${started.status}; started before, nothing was started now`
          : started.status,
      ],
      ['session', started.result?.head.sessionId],
      ['follow it', `session-chain status ${keyArguments(started)}`],
    ]),
  );
  return undefined;
}

async function requestOf(options: StartOptions): Promise<StartRequest> {
  const instruction =
    options.promptFile === undefined ? options.prompt : await readTextFile(options.promptFile);
  return {
    projectId: options.project,
    versionId: options.version,
    workspace: resolve(options.workspace),
    createRows: options.create ?? false,
    ...(options.recover ? { recover: true } : {}),
    ...(options.build === undefined ? {} : { buildId: options.build }),
    ...(options.mode === undefined ? {} : { mode: options.mode }),
    ...(instruction === undefined ? {} : { instruction }),
    ...(options.steps === undefined ? {} : { steps: options.steps }),
    ...(options.model === undefined ? {} : { model: options.model }),
    ...(options.compactThreshold === undefined ? {} : { compactThresholdTokens: options.compactThreshold }),
    budget: {
      ...(options.maxCostUsd === undefined ? {} : { maxCostUsd: options.maxCostUsd }),
      ...(options.maxTurns === undefined ? {} : { maxTurns: options.maxTurns }),
      ...(options.maxTime === undefined ? {} : { timeoutMs: options.maxTime }),
    },
  };
}

function parseSteps(value: string): StepName[] {
  const names = value.split(',').map((name) => name.trim());
  const malformed = names.filter((name) => !stepNamePattern.test(name));
  if (malformed.length > 0) {
    throw new InvalidArgumentError(
      `${malformed.map((name) => `"${name}"`).join(', ')} is no name of a step.`,
    );
  }
  return names;
}
