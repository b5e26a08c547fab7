import { describe, expect, it } from '@jest/globals';
import { questionMessage, questionTask } from '../../agent/kinds/question.js';
import { questionText } from '../../cli/commands/chat.js';
import { type SessionId, parseProjectId } from '../../contracts/ids.js';
import {
  type Question,
  defaultChatPolicy,
  parseAsk,
  parseSessionAnswer,
  parseSessionRequest,
} from '../../contracts/question.js';
import { checkDefinition } from '../../definition/check.js';
import { shippedDefinition } from '../../definition/shipped.js';
import { questionOf } from '../../dev/offline-model/conversation.js';
import { chatWorkflowId } from '../../temporal/names.js';

const projectId = parseProjectId('p-1');

describe('the message of a question', () => {
  it('ends with the question, word for word', () => {
    const question = 'The question:\n\n/compact now; what then?';
    expect(questionMessage(question, []).endsWith(`\n\nThe question:\n\n${question}`)).toBe(true);
    expect(questionMessage('/compact', [])).not.toMatch(/^\s*\//);
  });

  it('tells what the session does not know, the oldest first, and of much the newest', () => {
    const message = questionMessage('And?', [
      { question: 'One?', reply: '1' },
      { question: 'Two?', reply: '2' },
    ]);
    expect(message.indexOf('One?')).toBeLessThan(message.indexOf('Two?'));
    expect(message.indexOf('Two?')).toBeLessThan(message.indexOf('And?'));
    const many = Array.from({ length: 20 }, (_, index) => ({
      question: `Question ${index}?`,
      reply: 'x'.repeat(10_000),
    }));
    const long = questionMessage('And?', many);
    expect(long.length).toBeLessThan(25_000);
    expect(long).toContain('Question 19?');
    expect(long).not.toContain('Question 2?');
  });

  it('is quoted by the offline model without what stands around the question', () => {
    expect(questionOf(questionMessage('What is this?', [{ question: 'One?', reply: '1' }]))).toBe(
      'What is this?',
    );
    expect(questionOf('Plain words')).toBe('Plain words');
  });
});

describe('the tools of a question', () => {
  it('read and nothing else, whatever the definition allows its steps', () => {
    expect(questionTask(shippedDefinition)).toEqual({
      name: 'chat_plan',
      kind: 'question',
      allowedTools: ['Glob', 'Grep', 'Read'],
    });
    const { definition } = checkDefinition({ tools: ['Bash', 'Read', 'Write'] });
    expect(questionTask(definition).allowedTools).toEqual(['Read']);
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
    expect(parseAsk({ questionId: '7', when: 'committed' })).toEqual({
      questionId: '7',
      when: 'committed',
    });
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
    expect(parseAsk({ questionId: '1; DROP', when: 'now' })).toBeNull();
  });
});

describe('a chat', () => {
  it('has an id that reads back, and room for eight questions', () => {
    expect(chatWorkflowId({ projectId, chatId: 'c' })).toBe('chat/p-1/c');
    expect(defaultChatPolicy.maxPending).toBe(8);
  });

  it('is shown question by question', () => {
    const asked: Question = {
      ...{ questionId: '1', projectId, chatId: 'c', messageId: 'm', question: 'Why?\nHow?', reply: 'So.' },
      ...{ state: 'answered', kind: 'side_branch', when: 'now', aside: false, failure: null },
      headSessionId: '11111111-aaaa' as SessionId,
      sessionId: '22222222-bbbb' as SessionId,
      askedAt: new Date('2026-11-22T18:00:00Z'),
      answeredAt: new Date('2026-11-22T18:00:01Z'),
    };
    expect(questionText(asked)).toBe(
      '2026-11-22 18:00:00Z  m  side_branch  11111111 -> 22222222\n> Why?\n> How?\nSo.',
    );
    const failure = { code: 'MODEL_REFUSED', message: 'No.', remedy: 'Ask otherwise.' } as const;
    expect(
      questionText({ ...asked, reply: null, kind: null, sessionId: null, state: 'failed', failure }),
    ).toBe('2026-11-22 18:00:00Z  m  failed\n> Why?\n> How?\nMODEL_REFUSED: No.');
  });
});
