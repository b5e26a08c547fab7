import { DefaultLogger, Runtime } from '@temporalio/worker';
import pino from 'pino';
import { readConfig } from '../config/environment.js';
import { startWorker } from './worker.js';

/** The worker's process: runs until SIGTERM or SIGINT; a second one ends it at once. Exit code 0 after an orderly stop. */
export async function runWorkerProcess(environment: NodeJS.ProcessEnv): Promise<void> {
  const config = readConfig(environment);
  const log = pino({ level: config.SESSION_CHAIN_LOG_LEVEL }, pino.destination(2));
  const sdkLogger = new DefaultLogger('WARN', ({ level, message, meta }) =>
    log[level === 'ERROR' ? 'error' : 'warn'](meta ?? {}, message),
  );
  Runtime.install({ logger: sdkLogger, telemetryOptions: { logging: { filter: 'ERROR', forward: {} } } });
  const worker = await startWorker(config, log);
  let stopping = false;
  const stop = (signal: NodeJS.Signals) => {
    if (stopping) process.exit(1);
    stopping = true;
    log.info({ signal }, 'The worker stops: running steps are interrupted and go on elsewhere.');
    worker.shutdown();
  };
  process.on('SIGTERM', stop).on('SIGINT', stop);
  await worker.finished;
}
