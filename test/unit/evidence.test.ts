import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { describe, expect, it } from '@jest/globals';
import { judgeEvidence } from '../../agent/evidence.js';
import { metadataTool } from '../../definition/metadata.js';
import { metadataSchema } from '../../definition/metadata-schema.js';
import { findHole } from '../../transcript/hole.js';

/** Entries in the shape in which Claude Code 2.1.330 stores them, cut to what is read. */
let uuids = 0;
const entry = (fields: Record<string, unknown> & { type: string }): SessionStoreEntry => ({
  uuid: `uuid-${(uuids += 1)}`,
  ...fields,
});
const prompt = (content: unknown = 'Step: build.') =>
  entry({ type: 'user', message: { role: 'user', content } });
const toolResult = (id: string, isError = false) =>
  prompt([{ type: 'tool_result', tool_use_id: id, content: 'out', ...(isError ? { is_error: true } : {}) }]);
let messages = 0;
const assistant = (stopReason: string | null, content: object[], over: object = {}) =>
  entry({
    type: 'assistant',
    message: {
      id: `msg-${(messages += 1)}`,
      model: 'claude-opus-5-5',
      stop_reason: stopReason,
      content,
      usage: { input_tokens: 1, output_tokens: 1 },
    },
    ...over,
  });
const text = { type: 'text', text: 'I made it.' };
const bash = { type: 'tool_use', id: 'toolu_1', name: 'Bash', input: { command: 'ls' } };
const ended = () => assistant('end_turn', [text]);
const callsTool = () => assistant('tool_use', [bash]);
const synthetic = (over: object = {}) =>
  entry({
    type: 'assistant',
    message: { id: 'made-up', model: '<synthetic>', stop_reason: 'stop_sequence', content: [text] },
    ...over,
  });
const apiError = () => synthetic({ isApiErrorMessage: true, error: 'overloaded' });
const attachment = () => entry({ type: 'attachment' });
/** What stands in every transcript and has no uuid. */
const besides = (): SessionStoreEntry[] => [
  { type: 'queue-operation' },
  { type: 'mode' },
  { type: 'atis-latch' },
  { type: 'tools-used' },
  { type: 'last-prompt' },
];
const costState: SessionStoreEntry = { type: 'cost-state', totalCostUSD: 1, modelUsage: {} };
const metadata = { name: 'Shop', description: 'Sells.', tags: ['shop'], recommendations: ['Sell more.'] };
const submits = (input: object = metadata) =>
  assistant('tool_use', [{ type: 'tool_use', id: 'toolu_m', name: metadataTool, input }]);
const boundary = (postTokens?: number) =>
  entry({
    type: 'system',
    subtype: 'compact_boundary',
    uuid: 'boundary',
    parentUuid: null,
    compactMetadata: {
      trigger: 'manual',
      preTokens: 9000,
      ...(postTokens === undefined ? {} : { postTokens }),
    },
  });
const summary = (parentUuid = 'boundary') => entry({ type: 'user', isCompactSummary: true, parentUuid });

const judged = (step: Parameters<typeof judgeEvidence>[0], ...own: SessionStoreEntry[]) =>
  judgeEvidence(step, [...besides(), ...own], metadataSchema).kind;

describe('a build, docs or any step that ends with a message', () => {
  it.each([
    ['killed before the first request: nothing is stored', [], 'nothing'],
    ['killed with the first request in flight: the prompt alone', [prompt(), attachment()], 'nothing'],
    ['killed in mid-tool: the call is stored, its result is not', [prompt(), callsTool()], 'partial'],
    [
      'killed after a tool’s result was stored',
      [prompt(), callsTool(), toolResult('toolu_1'), attachment()],
      'partial',
    ],
    [
      'killed after the final message, before the result',
      [prompt(), callsTool(), toolResult('toolu_1'), ended()],
      'finished',
    ],
    ['ended in order', [prompt(), ended(), costState], 'finished'],
    ['cut off by the output limit', [prompt(), assistant('max_tokens', [text])], 'partial'],
    ['paused by the model', [prompt(), assistant('pause_turn', [text]), costState], 'partial'],
    ['stopped at a stop sequence', [prompt(), assistant('stop_sequence', [text])], 'partial'],
    ['streamed in part: a message without a reason to stop', [prompt(), assistant(null, [text])], 'partial'],
    ['refused', [prompt(), assistant('refusal', [text])], 'nothing'],
    [
      'refused after work was done',
      [prompt(), callsTool(), toolResult('toolu_1'), assistant('refusal', [text]), apiError()],
      'nothing',
    ],
    [
      'interrupted in order: counters do not say that the work is done',
      [prompt(), callsTool(), toolResult('toolu_1'), prompt('[Request interrupted by user]'), costState],
      'partial',
    ],
    ['asked again after its end', [prompt(), ended(), prompt('Step: build, continued.')], 'partial'],
    ['an API error and nothing else', [prompt(), apiError(), costState], 'nothing'],
    ['an API error after a turn', [prompt(), callsTool(), toolResult('toolu_1'), apiError()], 'partial'],
    ['an API error that looks finished', [prompt(), { ...ended(), isApiErrorMessage: true }], 'nothing'],
    ['a message that Claude Code made up, as for an interrupted tool', [prompt(), synthetic()], 'nothing'],
    ['a turn and then a message that Claude Code made up', [prompt(), ended(), synthetic()], 'partial'],
  ] as const)('%s', (_case, own, kind) => {
    expect(judged('build', ...own)).toBe(kind);
    expect(judged('docs', ...own)).toBe(kind);
  });

  it('names the rule', () => {
    expect(judgeEvidence('build', [prompt(), ended()], metadataSchema).rule).toBe(
      'its last message ended the turn',
    );
  });

  it('passes over entries of a type or shape that it does not know', () => {
    const odd: SessionStoreEntry[] = [
      { type: 'from-a-later-version', uuid: 'later', payload: { stop_reason: 'tool_use' } },
      { type: 'assistant', uuid: 'odd', message: 'not an object' },
      { type: 'system', subtype: 'new', uuid: 'sys' },
    ];
    expect(judged('build', prompt(), ended(), ...odd.slice(0, 1), ...odd.slice(2))).toBe('finished');
    expect(judged('build', ...odd)).toBe('nothing');
  });
});

describe('a metadata step', () => {
  it.each([
    ['submitted, accepted and ended', [submits(), toolResult('toolu_m'), ended()], 'finished'],
    ['submitted and accepted, but not ended', [submits(), toolResult('toolu_m')], 'partial'],
    ['submitted, and killed before the answer', [submits()], 'partial'],
    ['submitted, not accepted, and ended', [submits(), toolResult('toolu_m', true), ended()], 'partial'],
    ['submitted what does not fit', [submits({ tags: 1 }), toolResult('toolu_m'), ended()], 'partial'],
    ['ended with words only', [ended()], 'partial'],
    ['nothing', [], 'nothing'],
  ] as const)('%s', (_case, own, kind) => {
    expect(judged('metadata', prompt(), ...own)).toBe(kind);
  });

  it('gives the value that was accepted last', () => {
    const second = { ...metadata, name: 'Shop 2' };
    const again = assistant('tool_use', [
      { type: 'tool_use', id: 'toolu_n', name: metadataTool, input: second },
    ]);
    const own = [submits(), toolResult('toolu_m'), again, toolResult('toolu_n'), ended()];
    expect(judgeEvidence('metadata', own, metadataSchema)).toMatchObject({
      kind: 'finished',
      metadata: second,
    });
  });
});

describe('a compact step', () => {
  it.each([
    ['a boundary, its summary, and a smaller context', [boundary(900), summary()], 'finished'],
    ['a boundary whose summary was not stored', [boundary(900)], 'nothing'],
    ['a summary that hangs on another boundary', [boundary(900), summary('elsewhere')], 'nothing'],
    ['a context that did not get smaller', [boundary(9000), summary()], 'nothing'],
    ['a context of unknown size', [boundary(), summary()], 'nothing'],
    ['an answer, and no boundary', [ended()], 'nothing'],
  ] as const)('%s', (_case, own, kind) => {
    expect(judged('compact', prompt('/compact'), ...own)).toBe(kind);
  });
});

describe('findHole', () => {
  const chained = (...ids: string[]): SessionStoreEntry[] =>
    ids.map((uuid, index) => ({ type: 'user', uuid, parentUuid: ids[index - 1] ?? null }));

  it('finds nothing in a transcript that hangs together, whatever stands between and in whatever order', () => {
    expect(findHole([])).toBeNull();
    expect(findHole([...besides(), ...chained('a', 'b', 'c'), costState])).toBeNull();
    expect(findHole(chained('a', 'b', 'c').reverse())).toBeNull();
    // After a compaction a new line begins.
    expect(findHole([...chained('a', 'b'), boundary(1), summary()])).toBeNull();
  });

  it('names the entry before which one is missing', () => {
    expect(findHole(chained('a', 'b', 'c', 'd').filter(({ uuid }) => uuid !== 'b'))).toBe('c');
    expect(findHole(chained('a', 'b').slice(1))).toBe('b');
  });
});
