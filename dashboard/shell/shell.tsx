import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { useLocation } from 'preact-iso';
import { type Schemas, dataOf, http, isLoggedIn, isReachable } from '../api/client.js';
import { connection, useLive } from '../api/live.js';
import { queryClient, useRead } from '../api/query.js';
import { links } from '../links.js';
import { Skeleton } from '../ui/states.js';
import { GoToProject } from './go-to-project.js';
import { Icon, type IconName } from './icons.js';
import { SignIn } from './sign-in.js';
import styles from './shell.module.css';
import { chooseTheme, theme, themes } from './theme.js';

const pages: readonly (readonly [label: string, href: string, icon: IconName])[] = [
  ['Overview', links.overview(), 'overview'],
  ['Projects', links.projects(), 'projects'],
  ['Integrity', links.integrity(), 'integrity'],
  ['Costs', links.costs(), 'costs'],
  ['Settings', links.settings(), 'settings'],
];

/** What surrounds every page: the way to the others, whether what is shown is live, and the login. */
export function Shell({ children }: { children: ComponentChildren }) {
  const { path, route } = useLocation();
  const server = useRead(['server'], (signal) => http.GET('/v1/server', { signal }));
  const [isMenuOpen, setMenuOpen] = useState(false);
  const isIn = isLoggedIn.value === true;
  useLive(subjectOf(path), undefined, { enabled: isIn && server.data !== undefined });
  useEffect(() => setMenuOpen(false), [path]);
  useEffect(() => {
    // Where a link of a login leads; who is logged in sees the overview.
    if (isIn && path === '/login') route(links.overview(), true);
  }, [isIn, path]);
  if (isLoggedIn.value === false) return <SignIn />;
  return (
    <div class={styles.shell}>
      <a class={styles.skip} href="#main">
        Skip to the page
      </a>
      <header
        class={styles.side}
        data-open={isMenuOpen}
        onKeyDown={({ key }) => key === 'Escape' && setMenuOpen(false)}
      >
        <a class={styles.brand} href={links.overview()}>
          <img src="/icon.svg" alt="" width="24" height="24" /> Session Chain
        </a>
        <Connection />
        <button
          type="button"
          class={styles.menuButton}
          aria-expanded={isMenuOpen}
          aria-controls="menu"
          aria-label="Menu"
          onClick={() => setMenuOpen(!isMenuOpen)}
        >
          <Icon name={isMenuOpen ? 'close' : 'menu'} />
        </button>
        <div class={styles.menu} id="menu">
          <GoToProject />
          <nav class={styles.nav} aria-label="Pages">
            {pages.map(([label, href, icon]) => (
              <a key={href} href={href} aria-current={isOf(path, href) ? 'page' : undefined}>
                <Icon name={icon} /> {label}
              </a>
            ))}
          </nav>
          <div class={styles.foot}>
            <Themes />
            {server.data && <Account server={server.data} />}
          </div>
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

function isOf(path: string, href: string): boolean {
  return href === '/' ? path === '/' : path === href || path.startsWith(`${href}/`);
}

/** The project of the page, or all. */
function subjectOf(path: string) {
  const [, project] = /^\/projects\/([^/]+)/.exec(path) ?? [];
  try {
    return project === undefined ? { all: true as const } : { projectId: decodeURIComponent(project) };
  } catch {
    return { all: true as const };
  }
}

const connections = {
  live: ['Live', 'What is shown changes as it happens.'],
  polling: [
    'Every 5 s',
    'What is shown is read again every 5 seconds: the key may not follow the events of all projects.',
  ],
  broken: ['Connecting', 'What is shown may be old until the server is reached.'],
} as const;

function Connection() {
  const [label, title] = connections[connection.value];
  return (
    <span class={styles.live} data-state={connection.value} role="status" title={title}>
      {label}
    </span>
  );
}

function Themes() {
  return (
    <div class={styles.themes} role="group" aria-label="Theme">
      {themes.map((name) => (
        <button
          key={name}
          type="button"
          aria-pressed={theme.value === name}
          aria-label={`Theme: ${name}`}
          title={name === 'system' ? "The system's theme" : `The ${name} theme`}
          onClick={() => chooseTheme(name)}
        >
          <Icon name={name} />
        </button>
      ))}
    </div>
  );
}

const rights = {
  read: 'The key may read.',
  start: 'The key may read, start, cancel, ask and rewind.',
  admin: 'The key may do everything.',
};

function Account({ server: { key } }: { server: Schemas['Server'] }) {
  const [hasFailed, setFailed] = useState(false);
  const signOut = async () => {
    try {
      await dataOf(http.POST('/v1/logout', {}));
      setFailed(false);
    } catch {
      return setFailed(true);
    }
    await queryClient.resetQueries();
  };
  const projects = key.projects === null ? '' : ` Its projects: ${key.projects.join(', ')}.`;
  return (
    <div class={styles.account}>
      <span title={`${rights[key.scope]}${projects}`}>
        Key: {key.scope}
        {key.projects !== null &&
          `, ${key.projects.length} ${key.projects.length === 1 ? 'project' : 'projects'}`}
      </span>
      <button type="button" class={styles.out} onClick={() => void signOut()}>
        <Icon name="out" /> Sign out
      </button>
      {hasFailed && <span role="alert">Still signed in: the server does not answer. Try again.</span>}
    </div>
  );
}
