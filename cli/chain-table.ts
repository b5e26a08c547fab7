import type { ChainSummary } from '../client/chains.js';
import { type FailingTask, type WaitingFor, whatFails } from '../contracts/waiting.js';
import {
  type Look,
  fittingId,
  formatAge,
  formatCost,
  formatStatus,
  queuePosition,
  shortId,
  tableWithNotes,
} from './format.js';

/** How much of an id a remark shows. */
const idInNote = 16;

/**
 * Chains as a table, the reason of each below its row. A project and a version appear once, in the first of their rows.
 */
export function chainTable(
  chains: readonly ChainSummary[],
  { colour = false, width }: Look & { width: number },
  { ofProject }: { ofProject: boolean },
): string {
  return tableWithNotes(
    [
      ...(ofProject ? [] : ['project']),
      'version',
      'status',
      'step',
      'cost',
      'age',
      ...(ofProject ? ['session'] : []),
    ],
    chains.map((chain, index) => {
      const before = chains[index - 1];
      const isSameProject = before?.projectId === chain.projectId;
      const isSameVersion = isSameProject && before.versionId === chain.versionId;
      return {
        cells: [
          ...(ofProject ? [] : [isSameProject ? '' : chain.projectId]),
          isSameVersion ? '' : chain.versionId,
          formatStatus(chain.status, { colour }),
          chain.step ?? '-',
          `${formatCost(chain.costUsd)}${chain.attemptsOfUnknownCost > 0 ? '+' : ''}`,
          formatAge(Date.now() - chain.createdAt.getTime()),
          ...(ofProject ? [shortId(chain.sessionId)] : []),
        ],
        notes: [[...reasonOf(chain), ...buildOf(chain)].join('; ')].filter(Boolean),
      };
    }),
    { rightAligned: ['cost', 'age'], elastic: ['project', 'version', 'step'], width },
  );
}

/** Why a chain waits, and for how long, or why it failed, the code of a failure first. */
export function reasonOf(chain: ChainSummary): string[] {
  const { failingTask, missingWorker, waitingFor, failure, reason } = chain;
  if (failingTask) return [failingTaskText(failingTask)];
  if (missingWorker) return [missingWorkerText(missingWorker)];
  if (waitingFor)
    return [`${waitText(chain, waitingFor)}, for ${formatAge(Date.now() - waitingFor.since.getTime())}`];
  if (failure) return [`${failure.code}: ${failure.message}`];
  return reason === null ? [] : [reason];
}

function waitText({ queue, reason }: ChainSummary, waitingFor: WaitingFor): string {
  switch (waitingFor.kind) {
    case 'queue':
      return queue ? queuePosition(queue, idInNote) : 'it is its turn';
    case 'worker':
      return reason ?? 'waits for a worker';
    case 'model':
      return reason ?? 'waits for the model service';
    case 'activity':
      return `waits for ${waitingFor.activity} on ${waitingFor.taskQueue}`;
  }
}

/** `no worker polls deploy for 3 min`. */
export function missingWorkerText({
  taskQueue,
  since,
  othersOnly,
}: NonNullable<ChainSummary['missingWorker']>): string {
  const which = othersOnly === null ? 'no worker' : 'no worker of this database';
  const who = `${which} polls ${taskQueue} for ${formatAge(Date.now() - since.getTime())}`;
  return othersOnly === null ? who : `${who}. ${othersOnly}`;
}

/** `its workflow task fails for 3 min, in 7 tries: NON_DETERMINISTIC_ERROR: …`. */
export function failingTaskText(task: FailingTask): string {
  return `its workflow task fails for ${formatAge(Date.now() - task.since.getTime())}, in ${task.tries} tries: ${whatFails(task)}`;
}

function buildOf(chain: ChainSummary): string[] {
  const { versionId, buildId } = chain;
  return buildId === (versionId as string) ? [] : [`build ${fittingId(buildId, idInNote)}`];
}
