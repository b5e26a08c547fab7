import type { ComponentChildren } from 'preact';
import { ProblemError } from '../api/client.js';
import { Button } from './button.js';
import { Text } from './text.js';
import { visibleText } from './visible-text.js';
import styles from './states.module.css';

/** What a query of the page is. */
interface Read<Data> {
  data: Data | undefined;
  error: unknown;
  isPending: boolean;
  refetch: () => unknown;
}

/**
 * Shows what was read: a skeleton until it is there, what went wrong with what to do, or the data. Data that was read before
 * stays while reading again fails; the banner of the shell says that it may be old.
 * @example
 * <Loaded read={project} rows={6}>{(project) => <Facts project={project} />}</Loaded>
 */
export function Loaded<Data>({
  read,
  rows = 3,
  children,
}: {
  read: Read<Data>;
  /** Lines of the skeleton. */
  rows?: number;
  children: (data: Data) => ComponentChildren;
}) {
  if (read.data !== undefined) return <>{children(read.data)}</>;
  if (read.isPending) return <Skeleton rows={rows} />;
  return <Failed error={read.error} onRetry={() => void read.refetch()} />;
}

/** Grey lines where text will be. */
export function Skeleton({ rows = 3 }: { rows?: number }) {
  return (
    <div class={styles.skeleton} role="status">
      <span class="said">Loading</span>
      {Array.from({ length: rows }, (_, index) => (
        <span key={index} aria-hidden="true" />
      ))}
    </div>
  );
}

/** What went wrong, and what to do. */
export function Failed({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  const problem = error instanceof ProblemError ? error.problem : null;
  return (
    <div class={styles.failed} role="alert">
      <strong>
        <Text text={problem?.detail ?? 'The server does not answer.'} />
        {problem?.code && <code> {problem.code}</code>}
      </strong>
      <p>
        <Text
          text={problem?.remedy ?? 'Check that session-chain serve runs. This page tries again by itself.'}
        />
      </p>
      {onRetry && <Button onClick={onRetry}>Try again</Button>}
    </div>
  );
}

/** Nothing to show: why, and what would fill it. */
export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class={styles.empty}>
      <strong>{visibleText(title)}</strong>
      {children && <div class="muted">{children}</div>}
    </div>
  );
}
