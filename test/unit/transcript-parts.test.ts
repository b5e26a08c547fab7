import { describe, expect, test } from '@jest/globals';
import { shownEntryOf, subagentOf } from '../../transcript/parts.js';

const said = (role: 'user' | 'assistant', content: unknown) => ({ type: role, message: { role, content } });

describe('the parts of an entry', () => {
  test('a prompt, an answer with thinking and a call, and its result', () => {
    expect(shownEntryOf(said('user', 'Build it'))).toEqual({
      role: 'user',
      parts: [{ kind: 'text', text: 'Build it' }],
    });
    expect(
      shownEntryOf(
        said('assistant', [
          { type: 'thinking', thinking: 'Hm.', signature: 'x' },
          { type: 'text', text: 'I write it.' },
          { type: 'tool_use', id: 't1', name: 'Write', input: { file_path: 'a.ts' } },
        ]),
      ),
    ).toEqual({
      role: 'assistant',
      parts: [
        { kind: 'thinking', text: 'Hm.' },
        { kind: 'text', text: 'I write it.' },
        { kind: 'tool_call', id: 't1', name: 'Write', input: { file_path: 'a.ts' } },
      ],
    });
    const result = [
      { type: 'text', text: 'one' },
      { type: 'image', source: {} },
      { type: 'text', text: 'two' },
    ];
    expect(
      shownEntryOf(
        said('user', [
          { type: 'tool_result', tool_use_id: 't1', content: result },
          { type: 'tool_result', tool_use_id: 't2', is_error: true, content: 'No such file' },
        ]),
      )?.parts,
    ).toEqual([
      { kind: 'tool_result', id: 't1', isError: false, text: 'one\n[image]\ntwo' },
      { kind: 'tool_result', id: 't2', isError: true, text: 'No such file' },
    ]);
  });

  test.each([
    ['a counter', { type: 'cost-state', totalCostUSD: 1 }],
    ['an empty text', said('assistant', [{ type: 'text', text: '' }])],
    ['no message', { type: 'assistant' }],
    ['a message that is a text', { type: 'user', message: 'x' }],
    ['content of another shape', said('user', { text: 'x' })],
    ['a block that is no object', said('assistant', ['x'])],
    ['a call without a name', said('assistant', [{ type: 'tool_use', id: 't1' }])],
  ])('%s says nothing', (_, entry) => {
    expect(shownEntryOf(entry)).toBeNull();
  });

  test('a result whose content is nothing that is known has no text', () => {
    const odd = said('user', [{ type: 'tool_result', tool_use_id: 't1', content: { deep: ['x'] } }]);
    expect(shownEntryOf(odd)?.parts).toEqual([{ kind: 'tool_result', id: 't1', isError: false, text: '' }]);
  });

  test('a system entry, and where a subagent is named', () => {
    const compacted = { type: 'system', subtype: 'compact_boundary', content: 'Conversation compacted' };
    expect(shownEntryOf(compacted)).toEqual({
      role: 'system',
      parts: [{ kind: 'text', text: 'Conversation compacted' }],
    });
    expect([subagentOf(''), subagentOf('subagents/agent-1a')]).toEqual([null, 'agent-1a']);
  });
});
