import { Command, Option } from 'commander';
import type { ChainFilter } from '../../client/chain-filter.js';
import type { ChainCounts } from '../../client/chains.js';
import type { SessionChain } from '../../client/session-chain.js';
import { type FailureCode, SessionChainError, isFailureCode } from '../../contracts/failures.js';
import { type ChainStatus, chainStatuses } from '../../contracts/steps.js';
import { type WaitKind, waitKinds } from '../../contracts/waiting.js';
import { askTemporal } from '../ask-temporal.js';
import { chainTable } from '../chain-table.js';
import { type CommandContext, withContext } from '../context.js';
import { formatTime } from '../format.js';
import {
  type OutputFormat,
  durationMs,
  lookOfStdout,
  note,
  outputOption,
  pointInTime,
  print,
  wholeNumber,
} from '../output.js';

interface ListOptions {
  project?: string;
  status?: ChainStatus[];
  waiting?: WaitKind[] | true;
  since?: Date;
  stuck?: number;
  failed?: string;
  cursor?: string;
  limit: number;
  output: OutputFormat;
}

/** Below tables of chains. */
export const costNote = '\nA cost with a + is at least so much: what some attempts cost is not known.\n';

export function listCommand(): Command {
  return new Command('list')
    .description(
      'Chains of all projects, the newest first, and how many there are: which work, what the others wait for and since when, which failed. It only reads.',
    )
    .option('-p, --project <id>', 'only chains of this project')
    .addOption(
      new Option('--status <status...>', 'only chains in one of these states').choices(chainStatuses),
    )
    .addOption(
      new Option(
        '--waiting [for...]',
        'only open chains that wait: for another chain of the project, for a worker, for the model service, for an activity of the host (default: any of these)',
      ).choices(waitKinds),
    )
    .addOption(
      new Option('--stuck [time]', 'only open chains without progress for so long (default: 30min)')
        .argParser(durationMs)
        .preset('30min'),
    )
    .option('--failed <code>', 'only chains that failed with this code')
    .option('--since <time>', 'only chains started since then: a date, or a time such as 24h', pointInTime)
    .option('-n, --limit <number>', 'chains at most', wholeNumber(1), 20)
    .option('--cursor <cursor>', 'goes on with the list where the page before ended')
    .addOption(outputOption())
    .addHelpText(
      'after',
      `${costNote}\nExample:\n  session-chain list --stuck\n  session-chain list --waiting worker model\n  session-chain list --failed MODEL_UNAVAILABLE --since 24h\n`,
    )
    .action(async (options: ListOptions) => {
      await withContext((context) => list(context, options));
    });
}

async function list(context: CommandContext, options: ListOptions): Promise<void> {
  const { project, since, output } = options;
  const filter = filterOf(options);
  const sessionChain = await context.sessionChain();
  const { counts, open } = await openChains(sessionChain, {
    ...(project === undefined ? {} : { projectIds: [project] }),
    ...(since === undefined ? {} : { since }),
  });
  // What Temporal can tell concerns open chains only.
  const live = open
    ? await askTemporal(context, 'Whether open chains have workers', () =>
        sessionChain.chains({ ...filter, askTemporal: true }),
      )
    : null;
  const { chains, nextCursor } = live ?? (await sessionChain.chains(filter));
  print(
    output,
    { counts, chains, nextCursor },
    chains.length === 0
      ? [nothingFound(options)].join('\n')
      : [
          countsText(counts),
          '',
          chainTable(chains, lookOfStdout(), { ofProject: project !== undefined }),
        ].join('\n'),
  );
  if (nextCursor !== null && output === 'text')
    note(`There are more. Go on: --cursor ${nextCursor}, with the same options.`);
}

/** The counts of chains, and whether any is open. */
export async function openChains(
  sessionChain: SessionChain,
  options: { projectIds?: string[]; since?: Date },
): Promise<{ counts: ChainCounts; open: boolean }> {
  const counts = await sessionChain.chainCounts(options);
  const { queued, running, waiting } = counts.status;
  return { counts, open: queued + running + waiting > 0 };
}

function filterOf(options: ListOptions): ChainFilter {
  const { project, status, waiting, since, stuck, failed, cursor, limit } = options;
  return {
    ...(project === undefined ? {} : { projectId: project }),
    ...(status === undefined ? {} : { status }),
    ...(waiting === undefined ? {} : { waitingFor: waiting === true ? waitKinds : waiting }),
    ...(since === undefined ? {} : { since }),
    ...(stuck === undefined ? {} : { stuckForMs: stuck }),
    ...(failed === undefined ? {} : { failureCode: codeOf(failed) }),
    ...(cursor === undefined ? {} : { cursor }),
    limit,
  };
}

function codeOf(failed: string): FailureCode {
  if (isFailureCode(failed)) return failed;
  throw new SessionChainError(
    'INVALID_INPUT',
    `${failed} is not the code of a failure.`,
    'docs/reference/failures.md lists the codes.',
  );
}

function nothingFound({ project, status, waiting, since, stuck, failed, cursor }: ListOptions): string {
  const isNarrowed = [status, waiting, since, stuck, failed, cursor].some((one) => one !== undefined);
  if (isNarrowed) return 'There is no such chain.';
  return project === undefined ? 'There are no chains.' : `The project ${project} has no chains.`;
}

/** `1 works; 2 wait: 1 queue, 1 model. Ended since 2026-11-25 10:00: 4 completed, 1 failed (MODEL_REFUSED 1).` */
export function countsText({ status, waitingFor, failed, since }: ChainCounts): string {
  const named = (counts: Partial<Record<string, number>>) =>
    Object.entries(counts)
      .filter(([, count = 0]) => count > 0)
      .map(([name, count]) => `${count} ${name.replaceAll('_', ' ')}`)
      .join(', ');
  const { queued, running, waiting, ...ended } = status;
  const waits = Object.values(waitingFor).reduce((sum, count) => sum + count, 0);
  const codes = Object.entries(failed)
    .map(([code, count]) => `${code} ${count}`)
    .join(', ');
  return [
    `${queued + running + waiting - waits} at work, ${waits} waiting${waits > 0 ? ` (for: ${named(waitingFor)})` : ''}`,
    `ended since ${formatTime(since)}: ${named(ended) || 'none'}${codes === '' ? '' : ` (${codes})`}`,
  ].join('; ');
}
