// Runs one worker after another in a process that has the compiled program loaded, which is most of what a start costs.
// Each gets its environment, ends by SIGTERM, and is followed by the message `stopped`.
import { DefaultLogger, Runtime } from '@temporalio/worker';
import { optionsFromEnvironment } from '../../dist/workers/options.js';
import { createWorker } from '../../dist/workers/worker.js';

let running;
process.on('SIGTERM', () => running?.shutdown());
// Who started it is gone.
process.on('disconnect', () => process.exit());

process.on('message', async (environment) => {
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, environment);
  Runtime.install({
    shutdownSignals: [],
    logger: new DefaultLogger('ERROR', () => undefined),
    telemetryOptions: { logging: { filter: 'ERROR', forward: {} } },
  });
  running = await createWorker(optionsFromEnvironment(environment));
  await running.finished;
  running = undefined;
  await Runtime.instance().shutdown();
  process.send('stopped');
});
