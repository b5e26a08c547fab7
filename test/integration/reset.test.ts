import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import type { StartRequest } from '../../client/start-request.js';
import type { ChainResult } from '../../contracts/chain.js';
import { contextTokens } from '../../storage/transcripts/store.js';
import { chainWorkflowId } from '../../temporal/names.js';
import { type ChainStack, longHeartbeatTimeoutMs, startChainStack } from '../support/chain-stack.js';
import { attemptsOf, requestsOf } from '../support/project-facts.js';

/** A memory that has grown long is replaced: the next build starts a fresh session with a brief. */

let stack: ChainStack;
beforeAll(async () => {
  stack = await startChainStack('reset', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  await stack.startWorker();
});
afterAll(async () => {
  await stack.stop();
});

const sql = async (text: string, ...values: unknown[]) =>
  (await stack.database.pool.query(text, values)).rows as Record<string, unknown>[];
const run = async (request: StartRequest): Promise<ChainResult> =>
  await stack.sessionChain.wait(await stack.sessionChain.start(request));
const sessionOf = (result: ChainResult, step = 0) => result.steps[step]?.newSessionId ?? '';
const bodiesOf = async (result: ChainResult, step = 0) =>
  (await requestsOf(stack, result.projectId))
    .filter(({ sessionId }) => sessionId === sessionOf(result, step))
    .map(({ bodyText }) => bodyText);
const briefsOf = async (projectId: string) =>
  await sql(
    `SELECT b.content FROM session_chain.briefs b JOIN session_chain.chains c ON c.id = b.chain
     WHERE c.project_id = $1`,
    projectId,
  );

describe('after so many operations', () => {
  let first: ChainResult;
  let second: ChainResult;
  beforeAll(async () => {
    first = await run({ ...stack.request(), instruction: 'A list of lighthouses' });
    second = await run({
      ...stack.request(first.projectId),
      instruction: 'Sort it by height',
      reset: { operations: 4 },
    });
  });

  it('the build starts a fresh session; its transition keeps the link and says why', async () => {
    expect(second).toMatchObject({
      status: 'completed',
      baseSessionId: null,
      origin: { kind: 'context_reset', headSessionId: first.head.sessionId, headSeq: 4, operations: 4 },
      resumedFrom: expect.stringContaining('4 operations went on from one another'),
    });
    const transitions = await stack.sessionChain.transitions(first.projectId);
    expect(transitions.reverse().slice(4)).toMatchObject([
      {
        source: 'context_reset',
        step: 'build',
        oldSessionId: first.head.sessionId,
        newSessionId: sessionOf(second),
        parentSessionId: null,
      },
      { source: 'metadata', parentSessionId: sessionOf(second) },
      { source: 'docs' },
      { source: 'compact' },
    ]);
  });

  it('the model is told the brief, and nothing of the old transcript', async () => {
    const [request = ''] = await bodiesOf(second);
    const told = [
      'This session is new. The project is not',
      'A list of lighthouses',
      'Sort it by height',
      '## Summary of the earlier work',
      'README.md',
    ];
    expect(told.filter((text) => !request.includes(text))).toEqual([]);
    expect(request.includes('tool_result')).toBe(false);
    // A later step has it in its memory and is not told again.
    const [metadata = ''] = await bodiesOf(second, 1);
    const [, prompt = ''] = /"text":"(Step: metadata\..*?)"\}/.exec(metadata) ?? [];
    expect(prompt).toContain('Call the tool');
    expect(prompt).not.toContain('This session is new');
  });

  it('what went into the brief is kept and shown', async () => {
    const [brief] = await briefsOf(first.projectId);
    const { brief: facts } = await stack.sessionChain.state(second);
    expect(facts).toMatchObject({ headSessionId: first.head.sessionId });
    expect(facts?.parts.map(({ part }) => part)).toEqual(
      expect.arrayContaining(['summary', 'requests', 'metadata', 'document', 'operations']),
    );
    const [request = ''] = await bodiesOf(second);
    expect(request.includes(JSON.stringify(brief?.['content']).slice(1, -1))).toBe(true);
  });

  it('its words stay out of the history', async () => {
    const { events } = await stack.temporal.workflow.getHandle(chainWorkflowId(second)).fetchHistory();
    const history = historyToJSON({ events: events ?? [] });
    const words = [...history.matchAll(/"data": ?"([^"]*)"/g)].map(([, data]) =>
      Buffer.from(data ?? '', 'base64').toString(),
    );
    expect(words.some((text) => text.includes('context_reset'))).toBe(true);
    expect(words.filter((text) => /lighthouses|This session is new/.test(text))).toEqual([]);
  });

  it('counting starts again, and a start may say never', async () => {
    const next = await run({
      ...stack.request(first.projectId),
      steps: ['build'],
      reset: { operations: 5 },
    });
    expect(next.origin).toMatchObject({ kind: 'head', operations: 4 });
    const due = { ...stack.request(first.projectId), steps: ['build' as const] };
    expect((await run({ ...due, reset: { operations: 0, contextTokens: 0 } })).origin?.kind).toBe('head');
  });

  it('a chain without a build never resets', async () => {
    const { origin, baseSessionId } = await run({
      ...stack.request(first.projectId),
      steps: ['metadata'],
      reset: { operations: 1 },
    });
    expect(origin?.kind).toBe('head');
    expect(baseSessionId).not.toBeNull();
  });
});

describe('past so many tokens of context', () => {
  it('the build starts a fresh session, too; both rooms count the same tokens', async () => {
    const first = await run({ ...stack.request(), steps: ['build', 'metadata'] });
    const { projectId, head } = first;
    const counted = await contextTokens(stack.database.pool, projectId, sessionOf(first, 1) as never);
    expect(counted).toBeGreaterThan(0);
    const [row] = await sql(
      'SELECT context_tokens AS tokens FROM session_chain.sessions WHERE project_id = $1 AND session_id = $2',
      projectId,
      head.sessionId,
    );
    expect(Number(row?.['tokens'])).toBe(counted);
    const below = await run({
      ...stack.request(projectId),
      steps: ['build'],
      reset: { contextTokens: counted },
    });
    expect(below.origin).toMatchObject({ kind: 'head', contextTokens: counted });
    const past = await run({ ...stack.request(projectId), steps: ['build'], reset: { contextTokens: 1 } });
    expect(past.origin).toMatchObject({ kind: 'context_reset' });
  });

  it('a compaction counts with what it left', async () => {
    const { projectId, head } = await run({ ...stack.request(), steps: ['build', 'compact'] });
    const [row] = await sql(
      'SELECT context_tokens AS tokens FROM session_chain.sessions WHERE project_id = $1 AND session_id = $2',
      projectId,
      head.sessionId,
    );
    expect(Number(row?.['tokens'])).toBe(
      await contextTokens(stack.database.pool, projectId, head.sessionId as never),
    );
  });
});

describe('a reset whose build fails', () => {
  it('is the same reset for the next attempt and for the chain started again: nothing is paid twice', async () => {
    const first = await run({ ...stack.request(), steps: ['build'] });
    const { projectId } = first;
    const request = {
      ...stack.request(projectId),
      steps: ['build' as const],
      reset: { operations: 1 },
      limits: { build: { maxAttempts: 1 } },
    };
    const refused = stack.model.inject({
      when: ({ bodyText }) => bodyText.includes('This session is new.') && bodyText.includes('tool_result'),
      times: Infinity,
      fail: { status: 400, message: 'not now' },
    });
    expect(await run(request)).toMatchObject({ status: 'failed' });
    refused.remove();
    // The brief is made once: what changes meanwhile does not make it another one.
    await sql(
      `UPDATE project_versions SET ai_metadata = '{"name": "Other"}' WHERE project_id = $1`,
      projectId,
    );
    const again = await run({ ...request, reset: { operations: 0, contextTokens: 0 } });
    expect(again).toMatchObject({ status: 'completed', origin: { kind: 'context_reset' }, head: { seq: 2 } });
    expect(await briefsOf(projectId)).toHaveLength(1);
    // The second attempt went on from what the first had stored.
    const [, left, next] = await attemptsOf(stack, projectId);
    const [transition] = await stack.sessionChain.transitions(projectId);
    expect(transition).toMatchObject({
      source: 'context_reset',
      oldSessionId: first.head.sessionId,
      parentSessionId: left?.sessionId,
      newSessionId: next?.sessionId,
    });
  });
});
