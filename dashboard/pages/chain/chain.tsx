import { useEffect, useRef } from 'preact/hooks';
import { useLocation } from 'preact-iso';
import { type Schemas, http } from '../../api/client.js';
import { queryClient, useRead } from '../../api/query.js';
import { useLive } from '../../api/live.js';
import { type ChainId, links } from '../../links.js';
import { Status } from '../../ui/badge.js';
import { ButtonLink } from '../../ui/button.js';
import { Page, Stack } from '../../ui/page.js';
import { Failed, Loaded, Skeleton } from '../../ui/states.js';
import { Ago } from '../../ui/values.js';
import { Cancel, StartAgain } from './acts.js';
import { Figures } from './figures.js';
import { Inspector } from './inspector.js';
import { Lanes, type Selection } from './lanes.js';
import { addLive, forgetLive } from './live-text.js';
import { Now } from './now.js';
import { Instruction, Request } from './request.js';

export type ChainDetails = Schemas['Chain'];

/** A page reads transcripts anew for its lanes; entries may come many times a second. */
const timelineMs = 3_000;

export default function Chain(chain: ChainId) {
  const { projectId, versionId, buildId } = chain;
  const params = { path: { projectId, versionId, buildId } };
  const key = [projectId, versionId, buildId] as const;
  const details = useRead(['chain', ...key], (signal) =>
    http.GET('/v1/projects/{projectId}/chains/{versionId}/{buildId}', { params, signal }),
  );
  const timeline = useRead(['timeline', ...key], (signal) =>
    http.GET('/v1/projects/{projectId}/chains/{versionId}/{buildId}/timeline', { params, signal }),
  );
  const server = useRead(['server'], (signal) => http.GET('/v1/server', { signal }));
  const isOpen = details.data !== undefined && details.data.closedAt === null;
  const refresh = useThrottled(() => {
    void queryClient.invalidateQueries({ queryKey: ['timeline', ...key] });
  }, timelineMs);
  useEffect(() => () => forgetLive(), [projectId, versionId, buildId]);
  useLive(
    { projectId },
    (item) => {
      if (item.type !== 'live.text' && item.type !== 'live.entry') return;
      addLive(item);
      if (item.type === 'live.entry' && item.step !== null) refresh();
    },
    { live: isOpen },
  );

  const { query, route } = useLocation();
  const chosen: Selection = { step: query['step'] ?? null, attempt: query['attempt'] ?? null };
  const hrefOf = ({ step, attempt }: Selection) =>
    links.chain(chain, { step, attempt, zoom: query['zoom'], files: query['files'] });
  const temporal = server.data && details.data && temporalPage(server.data, details.data.workflowId);

  return (
    <Page
      title={buildId}
      trail={[
        { label: 'Projects', href: links.projects() },
        { label: projectId, href: links.project(projectId) },
      ]}
      badge={details.data && <Status status={details.data.status} />}
      subtitle={
        details.data && (
          <>
            {buildId === versionId ? 'Version and build' : `Version ${versionId}, build`} of {projectId} ·{' '}
            {details.data.mode} · asked for <Ago at={details.data.requestedAt} />
          </>
        )
      }
      actions={
        details.data && (
          <>
            {temporal && (
              <ButtonLink href={temporal} external>
                Open in Temporal
              </ButtonLink>
            )}
            <Cancel chain={details.data} />
            <StartAgain chain={details.data} />
          </>
        )
      }
    >
      <Loaded read={details} rows={8}>
        {(data) => {
          const selected = chosen.step === null ? { step: stepInFocus(data), attempt: null } : chosen;
          const step = data.steps.find((one) => one.step === selected.step);
          return (
            <Stack>
              <Instruction chain={data} />
              <Now chain={data} />
              <Figures chain={data} />
              {timeline.data ? (
                <Lanes
                  timeline={timeline.data}
                  steps={data.steps}
                  selected={selected}
                  hrefOf={hrefOf}
                  onSelect={(selection) => route(hrefOf(selection), true)}
                />
              ) : timeline.isPending ? (
                <Skeleton rows={6} />
              ) : (
                <Failed error={timeline.error} onRetry={() => void timeline.refetch()} />
              )}
              {step && (
                <Inspector
                  chain={data}
                  step={step}
                  attempt={selected.attempt}
                  timeline={timeline.data ?? null}
                  hrefOf={hrefOf}
                />
              )}
              <Request chain={data} />
            </Stack>
          );
        }}
      </Loaded>
    </Page>
  );
}

/** What one looks at first: what works or waits, else what failed, else the first step. */
function stepInFocus({ steps }: ChainDetails): string | null {
  const first = (...of: string[]) => steps.find(({ status }) => of.includes(status))?.step;
  return first('running', 'waiting') ?? first('failed', 'cancelled') ?? steps[0]?.step ?? null;
}

function temporalPage({ temporalUi, namespace }: Schemas['Server'], workflowId: string): string | null {
  return temporalUi === null
    ? null
    : `${temporalUi}/namespaces/${encodeURIComponent(namespace)}/workflows/${encodeURIComponent(workflowId)}`;
}

/** Calls at once, and then once per `ms` as long as it is asked for. */
function useThrottled(call: () => void, ms: number): () => void {
  const latest = useRef(call);
  latest.current = call;
  const timer = useRef<ReturnType<typeof setTimeout>>();
  useEffect(() => () => clearTimeout(timer.current), []);
  return () => {
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      latest.current();
    }, ms);
  };
}
