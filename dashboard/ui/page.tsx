import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { useLocation } from 'preact-iso';
import { visibleText } from './visible-text.js';
import styles from './page.module.css';

export interface PageProps {
  title: string;
  /** What stands in front of the title in the way there; each a link. */
  trail?: { label: string; href: string }[];
  /** Beside the title: a badge. */
  badge?: ComponentChildren;
  /** Below the title: what this is, in a line. */
  subtitle?: ComponentChildren;
  /** Right of the title: buttons and filters. */
  actions?: ComponentChildren;
  children: ComponentChildren;
}

let isFirst = true;

/** The frame of every page: its one h1, where a screen reader begins, the way there, and what can be done. */
export function Page({ title: given, trail = [], badge, subtitle, actions, children }: PageProps) {
  // It may come from an address.
  const title = visibleText(given);
  const { path } = useLocation();
  useEffect(() => {
    document.title = `${title} · Session Chain`;
  }, [title]);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    // A page that was just loaded begins with the way to the others; what is being typed goes on.
    if (!isFirst && !(document.activeElement instanceof HTMLInputElement))
      heading.current?.focus({ preventScroll: true });
    isFirst = false;
  }, [path]);
  return (
    <>
      <header class={styles.head}>
        <div class={styles.titles}>
          {trail.length > 0 && (
            <nav aria-label="Breadcrumb">
              <ol class={styles.trail}>
                {trail.map(({ label, href }) => (
                  <li key={href}>
                    <a href={href}>{visibleText(label)}</a>
                  </li>
                ))}
              </ol>
            </nav>
          )}
          <div class={styles.title}>
            <h1 tabIndex={-1} ref={heading}>
              {title}
            </h1>
            {badge}
          </div>
          {subtitle && <div class="muted">{subtitle}</div>}
        </div>
        {actions && <div class={styles.actions}>{actions}</div>}
      </header>
      {children}
    </>
  );
}

/** Sections of a page under each other, with the same distance everywhere. */
export function Stack({ children }: { children: ComponentChildren }) {
  return <div class={styles.stack}>{children}</div>;
}

/** Cards beside each other, as many as fit; `min` is the least width of one, in rem. */
export function Columns({ min = 20, children }: { min?: number; children: ComponentChildren }) {
  return (
    <div class={styles.columns} style={{ '--min': `${min}rem` }}>
      {children}
    </div>
  );
}
