import { Command, Option } from 'commander';
import type { ChainSummary, StepDetails } from '../../client/chains.js';
import type { SessionChain } from '../../client/session-chain.js';
import type { Brief } from '../../contracts/brief.js';
import type { ChainEnd } from '../../contracts/end.js';
import { type SessionMoment, sessionMoments } from '../../contracts/question.js';
import { SessionChainError } from '../../contracts/failures.js';
import { isClosed } from '../../contracts/steps.js';
import { failingTaskRemedy } from '../../contracts/waiting.js';
import { chainWorkflowId } from '../../temporal/names.js';
import { type ChainOptions, keyOf, withChainOptions } from '../chain-options.js';
import { chainReport } from '../chain-report.js';
import { chainTable, failingTaskText, missingWorkerText } from '../chain-table.js';
import { askTemporal } from '../ask-temporal.js';
import { type CommandContext, withContext } from '../context.js';
import { costNote, openChains } from './list.js';
import { type ExitCode, exitCodeOfResult } from '../errors.js';
import { followChain, liveLine } from '../follow.js';
import {
  facts,
  formatCost,
  formatDuration,
  formatTime,
  oneLine,
  shortId,
  stepWidth,
  table,
  wrapped,
} from '../format.js';
import {
  type OutputFormat,
  type StreamFormat,
  durationMs,
  lookOfStdout,
  note,
  outputOption,
  print,
  streamOption,
  wholeNumber,
} from '../output.js';

/** The commands that only read. The database is enough for them; Temporal adds what a step is doing right now. */

interface ProjectOptions {
  project: string;
  limit: number;
  output: OutputFormat;
}

const projectFlags = '-p, --project <id>';
const projectHelp = 'the project (projects.project_id)';

interface StatusOptions {
  project: string;
  version?: string;
  build?: string;
  follow?: boolean;
  dryRun?: boolean;
  limit: number;
  output: StreamFormat;
}

export function statusCommand(exitWith: (code: ExitCode) => void): Command {
  return new Command('status')
    .description(
      'How a project stands: its head and its newest chains; with --version one chain and what it does just now. It closes chains of the project whose workflows are gone. All projects: session-chain list.',
    )
    .requiredOption(projectFlags, projectHelp)
    .option('-v, --version <id>', 'the chain of this version')
    .option('-b, --build <id>', 'the build, where the chain has a key of its own (default: the version)')
    .option('--follow', 'follow the chain until it ends; Ctrl-C stops following, not the chain')
    .option('--dry-run', 'only say which chains would be closed, and write nothing')
    .option('-n, --limit <number>', 'chains at most', wholeNumber(1), 20)
    .addOption(streamOption())
    .addHelpText(
      'after',
      `${costNote}\nExample:\n  session-chain status --project shop\n  session-chain status --project shop --version v2 --follow\n`,
    )
    .action(async (options: StatusOptions) => {
      const { version, build, follow, output } = options;
      if (version !== undefined) {
        const named = { ...options, version };
        if (!follow) return await withContext((context) => showProgress(context, named));
        const result = await withContext(async (context) => {
          const key = keyOf(named);
          // One that was never started is not waited for.
          await (await context.sessionChain()).state(key);
          return await followChain(context, key, output);
        });
        return exitWith(exitCodeOfResult(result));
      }
      const [lonely] = Object.entries({ build, follow }).find(([, value]) => value !== undefined) ?? [];
      if (lonely !== undefined)
        throw new SessionChainError(
          'INVALID_INPUT',
          `--${lonely} needs --version.`,
          'Name the version, too.',
        );
      await withContext((context) => showProject(context, options));
    });
}

async function showProject(
  context: CommandContext,
  { project, limit, dryRun, output }: StatusOptions,
): Promise<void> {
  const sessionChain = await context.sessionChain();
  const { sessionId } = await sessionChain.head(project);
  const filter = { projectId: project, limit };
  // What Temporal can tell concerns open chains only.
  const { open } = await openChains(sessionChain, { projectIds: [project] });
  const live = open
    ? await askTemporal(context, 'Whether open chains have workflows and workers', async () => ({
        reconciled: await reconcileAndTell(sessionChain, project, dryRun),
        page: await sessionChain.chains({ ...filter, askTemporal: true }),
      }))
    : null;
  const { chains, nextCursor } = live?.page ?? (await sessionChain.chains(filter));
  print(
    output,
    { projectId: project, sessionId, reconciled: live?.reconciled ?? null, chains, nextCursor },
    chains.length === 0
      ? `The project ${project} has no chains. Its head: ${sessionId ?? '(none)'}`
      : chainTable(chains, lookOfStdout(), { ofProject: true }),
  );
  if (nextCursor !== null && output === 'text')
    note(`There are more: session-chain list --project ${project} --cursor ${nextCursor}`);
}

/** Closes chains of the project whose workflows are gone, or would close them, and says which. */
async function reconcileAndTell(sessionChain: SessionChain, projectId: string, dryRun = false) {
  const reconciled = await sessionChain.reconcile(projectId, { dryRun });
  const outcome = dryRun ? 'would be closed, without --dry-run' : 'was closed and the project is free';
  for (const workflowId of reconciled.released)
    note(`The workflow ${workflowId} is gone; its chain ${outcome}.`);
  if (reconciled.endingInMs !== null) {
    note(
      `The workflow that holds the project is gone; the lease of its agent expires in ${formatDuration(reconciled.endingInMs)} at the latest.`,
    );
  }
  return reconciled;
}

async function showProgress(
  context: CommandContext,
  options: ChainOptions & { dryRun?: boolean; output: StreamFormat },
): Promise<void> {
  const key = keyOf(options);
  const sessionChain = await context.sessionChain();
  const workflowId = chainWorkflowId(key);
  const live = isClosed((await sessionChain.state(key)).status)
    ? null
    : await askTemporal(context, 'What the step does just now', async () => ({
        reconciled: await reconcileAndTell(sessionChain, key.projectId, options.dryRun),
        progress: await sessionChain.progress(key),
      }));
  const [state, summary] = [
    await sessionChain.state(key),
    (await sessionChain.chains({ ...key, limit: 1, askTemporal: live !== null })).chains[0],
  ];
  const progress = isClosed(state.status) ? null : (live?.progress ?? null);
  const [end = null] = isClosed(state.status) ? await sessionChain.ends(key) : [];
  const look = lookOfStdout();
  print(
    options.output,
    {
      workflowId,
      ...state,
      reason: summary?.reason ?? null,
      missingWorker: summary?.missingWorker ?? null,
      failingTask: summary?.failingTask ?? null,
      progress,
      reconciled: live?.reconciled ?? null,
      end,
    },
    chainReport(state, {
      ...look,
      ...standstill(summary),
      more: [
        ...timesOf(summary),
        ['host', end && toldOf(end), 'prose'],
        ['just now', progress ? oneLine(liveLine(state, progress), look.width - 14) : null],
      ],
    }),
  );
}

/** Why a chain stands still as Temporal knows it, and what to do about it. */
function standstill(summary: ChainSummary | null | undefined): { reason: string | null; remedy?: string } {
  const { failingTask = null, missingWorker = null } = summary ?? {};
  if (failingTask)
    return { reason: failingTaskText(failingTask), remedy: failingTaskRemedy(failingTask.cause) };
  return { reason: missingWorker && missingWorkerText(missingWorker) };
}

/** Whether the activity of the host was told of the end. */
function toldOf({ deliveredAt, failure, dueAt }: ChainEnd): string {
  if (deliveredAt) return `told of the end at ${formatTime(deliveredAt)}`;
  if (failure === null || !dueAt) return 'not told of the end yet';
  return `not told of the end yet, next try by ${formatTime(dueAt)}: ${failure}`;
}

function timesOf(summary: ChainSummary | undefined): [string, string | null][] {
  if (!summary) return [];
  const { createdAt, openedAt, closedAt } = summary;
  return [
    ['age', formatDuration(Date.now() - createdAt.getTime())],
    ['took', openedAt && closedAt ? formatDuration(closedAt.getTime() - openedAt.getTime()) : null],
  ];
}

interface HeadOptions extends ProjectOptions {
  when: SessionMoment;
  timeout?: number;
}

export function headCommand(): Command {
  return new Command('head')
    .description("Print the project's latest session id; nothing for a project without a session.")
    .requiredOption(projectFlags, projectHelp)
    .addOption(
      new Option(
        '--when <moment>',
        'now, once the running step has ended, or once the running chain is closed',
      )
        .choices(sessionMoments)
        .default('now'),
    )
    .option(
      '--timeout <time>',
      'how long to wait for it at most, such as 90s (default: without end)',
      durationMs,
    )
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nExample:\n  claude --resume "$(session-chain head --project shop --when committed)" --fork-session\n',
    )
    .action(async ({ project, when, timeout, output }: HeadOptions) => {
      await withContext(async ({ sessionChain }) => {
        const head = await (
          await sessionChain()
        ).sessionFor(project, when, timeout === undefined ? {} : { timeoutMs: timeout });
        print(output, { projectId: project, ...head }, head.sessionId ?? '');
        if (head.sessionId === null && output === 'text') note(`The project ${project} has no session yet.`);
      });
    });
}

export function chainCommand(): Command {
  return withChainOptions(new Command('chain'))
    .description(
      "Everything about one chain: its steps with full ids, replies and files, cost and time, and the lineage of the project's head.",
    )
    .option('-n, --limit <number>', 'sessions of the lineage at most', wholeNumber(1), 50)
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  session-chain chain --project shop --version v2 -o json\n')
    .action(async (options: ChainOptions & ProjectOptions) => {
      const key = keyOf(options);
      await withContext(async (context) => {
        const sessionChain = await context.sessionChain();
        const chain = await sessionChain.chain(key);
        const brief = chain.brief ? await sessionChain.brief(key) : null;
        const summary = isClosed(chain.status)
          ? null
          : await askTemporal(
              context,
              'Whether its workflow goes on',
              async () => (await sessionChain.chains({ ...key, limit: 1, askTemporal: true })).chains[0],
            );
        const lineage = (await sessionChain.lineage(key.projectId)).slice(0, options.limit);
        const look = lookOfStdout();
        const sessions = chain.steps.flatMap((step) => stepLines(step, stepWidth(chain.steps), look.width));
        print(
          options.output,
          { ...chain, failingTask: summary?.failingTask ?? null, brief, lineage },
          [
            chainReport(chain, {
              ...look,
              ...standstill(summary),
              more: [
                ['workspace', chain.workspace],
                ['instruction', chain.firstLine && oneLine(chain.instruction ?? '', look.width - 14)],
                ['created', formatTime(chain.createdAt)],
                ['opened', chain.openedAt && formatTime(chain.openedAt)],
                ['closed', chain.closedAt && formatTime(chain.closedAt)],
                ['spent', spentLine(chain.spent), 'prose'],
                ['budget left', budgetLine(chain.budgetLeft), 'prose'],
                ['brief', brief && briefLine(brief), 'prose'],
              ],
            }),
            ...(sessions.length > 0 ? ['', 'sessions:', ...sessions] : []),
            '',
            'lineage of the head, the newest first:',
            ...(lineage.length > 0 ? lineage.map((id) => `  ${id}`) : ['  (none)']),
          ].join('\n'),
        );
      });
    });
}

/** A step that has begun: its session in full, its files, its attempts where they say more, the beginning of its reply. */
function stepLines(step: StepDetails, nameWidth: number, width: number): string[] {
  const { newSessionId, files, journal, reply } = step;
  if (journal.length === 0) return [];
  const room = width - nameWidth - 4;
  const tries = journal.length > 1 || journal.some(({ state }) => state !== 'committed') ? journal : [];
  const told = [
    newSessionId ?? '(not committed)',
    ...(files.length === 0 ? [] : [wrapped(`wrote ${files.join(', ')}`, room)]),
    ...tries.map(({ attempt, state, failure, evidence }) =>
      wrapped(
        [
          `attempt ${attempt} ${state}${failure ? ` ${failure.code}` : ''}`,
          ...(evidence ? [`judged ${evidence.kind}: ${evidence.rule}`] : []),
        ].join('; '),
        room,
      ),
    ),
    ...(reply === null ? [] : [`> ${oneLine(reply, room - 2)}`]),
  ];
  return facts([[`  ${step.step.padEnd(nameWidth)}`, told.join('\n')]]).split('\n');
}

/** What a fresh session was told about the project's state; its text comes with -o json. */
function briefLine({ parts, content }: Brief): string {
  const told = parts.map(({ part, from, characters }) => `${part} (${from}, ${characters})`);
  return `${content.length} characters: ${told.join(', ') || 'nothing was known'}`;
}

/** All attempts together, with what is not known of them. */
function spentLine(spent: Awaited<ReturnType<SessionChain['spend']>>): string {
  const { attempts, turns, costUsd, attemptsOfUnknownCost, turnsInFlightUnknown } = spent;
  return [
    `${formatCost(costUsd)} in ${turns} turns of ${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}`,
    ...(attemptsOfUnknownCost > 0 ? [`the cost of ${attemptsOfUnknownCost} of them not known`] : []),
    ...(turnsInFlightUnknown > 0 ? [`${turnsInFlightUnknown} cut off, perhaps in mid-turn`] : []),
  ].join('; ');
}

function budgetLine(left: Awaited<ReturnType<SessionChain['chain']>>['budgetLeft']): string | null {
  if (!left) return null;
  const { costUsd, turns, timeMs } = left;
  return [
    ...(costUsd === null ? [] : [formatCost(costUsd)]),
    ...(turns === null ? [] : [`${turns} turns`]),
    ...(timeMs === null ? [] : [formatDuration(timeMs)]),
  ].join(', ');
}

export function transitionsCommand(): Command {
  return new Command('transitions')
    .description("The recorded moves of a project's head, the newest first.")
    .requiredOption(projectFlags, projectHelp)
    .option('-n, --limit <number>', 'transitions at most', wholeNumber(1), 100)
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  session-chain transitions --project shop --limit 5\n')
    .action(async ({ project, limit, output }: ProjectOptions) => {
      await withContext(async ({ sessionChain }) => {
        const transitions = await (await sessionChain()).transitions(project, { limit });
        print(
          output,
          { projectId: project, transitions },
          transitions.length === 0
            ? `The head of the project ${project} has not moved yet.`
            : transitionTable(transitions, lookOfStdout().width),
        );
      });
    });
}

type Transitions = Awaited<ReturnType<SessionChain['transitions']>>;

/** A version appears once, in the first of its rows; the forked session only if it is not the one that was replaced. */
export function transitionTable(transitions: Transitions, width: number): string {
  const forked = ({ oldSessionId, parentSessionId }: Transitions[number]) =>
    parentSessionId === oldSessionId ? '' : shortId(parentSessionId);
  const hasForks = transitions.some((one) => forked(one) !== '');
  return table(
    ['seq', 'source', 'version', 'old', 'new', ...(hasForks ? ['forked'] : []), 'at'],
    transitions.map((one, index) => [
      one.seq === null ? '-' : String(one.seq),
      one.rewoundTo === null ? one.source : `${one.source} to ${one.rewoundTo}`,
      index > 0 && transitions[index - 1]?.versionId === one.versionId ? '' : (one.versionId ?? '-'),
      shortId(one.oldSessionId),
      shortId(one.newSessionId),
      ...(hasForks ? [forked(one)] : []),
      formatTime(one.createdAt),
    ]),
    { rightAligned: ['seq'], elastic: ['version', 'source'], width },
  );
}
