import { listFeatures } from '../app.js';
import { operationMark, type Conversation } from '../conversation.js';
import { describeMemory, knowsProject } from '../memory.js';
import { callTools, say, type Turn } from '../messages.js';
import { folderListing, lastCall, listFolder, nextWrite, readFile } from './calls.js';

/** Writes README.md from memory; one that is known is read before it is written again. */
export function writeDocs(conversation: Conversation): Turn {
  const { before } = conversation;
  const path = 'README.md';
  if (!knowsProject(before) && conversation.calls.length === 0) {
    return callTools('I have no memory of this project, so I look at the folder first.', listFolder);
  }
  const exists =
    folderListing(conversation)?.includes(path) || before.files.some((file) => file.path === path);
  if (exists && !lastCall(conversation, (call) => call.path === path)) {
    return callTools(
      `I remember ${describeMemory(before)}. I read the README as it is now.`,
      readFile(conversation, path),
    );
  }
  const next = nextWrite(conversation, path, readme(conversation));
  if (next) return callTools('I write the README.', next);
  return say(`README.md describes the project. ${operationMark(before)}`);
}

function readme(conversation: Conversation): string {
  const { before, contents } = conversation;
  const files = before.files.filter(({ path }) => path !== 'README.md');
  if (!before.app) {
    const names = files.length > 0 ? files.map(({ path }) => path) : (folderListing(conversation) ?? []);
    return ['# Project', 'Files:', names.map((name) => `- \`${name}\``).join('\n')].join('\n\n') + '\n';
  }
  const features = listFeatures(contents.get('index.html') ?? '');
  return (
    [
      `# ${before.app.title}`,
      before.metadata?.description ?? 'A to-do list that runs in the browser, without a server or a build.',
      `Version ${before.app.version}. Open \`index.html\` in a browser.`,
      ...(features.length > 0 ? ['## Features', features.map((feature) => `- ${feature}`).join('\n')] : []),
      '## Files',
      files.map(({ path, purpose }) => `- \`${path}\`: ${purpose}`).join('\n'),
    ].join('\n\n') + '\n'
  );
}
