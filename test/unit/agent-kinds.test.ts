import type { SDKResultSuccess, SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import type { AgentTask, EndedRun } from '../../agent/kinds/kind.js';
import { kinds, stepTask } from '../../agent/kinds/kinds.js';
import { questionTask } from '../../agent/kinds/question.js';
import { SessionChainError } from '../../contracts/failures.js';
import { checkDefinition } from '../../definition/check.js';
import { type StepInput, isAgentStep } from '../../definition/definition.js';
import { metadataSchema } from '../../definition/metadata-schema.js';
import { shippedDefinition } from '../../definition/shipped.js';
import { submissionTool } from '../../definition/submission.js';

/** What proves that a task is done, for each kind: of a run that ended by itself, and of an attempt whose end was not seen. */

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
const submits = (input: object = metadata, id = 'toolu_m', name = submissionTool('metadata')) =>
  assistant('tool_use', [{ type: 'tool_use', id, name, input }]);
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

const build: AgentTask = { name: 'build', kind: 'work', role: 'build', allowedTools: [] };
const docs: AgentTask = { name: 'docs', kind: 'work', allowedTools: [], writes: ['README.md', 'docs/'] };
const submission: AgentTask = {
  name: 'metadata',
  kind: 'submission',
  allowedTools: [],
  schema: metadataSchema,
};
const compaction: AgentTask = { name: 'compact', kind: 'compaction', allowedTools: [] };
const question = questionTask(shippedDefinition);

const evidence = (task: AgentTask, ...own: SessionStoreEntry[]) =>
  kinds[task.kind].evidence(task, [...besides(), ...own]);
const judge = (task: AgentTask, own: SessionStoreEntry[], over: Partial<EndedRun> = {}) =>
  kinds[task.kind].judge({
    task,
    own: [...besides(), ...own],
    result: { result: 'Done.', stop_reason: 'end_turn' } as SDKResultSuccess,
    filesTouched: [],
    compactionError: null,
    ...over,
  });
function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof SessionChainError) return error.code;
    throw error;
  }
  throw new Error('The run was expected to be judged a failure.');
}

describe('the evidence of any task that ends with a message', () => {
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
    for (const task of [build, docs, question]) expect(evidence(task, ...own).kind).toBe(kind);
  });

  it('names the rule', () => {
    expect(evidence(build, prompt(), ended()).rule).toBe('its last message ended the turn');
  });

  it('passes over entries of a type or shape that it does not know', () => {
    const odd: SessionStoreEntry[] = [
      { type: 'from-a-later-version', uuid: 'later', payload: { stop_reason: 'tool_use' } },
      { type: 'assistant', uuid: 'odd', message: 'not an object' },
      { type: 'system', subtype: 'new', uuid: 'sys' },
    ];
    expect(evidence(build, prompt(), ended(), ...odd.slice(0, 1), ...odd.slice(2)).kind).toBe('finished');
    expect(evidence(build, ...odd).kind).toBe('nothing');
  });
});

describe('the evidence of a submission', () => {
  it.each([
    ['submitted, accepted and ended', [submits(), toolResult('toolu_m'), ended()], 'finished'],
    ['submitted and accepted, but not ended', [submits(), toolResult('toolu_m')], 'partial'],
    ['submitted, and killed before the answer', [submits()], 'partial'],
    ['submitted, not accepted, and ended', [submits(), toolResult('toolu_m', true), ended()], 'partial'],
    ['submitted what does not fit', [submits({ tags: 1 }), toolResult('toolu_m'), ended()], 'partial'],
    [
      'submitted through the tool of another step',
      [submits(metadata, 'toolu_m', submissionTool('review')), toolResult('toolu_m'), ended()],
      'partial',
    ],
    ...['max_tokens', 'model_context_window_exceeded', 'pause_turn', 'of_a_later_api', 'tool_use'].map(
      (ending) =>
        [
          `accepted, and then words that ended with ${ending}`,
          [submits(), toolResult('toolu_m'), assistant(ending, [text]), apiError()],
          'finished',
        ] as const,
    ),
    ['accepted, and the model goes on', [submits(), toolResult('toolu_m'), callsTool()], 'partial'],
    [
      'accepted, and words of which a part is stored',
      [submits(), toolResult('toolu_m'), assistant(null, [text])],
      'partial',
    ],
    [
      'accepted, and then refused',
      [submits(), toolResult('toolu_m'), assistant('refusal', [text])],
      'nothing',
    ],
    ['ended with words only', [ended()], 'partial'],
    ['nothing', [], 'nothing'],
  ] as const)('%s', (_case, own, kind) => {
    expect(evidence(submission, prompt(), ...own).kind).toBe(kind);
  });

  it('gives the value that was accepted last', () => {
    const second = { ...metadata, name: 'Shop 2' };
    const own = [
      submits(),
      toolResult('toolu_m'),
      submits(second, 'toolu_n'),
      toolResult('toolu_n'),
      ended(),
    ];
    expect(evidence(submission, ...own)).toMatchObject({ kind: 'finished', value: second });
  });

  it('is found under the name and by the schema of its own step', () => {
    const review: AgentTask = {
      name: 'review',
      kind: 'submission',
      allowedTools: [],
      schema: z.object({ verdict: z.enum(['good', 'bad']) }),
    };
    const submitted = (input: object) => [
      submits(input, 'toolu_r', submissionTool('review')),
      toolResult('toolu_r'),
      ended(),
    ];
    expect(evidence(review, ...submitted({ verdict: 'good' }))).toMatchObject({
      kind: 'finished',
      value: { verdict: 'good' },
    });
    expect(evidence(review, ...submitted({ verdict: 'odd' })).kind).toBe('partial');
    expect(evidence(submission, ...submitted({ verdict: 'good' })).kind).toBe('partial');
  });
});

describe('the evidence of a compaction', () => {
  it.each([
    ['a boundary, its summary, and a smaller context', [boundary(900), summary()], 'finished'],
    ['a boundary whose summary was not stored', [boundary(900)], 'nothing'],
    ['a summary that hangs on another boundary', [boundary(900), summary('elsewhere')], 'nothing'],
    ['a context that did not get smaller', [boundary(9000), summary()], 'nothing'],
    ['a context of unknown size', [boundary(), summary()], 'nothing'],
    ['an answer, and no boundary', [ended()], 'nothing'],
  ] as const)('%s', (_case, own, kind) => {
    expect(evidence(compaction, prompt('/compact'), ...own).kind).toBe(kind);
  });
});

describe('the verdict on work', () => {
  it('takes a success that the stored transcript bears out', () => {
    expect(judge(build, [prompt(), ended()])).toEqual({ text: 'I made it.', warnings: [] });
    expect(judge(question, [prompt(), ended()])).toEqual({ text: 'I made it.', warnings: [] });
  });

  it('takes an answer without a word for the end of what was done, and for no answer', () => {
    const worked = [callsTool(), toolResult('toolu_1')];
    const nudged = prompt('[Your previous response had no visible output.]');
    const submitted = [submits(), toolResult('toolu_m')];
    const wordless = { result: { result: '', stop_reason: 'end_turn' } as SDKResultSuccess };
    expect(judge(build, [...worked, nudged], wordless)).toEqual({ text: '', warnings: [] });
    expect(judge(submission, [...submitted, nudged], wordless)).toMatchObject({ value: metadata });
    expect(codeOf(() => judge(question, [...worked, nudged], wordless))).toBe('ANSWER_UNFINISHED');
    for (const own of [
      [],
      [nudged],
      [assistant('end_turn', [])],
      [assistant('end_turn', [{ type: 'text', text: '' }])],
    ]) {
      expect(codeOf(() => judge(build, own, wordless))).toBe('ANSWER_UNFINISHED');
    }
  });

  it('names a turn that stopped on the way, and a context that is full', () => {
    for (const stopReason of ['pause_turn', 'stop_sequence', 'of_a_later_api']) {
      const stopped = { result: { result: 'I begin', stop_reason: stopReason } as SDKResultSuccess };
      expect(codeOf(() => judge(build, [assistant(stopReason, [text])], stopped))).toBe('ANSWER_UNFINISHED');
    }
    const full = [
      callsTool(),
      toolResult('toolu_1'),
      assistant('model_context_window_exceeded', [text]),
      apiError(),
    ];
    const compacted = { result: { result: 'Compacted', stop_reason: null } as SDKResultSuccess };
    const codeAfter = (compactionError: string | null) =>
      codeOf(() => judge(build, full, { ...compacted, compactionError }));
    expect(codeAfter(null)).toBe('CONTEXT_FULL');
    expect(
      codeAfter('Error during compaction: API Error: The model has reached its context window limit.'),
    ).toBe('CONTEXT_FULL');
    expect(
      codeOf(() =>
        judge(build, [callsTool(), toolResult('toolu_1'), apiError()], {
          compactionError: 'Request too large',
        }),
      ),
    ).toBe('CONTEXT_FULL');
    // Not full for good: the service was away.
    expect(codeAfter('Error during compaction: API Error: Repeated 529 Overloaded errors.')).toBe(
      'MODEL_UNAVAILABLE',
    );
    expect(judge(build, [...full, boundary(900), summary(), ended()])).toMatchObject({ text: 'I made it.' });
  });

  it('takes an answer that goes on over several messages for one', () => {
    const part = (stopReason: string, words: string) =>
      assistant(stopReason, [{ type: 'text', text: words }]);
    const replyOf = (...own: SessionStoreEntry[]) => judge(question, own).text;
    const goOn = prompt('Output token limit hit. Resume directly.');
    expect(
      replyOf(
        part('max_tokens', 'One, '),
        goOn,
        part('pause_turn', 'two, '),
        prompt(),
        part('end_turn', 'three.'),
      ),
    ).toBe('One, two, three.');
    // Cut on the wire: Claude Code stores what arrived as if it had ended.
    expect(replyOf(part('end_turn', 'One, '), goOn, part('end_turn', 'two.'))).toBe('One, two.');
    expect(
      replyOf(
        part('tool_use', 'I look. '),
        callsTool(),
        toolResult('toolu_1'),
        part('end_turn', 'It is one.'),
      ),
    ).toBe('It is one.');
    const looks = (...words: string[]) =>
      assistant('tool_use', [...words.map((said) => ({ type: 'text', text: said })), bash]);
    // A tool call in the middle of the answer.
    expect(
      replyOf(
        looks('I look. '),
        toolResult('toolu_1'),
        part('max_tokens', 'One, '),
        goOn,
        looks('two, '),
        toolResult('toolu_1'),
        part('pause_turn', 'three, '),
        prompt(),
        part('end_turn', 'four.'),
      ),
    ).toBe('One, two, three, four.');
    expect(
      replyOf(
        part('max_tokens', 'One, '),
        goOn,
        looks('two. '),
        looks('I look again. '),
        part('end_turn', 'Three.'),
      ),
    ).toBe('Three.');
    expect(replyOf(part('refusal', 'No.'), part('tool_use', 'Hm.'), part('end_turn', 'Two.'))).toBe('Two.');
    expect(replyOf(part('refusal', 'No.'), prompt(), part('end_turn', 'Two.'))).toBe('Two.');
    expect(
      replyOf(
        part('model_context_window_exceeded', 'One, '),
        apiError(),
        boundary(900),
        summary(),
        part('end_turn', 'Two.'),
      ),
    ).toBe('Two.');
  });

  it.each([build, docs, submission, question])(
    'does not believe a success of $name without a finished turn in the store',
    (task) => {
      const accepted = [submits(), toolResult('toolu_m')];
      for (const last of [callsTool(), { ...ended(), isApiErrorMessage: true }, synthetic()]) {
        expect(codeOf(() => judge(task, [...accepted, last]))).toBe('AGENT_FAILED');
      }
    },
  );

  it('warns of work that wrote none of the files that it should', () => {
    const warningsOf = (task: AgentTask, ...filesTouched: string[]) =>
      judge(task, [ended()], { filesTouched }).warnings;
    expect(warningsOf(docs, 'README.md')).toEqual([]);
    expect(warningsOf(docs, 'docs/use.md')).toEqual([]);
    expect(warningsOf(docs, 'readme.md', 'src/a.ts')).toEqual([]);
    const missing = 'The docs step wrote none of README.md, docs/.';
    for (const file of ['src/docs.ts', 'sub/README.md', 'docs.md']) {
      expect(warningsOf(docs, file)).toEqual([missing]);
    }
    expect(warningsOf(docs)).toEqual([missing]);
    expect(warningsOf(build)).toEqual([]);
  });
});

describe('the verdict on a submission', () => {
  it('takes the last accepted value', () => {
    const own = [
      submits({ ...metadata, name: 'Old' }, 'a'),
      toolResult('a'),
      submits(metadata, 'b'),
      toolResult('b'),
      ended(),
    ];
    expect(judge(submission, own)).toEqual({ text: 'I made it.', value: metadata, warnings: [] });
  });

  it('takes nothing that was refused, unanswered, of another tool or not finished', () => {
    const codeFor = (...own: SessionStoreEntry[]) => codeOf(() => judge(submission, own));
    expect(codeFor(ended())).toBe('SUBMISSION_INVALID');
    expect(codeFor(submits(), toolResult('toolu_m', true), ended())).toBe('SUBMISSION_INVALID');
    expect(codeFor(submits(), ended())).toBe('SUBMISSION_INVALID');
    expect(codeFor(submits(metadata, 'a', 'Write'), toolResult('a'), ended())).toBe('SUBMISSION_INVALID');
    expect(codeFor(submits({ ...metadata, tags: [] }), toolResult('toolu_m'), ended())).toBe(
      'SUBMISSION_INVALID',
    );
    expect(codeFor(submits(), toolResult('toolu_m'))).toBe('AGENT_FAILED');
  });

  it('blames a schema that throws, and not the model', () => {
    const throwing = metadataSchema.refine(() => {
      throw new TypeError('rules is not iterable');
    });
    const codeFor = (schema: typeof metadataSchema, input: object) =>
      codeOf(() => judge({ ...submission, schema }, [submits(input), toolResult('toolu_m', true), ended()]));
    expect(codeFor(throwing, metadata)).toBe('INVALID_CONFIG');
    expect(codeFor(throwing, {})).toBe('SUBMISSION_INVALID');
    const asks = metadataSchema.refine(() => Promise.resolve(false));
    expect(codeFor(asks, metadata)).toBe('SUBMISSION_INVALID');
  });
});

describe('the verdict on a compaction', () => {
  it('believes boundary, summary and fewer tokens together', () => {
    expect(judge(compaction, [boundary(400), summary()])).toEqual({
      text: 'Done.',
      compaction: { preTokens: 9000, postTokens: 400 },
      warnings: [],
    });
  });

  it('believes nothing less', () => {
    for (const own of [
      [],
      [boundary(400)],
      [boundary(400), summary('another')],
      [boundary(9000), summary()],
      [boundary(), summary()],
    ]) {
      expect(codeOf(() => judge(compaction, own))).toBe('COMPACTION_FAILED');
    }
  });

  it.each([
    [
      'Error during compaction: API Error: The model has reached its context window limit.',
      'COMPACTION_FAILED',
    ],
    [
      "Error during compaction: API Error: Claude's response exceeded the 500 output token maximum.",
      'COMPACTION_FAILED',
    ],
    ['Error during compaction: no assistant message in summarization response', 'COMPACTION_FAILED'],
    ['Error during compaction: API Error: 400 bad', 'MODEL_REJECTED'],
    ['Error during compaction: Credit balance is too low', 'MODEL_UNAUTHORIZED'],
    ['Error during compaction: Failed to authenticate. API Error: 401 bad key', 'MODEL_UNAUTHORIZED'],
    ['Error during compaction: API Error: Request rejected (429) · slow down', 'MODEL_UNAVAILABLE'],
    ['Error during compaction: API Error: Repeated 529 Overloaded errors.', 'MODEL_UNAVAILABLE'],
    ['Error during compaction: API Error: Connection dropped (ECONNRESET).', 'MODEL_UNAVAILABLE'],
  ])('reads the model service out of what Claude Code says: %s', (compactionError, code) => {
    expect(codeOf(() => judge(compaction, [], { compactionError }))).toBe(code);
  });

  it('says what Claude Code says of a failure', () => {
    expect(() => judge(compaction, [], { compactionError: 'empty response' })).toThrow('empty response');
  });
});

describe('a task that was stopped half-way', () => {
  it('is gone on with by a message that no command is, a compaction from its base', () => {
    for (const { name, kind } of [build, docs, submission]) {
      expect(kinds[kind].continueMessage(name)).toMatch(new RegExp(`^Step: ${name}, continued\\. `));
    }
    expect(kinds.question.continueMessage(question.name)).toMatch(
      /^Chat, continued\. .*Nothing may be changed/,
    );
    expect(kinds.compaction.continueMessage('compact')).toBeNull();
  });
});

describe('the task of a step', () => {
  const taskOf = (step: StepInput) => {
    const [checked] = checkDefinition({ steps: [step] }).definition.steps.filter(isAgentStep);
    return checked && stepTask(checked);
  };

  it('holds what its kind judges by', () => {
    expect(shippedDefinition.steps.filter(isAgentStep).map(stepTask)).toEqual([
      { name: 'build', kind: 'work', role: 'build', allowedTools: shippedDefinition.tools },
      {
        name: 'metadata',
        kind: 'submission',
        allowedTools: ['Glob', 'Grep', 'Read', 'mcp__chain__submit_metadata'],
        schema: metadataSchema,
      },
      {
        name: 'docs',
        kind: 'work',
        allowedTools: ['Edit', 'Glob', 'Grep', 'Read', 'Write'],
        writes: ['README.md', 'docs/'],
      },
      { name: 'compact', kind: 'compaction', allowedTools: [] },
    ]);
  });

  it('is the same for a step of the host’s own', () => {
    expect(taskOf({ name: 'test', kind: 'work', prompt: () => 'Test it.', writes: ['test/'] })).toEqual({
      name: 'test',
      kind: 'work',
      allowedTools: ['Edit', 'Glob', 'Grep', 'Read', 'Write'],
      writes: ['test/'],
    });
    const schema = z.object({ verdict: z.string() });
    expect(taskOf({ name: 'review', kind: 'submission', prompt: () => 'Review it.', schema })).toEqual({
      name: 'review',
      kind: 'submission',
      allowedTools: ['Glob', 'Grep', 'Read', 'mcp__chain__submit_review'],
      schema,
    });
  });
});
