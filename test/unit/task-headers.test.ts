import { describe, expect, it } from '@jest/globals';
import { type TaskHeaders, taskHeaders } from '../../agent/egress/task-headers.js';
import { questionTask } from '../../agent/kinds/question.js';
import { shippedDefinition } from '../../definition/shipped.js';

const docs: TaskHeaders = {
  sessionId: 'a-session',
  task: { name: 'docs', kind: 'work' },
  mode: 'update',
  instructionKind: 'none',
};

describe('the headers of a request to the model', () => {
  it('name the session and the task', () => {
    expect(taskHeaders(docs)).toEqual({
      'x-session-chain-session': 'a-session',
      'x-session-chain-step': 'docs',
      'x-session-chain-kind': 'work',
      'x-session-chain-mode': 'update',
      'x-session-chain-instruction': 'none',
    });
  });

  it('tell the role of a step that has one, and what a question is', () => {
    const task = { name: 'make', kind: 'work', role: 'build' } as const;
    expect(taskHeaders({ ...docs, task, mode: 'initial', instructionKind: 'free' })).toMatchObject({
      'x-session-chain-step': 'make',
      'x-session-chain-role': 'build',
      'x-session-chain-mode': 'initial',
      'x-session-chain-instruction': 'free',
    });
    expect(taskHeaders({ ...docs, task: questionTask(shippedDefinition) })).toMatchObject({
      'x-session-chain-step': 'chat_plan',
      'x-session-chain-kind': 'question',
    });
  });
});
