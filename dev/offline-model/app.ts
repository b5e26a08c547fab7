/** The app that the offline model builds: a to-do list in three static files that work from `file://`. */

export const appTitle = 'Pocket Tasks';
const appTagline = 'A small list for the things of today.';

export interface AppState {
  title: string;
  version: number;
}

/** What a version adds to the page. */
export interface Feature {
  name: string;
  html: string;
}

/** Title and version of one of our pages, undefined for any other text. */
export function readAppState(html: string): AppState | undefined {
  const title = /<title>([^<]+)<\/title>/.exec(html)?.[1];
  const version = /<span class="badge" id="version">Version (\d+)<\/span>/.exec(html)?.[1];
  return title !== undefined && version !== undefined ? { title, version: Number(version) } : undefined;
}

export const featuresMarker = '<!-- features -->';

/** The version badge, which every update moves. */
export function badge(version: number): string {
  return `<span class="badge" id="version">Version ${version}</span>`;
}

/** Whether a page has the feature of a version. */
export function hasFeature(html: string, version: number): boolean {
  return html.includes(`id="feature-${version}"`);
}

/** The feature that a version adds; a request from the user becomes a note on the page. */
export function featureOf(version: number, request?: string): Feature {
  if (request !== undefined) {
    return section(version, 'note', `<p class="note">${escapeHtml(shorten(request, 200))}</p>`);
  }
  return planned[version]?.(version) ?? accent(version);
}

/** The features on a page, in order: 'dark mode (Version 2)'. */
export function listFeatures(html: string): string[] {
  return [...html.matchAll(/id="feature-(\d+)" data-feature="([^"]+)"/g)].map(
    ([, version, name]) => `${name} (Version ${version})`,
  );
}

/** The files of Version 1. */
export function firstVersion(tagline = appTagline): { path: string; content: string }[] {
  return [
    { path: 'index.html', content: indexHtml(escapeHtml(shorten(tagline, 140))) },
    { path: 'style.css', content: styleCss },
    { path: 'app.js', content: appJs },
  ];
}

/** One line of at most `length` characters. */
export function shorten(text: string, length: number): string {
  const points = [...text.replace(/\s+/g, ' ').trim()];
  return points.length <= length ? points.join('') : `${points.slice(0, length - 1).join('')}…`;
}

const planned: Record<number, (version: number) => Feature> = {
  2: (version) =>
    section(
      version,
      'dark mode',
      `<button type="button" id="theme">Switch to dark</button>
        <style>
          :root[data-theme='dark'] { --page: #14171f; --card: #1d222d; --ink: #eef1f6; --quiet: #97a1b3; --line: #303847; }
        </style>
        <script>
          document.getElementById('theme').addEventListener('click', (event) => {
            const root = document.documentElement;
            const dark = root.dataset.theme !== 'dark';
            root.dataset.theme = dark ? 'dark' : 'light';
            event.target.textContent = dark ? 'Switch to light' : 'Switch to dark';
          });
        </script>`,
    ),
  3: (version) =>
    section(
      version,
      'progress bar',
      `<progress id="progress" max="1" value="0" aria-label="Part of the tasks that is done"></progress>
        <script>
          document.addEventListener('tasks-changed', ({ detail: { tasks } }) => {
            const bar = document.getElementById('progress');
            bar.max = Math.max(1, tasks.length);
            bar.value = tasks.filter((task) => task.done).length;
          });
        </script>`,
    ),
  4: (version) =>
    section(
      version,
      'clear completed',
      `<button type="button" id="clear">Clear completed tasks</button>
        <script>
          document.getElementById('clear').addEventListener('click', () => {
            document.dispatchEvent(new CustomEvent('clear-completed'));
          });
        </script>`,
    ),
  5: (version) =>
    section(
      version,
      'search',
      `<input id="search" type="search" placeholder="Find a task" aria-label="Find a task">
        <script>
          const showMatches = () => {
            const wanted = document.getElementById('search').value.trim().toLowerCase();
            for (const item of document.querySelectorAll('#tasks li')) {
              item.hidden = !item.textContent.toLowerCase().includes(wanted);
            }
          };
          document.getElementById('search').addEventListener('input', showMatches);
          document.addEventListener('tasks-changed', showMatches);
        </script>`,
    ),
};

function accent(version: number): Feature {
  const colour = `hsl(${(version * 67) % 360} 62% 46%)`;
  return section(
    version,
    'new accent colour',
    `<p class="swatch" style="background: ${colour}"></p>
        <style>
          :root { --accent: ${colour}; }
        </style>`,
  );
}

function section(version: number, name: string, body: string): Feature {
  const html = `<section class="feature" id="feature-${version}" data-feature="${name}">
        <h2>New in Version ${version}: ${name}</h2>
        ${body}
      </section>`;
  return { name, html };
}

function escapeHtml(text: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  return text.replace(/[&<>"]/g, (character) => entities[character] ?? character);
}

function indexHtml(tagline: string): string {
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>${appTitle}</title>
    <link rel="stylesheet" href="style.css">
  </head>
  <body>
    <main class="card">
      <header>
        <h1>${appTitle}</h1>
        ${badge(1)}
        <p class="tagline">${tagline}</p>
      </header>
      <form id="add">
        <input id="title" type="text" placeholder="What needs doing?" aria-label="New task" autocomplete="off" required>
        <button type="submit">Add</button>
      </form>
      <ul id="tasks" aria-live="polite"></ul>
      <p id="count" class="quiet"></p>
      ${featuresMarker}
    </main>
    <script src="app.js"></script>
  </body>
</html>
`;
}

const styleCss = `:root {
  --page: #eef1f7;
  --card: #ffffff;
  --ink: #1c2333;
  --quiet: #6a7488;
  --line: #dfe4ee;
  --accent: #4457d6;
}

* {
  box-sizing: border-box;
}

body {
  margin: 0;
  min-height: 100vh;
  display: grid;
  place-items: start center;
  padding: 6vh 1rem;
  background: var(--page);
  color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif;
  transition: background 0.2s;
}

.card {
  width: min(100%, 34rem);
  padding: 2rem;
  background: var(--card);
  border-radius: 18px;
  box-shadow: 0 18px 50px rgb(28 35 51 / 12%);
}

h1 {
  display: inline-block;
  margin: 0 0.6rem 0 0;
  font-size: 1.7rem;
}

h2 {
  margin: 0 0 0.5rem;
  font-size: 0.85rem;
  color: var(--quiet);
}

.badge {
  padding: 0.15rem 0.6rem;
  border-radius: 999px;
  background: var(--accent);
  color: #fff;
  font-size: 0.8rem;
  vertical-align: middle;
}

.tagline,
.quiet {
  color: var(--quiet);
}

form {
  display: flex;
  gap: 0.6rem;
}

input {
  flex: 1;
  width: 100%;
  padding: 0.65rem 0.8rem;
  border: 1px solid var(--line);
  border-radius: 10px;
  background: transparent;
  color: inherit;
  font: inherit;
}

button {
  padding: 0.65rem 1.1rem;
  border: 0;
  border-radius: 10px;
  background: var(--accent);
  color: #fff;
  font: inherit;
  cursor: pointer;
}

ul {
  margin: 1.2rem 0 0;
  padding: 0;
  list-style: none;
}

li {
  display: flex;
  align-items: center;
  gap: 0.7rem;
  padding: 0.55rem 0;
  border-bottom: 1px solid var(--line);
}

li[hidden] {
  display: none;
}

li label {
  flex: 1;
}

li input {
  flex: none;
  width: 1.1rem;
  height: 1.1rem;
  accent-color: var(--accent);
}

li.done label {
  color: var(--quiet);
  text-decoration: line-through;
}

li button {
  padding: 0.1rem 0.6rem;
  background: transparent;
  color: var(--quiet);
}

.feature {
  margin-top: 1.4rem;
  padding-top: 1.2rem;
  border-top: 1px solid var(--line);
}

progress {
  width: 100%;
  height: 0.8rem;
  accent-color: var(--accent);
}

.swatch {
  height: 0.8rem;
  margin: 0;
  border-radius: 999px;
}

.note {
  margin: 0;
  padding-left: 0.8rem;
  border-left: 3px solid var(--accent);
}
`;

const appJs = `const storageKey = 'pocket-tasks';
const list = document.getElementById('tasks');
const count = document.getElementById('count');
const input = document.getElementById('title');

let tasks = load();

document.getElementById('add').addEventListener('submit', (event) => {
  event.preventDefault();
  const title = input.value.trim();
  if (title === '') return;
  change([...tasks, { title, done: false }]);
  input.value = '';
});

document.addEventListener('clear-completed', () => change(tasks.filter((task) => !task.done)));

document.addEventListener('DOMContentLoaded', show);

function change(next) {
  tasks = next;
  save();
  show();
}

function show() {
  list.replaceChildren(...tasks.map(toItem));
  const open = tasks.filter((task) => !task.done).length;
  count.textContent =
    tasks.length === 0 ? 'Nothing to do yet.' : open + ' of ' + tasks.length + (tasks.length === 1 ? ' task open' : ' tasks open');
  document.dispatchEvent(new CustomEvent('tasks-changed', { detail: { tasks } }));
}

function toItem(task, index) {
  const item = document.createElement('li');
  item.className = task.done ? 'done' : '';

  const box = document.createElement('input');
  box.type = 'checkbox';
  box.id = 'task-' + index;
  box.checked = task.done;
  box.addEventListener('change', () => {
    change(tasks.map((other) => (other === task ? { ...task, done: box.checked } : other)));
  });

  const label = document.createElement('label');
  label.htmlFor = box.id;
  label.textContent = task.title;

  const remove = document.createElement('button');
  remove.type = 'button';
  remove.textContent = '×';
  remove.setAttribute('aria-label', 'Remove ' + task.title);
  remove.addEventListener('click', () => change(tasks.filter((other) => other !== task)));

  item.append(box, label, remove);
  return item;
}

// Some browsers refuse storage to a page that was opened as a file: the list then lives as long as the page.
function load() {
  try {
    return JSON.parse(localStorage.getItem(storageKey)) ?? [{ title: 'Try the list', done: false }];
  } catch {
    return [{ title: 'Try the list', done: false }];
  }
}

function save() {
  try {
    localStorage.setItem(storageKey, JSON.stringify(tasks));
  } catch {
    // Nothing to do: see load().
  }
}
`;
