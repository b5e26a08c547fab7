import { shorten } from '../app.js';
import { operationMark, type Conversation } from '../conversation.js';
import { callTools, say, type Turn } from '../messages.js';
import { folderListing, lastCall, listFolder, nextWrite } from './calls.js';

/**
 * A step of which only the name is known: looks at the folder and writes what it saw to a file of that name. It works
 * without tools that it does not have or may not use.
 */
export function work(conversation: Conversation, step: string): Turn {
  const { tools, before } = conversation;
  const looked = lastCall(conversation, ({ input }) => input.command === listFolder.input.command);
  if (tools.has('Bash') && !looked) {
    return callTools(`I look at the folder, for the step ${step}.`, listFolder);
  }
  const path = `${step}.md`;
  const names = folderListing(conversation)?.filter((name) => name !== path);
  const next =
    tools.has('Write') && mayWrite(conversation, path)
      ? nextWrite(conversation, path, noteOf(step, names, valuesIn(conversation.prompt)))
      : undefined;
  if (next?.name === 'Read') return callTools(`There is a ${path} already; I read it.`, next);
  if (next) return callTools(`I write what I found to ${path}.`, next);

  const seen = names === undefined ? 'I could not look at the folder' : `I saw ${countOf(names)}`;
  const wrote = lastCall(conversation, (call) => call.name === 'Write' && call.path === path)?.ok;
  return say(`${seen} and ${wrote ? `wrote ${path}` : 'wrote nothing'}. ${operationMark(before)}`);
}

/** An overwrite that was refused because the file was not read gets a second try; any other refusal is final. */
function mayWrite({ calls }: Conversation, path: string): boolean {
  const refused = calls.filter((call) => call.name === 'Write' && call.path === path && !call.ok);
  return refused.length < 2 && refused.every(({ result }) => /has not been read|modified since/.test(result));
}

function noteOf(step: string, names: readonly string[] | undefined, values: string | undefined): string {
  const listing = names?.map((name) => `- \`${name}\``).join('\n') || 'Nothing was seen in the folder.';
  const parts = [`# ${step}`, listing, ...(values === undefined ? [] : [`Values: ${values}`])];
  return `${parts.join('\n\n')}\n`;
}

/** The JSON object after the word `Values:`, on one line; undefined when there is none. */
function valuesIn(prompt: string): string | undefined {
  const start = /Values:[^{]*(?=\{)/.exec(prompt);
  if (!start) return undefined;
  const text = prompt.slice(start.index + start[0].length);
  // It ends at the first brace that makes it whole: others may stand inside, and more text may follow.
  for (let end = text.indexOf('}'); end !== -1; end = text.indexOf('}', end + 1)) {
    try {
      return shorten(JSON.stringify(JSON.parse(text.slice(0, end + 1))), 500);
    } catch {
      // Not whole yet.
    }
  }
  return undefined;
}

function countOf(names: readonly string[]): string {
  return names.length === 1 ? 'one name in the folder' : `${names.length} names in the folder`;
}
