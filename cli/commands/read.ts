import type { Client } from '@temporalio/client';
import { Command, Option } from 'commander';
import { createChainRuns } from '../../temporal/runs.js';
import { readProgress } from '../../client/progress.js';
import type { Config } from '../../config/environment.js';
import { type ProjectId, parseProjectId } from '../../contracts/ids.js';
import type { Brief } from '../../contracts/brief.js';
import type { ChainState } from '../../contracts/chain.js';
import { type SessionMoment, sessionMoments } from '../../contracts/question.js';
import { isClosed } from '../../contracts/steps.js';
import { startOf } from '../../contracts/text.js';
import { readBrief } from '../../storage/chains/brief.js';
import { type ChainRow, listChains, listOpenRuns, requireChain } from '../../storage/chains/chains.js';
import { readChainState, readChainStates } from '../../storage/chains/chain-state.js';
import { getSessionChain, listTransitions, readHead } from '../../storage/heads/heads.js';
import { type Spent, chainSpend } from '../../storage/ledger/ledger.js';
import { type Reconciled, reconcile } from '../../storage/chains/queue.js';
import type { Pool } from '../../storage/db/pool.js';
import { sessionFor } from '../../storage/heads/session-for.js';
import { type ChainOptions, keyOf, withChainOptions } from '../chain-options.js';
import { chainReport } from '../chain-report.js';
import { connectClient } from '../../temporal/connect.js';
import { chainWorkflowId } from '../../temporal/names.js';
import { type CommandContext, withContext } from '../context.js';
import { liveLine } from '../follow.js';
import {
  formatCost,
  formatDuration,
  formatStatus,
  formatTime,
  queuePosition,
  sessionMove,
  shortId,
  table,
  stepWidth,
} from '../format.js';
import { type OutputFormat, mayColour, note, outputOption, print, wholeNumber } from '../output.js';

/** The commands that only read. The database is enough for them; Temporal adds what a step does just now. */

interface ProjectOptions {
  project: string;
  limit: number;
  output: OutputFormat;
}

const projectFlags = '-p, --project <id>';
const projectHelp = 'the project (projects.project_id)';

export function statusCommand(): Command {
  return new Command('status')
    .description("A project's chains, the newest first; with --version one chain and what it does just now.")
    .requiredOption(projectFlags, projectHelp)
    .option('-v, --version <id>', 'only the chain of this version')
    .option('-b, --build <id>', 'the build, where the chain has a key of its own (default: the version)')
    .option('-n, --limit <number>', 'chains at most', wholeNumber(1), 20)
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nExample:\n  session-chain status --project shop\n  session-chain status --project shop --version v2\n',
    )
    .action(async (options: ProjectOptions & { version?: string; build?: string }) => {
      const { version } = options;
      await withContext(async (context) =>
        version === undefined
          ? await showChains(context, options)
          : await showProgress(context, { ...options, version }),
      );
    });
}

async function showChains(
  { config, database }: CommandContext,
  { project, limit, output }: ProjectOptions,
): Promise<void> {
  const projectId = parseProjectId(project);
  const pool = await database();
  const reconciled =
    (await listOpenRuns(pool, projectId)).length === 0
      ? null
      : await withTemporal(config, 'Whether its chains still have a workflow', async (client) =>
          reconcileAndTell(pool, client, projectId),
        );
  const { sessionId } = await readHead(pool, projectId);
  const rows = await listChains(pool, projectId, limit);
  const states = await readChainStates(pool, rows);
  const chains = rows.map((chain, index) => ({ chain, step: currentStep(states[index]) }));
  const isQueued = chains.some(({ chain }) => chain.position !== null);
  print(
    output,
    {
      projectId,
      sessionId,
      reconciled,
      chains: chains.map(({ chain: { result, ...chain }, step }) => ({
        ...chain,
        step,
        failure: result?.failure ?? null,
      })),
    },
    chains.length === 0
      ? `The project ${projectId} has no chains. Its head: ${sessionId ?? '(none)'}`
      : table(
          [
            ...['version', 'build', 'mode', 'status', 'step', 'age', 'session'],
            ...(isQueued ? ['queue'] : []),
          ],
          chains.map(({ chain, step }) => [
            chain.versionId,
            chain.buildId === (chain.versionId as string) ? '-' : chain.buildId,
            chain.mode,
            formatStatus(chain.status, { colour: mayColour(process.stdout) }),
            step ?? '-',
            formatDuration(Date.now() - chain.createdAt.getTime()),
            shortId(chain.result?.head?.sessionId ?? (isClosed(chain.status) ? null : sessionId)),
            ...(isQueued ? [queueOf(chain)] : []),
          ]),
        ),
  );
}

function queueOf({ position, waitsFor }: ChainRow): string {
  return position === null || waitsFor === null ? '' : queuePosition({ position, waitsFor });
}

/** Closes chains of the project whose workflows are gone, and says which. */
async function reconcileAndTell(pool: Pool, client: Client, projectId: ProjectId): Promise<Reconciled> {
  const reconciled = await reconcile(pool, createChainRuns(client), projectId);
  for (const workflowId of reconciled.released)
    note(`The workflow ${workflowId} is gone; its chain was closed and the project is free.`);
  if (reconciled.endingInMs !== null) {
    note(
      `The workflow that holds the project is gone; the lease of its agent expires in ${formatDuration(reconciled.endingInMs)} at the latest.`,
    );
  }
  return reconciled;
}

/** Asks Temporal, best effort: what it does not tell is left out, with a remark. */
async function withTemporal<Result>(
  config: Config,
  what: string,
  ask: (client: Client) => Promise<Result>,
): Promise<Result | null> {
  try {
    const client = await connectClient(config, 3_000);
    try {
      return await client.withDeadline(Date.now() + 5_000, () => ask(client));
    } finally {
      await client.connection.close();
    }
  } catch (error) {
    note(`${what} is not known: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  }
}

/** The step that an open chain works on, or the one at which a chain that failed did so. */
function currentStep(state: ChainState | undefined): string | null {
  if (!state) return null;
  const wanted = isClosed(state.status) ? ['failed', 'cancelled'] : ['running', 'waiting', 'failed'];
  return state.steps.find(({ status }) => wanted.includes(status))?.step ?? null;
}

async function showProgress(
  { config, database }: CommandContext,
  options: ChainOptions & { output: OutputFormat },
): Promise<void> {
  const key = keyOf(options);
  const pool = await database();
  const workflowId = chainWorkflowId(key);
  const live = isClosed((await readChainState(pool, key)).status)
    ? null
    : await withTemporal(config, 'What the step does just now', async (client) => ({
        reconciled: await reconcileAndTell(pool, client, key.projectId),
        progress: await readProgress(client.workflow.getHandle(workflowId)),
      }));
  const state = await readChainState(pool, key);
  const progress = isClosed(state.status) ? null : (live?.progress ?? null);
  const { createdAt, openedAt, closedAt } = await requireChain(pool, key);
  print(
    options.output,
    { workflowId, ...state, progress, reconciled: live?.reconciled ?? null },
    chainReport(state, {
      colour: mayColour(process.stdout),
      more: [
        ['age', formatDuration(Date.now() - createdAt.getTime())],
        ['took', openedAt && closedAt ? formatDuration(closedAt.getTime() - openedAt.getTime()) : null],
        ['just now', progress ? liveLine(state, progress) : null],
      ],
    }),
  );
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
    .option('--timeout <seconds>', 'how long to wait for it at most (default: without end)', wholeNumber(1))
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nExample:\n  claude --resume "$(session-chain head --project shop --when committed)" --fork-session\n',
    )
    .action(async ({ project, when, timeout, output }: HeadOptions) => {
      await withContext(async ({ database }) => {
        const projectId = parseProjectId(project);
        const head = await sessionFor(
          await database(),
          projectId,
          when,
          timeout === undefined ? {} : { timeoutMs: timeout * 1_000 },
        );
        print(output, { projectId, ...head }, head.sessionId ?? '');
        if (head.sessionId === null && output === 'text')
          note(`The project ${projectId} has no session yet.`);
      });
    });
}

export function chainCommand(): Command {
  return withChainOptions(new Command('chain'))
    .description(
      "Everything about one chain: its steps with full ids, cost and time, and the lineage of the project's head.",
    )
    .option('-n, --limit <number>', 'sessions of the lineage at most', wholeNumber(1), 50)
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  session-chain chain --project shop --version v2 -o json\n')
    .action(async (options: ChainOptions & ProjectOptions) => {
      const key = keyOf(options);
      await withContext(async ({ database }) => {
        const pool = await database();
        const state = await readChainState(pool, key);
        const { chainId, instruction, workspace, createdAt, openedAt, closedAt } = await requireChain(
          pool,
          key,
        );
        const brief = state.brief ? await readBrief(pool, chainId, state.brief.headSessionId) : null;
        const spent = await chainSpend(pool, key);
        const lineage = (await getSessionChain(pool, key.projectId)).slice(0, options.limit);
        print(
          options.output,
          {
            workflowId: chainWorkflowId(key),
            ...state,
            brief,
            instruction,
            workspace,
            createdAt,
            openedAt,
            closedAt,
            spent,
            lineage,
          },
          [
            chainReport(state, {
              colour: mayColour(process.stdout),
              more: [
                ['workspace', workspace],
                ['instruction', instruction && firstLine(instruction)],
                ['created', formatTime(createdAt)],
                ['opened', openedAt && formatTime(openedAt)],
                ['closed', closedAt && formatTime(closedAt)],
                ['spent', spentLine(spent)],
                ['brief', brief && briefLine(brief)],
              ],
            }),
            '',
            'sessions:',
            ...state.steps
              .filter((step) => step.newSessionId !== null)
              .map((step) => `  ${step.step.padEnd(stepWidth(state.steps))}  ${sessionMove(step)}`),
            '',
            'lineage of the head, the newest first:',
            ...(lineage.length > 0 ? lineage.map((id) => `  ${id}`) : ['  (none)']),
          ].join('\n'),
        );
      });
    });
}

/** What a fresh session was told of the project's state; its text comes with -o json. */
function briefLine({ parts, content }: Brief): string {
  const told = parts.map(({ part, from, characters }) => `${part} (${from}, ${characters})`);
  return `${content.length} characters: ${told.join(', ') || 'nothing was known'}`;
}

/** All attempts together, with what is not known of them. */
function spentLine(spent: Spent): string {
  const { attempts, turns, costUsd, attemptsOfUnknownCost, turnsInFlightUnknown } = spent;
  return [
    `${formatCost(costUsd)} in ${turns} turns of ${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}`,
    ...(attemptsOfUnknownCost > 0 ? [`the cost of ${attemptsOfUnknownCost} of them not known`] : []),
    ...(turnsInFlightUnknown > 0 ? [`${turnsInFlightUnknown} cut off, perhaps in mid-turn`] : []),
  ].join('; ');
}

function firstLine(text: string): string {
  const [line = ''] = text.trim().split('\n');
  return line.length > 72 || line !== text.trim() ? `${startOf(line, 72)}…` : line;
}

export function transitionsCommand(): Command {
  return new Command('transitions')
    .description("The recorded moves of a project's head, the newest first.")
    .requiredOption(projectFlags, projectHelp)
    .option('-n, --limit <number>', 'transitions at most', wholeNumber(1), 100)
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  session-chain transitions --project shop --limit 5\n')
    .action(async ({ project, limit, output }: ProjectOptions) => {
      await withContext(async ({ database }) => {
        const projectId = parseProjectId(project);
        const pool = await database();
        await readHead(pool, projectId);
        const transitions = await listTransitions(pool, projectId, limit);
        print(
          output,
          { projectId, transitions },
          transitions.length === 0
            ? `The head of the project ${projectId} has not moved yet.`
            : table(
                ['seq', 'source', 'version', 'old session', 'new session', 'forked', 'at'],
                transitions.map((transition) => [
                  transition.seq === null ? '-' : String(transition.seq),
                  transition.source,
                  transition.versionId ?? '-',
                  shortId(transition.oldSessionId),
                  shortId(transition.newSessionId),
                  shortId(transition.parentSessionId),
                  formatTime(transition.createdAt),
                ]),
                { rightAligned: ['seq'] },
              ),
        );
      });
    });
}
