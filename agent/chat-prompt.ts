/** What is said of a chat before its question; the model sees it in the place of a step's message. */

/** A question of this chat that the session does not know, with its reply. */
export interface EarlierTurn {
  question: string;
  reply: string;
}

const noteLength = 20_000;
const turnLength = 4_000;

/**
 * The user message of a chat turn. The rules stand here, for a fork ignores another system prompt. `unknown` are earlier
 * turns of the chat that the session does not hold, the oldest first; of many the newest are told.
 */
export function chatPrompt(question: string, unknown: readonly EarlierTurn[]): string {
  return [
    'Chat: a question about this project. Answer it in words. Nothing may be changed now, and only the tools that read ' +
      'files are there; a plan for later is an answer, too.',
    ...noteOf(unknown),
    `${questionMark}\n\n${question}`,
  ].join('\n\n');
}

/** The user message that lets a turn go on whose agent was stopped half-way. */
export const continueChatPrompt =
  'Chat, continued. You were stopped before you had answered; what you did until then is above and stands. Go on from ' +
  'there and answer the question. Nothing may be changed.';

const questionMark = 'The question:';

function noteOf(unknown: readonly EarlierTurn[]): string[] {
  let left = noteLength;
  const told: string[] = [];
  for (const { question, reply } of [...unknown].reverse()) {
    const turn = `Question: ${shorten(question)}\n\nAnswer: ${shorten(reply)}`;
    if (turn.length > left) break;
    left -= turn.length;
    told.unshift(turn);
  }
  if (told.length === 0) return [];
  return [['Said earlier in this chat, while the project went on without it:', ...told, '---'].join('\n\n')];
}

function shorten(text: string): string {
  return text.length <= turnLength ? text : `${text.slice(0, turnLength)} …`;
}
