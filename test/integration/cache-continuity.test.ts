import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ChainResult } from '../../contracts/chain.js';
import { parseMessagesRequest } from '../../dev/offline-model/messages.js';
import { type OfflineRequest, repeatedPart } from '../../dev/offline-model/request-log.js';
import { countTokens } from '../../dev/offline-model/usage.js';
import { type ChainStack, longHeartbeatTimeoutMs, startChainStack, until } from '../support/chain-stack.js';

/**
 * The prompt cache of the model reads what a request repeats of an earlier one from its very first byte. So what counts
 * is the bodies that the model received: a step that changed a tool, the system prompt or one old message would pay for
 * the whole context again.
 */
let stack: ChainStack;
beforeAll(async () => {
  stack = await startChainStack('cache', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
});
afterAll(async () => {
  await stack.stop();
});

const requestsOf = (sessionId: string | null | undefined) =>
  stack.model.requests.filter((request) => request.sessionId === sessionId);

/** The last request of a session and the first of the one that forked it. */
function boundary(before: string | null | undefined, after: string | null | undefined) {
  const [last, first] = [requestsOf(before).at(-1), requestsOf(after)[0]];
  if (!last || !first) throw new Error(`The model has no request of ${before} or of ${after}.`);
  return { last, first };
}

function repeatedAt({ steps }: ChainResult): number[] {
  return steps.slice(1).map(({ newSessionId }, index) => {
    const { last, first } = boundary(steps[index]?.newSessionId, newSessionId);
    return repeatedPart(last, first);
  });
}

/** What a request has in common with every other, whatever was said: the start of what the cache holds. */
function fixedPart({ bodyText }: OfflineRequest) {
  const { model, tools, system } = JSON.parse(bodyText) as Record<string, unknown>;
  return JSON.parse(JSON.stringify({ model, tools, system }), (name, value: unknown) =>
    // Breakpoints move from request to request and are not part of the prompt.
    name === 'cache_control' ? undefined : value,
  ) as unknown;
}

describe('the request after a boundary between steps', () => {
  let [first, second]: (ChainResult | undefined)[] = [];
  beforeAll(async () => {
    await stack.onlyWorker();
    const request = stack.request();
    first = await stack.sessionChain.wait(await stack.sessionChain.start(request));
    second = await stack.sessionChain.wait(await stack.sessionChain.start(stack.request(request.projectId)));
  });

  it.each([
    ['first', () => first],
    ['next', () => second],
  ])('repeats at least 99 %% of the one before it, in the %s version', (_version, chain) => {
    const result = chain();
    expect(result).toMatchObject({ status: 'completed' });
    const repeated = result ? repeatedAt(result) : [];
    expect(repeated).toHaveLength(3);
    for (const share of repeated) expect(share).toBeGreaterThanOrEqual(0.99);
  });

  it('reads all tools and the system prompt from the cache after a compaction, from one version to the next', () => {
    const compacted = first?.head.sessionId;
    expect(second?.baseSessionId).toBe(compacted);
    const { last, first: next } = boundary(compacted, second?.steps[0]?.newSessionId);
    expect(fixedPart(next)).toEqual(fixedPart(last));
    // All of these are read from the cache. What follows is new: the summary, and files that the agent is shown again.
    const fixedTokens = countTokens({ ...parseMessagesRequest(next.bodyText), messages: [] });
    expect(next.usage?.cache_read_input_tokens).toBeGreaterThanOrEqual(fixedTokens);
  });

  it('finds everything but the new in the cache: what it writes there is a small part of what it reads', () => {
    for (const { steps } of [first, second].filter((chain) => chain !== undefined)) {
      for (const { usage } of steps.slice(1)) {
        expect(usage.cacheReadTokens).toBeGreaterThan(10 * usage.cacheWriteTokens);
      }
    }
  });
});

describe('the first request of an attempt that goes on from a partial one', () => {
  it('repeats at least 99 % of the last request before the worker was killed', async () => {
    const request = stack.request();
    const killed = await stack.onlyWorker();
    const held = stack.model.holdNext(
      ({ step, bodyText }) => step === 'build' && bodyText.includes('tool_result'),
    );
    const started = await stack.sessionChain.start(request);
    const last = await held.reached;
    // What the request holds is in the store a moment later; before that, the attempt would go on from further back.
    await until(async () => (await storedToolResults(request.projectId)) > 0);
    await killed.kill('SIGKILL');
    await stack.startWorker();
    held.remove();

    const result = await stack.sessionChain.wait(started);
    expect(result).toMatchObject({ status: 'completed' });
    expect(result.steps[0]).toMatchObject({ attempts: 2 });
    const [goesOn] = requestsOf(result.steps[0]?.newSessionId);
    expect(goesOn && repeatedPart(last, goesOn)).toBeGreaterThanOrEqual(0.99);
  });
});

async function storedToolResults(projectId: string): Promise<number> {
  const { rows } = await stack.database.pool.query<{ count: number }>(
    `SELECT count(*) FROM session_chain.transcript_texts
     WHERE project_id = $1 AND content LIKE '%"type":"tool_result"%'`,
    [projectId],
  );
  return rows[0]?.count ?? 0;
}
