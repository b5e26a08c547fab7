import { http, type Schemas } from '../../api/client.js';
import { usePages } from '../../api/query.js';
import { links } from '../../links.js';
import { Card } from '../../ui/card.js';
import { shortId } from '../../ui/format.js';
import { More } from '../../ui/more.js';
import { Empty, Loaded } from '../../ui/states.js';
import { type Column, Table } from '../../ui/table.js';
import { Ago } from '../../ui/values.js';

type Transition = Schemas['Transition'];

/** Who moved the head, in a phrase. */
function moverOf({ source, step, rewoundTo }: Transition): string {
  switch (source) {
    case 'chat_plan':
      return 'an answer';
    case 'rewind':
      return `a rewind to ${rewoundTo ?? ''}`;
    case 'recovery':
      return `recovery of a lost head${step === null ? '' : `, in ${step}`}`;
    case 'context_reset':
      return 'a fresh session with a brief';
    case 'import':
      return 'from outside, adopted';
    default:
      return source;
  }
}

/** The moves of the head, the newest first. */
export function Transitions({ projectId }: { projectId: string }) {
  const read = usePages(['transitions', projectId], (cursor, signal) =>
    http.GET('/v1/projects/{projectId}/transitions', {
      params: { path: { projectId }, query: { limit: 10, ...cursor } },
      signal,
    }),
  );
  const inLineage = (id: string | null) =>
    id === null ? (
      <span class="muted">none</span>
    ) : (
      <a class="mono" href={links.project(projectId, { session: id })} title={`${id} in the lineage`}>
        {shortId(id)}
      </a>
    );
  const columns: Column<Transition>[] = [
    {
      label: 'Number',
      cell: ({ seq }) =>
        seq ?? (
          <span class="muted" title="From before session-chain">
            none
          </span>
        ),
    },
    { label: 'Moved by', cell: moverOf },
    {
      label: 'From → to',
      cell: ({ oldSessionId, newSessionId }) => (
        <span class="nowrap">
          {inLineage(oldSessionId)} → {inLineage(newSessionId)}
        </span>
      ),
    },
    { label: 'Version', cell: ({ versionId }) => versionId ?? <span class="muted">none</span> },
    { label: 'At', align: 'right', cell: ({ createdAt }) => <Ago at={createdAt} /> },
  ];
  return (
    <Card
      title="Moves of the head"
      hint="Each recorded move (transition), the newest first: who moved the head, from which session to which."
      flush
    >
      <Loaded read={read} rows={5}>
        {(pages) => {
          const rows = pages.flatMap(({ transitions }) => transitions);
          return rows.length === 0 ? (
            <Empty title="The head has not moved yet.">A step that commits moves it.</Empty>
          ) : (
            <>
              <Table
                caption="Moves of the head"
                columns={columns}
                rows={rows}
                keyOf={({ seq, newSessionId, createdAt }) => `${seq ?? createdAt} ${newSessionId}`}
              />
              <More read={read}>Show older moves</More>
            </>
          );
        }}
      </Loaded>
    </Card>
  );
}
