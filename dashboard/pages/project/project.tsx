import { useLive } from '../../api/live.js';
import { links } from '../../links.js';
import { Columns, Page, Stack } from '../../ui/page.js';
import { Chains } from './chains.js';
import { Chats } from './chats.js';
import { Costs } from './costs.js';
import { Facts, Sync } from './facts.js';
import { Lineage } from './lineage.js';
import { Transitions } from './transitions.js';

/** A project: where its head stands, where it comes from, who moved it and why, and what it cost. */
export default function Project({ projectId }: { projectId: string }) {
  useLive({ projectId });
  return (
    <Page
      title={projectId}
      trail={[{ label: 'Projects', href: links.projects() }]}
      badge={<Sync projectId={projectId} />}
    >
      <Stack>
        <Facts projectId={projectId} />
        <Lineage projectId={projectId} />
        <Columns min={26}>
          <Costs projectId={projectId} />
          <Chats projectId={projectId} />
        </Columns>
        <Chains projectId={projectId} />
        <Transitions projectId={projectId} />
      </Stack>
    </Page>
  );
}
