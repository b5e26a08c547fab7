import { describe, expect, it } from '@jest/globals';
import {
  type Entry,
  type Row,
  filtered,
  hasError,
  rowsOf,
  searchTextOf,
} from '../../dashboard/pages/transcript/rows.js';
import { editsOf, languageOf, toolName, toolSummary } from '../../dashboard/pages/transcript/tools.js';

let count = 0;
const entry = (given: Partial<Entry>): Entry => ({
  ...{
    cursor: `1.${count++}`,
    entryId: `u${count}`,
    at: '2026-11-26T10:00:00.000Z',
    type: 'user',
    role: 'user',
  },
  ...{
    subagent: null,
    isInherited: false,
    parts: [],
    isCut: false,
    images: 0,
    request: null,
    compaction: null,
    raw: null,
  },
  ...given,
});
const prompt = (text: string, rest: Partial<Entry> = {}) =>
  entry({ parts: [{ kind: 'text', text }], ...rest });
const answer = (id: string, part: Entry['parts'][number], rest: Partial<Entry> = {}) =>
  entry({
    ...{ type: 'assistant', role: 'assistant', parts: [part] },
    request: {
      ...{ id, model: 'model', stopReason: null },
      usage: { inputTokens: 1, outputTokens: count, cacheReadTokens: 0, cacheWriteTokens: 0 },
    },
    ...rest,
  });
const call = (id: string, name = 'Bash') => ({
  kind: 'tool_call' as const,
  id,
  name,
  input: { command: `run ${id}` },
});
const result = (id: string, isError = false) =>
  entry({ parts: [{ kind: 'tool_result', id, isError, text: `result of ${id}` }] });
const note = (type: string, rest: Partial<Entry> = {}) => entry({ type, role: null, ...rest });
const kindsOf = (rows: Row[]) => rows.map(({ kind }) => kind);

describe('a transcript', () => {
  it('is grouped by requests, with each result at its call, also where calls run at once', () => {
    const rows = rowsOf([
      prompt('Build it'),
      answer('m1', { kind: 'thinking', text: 'Hm.' }),
      answer('m1', call('t1')),
      result('t1'),
      answer('m1', call('t2')),
      result('t2', true),
      answer('m2', { kind: 'text', text: 'Done.' }),
      result('gone'),
    ]);
    expect(kindsOf(rows)).toEqual(['prompt', 'request', 'request', 'prompt']);
    expect(rows[1]).toMatchObject({
      blocks: [
        { kind: 'thinking' },
        { call: { id: 't1' }, result: { text: 'result of t1', isError: false } },
        { call: { id: 't2' }, result: { isError: true } },
      ],
    });
    // The last entry of an answer has all its tokens.
    expect(rows[1]).toMatchObject({ request: rows[1]?.entries.at(-2)?.request });
    expect(rows[1]?.entries).toHaveLength(5);
    // A result whose call is not there is not lost.
    expect(rows[3]).toMatchObject({ blocks: [{ kind: 'tool', result: { id: 'gone' } }] });
    expect(rows.map(hasError)).toEqual([false, true, false, false]);
  });

  it('has notes together, the summary at its compaction, and what a compaction dropped', () => {
    const rows = rowsOf([
      note('mode'),
      note('attachment/file'),
      answer('m1', { kind: 'text', text: 'One' }),
      entry({
        type: 'system/compact_boundary',
        role: 'system',
        compaction: { tokensBefore: 90, tokensAfter: null },
      }),
      prompt('Summary', { type: 'user/summary' }),
      prompt('<command-name>', { type: 'user/command' }),
      prompt('No such model', { type: 'assistant/error', role: 'assistant' }),
    ]);
    expect(kindsOf(rows)).toEqual(['notes', 'request', 'compaction', 'notes', 'error']);
    expect(rows[0]?.entries).toHaveLength(2);
    expect(rows[2]).toMatchObject({ before: 90, after: null, dropped: 1, summary: 'Summary' });
  });

  it('begins where its own entries do, whatever counters are written again', () => {
    const copied = { isInherited: true };
    const rows = rowsOf([
      note('queue-operation'),
      prompt('Before', copied),
      answer('m1', { kind: 'text', text: 'Before' }, copied),
      prompt('Now'),
      note('mode', copied),
    ]);
    expect(kindsOf(rows)).toEqual(['notes', 'prompt', 'request', 'fork', 'prompt', 'notes']);
    expect(rows[3]).toMatchObject({ copied: 3 });
    expect(kindsOf(rowsOf([prompt('Fresh')]))).toEqual(['prompt']);
  });

  it('keeps the conversations of subagents apart, each behind its head, where they run at once', () => {
    const [a, b] = [{ subagent: 'agent-a' }, { subagent: 'agent-b' }];
    const rows = rowsOf([
      answer('m1', call('t1', 'Agent')),
      prompt('Look', a),
      prompt('Look, too', b),
      answer('m2', { kind: 'text', text: 'A' }, a),
      answer('m3', { kind: 'text', text: 'B' }, b),
      result('t1'),
    ]);
    expect(rows.map(({ kind, subagent }) => `${kind} ${subagent}`)).toEqual([
      ...['request null', 'subagent agent-a', 'prompt agent-a', 'request agent-a'],
      ...['subagent agent-b', 'prompt agent-b', 'request agent-b'],
    ]);
    expect(rows[1]).toMatchObject({ requests: 1 });
    expect(new Set(rows.map(({ key }) => key)).size).toBe(rows.length);
  });

  it('is filtered by kind, and found by what is said, called and returned', () => {
    const [row] = rowsOf([
      answer('m1', { kind: 'text', text: 'Ä said' }),
      answer('m1', call('t1')),
      result('t1', true),
    ]);
    if (!row) throw new Error('There is no row.');
    expect(filtered(row, 'tools')).toMatchObject({ blocks: [{ kind: 'tool' }] });
    expect(filtered(row, 'text')).toMatchObject({ blocks: [{ kind: 'text' }] });
    expect(filtered(row, 'errors')).toMatchObject({ blocks: [{ kind: 'tool' }] });
    expect(filtered(row, 'thinking')).toBeNull();
    expect(searchTextOf(row)).toMatch(/ä said\nbash\nrun t1\nresult of t1/);
  });
});

describe('a tool', () => {
  it.each([
    ['Bash', { command: '\n  ls\npwd' }, '  ls'],
    ['Grep', { pattern: 'a|b', path: 'src' }, 'a|b  src'],
    ['mcp__chain__submit', { title: 'One\nmore', parts: [1] }, 'title: One, parts: [1]'],
    ['Read', null, ''],
    ['Read', { file_path: 7 }, 'file_path: 7'],
    ['Bash', { command: 'x'.repeat(400) }, `${'x'.repeat(300)}…`],
  ])('%s called with %j is told in a line', (name, input, line) => {
    expect(toolSummary(name, input)).toBe(line);
  });

  it('has the name of its server, and its edits', () => {
    expect([toolName('mcp__chain__submit'), toolName('Read')]).toEqual(['chain: submit', 'Read']);
    expect(editsOf('Write', { content: 'a' })).toEqual([{ before: '', after: 'a' }]);
    expect(editsOf('Edit', { old_string: 'a', new_string: 'b' })).toEqual([{ before: 'a', after: 'b' }]);
    expect(editsOf('MultiEdit', { edits: [{ old_string: 'a', new_string: 'b' }, null, 'c'] })).toHaveLength(
      1,
    );
    for (const odd of [null, 'text', { edits: 'none' }, { old_string: 1 }]) {
      expect([...editsOf('Edit', odd), ...editsOf('MultiEdit', odd), ...editsOf('Write', odd)]).toEqual([]);
    }
    expect(['a/b.TS', 'x.unknown', 'bash'].map(languageOf)).toEqual(['typescript', null, 'bash']);
  });
});
