import { readFileSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { SessionChainError } from '../contracts/failures.js';
import { startGuarded, type GuardedCommand, type GuardedServer } from './guard.js';
import { freePorts } from './ports.js';

export interface ServerStart<Port extends string> {
  /** For messages: 'Postgres'. */
  name: string;
  logFile: string;
  /** The ports that the server needs, each with the one to take when it is free. */
  ports: Record<Port, number | undefined>;
  command(ports: Record<Port, number>): Omit<GuardedCommand, 'name' | 'logFile'>;
  /** Whether this server, and no other, answers; false or a rejection means 'not yet'. */
  isReady(ports: Record<Port, number>, server: GuardedServer): Promise<boolean>;
  /** What the server prints when a former one that is still stopping holds its data: worth another try. */
  stillHeld?: RegExp;
}

/** Longer than the guard of a killed launcher needs to stop the server that still holds the data. */
const startTimeoutMs = 30_000;

/**
 * Starts a server under its guard and returns when it is ready. Replaces lost ports, and waits for data that is still
 * held.
 * @throws SessionChainError SERVER_START_FAILED, with the end of the log
 */
export async function startServer<Port extends string>(
  start: ServerStart<Port>,
): Promise<{ server: GuardedServer; ports: Record<Port, number> }> {
  const deadline = Date.now() + startTimeoutMs;
  for (;;) {
    const ports = await freePorts(start.ports);
    const logStart = statSync(start.logFile, { throwIfNoEntry: false })?.size ?? 0;
    const { name, logFile } = start;
    const server = await startGuarded({ ...start.command(ports), name, logFile, keepsPrivate: true });
    const ready = await becomesReady(server, () => start.isReady(ports, server), deadline);
    if (ready) return { server, ports };
    await server.stop();
    const log = readFileSync(start.logFile).subarray(logStart).toString('utf8').trim();
    const portLost = /address already in use/i.test(log);
    if ((!portLost && !start.stillHeld?.test(log)) || Date.now() > deadline) {
      throw new SessionChainError(
        'SERVER_START_FAILED',
        `${start.name} did not start. ${start.logFile} ends: ${log.split('\n').slice(-5).join(' | ')}`,
      );
    }
    await sleep(100);
  }
}

/** False when the server ended first or the deadline passed. */
async function becomesReady(
  server: GuardedServer,
  isReady: () => Promise<boolean>,
  deadline: number,
): Promise<boolean> {
  let gone = false;
  void server.exited.then(() => (gone = true));
  while (!gone && Date.now() < deadline) {
    if (await isReady().catch(() => false)) return true;
    await sleep(20);
  }
  return false;
}
