import { operationMark, readConversation, type Conversation } from './conversation.js';
import type { StepHint } from './headers.js';
import { blocksOf, say, textOf, type JsonSchema, type MessagesRequest, type Turn } from './messages.js';
import { buildFirstVersion, buildNextVersion, buildOnRequest } from './plans/build.js';
import { chat } from './plans/chat.js';
import { delegate, workAsSubagent } from './plans/delegate.js';
import { writeDocs } from './plans/docs.js';
import { fillSchema } from './plans/fill-schema.js';
import { submit } from './plans/submit.js';
import { summarize } from './plans/talk.js';
import { work } from './plans/work.js';

/**
 * The model's next turn, for the agent or for a subagent. Pure: it follows from the received messages and the step
 * alone, and nothing is kept in between.
 */
export function nextTurn(request: MessagesRequest, hint: StepHint, isSubagent = false): Turn {
  const conversation = readConversation(request);
  if (hint.kind === 'compaction' || asksForSummary(request)) return summarize(conversation);
  if (conversation.tools.size === 0) return answerSideRequest(request);
  if (isSubagent) return giveUp(conversation) ?? workAsSubagent(conversation);
  if (hint.kind === 'question') return chat(conversation);
  return giveUp(conversation) ?? play(conversation, hint);
}

/** A full context is compacted in the middle of any step; no header says so. */
function asksForSummary({ messages }: MessagesRequest): boolean {
  return blocksOf(messages.at(-1)?.content).some((block) =>
    /^CRITICAL: Respond with TEXT ONLY[\s\S]*<summary>/.test(textOf(block)),
  );
}

function play(conversation: Conversation, { step, kind, role, mode, instruction }: StepHint): Turn {
  if (kind === 'submission') return submit(conversation, step);
  if (conversation.cwd === undefined) {
    return say(
      `I cannot tell which folder I work in, so I change nothing. ${operationMark(conversation.before)}`,
    );
  }
  if (role !== 'build' && step !== undefined) {
    return step === 'docs'
      ? writeDocs(conversation)
      : (delegate(conversation, step) ?? work(conversation, step));
  }
  if (instruction === 'free') return buildOnRequest(conversation, mode);
  return mode === 'initial' ? buildFirstVersion(conversation) : buildNextVersion(conversation);
}

const failuresInARow = 4;

/** Tools that are refused repeatedly end the turn: a plan must not ask forever. */
function giveUp({ calls, before }: Conversation): Turn | undefined {
  const last = calls.slice(-failuresInARow);
  if (last.length < failuresInARow || last.some(({ ok }) => ok)) return undefined;
  return say(`I could not finish: ${last[0]?.result.slice(0, 300) ?? ''} ${operationMark(before)}`);
}

/** Requests without tools are the agent's own side questions (a title, a topic): a short answer in the form asked for. */
function answerSideRequest(request: MessagesRequest): Turn {
  const outputConfig = request.output_config as { format?: { schema?: JsonSchema } } | undefined;
  const schema = outputConfig?.format?.schema;
  const asked = blocksOf(request.messages.at(-1)?.content).map(textOf).join(' ');
  const title = asked.split(/\s+/).filter(Boolean).slice(0, 6).join(' ') || 'New session';
  return say(schema ? JSON.stringify(fillSchema(schema, title)) : title);
}
