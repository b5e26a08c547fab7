import { SessionChainError } from '../../contracts/failures.js';
import type { ChainDefinition } from '../../definition/definition.js';
import { answerText } from '../../transcript/entries.js';
import type { AgentTask, Kind } from './kind.js';
import { evidenceOfTurns, requireFinishedTurn } from './work.js';
import { shorten } from '../../contracts/text.js';

/** A question about the project, answered on a fork that may read and not write. */
export const question: Kind = {
  continueMessage: () =>
    'Chat, continued. You were stopped before you had answered; what you did until then is above and stands. Go on from ' +
    'there and answer the question. Nothing may be changed.',
  judge(run) {
    requireFinishedTurn(run);
    const text = answerText(run.own);
    if (text.trim() === '') throw new SessionChainError('ANSWER_UNFINISHED', 'The model gave no answer.');
    return { text, warnings: [] };
  },
  evidence(_task, own) {
    const evidence = evidenceOfTurns(own);
    return evidence.kind === 'finished' && answerText(own).trim() === ''
      ? { kind: 'partial', rule: 'its last message says nothing' }
      : evidence;
  },
};

/** The task of every question: it reads and never writes, whatever the definition lets a step do. */
export function questionTask({ tools }: Pick<ChainDefinition, 'tools'>): AgentTask {
  return {
    name: 'chat_plan',
    kind: 'question',
    allowedTools: ['Glob', 'Grep', 'Read'].filter((tool) => tools.includes(tool)),
  };
}

/** A question of this chat that the session does not know, with its reply. */
export interface Exchange {
  question: string;
  reply: string;
}

const noteLength = 20_000;
const exchangeLength = 4_000;

/**
 * The user message of a question. The rules are here, because a fork ignores a different system prompt. `unknown` are
 * earlier exchanges of the chat that the session does not hold, oldest first; of many, only the newest are included.
 * `notes` come before.
 */
export function questionMessage(
  question: string,
  unknown: readonly Exchange[],
  notes: readonly string[] = [],
): string {
  return [
    'Chat: a question about this project. Answer it in words. Nothing may be changed now, and only the tools that read ' +
      'files are there; a plan for later is an answer, too.',
    ...notes,
    ...noteOf(unknown),
    `${questionMark}\n\n${question}`,
  ].join('\n\n');
}

const questionMark = 'The question:';

function noteOf(unknown: readonly Exchange[]): string[] {
  let left = noteLength;
  const told: string[] = [];
  for (const { question, reply } of [...unknown].reverse()) {
    const exchange = `Question: ${shorten(question, exchangeLength)}\n\nAnswer: ${shorten(reply, exchangeLength)}`;
    if (exchange.length > left) break;
    left -= exchange.length;
    told.unshift(exchange);
  }
  if (told.length === 0) return [];
  return [['Said earlier in this chat, while the project went on without it:', ...told, '---'].join('\n\n')];
}
