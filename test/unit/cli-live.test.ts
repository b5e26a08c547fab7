import { PassThrough } from 'node:stream';
import { expect, it } from '@jest/globals';
import type { LiveEntry, WatchItem } from '../../contracts/events.js';
import { progressLine } from '../../cli/follow.js';
import { createDoing, itemLines, saidLines } from '../../cli/live.js';
import { createLiveView } from '../../cli/live-view.js';
import { jsonLine } from '../../cli/output.js';

/** Texts that would move the cursor, name the window and hide what follows. */
const hostile = '\u001b]0;owned\u0007\u001b[2Jgone\r\nnext\u009b31m';
const live = {
  cursor: '7',
  projectId: 'shop',
  step: 'build',
  questionId: null,
  attemptId: '1',
  sessionId: 's',
};
const entryOf = (parts: LiveEntry['parts'], changes: object = {}) =>
  ({
    ...{ ...live, type: 'live.entry', entryId: 'e', role: 'assistant', subagent: null, parts },
    ...changes,
  }) as LiveEntry;
const entry = entryOf([
  { kind: 'thinking', text: 'Hm.' },
  { kind: 'text', text: hostile },
  { kind: 'tool_call', id: 't', name: 'Write', input: { file_path: `src/${hostile}`, content: 'x' } },
]);
const text = (message: number, said: string, attemptId = '1') =>
  ({ ...live, type: 'live.text', attemptId, message, text: said }) as WatchItem;
const event = (type: string, data: object) =>
  ({
    ...{ type, cursor: '8', id: 8, at: '2026-11-26T10:00:00.000Z', projectId: 'shop' },
    ...{ versionId: null, buildId: null, chainId: null, data },
  }) as unknown as WatchItem;
const control = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/;

it('what a model wrote reaches no terminal as a control character, and stays on one line', () => {
  const lines = itemLines(entry, 200, { ofProject: true });
  expect(lines).toHaveLength(2);
  const said = saidLines(entry, 'build', 80);
  expect(said).toHaveLength(3);
  for (const line of [...lines, ...said])
    expect([line, control.test(line) || line.includes('\n')]).toEqual([line, false]);
  expect(lines[1]).toMatch(/^ {2}build {2}Write src\//);
  expect(control.test(jsonLine(entry))).toBe(false);
  expect(JSON.parse(jsonLine(entry))).toEqual(entry);
});

it('an event that this version does not know is shown by its name', () => {
  expect(itemLines(event('session.archived', {}), 200, { ofProject: false })).toEqual([
    expect.stringMatching(/ shop {2}- {2}session\.archived$/),
  ]);
});

it('says whole what a model says, wrapped, a line per tool, and of results the errors', () => {
  const call = { kind: 'tool_call', id: 't', name: 'Read', input: { file_path: 'a' } } as const;
  const words = { kind: 'text', text: 'One two three four five six seven.\n\nEight.' } as const;
  expect(saidLines(entryOf([words, call]), 'docs', 30)).toEqual([
    '  docs  One two three four',
    '        five six seven.',
    '',
    '        Eight.',
    '  docs  Read a',
  ]);
  const failed = { kind: 'tool_result', id: 't', isError: true, text: 'No such file.' } as const;
  const result = entryOf([words, failed, { ...failed, isError: false }], { role: 'user' });
  expect(saidLines(result, 'docs', 80)).toEqual(['  docs  error: No such file.']);
  // What a subagent says is for the agent.
  expect(saidLines(entryOf([words, call], { subagent: 'agent-1' }), 'docs', 80)).toEqual(['  docs  Read a']);
});

it('tells what runs just now: turns, the newest text or tool, and of a further attempt why', () => {
  const doing = createDoing();
  const line = () => {
    const progress = doing.progress(12);
    return progress && progressLine(progress, 8, 5_000);
  };
  expect(line()).toBeNull();
  doing.add(event('step.started', { step: 'build', attempt: 1 }));
  expect(line()).toBe('build     5.0 s');
  for (const said of ['Let me ', 'look at ', 'the files.']) doing.add(text(1, said));
  expect(line()).toBe('build     t the files.  5.0 s');
  doing.add(entryOf([{ kind: 'text', text: 'Let me look at the files.' }]));
  doing.add(entry);
  doing.add(entryOf([{ kind: 'tool_result', id: 't', isError: false, text: 'ok' }], { role: 'user' }));
  expect(line()).toMatch(/^build {5}1 turn {2}Write src\//);
  doing.add(entryOf([{ kind: 'text', text: 'Done.' }]));
  expect(line()).toBe('build     2 turns  Done.  5.0 s');
  doing.add(event('step.failed', { step: 'build', code: 'MODEL_OVERLOADED' }));
  expect(line()).toBeNull();
  doing.add(event('step.started', { step: 'build', attempt: 2 }));
  expect(line()).toBe('build     try 2  after: MODEL_OVERLOADED  5.0 s');
  doing.add(event('step.committed', { step: 'build' }));
  expect(line()).toBeNull();
});

it('keeps one line that changes on a terminal, and none elsewhere', () => {
  const written = (isTTY: boolean) => {
    const stream = Object.assign(new PassThrough(), { isTTY, columns: 40 });
    const view = createLiveView(stream as unknown as NodeJS.WriteStream);
    view.show(`build ${hostile}`);
    view.say(`a line ${hostile}`);
    view.clear();
    return { width: view.width, text: String(stream.read() ?? '') };
  };
  const terminal = written(true);
  expect(terminal.width).toBe(39);
  // Our own sequences: begin the line anew, and never let it wrap.
  const ours = terminal.text.split(/\r\x1b\[K|\x1b\[\?7[lh]/);
  expect(ours).toEqual([
    '',
    '',
    expect.stringMatching(/^build .*gone next/),
    '',
    expect.stringMatching(/^a line [^]*\n$/),
    '',
  ]);
  for (const part of ours) expect(control.test(part)).toBe(false);
  expect(written(false)).toEqual({ width: 80, text: expect.stringMatching(/^a line [^]*next.31m\n$/) });
});
