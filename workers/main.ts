import { DefaultLogger, Runtime } from '@temporalio/worker';
import { readConfig } from '../config/environment.js';
import { createLog } from '../config/log.js';
import { processMetrics } from '../config/process-metrics.js';
import { type Endpoint, openEndpoint } from './endpoint.js';
import { optionsFromEnvironment } from './options.js';
import { installRuntime } from './runtime.js';
import { type RunningWorker, createWorker } from './worker.js';

/** After the grace time: what is done is reported, connections are closed. */
const closingMs = 2_000;

/**
 * The worker's process: runs until SIGTERM or SIGINT; a second one, or the end of the grace time, ends it and its
 * agents immediately. Exit code 0 after an orderly stop, else 1.
 */
export async function runWorkerProcess(environment: NodeJS.ProcessEnv): Promise<void> {
  const config = readConfig(environment);
  const log = createLog(config);
  const sdkLogger = new DefaultLogger('WARN', ({ level, message, meta }) => {
    // One line for each try; the worker tells it once, with the workflow.
    const isToldOnce = message === 'Failed to process Workflow Activation';
    log[isToldOnce ? 'debug' : level === 'ERROR' ? 'error' : 'warn'](meta ?? {}, message);
  });
  const address = config.SESSION_CHAIN_WORKER_HTTP;
  const temporalMetrics = await installRuntime(sdkLogger, address !== undefined);
  let worker: RunningWorker | null = null;
  let endpoint: Endpoint | null = null;
  const start = async () => {
    if (address !== undefined) {
      const own = processMetrics();
      const sources = [() => worker?.metrics(), () => own.metrics(), temporalMetrics];
      endpoint = await openEndpoint(address, {
        health: () => worker?.health() ?? null,
        metrics: async () => (await Promise.all(sources.map(async (read) => await read()))).join('\n'),
      });
      log.info({ url: endpoint.url }, 'The worker tells its health and its metrics.');
    }
    return await createWorker({ ...optionsFromEnvironment(environment), log });
  };
  const running = await start().catch(async (error: unknown) => {
    endpoint?.close();
    // Without a worker nothing else closes the runtime, which would keep the process and swallow its signals.
    await Runtime.instance().shutdown();
    // Nor would the threads of a worker that Temporal's library could not make end by themselves.
    setTimeout(() => process.exit(), closingMs).unref();
    throw error;
  });
  worker = running;
  let stopping = false;
  const stop = (signal: NodeJS.Signals) => {
    if (stopping) process.exit(1);
    stopping = true;
    log.info({ signal }, 'The worker stops: running steps are interrupted and go on elsewhere.');
    running.shutdown();
    // A database that does not answer would hold the last statement, and with it the process, for ever.
    setTimeout(() => process.exit(1), config.SESSION_CHAIN_SHUTDOWN_GRACE_MS + closingMs).unref();
  };
  process.on('SIGTERM', stop).on('SIGINT', stop);
  await running.finished.finally(() => endpoint?.close());
}
