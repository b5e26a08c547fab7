import { randomUUID } from 'node:crypto';
import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { type SessionId, parseProjectId, parseSessionId } from '../contracts/ids.js';
import type { StepName } from '../contracts/steps.js';
import { createPool } from '../storage/db/pool.js';
import { createTranscriptStore, transcriptBytes } from '../storage/transcripts/store.js';
import { type Row, row } from './report.js';
import type { BenchStack } from './stack.js';
import { copied, newEntries } from './transcripts.js';

const forks = 20;

export async function measureForks(stack: BenchStack): Promise<Row[]> {
  const rows = [await measureStored(stack)];
  for (const entries of [100, 1_000, 10_000]) rows.push(...(await measureSent(stack, entries)));
  return rows;
}

/** What goes over the wire when a step goes on from a transcript: a process of its own repeats all of it, one that went on does not. */
async function measureSent({ databaseUrl }: BenchStack, entries: number): Promise<Row[]> {
  let socket = { bytesWritten: 0 };
  const pool = createPool(databaseUrl, { applicationName: 'session-chain bench forks', max: 1 });
  pool.on('connect', (client) => {
    socket = (client as unknown as { connection: { stream: typeof socket } }).connection.stream;
  });
  const projectId = parseProjectId(`bench-forks-${entries}`);
  const storeOf = () => createTranscriptStore({ pool, projectId });
  const append = async (
    store: ReturnType<typeof storeOf>,
    sessionId: string,
    all: SessionStoreEntry[],
    size: number,
  ) => {
    for (let from = 0; from < all.length; from += size) {
      await store.append({ projectKey: '', sessionId }, all.slice(from, from + size));
    }
  };
  const base = parseSessionId(randomUUID());
  await append(storeOf(), base, newEntries(base, entries), turnEntries);

  type Way = { kB: number[]; ms: number[] };
  const ways: Record<'whole' | 'cold' | 'warm', Way> = {
    whole: { kB: [], ms: [] },
    cold: { kB: [], ms: [] },
    warm: { kB: [], ms: [] },
  };
  const measured = async (way: Way, write: (sessionId: SessionId) => Promise<void>) => {
    const sessionId = parseSessionId(randomUUID());
    const [bytes, began] = [socket.bytesWritten, performance.now()];
    await write(sessionId);
    way.ms.push(performance.now() - began);
    way.kB.push((socket.bytesWritten - bytes) / 1_000);
  };
  for (let run = 0; run < 5; run++) {
    const store = storeOf();
    const loaded = (await store.load({ projectKey: '', sessionId: base })) ?? [];
    const repeat = (of: typeof store) => async (sessionId: SessionId) =>
      await append(of, sessionId, copied(loaded, sessionId), forkEntries);
    await measured(ways.whole, repeat(storeOf()));
    await measured(ways.cold, repeat(store));
    await measured(ways.warm, async (sessionId) => {
      await storeOf().appendToCopy({ projectKey: '', sessionId }, base, newEntries(sessionId, 1));
    });
  }
  await pool.end();
  const name = `a step on ${entries.toLocaleString('en')} entries`;
  const peer = (values: number[]) => ({ name: 'sent whole', values });
  return (['cold', 'warm'] as const).flatMap((way) => [
    row({
      part: 'forks',
      name: `${name}, ${way}, sent`,
      unit: 'kB',
      values: ways[way].kB,
      peer: peer(ways.whole.kB),
    }),
    row({
      part: 'forks',
      name: `${name}, ${way}`,
      unit: 'ms',
      values: ways[way].ms,
      peer: peer(ways.whole.ms),
    }),
  ]);
}

/** How many entries a turn of an agent appends at once, and a fork at most. */
const turnEntries = 2;
const forkEntries = 500;

/**
 * A project of twenty steps, each going on from the one before and none a compaction. Stored naively, each of their
 * sessions would hold all that came before once more.
 */
async function measureStored(stack: BenchStack): Promise<Row> {
  const round: StepName[] = ['build', 'metadata', 'docs'];
  const projectId = parseProjectId('bench-forks');
  for (let left = forks; left > 0; left -= round.length) {
    await stack.runChain({ projectId, steps: round.slice(0, left) });
  }
  const { storedBytes } = await transcriptBytes(stack.pool, projectId);
  const store = createTranscriptStore({ pool: stack.pool, projectId });
  let naiveBytes = 0;
  for (const { sessionId } of await store.listSessions('')) {
    naiveBytes += Buffer.byteLength(JSON.stringify(await store.load({ projectKey: '', sessionId })));
  }
  return row({
    part: 'forks',
    name: `transcripts of ${forks} forks, stored`,
    unit: 'kB',
    values: [storedBytes / 1000],
    peer: { name: 'stored naively', values: [naiveBytes / 1000] },
    // 360 kB of 3,640
    goal: { text: '<= 0.099', met: (ratio) => ratio <= 0.099 },
  });
}
