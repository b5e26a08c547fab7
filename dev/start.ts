import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { openSandbox, withoutSandbox } from '../agent/sandbox/sandbox.js';
import { overridesOf, policyOf } from '../cli/context.js';
import { configuredSandbox } from '../cli/doctor-sandbox.js';
import { reportError } from '../cli/errors.js';
import { createSessionChain } from '../client/session-chain.js';
import { type Config, readConfig, showsStackTraces } from '../config/environment.js';
import { SessionChainError } from '../contracts/failures.js';
import { withoutCredentials } from '../contracts/secrets.js';
import { createPool } from '../storage/db/pool.js';
import { searchAttributes } from '../temporal/attributes.js';
import { connectClient } from '../temporal/connect.js';
import { type DemoReport, runDemo, summaryOf } from './demo.js';
import { type OfflineModel, startOfflineModel } from './offline-model/server.js';
import { freePorts } from './ports.js';
import { type Stack, startStack } from './stack.js';
import { startHttpServer } from './http-server.js';
import { supervise } from './supervised.js';

const usage = `Usage: npm start [-- --once] [-- --json]

Starts Postgres, Temporal with its Web UI, Redis (installed where that is possible), a worker and the HTTP server, all on loopback with
their state in .session-chain/; then runs two chains of a sample project through the real Claude Code.

  --once   stop after the two chains; exit code 0 only if both ended well
  --json   one JSON document on stdout; everything else on stderr. npm writes lines of its own to stdout, unless
           it is told not to: npm start --silent -- --once --json | jq .

DATABASE_URL, REDIS_URL and TEMPORAL_ADDRESS replace the embedded server. With ANTHROPIC_API_KEY (or another model
credential) the hosted model is used, else the offline model.`;

const say = (line: string) => console.error(withoutCredentials(line));

/** `npm start`: the embedded stack, a worker, the demo; stays up until Ctrl-C. */
async function main(): Promise<number> {
  const { once, json, help } = parsedArguments();
  if (help) {
    console.log(usage);
    return 0;
  }
  // The same for every worker that is started.
  const { worker: port } = await freePorts({ worker: 9464 });
  const config = readConfig({ SESSION_CHAIN_WORKER_HTTP: `127.0.0.1:${port}`, ...process.env });
  const stateDir = resolve('.session-chain');
  const stopping = stopRequest();
  const closing: (() => Promise<unknown> | void)[] = [];
  const start = async () => {
    await requireSandbox(config);
    const stack = await startStack({
      stateDir,
      env: config.environment,
      namespace: config.environment.TEMPORAL_NAMESPACE ?? 'default',
      searchAttributes: Object.values(searchAttributes),
      onProgress: say,
    });
    closing.unshift(() => stack.stop());
    const applied = await stack.migrate();
    say(
      `Database: ${applied.length > 0 ? `applied ${applied.length} migrations and functions` : 'up to date'}`,
    );
    if (!stack.redisUrl) say('Redis: none found; the checkpoint is off and nothing else changes');
    say(
      `Worker: tells its health and metrics at http://${config.environment.SESSION_CHAIN_WORKER_HTTP}/metrics`,
    );
    const model = config.hasModelCredentials ? null : await startOfflineModel({ maxLoggedRequests: 20 });
    if (model) closing.unshift(() => model.stop());
    say(`Model: ${modelLine(config, model)}`);
    const environment = workerEnvironment(config, stack, model, stateDir);
    const worker = await supervise({
      command: 'worker',
      environment,
      logFile: join(stateDir, 'logs', 'worker.log'),
      say,
    });
    closing.unshift(() => worker.stop());
    const http = await startHttpServer({
      environment,
      databaseUrl: stack.databaseUrl,
      stateDir,
      port: config.SESSION_CHAIN_HTTP_PORT,
      say,
    });
    closing.unshift(() => http.stop());
    if (!once) say(`Dashboard: ${await http.link()} (signs in once, within ten minutes)`);
    say(`Server: ${http.url}, with the key in ${http.keyFile}`);
    const envFile = join(stateDir, 'env');
    writeFileSync(
      envFile,
      envFileOf({ ...environment, SESSION_CHAIN_HTTP_URL: http.url, SESSION_CHAIN_DASHBOARD_URL: http.url }),
      { mode: 0o600 },
    );
    const serviceFile = join(stateDir, 'pg_service.conf');
    writeFileSync(serviceFile, serviceFileOf(stack.databaseUrl), { mode: 0o600 });
    closing.unshift(() => [envFile, serviceFile].forEach((file) => rmSync(file, { force: true })));
    return { stack, worker, http, environment, model };
  };

  try {
    const { stack, worker, http, environment, model } = await Promise.race([start(), stopping]);
    const lost = stack.serverLost.then(({ name, logFile }) => {
      throw new SessionChainError(
        'SERVER_START_FAILED',
        `${name} ended unexpectedly.`,
        `Look into ${logFile}.`,
      );
    });
    const report = await Promise.race([
      demo(readConfig(environment), stack, stateDir, model, http.url),
      worker.failed,
      http.failed,
      lost,
      stopping,
    ]);
    if (json) {
      console.log(JSON.stringify(report.document, null, 2));
      if (hasBanner(process.env))
        say(
          'npm wrote lines of its own to stdout before the document: npm start --silent -- --json leaves them out.',
        );
    } else
      console.log(
        summaryOf(report, {
          redisUrl: stack.redisUrl,
          httpUrl: http.url,
          link: once ? null : await http.link(),
        }),
      );
    if (once) return report.endedWell ? 0 : 1;
    say('The stack stays up until Ctrl-C.');
    await Promise.race([worker.failed, http.failed, lost, stopping]);
    return 0;
  } catch (error) {
    if (error instanceof StopRequested) return once ? 130 : 0;
    throw error;
  } finally {
    if (closing.length > 0) say('Stopping …');
    for (const close of closing) await close();
  }
}

/** Throws SANDBOX_UNAVAILABLE before anything is started; says it where agents are not kept in. */
async function requireSandbox(config: Config): Promise<void> {
  const { sandbox } = await configuredSandbox(config);
  const { kind, hold } = await openSandbox(sandbox, config.environment);
  if (kind === 'none') say(withoutSandbox(hold));
}

async function demo(
  config: Config,
  stack: Stack,
  stateDir: string,
  model: OfflineModel | null,
  dashboardUrl: string,
): Promise<DemoReport> {
  const pool = createPool(stack.databaseUrl, { applicationName: 'session-chain demo', max: 4 });
  const client = await connectClient(config);
  try {
    const sessionChain = createSessionChain({
      pool,
      temporal: client,
      policy: policyOf(config),
      maxQueued: config.SESSION_CHAIN_MAX_QUEUED,
      // The sample is small, and the demo shows every step.
      overrides: { ...overridesOf(config), compactThresholdTokens: 0 },
      searchAttributes: config.SESSION_CHAIN_SEARCH_ATTRIBUTES,
      dashboardUrl,
    });
    return await runDemo({
      sessionChain,
      stack,
      stateDir,
      namespace: client.options.namespace,
      model: model ? 'offline' : (config.SESSION_CHAIN_MODEL ?? 'hosted'),
      say,
    });
  } finally {
    await Promise.allSettled([pool.end(), client.connection.close()]);
  }
}

function parsedArguments(): { once: boolean; json: boolean; help: boolean } {
  try {
    const { values } = parseArgs({
      options: {
        once: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    return values;
  } catch (error) {
    throw new SessionChainError(
      'INVALID_INPUT',
      (error as Error).message,
      'Run npm start -- --help for what it takes.',
    );
  }
}

/** Whether npm has named the script and its command on stdout: it does unless it is silent, or writes JSON itself. */
function hasBanner({
  npm_lifecycle_event,
  npm_config_loglevel,
  npm_config_json,
}: NodeJS.ProcessEnv): boolean {
  return npm_lifecycle_event === 'start' && npm_config_loglevel !== 'silent' && npm_config_json !== 'true';
}

/** Rejects with StopRequested at the first SIGINT or SIGTERM; a second one ends this process at once. */
function stopRequest(): Promise<never> {
  const request = new Promise<never>((_, reject) => {
    let stopping = false;
    const stop = () => {
      // Whatever runs is guarded: it ends with this process.
      if (stopping) process.exit(130);
      stopping = true;
      reject(new StopRequested());
    };
    process.on('SIGINT', stop).on('SIGTERM', stop);
  });
  request.catch(() => undefined);
  return request;
}

class StopRequested extends Error {}

function modelLine(config: Config, model: OfflineModel | null): string {
  if (model) return `offline, at ${model.url} (set ANTHROPIC_API_KEY to use the hosted one)`;
  return `hosted, as ${Object.keys(config.modelEnvironment).join(', ')} say`;
}

/** The environment of the worker, and of a command line that a reader opens beside it. */
function workerEnvironment(
  config: Config,
  stack: Stack,
  model: OfflineModel | null,
  stateDir: string,
): Record<string, string> {
  const workspaces = join(stateDir, 'workspaces');
  mkdirSync(workspaces, { recursive: true, mode: 0o700 });
  // On the reader's own machine his own folders may be worked on.
  const roots = [homedir(), dirname(process.cwd()), tmpdir()];
  return {
    ...config.environment,
    DATABASE_URL: stack.databaseUrl,
    ...(stack.redisUrl ? { REDIS_URL: stack.redisUrl } : {}),
    TEMPORAL_ADDRESS: stack.temporal.address,
    ...(stack.temporal.ui ? { SESSION_CHAIN_TEMPORAL_UI: stack.temporal.ui } : {}),
    SESSION_CHAIN_WORKSPACE_ROOTS: [workspaces, ...config.SESSION_CHAIN_WORKSPACE_ROOTS, ...roots].join(':'),
    SESSION_CHAIN_SCRATCH_DIR: join(stateDir, 'scratch'),
    ...(model ? { ANTHROPIC_BASE_URL: model.url, ANTHROPIC_API_KEY: 'offline' } : {}),
  };
}

/** Lets psql connect without the password on its command line, which every user of the machine can read. */
function serviceFileOf(databaseUrl: string): string {
  const { hostname, port, pathname, username, password } = new URL(databaseUrl);
  const parts = { dbname: pathname.slice(1), user: username, password };
  const settings = Object.entries(parts).map(([name, value]) => `${name}=${decodeURIComponent(value)}\n`);
  return `[session-chain]\nhost=${hostname}\nport=${port || 5432}\n${settings.join('')}`;
}

function envFileOf(environment: Record<string, string>): string {
  const names = [
    'DATABASE_URL',
    'REDIS_URL',
    'TEMPORAL_ADDRESS',
    'SESSION_CHAIN_WORKSPACE_ROOTS',
    'SESSION_CHAIN_SCRATCH_DIR',
    'SESSION_CHAIN_HTTP_URL',
    'SESSION_CHAIN_DASHBOARD_URL',
    // A hosted credential stays where its owner put it; the offline model's is not one.
    ...(environment.ANTHROPIC_API_KEY === 'offline' ? ['ANTHROPIC_BASE_URL', 'ANTHROPIC_API_KEY'] : []),
  ];
  return names.flatMap((name) => (environment[name] ? [`${name}=${environment[name]}\n`] : [])).join('');
}

try {
  process.exitCode = await main();
} catch (error) {
  process.exitCode = reportError(error, 'text', showsStackTraces());
}
// A demo that still waits for its chain must not keep the process.
process.exit();
