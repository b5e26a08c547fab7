import {
  appTitle,
  badge,
  featureOf,
  featuresMarker,
  firstVersion,
  hasFeature,
  readAppState,
  shorten,
} from '../app.js';
import { operationMark, type Conversation } from '../conversation.js';
import { describeMemory, knowsProject } from '../memory.js';
import { callTools, say, type Turn } from '../messages.js';
import { editFile, folderListing, lastCall, listFolder, nextWrite, readFile, runShell } from './calls.js';

/** Version 1: the page, then its look and behaviour, a look at the result, a closing word. */
export function buildFirstVersion(conversation: Conversation, tagline?: string): Turn {
  const files = firstVersion(tagline);
  const missing = files.flatMap(({ path, content }) => nextWrite(conversation, path, content) ?? []);
  const [next] = missing;
  if (next && missing.length === files.length) {
    return callTools(`I build ${appTitle} as three static files and begin with the page.`, next);
  }
  if (next) return callTools('Now its look and its behaviour.', ...missing);
  if (!lastCall(conversation, ({ input }) => input.command === 'ls -l')) {
    return callTools(
      'All files are written; I check that they are there.',
      runShell('ls -l', 'List the files'),
    );
  }
  return say(
    `${appTitle} is ready as Version 1: open index.html in a browser. ${operationMark(conversation.before)}`,
  );
}

/**
 * The next version: reads the page, adds a feature, moves the badge. What it adds follows from the version remembered;
 * without memory it says so, looks at the folder and relies on the page.
 */
export function buildNextVersion(conversation: Conversation, request?: string): Turn {
  const { before, calls, contents } = conversation;
  const remembers = knowsProject(before);
  if (!remembers && calls.length === 0) {
    return callTools('I have no memory of this project, so I look at the folder first.', listFolder);
  }
  const read = lastCall(conversation, ({ name, path }) => name === 'Read' && path === 'index.html');
  if (!read) {
    const memory = remembers && calls.length === 0 ? `I remember ${describeMemory(before)}. ` : '';
    return callTools(`${memory}I read the page as it is now.`, readFile(conversation, 'index.html'));
  }
  if (!read.ok) return buildFirstVersion(conversation, request);
  const html = contents.get('index.html') ?? '';
  const found = readAppState(html);
  if (!found) return noteRequest(conversation, request ?? 'Update this project.');

  const moved = lastCall(
    conversation,
    ({ name, ok, input }) => name === 'Edit' && ok && isBadge(input.new_string),
  );
  const target = (before.app?.version ?? (moved ? found.version - 1 : found.version)) + 1;
  const feature = featureOf(target, request);
  if (found.version < target && !hasFeature(html, target)) {
    const added = `${feature.html}\n      ${featuresMarker}`;
    return callTools(`I add: ${feature.name}.`, editFile(conversation, 'index.html', featuresMarker, added));
  }
  if (found.version < target) {
    const edit = editFile(conversation, 'index.html', badge(found.version), badge(target));
    return callTools(`The page shows it as Version ${target}.`, edit);
  }
  const memory = before.app ? `I remembered Version ${before.app.version}` : 'I had no memory of the project';
  const result = moved
    ? `Version ${target} of ${found.title} is ready: ${feature.name}. ${memory}.`
    : `Nothing to do: ${memory} and the page is at Version ${found.version} already.`;
  return say(`${result} ${operationMark(before)}`);
}

/** A free prompt: looks at the folder, then makes a small change that quotes the request. */
export function buildOnRequest(conversation: Conversation, mode: 'initial' | 'update'): Turn {
  const request = requestOf(conversation.prompt);
  if (!lastCall(conversation, ({ input }) => input.command === listFolder.input.command)) {
    const memory = knowsProject(conversation.before)
      ? `I remember ${describeMemory(conversation.before)}.`
      : 'I have no memory of this project.';
    return callTools(`${memory} I look at the folder first.`, listFolder);
  }
  if (conversation.before.app) return buildNextVersion(conversation, request);
  const isEmpty = folderListing(conversation)?.length === 0;
  return isEmpty && mode === 'initial'
    ? buildFirstVersion(conversation, request)
    : noteRequest(conversation, request);
}

/** Adds the request to NOTES.md: the change that fits every folder and breaks none. */
function noteRequest(conversation: Conversation, request: string): Turn {
  const path = 'NOTES.md';
  const listing = folderListing(conversation) ?? [];
  const exists = listing.includes(path) || conversation.before.files.some((file) => file.path === path);
  if (exists && !lastCall(conversation, (call) => call.path === path)) {
    return callTools('There are notes already; I read them.', readFile(conversation, path));
  }
  const seen = listing.filter((name) => name !== path).slice(0, 12);
  const entry = [
    '## Request',
    `> ${shorten(request, 500)}`,
    `Looked at: ${seen.length > 0 ? seen.join(', ') : 'an empty folder'}.`,
  ].join('\n\n');
  const earlier = conversation.contents.get(path);
  const next = nextWrite(conversation, path, `${(earlier ?? '# Notes').trimEnd()}\n\n${entry}\n`);
  if (next) return callTools('I note the request and what I found.', next);
  return say(
    `I wrote the request and what I saw of the folder to NOTES.md. ${operationMark(conversation.before)}`,
  );
}

/** The user's own text, where the prompt marks it; else the whole prompt. Only what is quoted depends on this. */
function requestOf(prompt: string): string {
  const tagged = /<instruction>([\s\S]*?)<\/instruction>/.exec(prompt)?.[1];
  const framed = /^What is wanted:\n\n([\s\S]*?)(?:\n\nEnd with [^\n]*)?$(?![\s\S])/m.exec(prompt)?.[1];
  return (tagged ?? framed ?? prompt).trim();
}

function isBadge(text: unknown): boolean {
  return typeof text === 'string' && text.includes('id="version">Version ');
}
