import type { ChainResult } from '../contracts/chain.js';
import { parseMessagesRequest } from '../dev/offline-model/messages.js';
import { sessionIdOf } from '../dev/offline-model/request-log.js';
import { commitToRequestMs, requestsOf, sessionsOf } from './chain.js';
import { cpuMsOfEndedChildren, cpuMsOfTree } from './cpu.js';
import { type Row, row } from './report.js';
import { timedRequest } from './sandbox.js';
import { type ShellChain, prepareShellChain } from './shell-chain.js';
import type { BenchSide, BenchStack } from './stack.js';

const part = 'warm';
const kinds = ['warm', 'cold'] as const;
const atMost = (most: number) => ({ text: `<= ${most}`, met: (value: number) => value <= most });
const below = (most: number) => ({ text: `< ${most}`, met: (value: number) => value < most });
/** The offline model answers within milliseconds, which makes every fixed cost look large. A real one takes seconds. */
const paces = [
  { name: 'a model that answers at once', delayMs: 0, warmGoal: below(0.7) },
  { name: 'a model that takes 1 s for an answer', delayMs: 1_000, warmGoal: below(1) },
] as const;
type Pace = (typeof paces)[number];
const script = 'shell script, same calls';

/**
 * Steps and questions that go on in the process of the one before, and such that start one each, in the sandbox: both in
 * turns with the bare shell script, which has none. A round is one of each.
 */
export async function measureWarm(stack: BenchStack, rounds: number): Promise<Row[]> {
  const side = async (name: string, warm: '0' | '1') =>
    await stack.startSide(name, { SESSION_CHAIN_WARM: warm, SESSION_CHAIN_SANDBOX: 'bwrap' });
  const [warm, cold] = [await side('bench-warm', '1'), await side('bench-cold', '0')];
  const shell = await prepareShellChain(stack.folder, stack.model.url);
  try {
    const bench = { stack, warm, cold, shell };
    const rows: Row[] = [];
    // The first of each meets cold caches.
    await inTurns(bench, 1);
    for (const pace of paces) {
      const slow = stack.model.inject({ delayMs: pace.delayMs, times: Infinity });
      const runs = await inTurns(bench, rounds).finally(() => slow.remove());
      rows.push(...timeRows(runs, pace));
      if (pace.delayMs === 0) {
        rows.push(await commitToRequestRow(stack, runs), ...cpuRows(runs), ...processRows(stack, runs));
      }
    }
    for (const pace of paces) rows.push(...(await questionRows(bench, rounds, pace)));
    return rows;
  } finally {
    await shell.stop();
  }
}

interface Bench {
  stack: BenchStack;
  warm: BenchSide;
  cold: BenchSide;
  shell: ShellChain;
}

interface Run {
  wallMs: number;
  /** Of the worker with its agents, or of the script with all that it started. */
  cpuMs: number;
}

interface Runs {
  warm: (Run & { result: ChainResult })[];
  cold: (Run & { result: ChainResult })[];
  script: Run[];
}

/** A warm chain, a cold one, a script, … */
async function inTurns({ warm, cold, shell }: Bench, rounds: number): Promise<Runs> {
  const chainOn = async (side: BenchSide) => {
    const cpu = () => cpuMsOfTree([side.worker.pid()]);
    return await timed(cpu, async () => ({ result: await side.runChain({ mode: 'initial' }) }));
  };
  const runs: Runs = { warm: [], cold: [], script: [] };
  for (let round = 1; round <= rounds; round++) {
    runs.warm.push(await chainOn(warm));
    runs.cold.push(await chainOn(cold));
    runs.script.push(
      await timed(
        async () => cpuMsOfEndedChildren(process.pid),
        async () => ({ sessionIds: await shell.run() }),
      ),
    );
  }
  return runs;
}

async function timed<Result extends object>(
  cpuMs: () => Promise<number>,
  measured: () => Promise<Result>,
): Promise<Run & Result> {
  const cpuBefore = await cpuMs();
  const startedAt = performance.now();
  const result = await measured();
  const wallMs = performance.now() - startedAt;
  return { ...result, wallMs, cpuMs: (await cpuMs()) - cpuBefore };
}

function timeRows(runs: Runs, { name: pace, warmGoal }: Pace): Row[] {
  return kinds.map((kind) =>
    row({
      part,
      name: `whole chain, ${kind}, with ${pace}`,
      unit: 'ms',
      values: runs[kind].map(({ wallMs }) => wallMs),
      peer: { name: script, values: runs.script.map(({ wallMs }) => wallMs) },
      inRounds: true,
      goal: kind === 'warm' ? warmGoal : atMost(1.1),
    }),
  );
}

async function commitToRequestRow(stack: BenchStack, { warm, cold }: Runs): Promise<Row> {
  const of = async (runs: Runs['warm']) =>
    (await Promise.all(runs.map(({ result }) => commitToRequestMs(stack, result)))).flat();
  return row({
    part,
    name: "commit of a step to the next one's first request, warm",
    unit: 'ms',
    values: await of(warm),
    peer: { name: 'cold', values: await of(cold) },
    goal: { ...atMost(50), text: '<= 50 ms', of: 'figure' },
  });
}

function cpuRows(runs: Runs): Row[] {
  return kinds.map((kind) =>
    row({
      part,
      name: `CPU of worker and agents per chain, ${kind}`,
      unit: 'ms',
      values: runs[kind].map(({ cpuMs }) => cpuMs),
      peer: { name: script, values: runs.script.map(({ cpuMs }) => cpuMs) },
      inRounds: true,
      ...(kind === 'warm' ? { goal: atMost(0.5) } : {}),
    }),
  );
}

/** A process keeps the session id that it began with in what it tells the model: how many there are tells what was warm. */
function processRows(stack: BenchStack, runs: Runs): Row[] {
  return kinds.map((kind) =>
    row({
      part,
      name: `processes of Claude Code per chain, ${kind}`,
      unit: 'processes',
      values: runs[kind].map(({ result }) => processesOf(stack, sessionsOf(result))),
      ...(kind === 'warm' ? { goal: atMost(1) } : {}),
    }),
  );
}

function processesOf(stack: BenchStack, sessionIds: readonly string[]): number {
  const ofProcess = sessionIds.flatMap((id) =>
    requestsOf(stack, id).map(({ bodyText }) =>
      sessionIdOf(parseMessagesRequest(bodyText).metadata?.user_id),
    ),
  );
  return new Set(ofProcess).size;
}

/** From the question to the first piece of its answer, of a chat in which a question was answered before. */
async function questionRows(bench: Bench, rounds: number, { name: pace, delayMs }: Pace): Promise<Row[]> {
  const { stack } = bench;
  const chats = { warm: await openChat(bench.warm), cold: await openChat(bench.cold) };
  const times = { warm: [] as number[], cold: [] as number[], model: [] as number[] };
  const slow = stack.model.inject({ delayMs, times: Infinity });
  try {
    for (let round = 1; round <= rounds; round++) {
      times.warm.push(await chats.warm.firstPieceMs());
      times.cold.push(await chats.cold.firstPieceMs());
      times.model.push((await timedRequest(stack.model.url)).firstMs);
    }
  } finally {
    slow.remove();
  }
  return [
    row({
      part,
      name: `first token of a second question, warm, with ${pace}`,
      unit: 'ms',
      values: times.warm,
      peer: { name: 'cold', values: times.cold },
      inRounds: true,
    }),
    ...kinds.map((kind) =>
      row({
        part,
        name: `first token of a second question, ${kind}, with ${pace}`,
        unit: 'ms',
        values: times[kind],
        peer: { name: 'first byte of the same model', values: times.model },
        inRounds: true,
      }),
    ),
  ];
}

/** A chat about a project that a chain has built, with its first answer. */
async function openChat(side: BenchSide) {
  const { projectId } = await side.runChain({ mode: 'initial', steps: ['build'] });
  let asked = 0;
  const firstPieceMs = async () => {
    asked += 1;
    const startedAt = performance.now();
    let first: number | undefined;
    await side.sessionChain.ask(
      { projectId, messageId: `m-${asked}`, text: 'Which file holds the look of the page?' },
      { onChunk: () => (first ??= performance.now() - startedAt) },
    );
    if (first === undefined) throw new Error('An answer came in one piece, without a first one.');
    return first;
  };
  await firstPieceMs();
  return { firstPieceMs };
}
