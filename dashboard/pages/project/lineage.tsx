import { useMemo, useState } from 'preact/hooks';
import { http } from '../../api/client.js';
import { useRead } from '../../api/query.js';
import { Button } from '../../ui/button.js';
import { Card } from '../../ui/card.js';
import { useQueryState } from '../../ui/query-state.js';
import { Empty, Loaded } from '../../ui/states.js';
import { Command } from '../../ui/values.js';
import { Details } from './details.js';
import { type Tree, layOut } from './layout.js';
import { Legend } from './legend.js';
import styles from './lineage.module.css';
import { Picture } from './picture.js';
import { Sessions } from './sessions.js';

/** So many heads are read at first, and so many more each time that older ones are asked for. */
const headsAtFirst = 200;
const mostHeads = 10_000;

/** The lineage as a picture, what is known of the session that is selected, and all sessions as a table. */
export function Lineage({ projectId }: { projectId: string }) {
  const [heads, setHeads] = useQueryState('heads');
  const limit = Math.min(Math.max(Math.trunc(Number(heads ?? headsAtFirst)) || headsAtFirst, 1), mostHeads);
  const tree = useRead(['tree', projectId, limit], (signal) =>
    http.GET('/v1/projects/{projectId}/tree', { params: { path: { projectId }, query: { limit } }, signal }),
  );
  return (
    <Loaded read={tree} rows={8}>
      {(data) =>
        data.nodes.length === 0 ? (
          <Card title="Lineage">
            <Empty title="This project has no sessions yet.">
              <p>The first step of a chain that commits makes the first one:</p>
              <Command
                text={`session-chain start --project ${projectId} --version v1 --workspace … --prompt "…"`}
              />
            </Empty>
          </Card>
        ) : (
          <Drawn
            tree={data}
            onOlder={
              data.isCut && limit < mostHeads ? () => setHeads(String(Math.min(limit * 2, mostHeads))) : null
            }
          />
        )
      }
    </Loaded>
  );
}

function Drawn({ tree, onOlder }: { tree: Tree; onOlder: (() => void) | null }) {
  const [selected, setSelected] = useQueryState('session');
  const [unfolded, setUnfolded] = useQueryState('unfold');
  const [isLegendShown, setLegendShown] = useState(false);
  const layout = useMemo(
    () =>
      layOut(tree, {
        unfold: unfolded === 'all' ? 'all' : new Set(unfolded?.split(' ') ?? []),
        selected,
      }),
    [tree, unfolded, selected],
  );
  const chains = useMemo(() => new Map(tree.chains.map((chain) => [chain.chainId, chain])), [tree]);
  const { projectId, headSessionId, nodes } = tree;
  const node = nodes.find(({ sessionId }) => sessionId === (selected ?? headSessionId)) ?? null;
  const folds = layout.cells.filter(({ fold }) => fold !== null).length;
  return (
    <>
      <Card
        title="Lineage"
        hint={`Every session of the project${tree.isCut ? ' since its last heads' : ''}: the line of heads from left to right in the order of its moves, and below it what was forked and never became the head. ${nodes.length} sessions.`}
        flush
        actions={
          <>
            {onOlder && <Button onClick={onOlder}>Show older</Button>}
            {folds > 0 && <Button onClick={() => setUnfolded('all')}>Unfold all</Button>}
            {unfolded !== null && <Button onClick={() => setUnfolded(null)}>Fold</Button>}
            <Button pressed={isLegendShown} onClick={() => setLegendShown(!isLegendShown)}>
              Legend
            </Button>
          </>
        }
      >
        {isLegendShown && <Legend />}
        <div class={styles.body}>
          <Picture
            {...{ projectId, layout, chains, headSessionId, selected }}
            onSelect={(sessionId) =>
              setSelected(sessionId === selected ? null : sessionId, { replace: true })
            }
            onUnfold={(fold) =>
              setUnfolded([...(unfolded?.split(' ') ?? []), fold].join(' '), { replace: true })
            }
          />
          {selected !== null && node === null ? (
            <div class={styles.missing} role="status">
              The session {selected} is not among those that are shown{onOlder ? '; it may be older' : ''}.{' '}
              <Button onClick={() => setSelected(null)}>Show the head</Button>
            </div>
          ) : (
            node && <Details {...{ projectId, node, tree }} chain={chains.get(node.chainId ?? '') ?? null} />
          )}
        </div>
      </Card>
      <Sessions tree={tree} chains={chains} selected={selected} onSelect={setSelected} />
    </>
  );
}
