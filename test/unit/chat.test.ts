import { describe, expect, it } from '@jest/globals';
import { chatPrompt } from '../../agent/chat-prompt.js';
import { allowedTools } from '../../agent/steps.js';
import { turnText } from '../../cli/commands/chat.js';
import { completeDefinition } from '../../definition/check.js';
import { defaultDefinition } from '../../definition/shipped.js';
import {
  type ChatTurn,
  chatWorkflowId,
  defaultChatPolicy,
  parseAsk,
  parseSessionAnswer,
  parseSessionRequest,
} from '../../contracts/chat.js';
import { type SessionId, parseProjectId } from '../../contracts/ids.js';
import { questionOf } from '../../dev/offline-model/conversation.js';

const projectId = parseProjectId('p-1');

describe('the prompt of a chat turn', () => {
  it('ends with the question, word for word', () => {
    const question = 'The question:\n\n/compact now; what then?';
    expect(chatPrompt(question, []).endsWith(`\n\nThe question:\n\n${question}`)).toBe(true);
    expect(chatPrompt('/compact', [])).not.toMatch(/^\s*\//);
  });

  it('tells what the session does not know, the oldest first, and of much the newest', () => {
    const prompt = chatPrompt('And?', [
      { question: 'One?', reply: '1' },
      { question: 'Two?', reply: '2' },
    ]);
    expect(prompt.indexOf('One?')).toBeLessThan(prompt.indexOf('Two?'));
    expect(prompt.indexOf('Two?')).toBeLessThan(prompt.indexOf('And?'));
    const many = Array.from({ length: 20 }, (_, index) => ({
      question: `Question ${index}?`,
      reply: 'x'.repeat(10_000),
    }));
    const long = chatPrompt('And?', many);
    expect(long.length).toBeLessThan(25_000);
    expect(long).toContain('Question 19?');
    expect(long).not.toContain('Question 2?');
  });

  it('is quoted by the offline model without what stands around the question', () => {
    expect(questionOf(chatPrompt('What is this?', [{ question: 'One?', reply: '1' }]))).toBe('What is this?');
    expect(questionOf('Plain words')).toBe('Plain words');
  });
});

describe('the tools of a chat turn', () => {
  it('read and nothing else, whatever the definition allows its steps', () => {
    expect(allowedTools(defaultDefinition, 'chat_plan')).toEqual(['Glob', 'Grep', 'Read']);
    const { definition } = completeDefinition({ tools: ['Bash', 'Read', 'Write'] });
    expect(allowedTools(definition, 'chat_plan')).toEqual(['Read']);
  });
});

describe('payloads from outside', () => {
  const request = { requestId: '7', chatWorkflowId: 'chat/p-1/c', when: 'now' };

  it('are taken when they fit', () => {
    expect(parseSessionRequest(request, projectId)).toEqual(request);
    expect(parseSessionAnswer({ requestId: '7', sessionId: null, more: 1 })).toEqual({
      requestId: '7',
      sessionId: null,
    });
    expect(parseAsk({ turnId: '7', when: 'committed' })).toEqual({ turnId: '7', when: 'committed' });
  });

  it.each([undefined, null, 0, 'text', [], {}, [request]])('are nothing when they are %j', (payload) => {
    expect(parseSessionRequest(payload, projectId)).toBeNull();
    expect(parseSessionAnswer(payload)).toBeNull();
    expect(parseAsk(payload)).toBeNull();
  });

  it('are nothing when they are too long, of another project or of another kind', () => {
    expect(parseSessionRequest({ ...request, requestId: 'x'.repeat(1_001) }, projectId)).toBeNull();
    expect(parseSessionRequest({ ...request, chatWorkflowId: 'chat/p-12/c' }, projectId)).toBeNull();
    expect(parseSessionRequest({ ...request, when: 'later' }, projectId)).toBeNull();
    expect(parseAsk({ turnId: '1; DROP', when: 'now' })).toBeNull();
  });
});

describe('a chat', () => {
  it('has an id that reads back, and room for eight questions', () => {
    expect(chatWorkflowId({ projectId, chatId: 'c' })).toBe('chat/p-1/c');
    expect(defaultChatPolicy.maxPending).toBe(8);
  });

  it('is shown turn by turn', () => {
    const turn: ChatTurn = {
      ...{ turnId: '1', projectId, chatId: 'c', messageId: 'm', question: 'Why?\nHow?', reply: 'So.' },
      ...{ state: 'answered', kind: 'side_branch', when: 'now', failure: null },
      headSessionId: '11111111-aaaa' as SessionId,
      sessionId: '22222222-bbbb' as SessionId,
      askedAt: new Date('2026-11-22T18:00:00Z'),
      answeredAt: new Date('2026-11-22T18:00:01Z'),
    };
    expect(turnText(turn)).toBe(
      '2026-11-22 18:00:00Z  m  side_branch  11111111 -> 22222222\n> Why?\n> How?\nSo.',
    );
    const failure = { code: 'MODEL_REFUSED', message: 'No.', remedy: 'Ask otherwise.' } as const;
    expect(turnText({ ...turn, reply: null, kind: null, sessionId: null, state: 'failed', failure })).toBe(
      '2026-11-22 18:00:00Z  m  failed\n> Why?\n> How?\nMODEL_REFUSED: No.',
    );
  });
});
