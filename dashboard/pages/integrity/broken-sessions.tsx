import { type Schemas, http } from '../../api/client.js';
import { links } from '../../links.js';
import { Act } from '../../ui/act.js';
import { Badge } from '../../ui/badge.js';
import { Table } from '../../ui/table.js';
import { Text } from '../../ui/text.js';
import { Ago, Session } from '../../ui/values.js';
import { Remedy, Section } from './section.js';

type Broken = Schemas['BrokenSessions']['sessions'][number];

const reasons: Record<Broken['reason'], string> = {
  quarantined: 'in quarantine',
  hole: 'has a hole',
  lost: 'lost',
  unknown: 'never stored',
};

/** Heads from which no operation can go on, and sessions in quarantine. */
export function BrokenSessions({
  sessions,
  nextCursor,
  mayRepair,
}: Schemas['BrokenSessions'] & { mayRepair: boolean }) {
  return (
    <Section
      id="sessions"
      title="Broken sessions"
      hint="Heads whose transcript is not whole in the store, and sessions that a step could not load. What only a scan of every entry finds, the dry run of Recover finds."
      isMore={nextCursor && 'curl -H "Authorization: Bearer …" …/v1/integrity/sessions'}
    >
      <Table
        caption="Broken sessions"
        rows={[...sessions.filter(({ isHead }) => isHead), ...sessions.filter(({ isHead }) => !isHead)]}
        keyOf={({ projectId, sessionId }) => `${projectId} ${sessionId}`}
        columns={[
          {
            label: 'Project',
            cell: ({ projectId }) => <a href={links.project(projectId)}>{projectId}</a>,
          },
          {
            label: 'Session',
            cell: (one) => <Session projectId={one.projectId} id={one.sessionId} />,
          },
          {
            label: 'State',
            cell: ({ reason, isHead }) => (
              <>
                <Badge tone={isHead ? 'failed' : 'quiet'}>{reasons[reason]}</Badge>{' '}
                {isHead && <span class="muted nowrap">the head</span>}
              </>
            ),
          },
          { label: 'Why', cell: ({ detail }) => detail },
          {
            label: 'Since',
            hint: 'When it went into quarantine; else when an entry of it was stored last, for when it was lost is not known.',
            cell: ({ quarantinedAt, appendedAt }) =>
              quarantinedAt === null && appendedAt !== null ? (
                <>
                  written <Ago at={appendedAt} />
                </>
              ) : (
                <Ago at={quarantinedAt} />
              ),
          },
          { label: 'What to do', cell: (one) => <ToDo {...one} mayRepair={mayRepair} /> },
        ]}
      />
    </Section>
  );
}

function ToDo({ projectId, isHead, givenUpAt, mayRepair }: Broken & { mayRepair: boolean }) {
  if (!isHead) return <span class="muted">No action needed: no operation goes on from it.</span>;
  const params = { path: { projectId } };
  return (
    <Remedy
      text={
        givenUpAt !== null && (
          <>
            Given up <Ago at={givenUpAt} />: the next chain goes on from an ancestor.
          </>
        )
      }
      command={`session-chain recover --project ${projectId} --dry-run`}
    >
      <Act
        label={`Recover ${projectId}`}
        reason={mayRepair ? null : 'this takes a key of the scope admin'}
        what="Gives the head up where it is lost: the next chain goes on from its nearest ancestor that is whole, with the source recovery. The files of the workspace are not touched."
        dryRun={() => http.POST('/v1/projects/{projectId}/recover', { params, body: { dryRun: true } })}
        call={() => http.POST('/v1/projects/{projectId}/recover', { params, body: {} })}
        show={(recovered, isDone) => <Recovered {...recovered} isDone={isDone} />}
      />
    </Remedy>
  );
}

/** What came of it, in words. */
function Recovered({
  projectId,
  askedSessionId,
  sessionId,
  outcome,
  problem,
  isDone,
}: Schemas['Recovered'] & { isDone: boolean }) {
  if (outcome === 'valid' || askedSessionId === null)
    return <p>The head is whole: nothing {isDone ? 'was' : 'would be'} given up.</p>;
  return (
    <p>
      The head <Session projectId={projectId} id={askedSessionId} /> {isDone ? 'was' : 'would be'} given up (
      <Text text={problem?.detail ?? ''} />
      ). The next chain {isDone ? 'goes' : 'would go'} on from{' '}
      {sessionId === null ? (
        'a fresh session: none of its ancestors is whole'
      ) : (
        <Session projectId={projectId} id={sessionId} />
      )}
      .
    </p>
  );
}
