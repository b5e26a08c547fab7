import { parentPort, workerData } from 'node:worker_threads';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseProjectId } from '../contracts/ids.js';
import { createPool } from '../storage/db/pool.js';
import { createTranscriptStore } from '../storage/transcripts/store.js';
import { newEntries } from './transcripts.js';

/** Appends to a session of its own without end, in a thread of its own, and hands over the times when it is asked for them. */

export interface ProbeOptions {
  databaseUrl: string;
  projectId: string;
  sessionId: string;
}

/** As often as a busy agent appends. */
const pauseMs = 20;

const { databaseUrl, projectId, sessionId } = workerData as ProbeOptions;
const pool = createPool(databaseUrl, { applicationName: 'session-chain bench probe', max: 1 });
const store = createTranscriptStore({ pool, projectId: parseProjectId(projectId) });
let times: number[] = [];
let isOver = false;
parentPort?.on('message', (message: 'take' | 'end') => {
  if (message === 'end') isOver = true;
  else parentPort?.postMessage(times);
  times = [];
});
while (!isOver) {
  const began = performance.now();
  await store.append({ projectKey: '', sessionId }, newEntries(sessionId, 2));
  times.push(performance.now() - began);
  await sleep(pauseMs);
}
await pool.end();
parentPort?.close();
