import type { TurnBlock } from '../../dev/offline-model/messages.js';
import type { OfflineRequest } from '../../dev/offline-model/request-log.js';
import type { ChainStack } from '../support/chain-stack.js';

/** The scripted model, playing an attacker. */

export const call = (name: string, input: Record<string, unknown>): TurnBlock => ({
  type: 'tool_use',
  name,
  input,
});
export const bash = (command: string) => call('Bash', { command, description: 'x', timeout: 600_000 });

/** What the tools answered in the newest message of a request. */
export function toolResults({ bodyText }: OfflineRequest): string[] {
  const { messages } = JSON.parse(bodyText) as {
    messages: { content: string | { type: string; content?: unknown }[] }[];
  };
  const content =
    messages.findLast((message) => JSON.stringify(message).includes('tool_result'))?.content ?? [];
  return (Array.isArray(content) ? content : [])
    .filter(({ type }) => type === 'tool_result')
    .map((block) =>
      typeof block.content === 'string'
        ? block.content
        : ((block.content ?? []) as { text?: string }[]).map(({ text = '' }) => text).join(''),
    );
}

/** Lets the next request that matches have these calls, and returns the request that brings their results, held. */
export function attack(stack: ChainStack, when: (request: OfflineRequest) => boolean, ...calls: TurnBlock[]) {
  const asked = stack.model.inject({ when, answer: () => ({ content: calls, stopReason: 'tool_use' }) });
  const answered = stack.model.inject({ when, hold: 'before' });
  return { asked, answered };
}
