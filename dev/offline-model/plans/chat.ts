import { shorten } from '../app.js';
import { operationMark, questionOf, type Conversation } from '../conversation.js';
import { describeMemory, knowsProject } from '../memory.js';
import { callTools, say, type Turn } from '../messages.js';
import { lastCall, readFile } from './calls.js';

/**
 * A chat turn: says what is remembered and changes nothing. A file that the question names is read first, so that the
 * answer is of the file as it is now.
 */
export function chat(conversation: Conversation): Turn {
  const { before, cwd } = conversation;
  const question = questionOf(conversation.prompt);
  const path = /\b[\w-]+(?:\/[\w-]+)*\.(?:html|css|js|ts|md|json)\b/.exec(question)?.[0];
  const read = path && lastCall(conversation, (call) => call.name === 'Read' && call.path === path);
  if (path && cwd !== undefined && !read) {
    return callTools(`I look into ${path}.`, readFile(conversation, path));
  }
  const memory = knowsProject(before)
    ? `I remember ${describeMemory(before)}.`
    : `I have no memory of this project (${describeMemory(before)}).`;
  const files = before.files.map(({ path, purpose }) => `- ${path}: ${purpose}`).join('\n');
  return say(
    [
      `You asked: “${shorten(question, 120)}”`,
      ...(path && read ? [aboutFile(conversation, path, read.ok)] : []),
      memory,
      ...(files ? [files] : []),
      ...(before.lastRequest ? [`The last request was: “${shorten(before.lastRequest, 120)}”`] : []),
      operationMark(before),
    ].join('\n\n'),
  );
}

function aboutFile({ contents }: Conversation, path: string, found: boolean): string {
  const text = contents.get(path);
  if (!found || text === undefined) return `I cannot read ${path}.`;
  const lines = text.trimEnd().split('\n');
  return `${path} has ${lines.length} lines and begins with “${shorten(lines[0] ?? '', 60)}”.`;
}
