import type { ComponentChildren } from 'preact';
import { useId } from 'preact/hooks';
import styles from './card.module.css';

export interface CardProps {
  title: string;
  /** What the card's numbers count, shown by a question mark beside the title. */
  hint?: string;
  actions?: ComponentChildren;
  /** Without padding: a table or a picture that fills it. */
  flush?: boolean;
  children: ComponentChildren;
}

/** A titled section of a page. */
export function Card({ title, hint, actions, flush = false, children }: CardProps) {
  const id = useId();
  return (
    <section class={styles.card} aria-labelledby={id}>
      <header class={styles.head}>
        <h2 id={id}>{title}</h2>
        {hint && <Hint text={hint} />}
        {actions && <div class={styles.actions}>{actions}</div>}
      </header>
      <div class={flush ? styles.flush : styles.body}>{children}</div>
    </section>
  );
}

/** A question mark that says what something counts, on hover, focus and to screen readers. */
export function Hint({ text }: { text: string }) {
  const id = useId();
  return (
    <span class={styles.hint}>
      <button type="button" class={styles.mark} aria-label="What is this?" aria-describedby={id}>
        ?
      </button>
      <span role="tooltip" id={id} class={styles.bubble}>
        {text}
      </span>
    </span>
  );
}

export interface StatProps {
  label: string;
  /** With its unit. */
  value: ComponentChildren;
  /** What the number counts, over which time. */
  hint: string;
  /** Below the number: what it is compared with. */
  note?: ComponentChildren;
  tone?: 'failed' | 'waiting' | 'running' | 'ok';
  /** Where the number leads. */
  href?: string;
}

/** One number with its label. A row of them is `Stats`. */
export function Stat({ label, value, hint, note, tone, href }: StatProps) {
  return (
    <div class={styles.stat}>
      <dt class={styles.label}>
        {label} <Hint text={hint} />
      </dt>
      <dd>
        <span class={styles.value} data-tone={tone}>
          {href === undefined ? value : <a href={href}>{value}</a>}
        </span>
        {note !== undefined && <div class={styles.note}>{note}</div>}
      </dd>
    </div>
  );
}

export function Stats({ children }: { children: ComponentChildren }) {
  return <dl class={styles.stats}>{children}</dl>;
}
