import { useState } from 'preact/hooks';
import { type Schemas, http } from '../../api/client.js';
import { useRead } from '../../api/query.js';
import { links } from '../../links.js';
import { Badge } from '../../ui/badge.js';
import { Button } from '../../ui/button.js';
import { formatCount } from '../../ui/format.js';
import { Loaded } from '../../ui/states.js';
import { Text } from '../../ui/text.js';
import type { ChainDetails } from './chain.js';
import { visibleText } from '../../ui/visible-text.js';
import styles from './changes.module.css';
import type { Step } from './rows.js';

type Change = Schemas['Changes']['steps'][number]['changes'][number];

/** The files that a step wrote, each with its writes as diffs. */
export function Changes({
  chain,
  step,
  attempt,
}: {
  chain: ChainDetails;
  step: Step;
  attempt: string | null;
}) {
  const { projectId, versionId, buildId } = chain;
  const isAgent = step.kind !== 'activity';
  const read = useRead(
    ['changes', projectId, versionId, buildId],
    (signal) =>
      http.GET('/v1/projects/{projectId}/chains/{versionId}/{buildId}/changes', {
        params: { path: { projectId, versionId, buildId } },
        signal,
      }),
    { enabled: isAgent && step.files.length > 0 },
  );
  if (!isAgent) return null;
  if (step.files.length === 0)
    return (
      <p class="muted">No file tool of this step wrote a file. What shell commands write is not known.</p>
    );
  return (
    <Loaded read={read} rows={step.files.length}>
      {({ steps }) => {
        const own = steps.find((one) => one.step === step.step);
        const changes = (own?.changes ?? []).filter(
          ({ attemptId }) => attempt === null || attemptId === attempt,
        );
        const files = [...new Set(changes.map(({ path }) => path))];
        if (files.length === 0) return <p class="muted">This attempt wrote no file.</p>;
        return (
          <>
            <ul class={styles.files}>
              {files.map((path) => (
                <File
                  key={path}
                  chain={chain}
                  step={step}
                  path={path}
                  changes={changes.filter((one) => one.path === path)}
                />
              ))}
            </ul>
            {own !== undefined && own.leftOut > 0 && (
              <p class="small muted">
                {formatCount(own.leftOut)} later {own.leftOut === 1 ? 'write is' : 'writes are'} left out: the
                transcript has them.
              </p>
            )}
          </>
        );
      }}
    </Loaded>
  );
}

function File({
  chain,
  step,
  path,
  changes,
}: {
  chain: ChainDetails;
  step: Step;
  path: string;
  changes: readonly Change[];
}) {
  const [isOpen, setOpen] = useState(false);
  const count = (sign: string) =>
    changes
      .flatMap(({ hunks }) => hunks)
      .flatMap(({ lines }) => lines)
      .filter((line) => line.startsWith(sign)).length;
  const [added, removed] = [count('+'), count('-')];
  return (
    <li>
      <details open={isOpen} onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
        <summary class={styles.file}>
          <span class="mono">
            <Text text={path} />
          </span>
          {changes[0]?.isNew && <Badge tone="ok">new</Badge>}
          <span
            class={styles.counts}
            title={`${added} lines added, ${removed} removed, in ${changes.length} writes`}
          >
            <span class={styles.added}>+{formatCount(added)}</span>{' '}
            <span class={styles.removed}>−{formatCount(removed)}</span>
          </span>
        </summary>
        {isOpen &&
          changes.map((change, place) => <Write key={place} chain={chain} step={step} change={change} />)}
      </details>
    </li>
  );
}

const firstLines = 40;

function Write({ chain, step, change }: { chain: ChainDetails; step: Step; change: Change }) {
  const [isWhole, setWhole] = useState(false);
  const { tool, hunks, isCut, entryId, attemptId } = change;
  const attempt = step.journal.find((one) => one.attemptId === attemptId);
  const lines = hunks.reduce((sum, hunk) => sum + hunk.lines.length, 0);
  let left = isWhole ? lines : firstLines;
  return (
    <div class={styles.write}>
      <div class={styles.of}>
        <span class="muted">
          <Text text={tool} />
          {step.journal.length > 1 && attempt && `, attempt ${attempt.attempt}`}
        </span>
        {attempt && (
          <a href={links.transcript(chain.projectId, attempt.sessionId, { entry: entryId })}>
            In the transcript
          </a>
        )}
      </div>
      <div
        class={styles.diff}
        tabIndex={0}
        role="region"
        aria-label={`Changes of ${visibleText(change.path)}`}
      >
        {hunks.map((hunk, place) => {
          const shown = hunk.lines.slice(0, left);
          left -= shown.length;
          return shown.length === 0 ? null : (
            <div key={place}>
              {hunk.oldStart !== null && !change.isNew && (
                <div class={styles.at}>line {hunk.newStart ?? hunk.oldStart}</div>
              )}
              {shown.map((line, number) => (
                <div key={number} class={styles.line} data-sign={line.charAt(0)}>
                  <span class={styles.sign}>{line.charAt(0)}</span>
                  <Text text={line.slice(1)} />
                </div>
              ))}
            </div>
          );
        })}
      </div>
      {lines > firstLines && (
        <Button onClick={() => setWhole(!isWhole)}>
          {isWhole ? 'Show less' : `Show all ${formatCount(lines)} lines`}
        </Button>
      )}
      {isCut && <p class="small muted">Lines are shortened or left out; the transcript has all.</p>}
    </div>
  );
}
