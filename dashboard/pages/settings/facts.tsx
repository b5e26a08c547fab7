import type { ComponentChildren } from 'preact';
import { Hint } from '../../ui/card.js';
import { formatDuration } from '../../ui/format.js';
import styles from './settings.module.css';

/** What something is, line by line. */
export function Facts({ facts }: { facts: { label: string; hint?: string; value: ComponentChildren }[] }) {
  return (
    <dl class={styles.facts}>
      {facts.map(({ label, hint, value }) => (
        <div key={label}>
          <dt>
            {label} {hint && <Hint text={hint} />}
          </dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** Why a card shows nothing to this key. */
export function NotForKey({ needs, children }: { needs: string; children: ComponentChildren }) {
  return (
    <div class={styles.closed}>
      <strong>This takes {needs}.</strong> <span class="muted">{children}</span>
    </div>
  );
}

/** A limit, whose whole minutes and hours are written without what is nothing. */
export function formatLimit(ms: number): string {
  return formatDuration(ms).replace(/\.0 s$|(?<=\w) 00 (s|min)$/, (end) => (end === '.0 s' ? ' s' : ''));
}
