import { operationMark, type Conversation } from '../conversation.js';
import { callTools, say, type Turn } from '../messages.js';
import type { Call } from './calls.js';
import { work } from './work.js';

const parts = ['one', 'two'];

/**
 * A step that has subagents: each writes a part of it, both at the same time. Undefined where there are none, or where
 * they may not be used.
 */
export function delegate(conversation: Conversation, step: string): Turn | undefined {
  const { tools, calls, before } = conversation;
  if (!tools.has('Agent')) return undefined;
  const delegated = calls.filter(({ name }) => name === 'Agent');
  if (delegated.length === 0) {
    return callTools(
      `I have the step ${step} done by subagents.`,
      ...parts.map((part) => callSubagent(`${step}-${part}`)),
    );
  }
  const done = delegated.filter(({ ok }) => ok).length;
  return done === 0 ? undefined : say(`${done} subagents have reported. ${operationMark(before)}`);
}

/** What a subagent does of the step: the part that its prompt names. */
export function workAsSubagent(conversation: Conversation): Turn {
  return work(conversation, partMark.exec(conversation.prompt)?.[1] ?? 'part');
}

const partMark = /The part: ([\w-]+)/;

function callSubagent(part: string): Call {
  return {
    name: 'Agent',
    input: {
      description: `Write ${part}`,
      prompt: `Look at the folder and write what is in it. The part: ${part}`,
      subagent_type: 'general-purpose',
    },
  };
}
