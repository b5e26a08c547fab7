import type { ChainResult, Usage } from '../contracts/chain.js';
import { inputTokensOf } from '../contracts/usage.js';
import { parseMessagesRequest } from '../dev/offline-model/messages.js';
import { type OfflineRequest, repeatedPart } from '../dev/offline-model/request-log.js';
import { countTokens } from '../dev/offline-model/usage.js';
import { transcriptBytes } from '../storage/transcripts/store.js';
import { chainWorkflowId } from '../temporal/names.js';
import { type Row, row } from './report.js';
import { type ShellChain, prepareShellChain } from './shell-chain.js';
import type { BenchStack } from './stack.js';

/**
 * Whole chains with the real agent and the offline model, alternating with a bare shell script that makes the same
 * calls: time, the part of it outside the agent, events, the gaps between steps, the prompt cache, and what is stored.
 */
export async function measureChain(stack: BenchStack, runs: number): Promise<Row[]> {
  const shell = await prepareShellChain(stack.folder, stack.model.url);
  try {
    // The first of each warms up caches and connections.
    await inTurns(stack, shell, 1);
    const { chains, scripts } = await inTurns(stack, shell, runs);
    const paced = await withPacedModel(stack, () => inTurns(stack, shell, Math.min(runs, 3)));
    return [
      ...timeRows(chains, scripts),
      pacedRow(paced),
      await eventsRow(stack, chains),
      await commitToRequestRow(stack, chains),
      ...gapRows(stack, chains, scripts),
      betweenRequestsRow(stack, chains, scripts),
      // Before the first project has another chain.
      await bytesRow(stack, chains),
      ...(await continuityRows(stack, chains)),
    ];
  } finally {
    await shell.stop();
  }
}

/** A chain, a script, a chain, … */
async function inTurns(stack: BenchStack, shell: ShellChain, runs: number): Promise<Runs> {
  const [chains, scripts]: [ChainRun[], ShellRun[]] = [[], []];
  for (let run = 0; run < runs; run++) {
    chains.push(await timedChain(stack));
    const startedAt = performance.now();
    const sessionIds = await shell.run();
    scripts.push({ wallMs: performance.now() - startedAt, sessionIds });
  }
  return { chains, scripts };
}

/** The offline model answers within milliseconds, which makes every fixed cost look large. A real one takes seconds. */
const pacedAnswerMs = 1_000;

async function withPacedModel<Result>(stack: BenchStack, measure: () => Promise<Result>): Promise<Result> {
  const pace = stack.model.inject({ delayMs: pacedAnswerMs, times: Infinity });
  return await measure().finally(() => pace.remove());
}

interface Runs {
  chains: ChainRun[];
  scripts: ShellRun[];
}

interface ChainRun {
  wallMs: number;
  result: ChainResult;
}

interface ShellRun {
  wallMs: number;
  sessionIds: string[];
}

const part = 'chain';

async function timedChain(stack: BenchStack): Promise<ChainRun> {
  const startedAt = performance.now();
  const result = await stack.runChain({ mode: 'initial' });
  return { wallMs: performance.now() - startedAt, result };
}

function timeRows(chains: ChainRun[], scripts: ShellRun[]): Row[] {
  const wall = chains.map(({ wallMs }) => wallMs);
  const outside = chains.map(
    ({ wallMs, result }) => wallMs - result.steps.reduce((sum, step) => sum + step.durationMs, 0),
  );
  return [
    row({
      part,
      name: 'whole chain, from start to result',
      unit: 'ms',
      values: wall,
      peer: { name: 'shell script, same calls', values: scripts.map(({ wallMs }) => wallMs) },
      goal: chainGoal,
    }),
    row({
      part,
      name: 'of that outside the agent',
      unit: 'ms',
      values: outside,
      peer: { name: 'the whole chain', values: wall },
    }),
  ];
}

function pacedRow({ chains, scripts }: Runs): Row {
  return row({
    part,
    name: `whole chain, with a model that takes ${pacedAnswerMs / 1000} s for an answer`,
    unit: 'ms',
    values: chains.map(({ wallMs }) => wallMs),
    peer: { name: 'shell script, same calls', values: scripts.map(({ wallMs }) => wallMs) },
    goal: chainGoal,
  });
}

const chainGoal = { text: '<= 1.1', met: (ratio: number) => ratio <= 1.1 };

async function eventsRow(stack: BenchStack, chains: ChainRun[]): Promise<Row> {
  const events = await Promise.all(
    chains.map(async ({ result }) => {
      const handle = stack.temporal.workflow.getHandle(chainWorkflowId(result));
      return (await handle.fetchHistory()).events?.length ?? 0;
    }),
  );
  const goal = { text: '<= 46', met: (count: number) => count <= 46 };
  return row({ part, name: 'events per chain', unit: 'events', values: events, goal });
}

async function commitToRequestRow(stack: BenchStack, chains: ChainRun[]): Promise<Row> {
  const waits = await Promise.all(chains.map(({ result }) => commitToRequestMs(stack, result)));
  return row({
    part,
    name: "commit of a step to the next one's first request",
    unit: 'ms',
    values: waits.flat(),
  });
}

/** From the moment at which a step's result is durable to the next step's first request, at each boundary of a chain. */
export async function commitToRequestMs(stack: BenchStack, result: ChainResult): Promise<number[]> {
  const moves = await stack.sessionChain.transitions(result.projectId);
  return boundariesOf(stack, sessionsOf(result)).map(({ last, first }) => {
    const commit = moves.find(({ newSessionId }) => newSessionId === last.sessionId);
    if (!commit) throw new Error(`No transition leads to ${last.sessionId}.`);
    return Date.parse(first.at) - commit.createdAt.getTime();
  });
}

/** From a step's last request to the next one's first: the agent's end, the commit, the handover, the agent's start. */
function gapRows(stack: BenchStack, chains: ChainRun[], scripts: ShellRun[]): Row[] {
  const ours = chains.map(({ result }) => boundariesOf(stack, sessionsOf(result)));
  const theirs = scripts.map(({ sessionIds }) => boundariesOf(stack, sessionIds));
  return boundaryNames.map((name, index) =>
    row({
      part,
      name: `last request of a step to the first of the next, ${name}`,
      unit: 'ms',
      values: gapsAt(ours, index),
      peer: { name: 'shell script', values: gapsAt(theirs, index) },
    }),
  );
}

const boundaryNames = ['build to metadata', 'metadata to docs', 'docs to compact'];

function gapsAt(runs: Boundary[][], index: number): number[] {
  return runs.flatMap((boundaries) => {
    const boundary = boundaries[index];
    return boundary ? [Date.parse(boundary.first.at) - Date.parse(boundary.last.at)] : [];
  });
}

/** Between two requests of one step: the answer, its tools, and the transcript that must be stored before a tool may run. */
function betweenRequestsRow(stack: BenchStack, chains: ChainRun[], scripts: ShellRun[]): Row {
  const within = (sessionIds: string[]) =>
    sessionIds.flatMap((id) => {
      const times = requestsOf(stack, id).map(({ at }) => Date.parse(at));
      return times.slice(1).map((time, index) => time - (times[index] ?? time));
    });
  return row({
    part,
    name: 'one request of a step to the next, a tool call between',
    unit: 'ms',
    values: chains.flatMap(({ result }) => within(sessionsOf(result))),
    peer: { name: 'shell script', values: scripts.flatMap(({ sessionIds }) => within(sessionIds)) },
  });
}

const repeatedGoal = { text: '>= 99', met: (share: number) => share >= 99 };

/** How much of the request before a boundary the request after it repeats, and so finds in the prompt cache. */
async function continuityRows(stack: BenchStack, chains: ChainRun[]): Promise<Row[]> {
  const share = ({ last, first }: Boundary) => 100 * repeatedPart(last, first);
  const within = boundaryNames.map((name, index) =>
    row({
      part,
      name: `repeated of the request before, ${name}`,
      unit: '%',
      values: chains.flatMap(({ result }) => {
        const boundary = boundariesOf(stack, sessionsOf(result))[index];
        return boundary ? [share(boundary)] : [];
      }),
      goal: repeatedGoal,
    }),
  );
  return [
    ...within,
    ...(await afterCompactionRows(stack, chains)),
    row({
      part,
      name: 'input tokens of a chain that were read from the cache',
      unit: '%',
      values: chains.map(({ result: { steps } }) => cachedPercent(steps.map(({ usage }) => usage))),
    }),
  ];
}

/**
 * A compaction replaces the messages; tools and system prompt stay, and the cache holds all of these. What else the request
 * brings is new: the summary, and the files that the agent worked with last, which it is shown again.
 */
async function afterCompactionRows(stack: BenchStack, chains: ChainRun[]): Promise<Row[]> {
  const ofFixed: number[] = [];
  const ofAll: number[] = [];
  for (const { result } of chains.slice(0, 1)) {
    const next = await stack.runChain({ projectId: result.projectId, steps: ['build'], mode: 'update' });
    const [first] = sessionsOf(next).flatMap((id) => requestsOf(stack, id));
    if (!first?.usage) throw new Error('The model has no request after the compaction.');
    const fixed = countTokens({ ...parseMessagesRequest(first.bodyText), messages: [] });
    ofFixed.push((100 * Math.min(fixed, first.usage.cache_read_input_tokens)) / fixed);
    ofAll.push(cachedPercent([usageOf(first.usage)]));
  }
  return [
    row({
      part,
      name: 'tools and system prompt that the first request after a compaction read from the cache',
      unit: '%',
      values: ofFixed,
      goal: repeatedGoal,
    }),
    row({ part, name: 'the same of the whole request, the rest is new', unit: '%', values: ofAll }),
  ];
}

function usageOf(usage: NonNullable<OfflineRequest['usage']>): Usage {
  return {
    inputTokens: usage.input_tokens,
    outputTokens: usage.output_tokens,
    cacheReadTokens: usage.cache_read_input_tokens,
    cacheWriteTokens: usage.cache_creation_input_tokens,
  };
}

function cachedPercent(usages: Usage[]): number {
  const sum = (of: (usage: Usage) => number) => usages.reduce((total, usage) => total + of(usage), 0);
  return (100 * sum(({ cacheReadTokens }) => cacheReadTokens)) / sum(inputTokensOf);
}

async function bytesRow(stack: BenchStack, chains: ChainRun[]): Promise<Row> {
  const bytes = await Promise.all(chains.map(({ result }) => transcriptBytes(stack.pool, result.projectId)));
  return row({
    part,
    name: 'transcripts of a chain, stored',
    unit: 'kB',
    values: bytes.map(({ storedBytes }) => storedBytes / 1000),
    peer: { name: 'appended by the agent', values: bytes.map(({ appendedBytes }) => appendedBytes / 1000) },
  });
}

interface Boundary {
  last: OfflineRequest;
  first: OfflineRequest;
}

export function sessionsOf({ steps }: ChainResult): string[] {
  return steps.flatMap(({ newSessionId }) => newSessionId ?? []);
}

/** Between each session and the next, by what the model received. */
function boundariesOf(stack: BenchStack, sessionIds: string[]): Boundary[] {
  return sessionIds.slice(1).map((id, index) => {
    const last = requestsOf(stack, sessionIds[index] ?? '').at(-1);
    const [first] = requestsOf(stack, id);
    if (!last || !first) throw new Error(`The model has no request of session ${id} or of its parent.`);
    return { last, first };
  });
}

export function requestsOf({ model }: BenchStack, id: string): OfflineRequest[] {
  return model.requests.filter(({ sessionId }) => sessionId === id);
}
