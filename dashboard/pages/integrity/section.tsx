import type { ComponentChildren } from 'preact';
import { Card } from '../../ui/card.js';
import { Command } from '../../ui/values.js';
import styles from './integrity.module.css';

/** A card that a check above leads to. */
export function Section({
  id,
  title,
  hint,
  isMore,
  children,
}: {
  id: string;
  title: string;
  hint: string;
  /** How the rest is shown, where this is not all. */
  isMore?: string | null;
  children: ComponentChildren;
}) {
  return (
    <div id={id} class={styles.section}>
      <Card title={title} hint={hint} flush>
        {children}
        {isMore && (
          <p class={styles.more}>
            There are more: <Command text={isMore} />
          </p>
        )}
      </Card>
    </div>
  );
}

/** What to do: a command, and perhaps a button that does the same. */
export function Remedy({
  text,
  command,
  children,
}: {
  text?: ComponentChildren;
  command?: string;
  children?: ComponentChildren;
}) {
  return (
    <div class={styles.remedy}>
      {text && <span>{text}</span>}
      {command && <Command text={command} />}
      {children}
    </div>
  );
}
