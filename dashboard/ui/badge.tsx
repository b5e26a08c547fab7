import type { ComponentChildren } from 'preact';
import styles from './badge.module.css';

export type Tone = 'ok' | 'running' | 'waiting' | 'failed' | 'quiet' | 'accent';

const tones: Record<string, Tone> = {
  running: 'running',
  asked: 'waiting',
  waiting: 'waiting',
  queued: 'waiting',
  pending: 'quiet',
  skipped: 'quiet',
  cancelled: 'quiet',
  failed: 'failed',
  budget_exceeded: 'failed',
  committed: 'ok',
  completed: 'ok',
  completed_with_warnings: 'ok',
  answered: 'ok',
};

/** A status in its colour, with a shape of its own beside the word. */
export function Badge({ tone, children }: { tone: Tone; children: ComponentChildren }) {
  return (
    <span class={styles.badge} data-tone={tone}>
      <span class={styles.dot} aria-hidden="true" />
      {children}
    </span>
  );
}

/** The status of a chain, a step, an attempt or a question. */
export function Status({ status }: { status: string }) {
  return <Badge tone={toneOf(status)}>{statusText(status)}</Badge>;
}

/** A status as it is read: `completed, with warnings`. */
export function statusText(status: string): string {
  return status.replace('_with_', ', with ').replaceAll('_', ' ');
}

export function toneOf(status: string): Tone {
  return tones[status] ?? 'quiet';
}
