import { expect, it } from '@jest/globals';
import type { WatchItem } from '../../contracts/events.js';
import { doingNow, itemLines, jsonLine } from '../../cli/live.js';

/** An entry whose texts would move the cursor, name the window and hide what follows. */
const hostile = '\u001b]0;owned\u0007\u001b[2Jgone\r\nnext\u009b31m';
const entry = {
  ...{ type: 'live.entry', cursor: '7', projectId: 'shop', step: 'build', questionId: null },
  ...{ attemptId: '1', sessionId: 's', entryId: 'e', role: 'assistant', subagent: null },
  parts: [
    { kind: 'thinking', text: 'Hm.' },
    { kind: 'text', text: hostile },
    { kind: 'tool_call', id: 't', name: 'Write', input: { file_path: `src/${hostile}`, content: 'x' } },
  ],
} as unknown as WatchItem;
const control = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/;

it('what a model wrote reaches no terminal as a control character, and stays on one line', () => {
  const lines = itemLines(entry, 200, { ofProject: true });
  expect(lines).toHaveLength(2);
  for (const line of lines) expect([line, control.test(line) || line.includes('\n')]).toEqual([line, false]);
  expect(lines[1]).toMatch(/^ {2}build {2}Write src\//);
  expect(doingNow(entry)).toMatch(/^Write src\//);
  expect(control.test(jsonLine(entry))).toBe(false);
  expect(JSON.parse(jsonLine(entry))).toEqual(entry);
});

it('an event that this version does not know is shown by its name', () => {
  const event = {
    ...{ type: 'session.archived', cursor: '8', id: 8, at: '2026-11-26T10:00:00.000Z', projectId: 'shop' },
    ...{ versionId: null, buildId: null, chainId: null, data: {} },
  } as unknown as WatchItem;
  expect(itemLines(event, 200, { ofProject: false })).toEqual([
    expect.stringMatching(/ shop {2}- {2}session\.archived$/),
  ]);
});
