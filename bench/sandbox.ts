import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InMemorySessionStore } from '@anthropic-ai/claude-agent-sdk';
import { createAgent } from '../agent/agent.js';
import { createEgress } from '../agent/egress/egress.js';
import { createLease, uptimeMs } from '../agent/process/lease.js';
import { parseSessionId } from '../contracts/ids.js';
import { defaultSandbox, type SandboxSettings } from '../contracts/sandbox.js';
import { shippedDefinition } from '../definition/shipped.js';
import { type OfflineModel, startOfflineModel } from '../dev/offline-model/server.js';
import { type Row, row } from './report.js';
import { prepareShellChain } from './shell-chain.js';

const part = 'sandbox';
/** Each request of these is cheap; a chain is not. */
const requestsPerRun = 20;
const stepsTimeoutMs = 120_000;

/** What keeping the agent in costs: the proxy that holds the credential, and the wall around a step. */
export async function measureSandbox(runs: number): Promise<Row[]> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'session-chain-bench-')));
  const model = await startOfflineModel();
  const credential = { ANTHROPIC_BASE_URL: model.url, ANTHROPIC_API_KEY: 'offline' };
  const egress = createEgress({ model: credential, worker: {}, allow: [], log: () => undefined });
  const proxy = await egress.open({ listen: 'loopback' });
  const task = { name: 'bench', kind: 'work' } as const;
  proxy.attach({ sessionId: 'bench', task, mode: 'initial', instructionKind: 'none' });
  const proxied = proxy.environment.ANTHROPIC_BASE_URL ?? '';
  try {
    const [direct, through] = await inTurns(
      runs * requestsPerRun,
      () => timedRequest(model.url),
      () => timedRequest(proxied),
    );
    const shells = [
      await prepareShellChain(folder, model.url),
      await prepareShellChain(folder, proxied),
    ] as const;
    const [shell, shellThrough] = await inTurns(runs, ...onEach(shells, (each) => timed(() => each.run())));
    for (const each of shells) await each.stop();
    const kinds = ['none', 'bwrap'] as const;
    const [bare, walled] = await inTurns(
      runs,
      ...onEach(kinds, (kind) => timed(() => oneStep(folder, model, kind))),
    );
    const without = 'without the proxy';
    return [
      row({
        ...{ part, name: 'first byte of an answer, through the proxy', unit: 'ms' },
        values: through.map(({ firstMs }) => firstMs),
        peer: { name: without, values: direct.map(({ firstMs }) => firstMs) },
      }),
      row({
        ...{ part, name: 'whole answer, through the proxy', unit: 'ms' },
        values: through.map(({ wholeMs }) => wholeMs),
        peer: { name: without, values: direct.map(({ wholeMs }) => wholeMs) },
      }),
      row({
        ...{ part, name: 'the four calls of a chain, through the proxy', unit: 'ms', values: shellThrough },
        peer: { name: without, values: shell },
      }),
      row({
        ...{ part, name: 'a build step in bubblewrap', unit: 'ms', values: walled },
        peer: { name: 'without a sandbox', values: bare },
      }),
    ];
  } finally {
    await proxy.close();
    await model.stop();
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** One, the other, the one, …; the first of each warms up caches and connections. */
async function inTurns<Figure>(
  runs: number,
  one: () => Promise<Figure>,
  other: () => Promise<Figure>,
): Promise<[Figure[], Figure[]]> {
  const figures: [Figure[], Figure[]] = [[], []];
  for (let run = 0; run <= runs; run++) {
    const [first, second] = [await one(), await other()];
    if (run === 0) continue;
    figures[0].push(first);
    figures[1].push(second);
  }
  return figures;
}

function onEach<Item, Result>(
  [one, other]: readonly [Item, Item],
  measure: (item: Item) => Promise<Result>,
): [() => Promise<Result>, () => Promise<Result>] {
  return [() => measure(one), () => measure(other)];
}

async function timed(measured: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await measured();
  return performance.now() - startedAt;
}

/** How long a model takes for the first byte and for all of an answer. */
export async function timedRequest(url: string): Promise<{ firstMs: number; wholeMs: number }> {
  const startedAt = performance.now();
  const answer = await fetch(`${url}/v1/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-api-key': 'offline' },
    body: JSON.stringify({
      ...{ model: 'bench', max_tokens: 1000, stream: true },
      // As long as a short conversation.
      messages: [{ role: 'user', content: 'A word. '.repeat(6000) }],
    }),
  });
  if (!answer.ok || answer.body === null) throw new Error(`The model answered ${answer.status}.`);
  let firstMs: number | undefined;
  for await (const _chunk of answer.body) firstMs ??= performance.now() - startedAt;
  return { firstMs: firstMs ?? 0, wholeMs: performance.now() - startedAt };
}

async function oneStep(folder: string, model: OfflineModel, kind: SandboxSettings['kind']): Promise<void> {
  const workspace = join(folder, `step-${randomUUID()}`);
  mkdirSync(workspace);
  const agent = createAgent({
    modelEnvironment: { ANTHROPIC_BASE_URL: model.url, ANTHROPIC_API_KEY: 'offline' },
    inheritedEnvironment: { PATH: process.env['PATH'] },
    scratchRoot: join(folder, 'scratch'),
    definition: shippedDefinition,
    sandbox: { ...defaultSandbox, kind },
    log: () => undefined,
  });
  await agent.run(
    {
      task: { name: 'build', kind: 'work', role: 'build', allowedTools: shippedDefinition.tools },
      ...{ model: 'default', mode: 'initial', instructionKind: 'none', prompt: 'build' },
      ...{ sessionId: parseSessionId(randomUUID()), baseSessionId: null, store: new InMemorySessionStore() },
      ...{ workspace, maxTurns: 10, timeoutMs: stepsTimeoutMs },
    },
    {
      signal: new AbortController().signal,
      lease: createLease(uptimeMs() + 2 * stepsTimeoutMs),
      onProgress: () => undefined,
    },
  );
}
