import { shorten } from '../app.js';
import type { Conversation } from '../conversation.js';
import { rememberLine } from '../memory.js';
import { say, type Turn } from '../messages.js';

/** The answer to a compaction request: a summary that carries all that is remembered, earlier summaries included. */
export function summarize({ now, calls, prompt }: Conversation): Turn {
  // The closing reply of the last operation is kept beside the summary and not shown here: its calls show it.
  const remembered = calls.length > 0 ? { ...now, lastRequest: shorten(prompt, 200) } : now;
  const files = now.files.map(({ path, purpose }) => `   - ${path}: ${purpose}`).join('\n') || '   - none';
  return say(
    `<analysis>
I go through what was asked and done, and keep the files with their purpose.
</analysis>

<summary>
1. Primary Request and Intent:
   Build and maintain ${now.app ? `${now.app.title}, now at Version ${now.app.version}` : 'the project in this folder'}.

2. Files and Code Sections:
${files}

3. Current Work:
   ${now.operations} operations are finished${now.metadata ? `; the metadata names it ${escapeTags(now.metadata.name)}` : ''}.

${rememberLine(remembered)}
</summary>`,
  );
}

function escapeTags(text: string): string {
  return text.replaceAll('<', '‹').replaceAll('>', '›');
}
