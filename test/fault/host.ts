import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import type { ActivityStepInput } from '../../contracts/plan.js';
import type { ActivityStep } from '../../definition/definition.js';

/** What the host was called with, and when, in ms since the epoch. */
export type HostCall = ActivityStepInput & { atMs: number };

/** The host's own worker, in this process: it takes the calls of a step that is an activity of the host. */
export interface Host {
  /** The calls so far, the first one first. */
  calls: readonly HostCall[];
  /** Holds the calls to come until `release`. */
  hold(): { isReached(): boolean; release(): void };
  stop(): Promise<void>;
}

export async function startHost(
  { activity }: ActivityStep,
  { address, taskQueue }: { address: string; taskQueue: string },
): Promise<Host> {
  beQuiet();
  const calls: HostCall[] = [];
  let released = Promise.resolve();
  const connection = await NativeConnection.connect({ address });
  const worker = await Worker.create({
    connection,
    taskQueue,
    activities: {
      async [activity](call: ActivityStepInput): Promise<void> {
        calls.push({ ...call, atMs: Date.now() });
        await released;
      },
    },
  });
  const running = worker.run();
  // What broke it is told by `stop`.
  running.catch(() => undefined);
  let release = () => {};
  return {
    calls,
    hold() {
      released = new Promise((resolve) => (release = resolve));
      return { isReached: () => calls.length > 0, release: () => release() };
    },
    async stop() {
      release();
      worker.shutdown();
      await running;
      await connection.close();
    },
  };
}

let isQuiet = false;

/** A worker logs every server that is taken away from it. */
function beQuiet(): void {
  if (isQuiet) return;
  isQuiet = true;
  Runtime.install({
    logger: new DefaultLogger('ERROR', () => undefined),
    telemetryOptions: { logging: { filter: 'OFF', forward: {} } },
  });
}
