import type { Schemas } from '../../api/client.js';
import { links } from '../../links.js';
import { Status } from '../../ui/badge.js';
import { Table } from '../../ui/table.js';
import { Ago, ChainLink, Session } from '../../ui/values.js';
import { Section } from './section.js';
import { Text } from '../../ui/text.js';

type Fenced = Schemas['FencedAttempts']['attempts'][number];

/** Attempts that were fenced: who, why, and who went on. */
export function FencedAttempts({ attempts, nextCursor }: Schemas['FencedAttempts']) {
  return (
    <Section
      id="fenced"
      title="Fenced attempts"
      hint="Attempts whose right to go on ended before they could commit, the newest first: another took over, or their worker was not seen any more. They changed nothing; no action needed."
      isMore={nextCursor && 'curl -H "Authorization: Bearer …" …/v1/integrity/attempts'}
    >
      <Table
        caption="Fenced attempts, the newest first"
        rows={attempts}
        keyOf={({ attemptId }) => attemptId}
        columns={[
          { label: 'Operation', cell: (one) => <Operation {...one} /> },
          {
            label: 'Attempt',
            cell: (one) => (
              <>
                {one.attempt} of <span class="mono">{one.worker}</span>
              </>
            ),
          },
          { label: 'Session', cell: (one) => <Session projectId={one.projectId} id={one.sessionId} /> },
          {
            label: 'Why',
            cell: ({ code, reason }) => (
              <>
                <code>{code}</code> <Text text={reason} />
              </>
            ),
          },
          { label: 'Ended', cell: ({ endedAt }) => <Ago at={endedAt} /> },
          {
            label: 'Who went on',
            hint: 'The next attempt of the same step or operation.',
            cell: ({ next }) =>
              next === null ? (
                <span class="muted">no attempt: its chain or operation was over</span>
              ) : (
                <>
                  {next.attempt} of <span class="mono">{next.worker}</span> <Status status={next.state} />
                </>
              ),
          },
        ]}
      />
    </Section>
  );
}

function Operation({ projectId, versionId, buildId, isOfChain, step, attemptId }: Fenced) {
  if (isOfChain && versionId !== null)
    return (
      <>
        <ChainLink chain={{ projectId, versionId, buildId }} />{' '}
        <a href={links.chain({ projectId, versionId, buildId }, { step, attempt: attemptId })}>{step}</a>
      </>
    );
  return (
    <>
      <a href={links.project(projectId)}>{projectId}</a> {step} <span class="muted">{buildId}</span>
    </>
  );
}
