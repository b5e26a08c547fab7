import type { ComponentChildren } from 'preact';
import { useEffect } from 'preact/hooks';
import { useLocation } from 'preact-iso';
import { http, isLoggedIn, isReachable } from '../api/client.js';
import { connection } from '../api/live.js';
import { useRead } from '../api/query.js';
import { links } from '../links.js';
import { Skeleton } from '../ui/states.js';
import { SignIn } from './sign-in.js';
import styles from './shell.module.css';
import { nextTheme, theme } from './theme.js';

const pages = [
  ['Overview', links.overview()],
  ['Projects', links.projects()],
  ['Integrity', links.integrity()],
  ['Costs', links.costs()],
  ['Settings', links.settings()],
] as const;

/** What surrounds every page: the way to the others, whether what is shown is live, and the login. */
export function Shell({ children }: { children: ComponentChildren }) {
  const { path } = useLocation();
  const server = useRead(['server'], (signal) => http.GET('/v1/server', { signal }));
  useEffect(() => {
    // A screen reader begins at the new page.
    document.querySelector<HTMLElement>('h1')?.focus({ preventScroll: true });
  }, [path]);
  if (isLoggedIn.value === false) return <SignIn />;
  const isCurrent = (href: string) => (href === '/' ? path === '/' : path.startsWith(href));
  return (
    <div class={styles.shell}>
      <a class={styles.skip} href="#main">
        Skip to the page
      </a>
      <header class={styles.side}>
        <a class={styles.brand} href={links.overview()}>
          <img src="/icon.svg" alt="" width="24" height="24" /> Session Chain
        </a>
        <nav class={styles.nav} aria-label="Pages">
          {pages.map(([label, href]) => (
            <a key={href} href={href} aria-current={isCurrent(href) ? 'page' : undefined}>
              {label}
            </a>
          ))}
        </nav>
        <div class={styles.foot}>
          <span class={styles.live} data-state={connection.value} role="status">
            {{ live: 'Live', polling: 'Every 5 s', broken: 'Connecting' }[connection.value]}
          </span>
          <button type="button" class={styles.theme} onClick={nextTheme}>
            Theme: {theme.value}
          </button>
        </div>
      </header>
      <main id="main" class={styles.main} tabIndex={-1}>
        {!isReachable.value && (
          <div class={styles.offline} role="alert">
            The server does not answer. What you see is what was read last; it goes on by itself once the
            server is back.
          </div>
        )}
        {server.isPending && isLoggedIn.value === null ? <Skeleton rows={6} /> : children}
      </main>
    </div>
  );
}
