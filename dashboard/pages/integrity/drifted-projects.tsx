import type { ComponentChildren } from 'preact';
import type { Schemas } from '../../api/client.js';
import { links } from '../../links.js';
import { Badge } from '../../ui/badge.js';
import { driftText } from '../../ui/drift.js';
import { Table } from '../../ui/table.js';
import { Session } from '../../ui/values.js';
import { Remedy, Section } from './section.js';

type Drifted = Schemas['SyncReport']['drifted'][number];
type Reason = Drifted['reasons'][number];

/** Projects whose head, versions, transitions and checkpoint do not agree. */
export function DriftedProjects({ drifted, more }: Schemas['SyncReport']) {
  return (
    <Section
      id="drifted"
      title="Projects out of sync"
      hint="Projects whose newest version names another session than the head, whose transitions do not fit together, or whose copy in Redis differs."
      isMore={more ? 'session-chain sync --limit 10000' : null}
    >
      <Table
        caption="Projects out of sync"
        rows={drifted}
        keyOf={({ projectId }) => projectId}
        columns={[
          {
            label: 'Project',
            cell: ({ projectId, inSync }) => (
              <>
                <a href={links.project(projectId)}>{projectId}</a>{' '}
                {inSync && <Badge tone="quiet">names its head</Badge>}
              </>
            ),
          },
          { label: 'Head', cell: ({ projectId, head }) => <Session projectId={projectId} id={head} /> },
          { label: 'Newest version', cell: ({ versionId }) => versionId ?? <span class="muted">none</span> },
          {
            label: 'It names',
            hint: 'The session in the row of the newest version.',
            cell: ({ projectId, versionSession }) => <Session projectId={projectId} id={versionSession} />,
          },
          {
            label: 'Why, and what to do',
            cell: (one) => (
              <>
                {one.reasons.map((reason) => (
                  <Remedy key={reason} text={driftText[reason]} {...remedyOf(reason, one)} />
                ))}
              </>
            ),
          },
        ]}
      />
    </Section>
  );
}

function remedyOf(
  reason: Reason,
  { projectId, versionId, head }: Drifted,
): { command?: string; children: ComponentChildren } {
  const about = `--project ${projectId}`;
  switch (reason) {
    case 'version_not_opened':
      return {
        command: `session-chain status ${about}`,
        children: <Todo>No action needed where its chain waits; else start it.</Todo>,
      };
    case 'chain_on_older_version':
      return {
        command: `session-chain list ${about}`,
        children: <Todo>The next chain of {versionId} brings it in sync.</Todo>,
      };
    case 'head_moved_outside':
      return {
        command: `session-chain transitions ${about}`,
        children: (
          <Todo>
            An old writer is at work. The next chain adopts <code>{head.slice(0, 8)}</code>; let the writer
            record its sessions instead.
          </Todo>
        ),
      };
    case 'version_row_differs':
      return {
        command: `session-chain status ${about}`,
        children: <Todo>The next step of {versionId} writes the row again; find what wrote it.</Todo>,
      };
    case 'broken_lineage':
      return {
        command: `session-chain tree ${about}`,
        children: <Todo>Restore the missing rows of session_transitions from a backup.</Todo>,
      };
    case 'checkpoint_differs':
      return {
        children: <Todo>No action needed: Postgres decides, and the copy expires within an hour.</Todo>,
      };
  }
}

function Todo({ children }: { children: ComponentChildren }) {
  return <span class="muted">{children}</span>;
}
