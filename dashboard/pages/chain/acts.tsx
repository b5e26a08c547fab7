import { useState } from 'preact/hooks';
import { http } from '../../api/client.js';
import { useRead } from '../../api/query.js';
import { links } from '../../links.js';
import { Act } from '../../ui/act.js';
import { formatCount, formatUsd, shortId } from '../../ui/format.js';
import { At } from '../../ui/values.js';
import { Text } from '../../ui/text.js';
import styles from './inspector.module.css';
import type { ChainDetails } from './chain.js';
import type { Step } from './rows.js';

/** Why the key of the login may not change anything; null where it may. */
function useRefusal(): string | null {
  const server = useRead(['server'], (signal) => http.GET('/v1/server', { signal }));
  return server.data?.key.scope === 'read' ? 'your key may only read' : null;
}

export function Cancel({ chain }: { chain: ChainDetails }) {
  const { projectId, versionId, buildId } = chain;
  const refusal = useRefusal();
  const running = chain.steps.find(({ status }) => status === 'running');
  return (
    <Act
      label="Cancel"
      offered={chain.closedAt === null}
      kind="danger"
      reason={refusal}
      what={
        <>
          The chain stops and its project is free for the next one.{' '}
          {running
            ? running.kind === 'activity'
              ? `The host's activity of ${running.step} is told to stop now. `
              : `The agent of ${running.step} is told to stop now; what it has spent is spent, and its files stay as they are. `
            : 'Nothing of it runs now. '}
          Steps that are committed stay, and so does the head. A cancelled chain can be started again.
        </>
      }
      call={() =>
        http.POST('/v1/projects/{projectId}/chains/{versionId}/{buildId}/cancel', {
          params: { path: { projectId, versionId, buildId } },
          body: {},
        })
      }
      show={({ status }) => <p>It was told to stop; its status is {status}.</p>}
    />
  );
}

export function StartAgain({ chain }: { chain: ChainDetails }) {
  const { projectId, versionId, buildId, status, mode, workspace, instruction, requestedSteps, budget } =
    chain;
  const refusal = useRefusal();
  const [cost, setCost] = useState('');
  const committed = chain.steps.filter((step) => step.status === 'committed');
  const most = Number(cost);
  const raised = cost !== '' && most > 0 ? { maxCostUsd: most } : {};
  return (
    <Act
      label="Start again"
      offered={status === 'failed' || status === 'cancelled' || status === 'budget_exceeded'}
      reason={refusal}
      what={
        <>
          The same build is queued again with the same instruction, folder and budget; limits and the model of
          its first start are those of the workers' definition now.{' '}
          {committed.length > 0
            ? `${committed.map(({ step }) => step).join(', ')}: what is committed for this build is not repeated where the head has not moved since. `
            : ''}
          What attempts had done before they ended is looked at first, and continued where it proves
          something.
          {budget?.maxCostUsd !== undefined && (
            <label class={styles.field}>
              Limit of the cost, US dollars (was {budget.maxCostUsd}; used {formatUsd(chain.spent.costUsd)})
              <input
                type="number"
                min="0"
                step="any"
                placeholder={String(budget.maxCostUsd)}
                value={cost}
                onInput={({ currentTarget }) => setCost(currentTarget.value)}
              />
            </label>
          )}
        </>
      }
      call={() =>
        http.POST('/v1/projects/{projectId}/chains', {
          params: { path: { projectId } },
          body: {
            ...{ versionId, buildId, workspace, mode },
            ...(instruction === null ? {} : { instruction }),
            ...(requestedSteps === null ? {} : { steps: requestedSteps }),
            ...(budget === null ? {} : { budget: { ...budget, ...raised } }),
          },
        })
      }
      show={({ alreadyStarted }) => (
        <p>{alreadyStarted ? 'It runs already.' : 'It is queued; this page shows how it goes on.'}</p>
      )}
    />
  );
}

/** Takes the project's head back to what a step of this chain left. */
export function RewindHere({ chain, step }: { chain: ChainDetails; step: Step }) {
  const { projectId } = chain;
  const refusal = useRefusal();
  const project = useRead(['project', projectId], (signal) =>
    http.GET('/v1/projects/{projectId}', { params: { path: { projectId } }, signal }),
  );
  const seq = step.journal.find(({ state }) => state === 'committed')?.seq ?? null;
  if (seq === null) return null;
  const { data } = project;
  const reason =
    refusal ??
    (data && data.head.seq === seq
      ? 'the head is here already'
      : data && data.openChains > 0
        ? 'a chain of the project is open'
        : null);
  const path = { projectId };
  return (
    <Act
      label="Rewind to here"
      kind="danger"
      reason={reason}
      what={`The conversation of ${projectId} goes back to what ${step.step} left. A copy of its session becomes the head; what came after stays in the lineage. The files are not taken back.`}
      dryRun={() =>
        http.POST('/v1/projects/{projectId}/rewind', { params: { path }, body: { to: seq, dryRun: true } })
      }
      call={() => http.POST('/v1/projects/{projectId}/rewind', { params: { path }, body: { to: seq } })}
      show={({ forgotten, sourceSessionId, sessionId, warnings }, isDone) => (
        <>
          <p>
            {isDone ? 'The head is a copy of ' : 'The head would be a copy of '}
            <code>{shortId(sourceSessionId)}</code>
            {isDone && sessionId !== null && (
              <>
                : <a href={links.transcript(projectId, sessionId)}>{shortId(sessionId)}</a>
              </>
            )}
            . {formatCount(forgotten.length)} {forgotten.length === 1 ? 'operation is' : 'operations are'} not
            known to it any more{forgotten.length > 0 ? ':' : '.'}
          </p>
          <ul>
            {forgotten.map((one) => (
              <li key={one.seq}>
                {one.seq}: {one.source}
                {one.versionId !== null && ` of ${one.versionId}`}, <At at={one.createdAt} />
              </li>
            ))}
          </ul>
          {warnings.map((warning) => (
            <p key={warning}>
              <Text text={warning} />
            </p>
          ))}
        </>
      )}
    />
  );
}
