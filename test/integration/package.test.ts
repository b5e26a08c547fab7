import { readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client } from '@temporalio/client';
import type { Payload } from '@temporalio/common';
import { publint } from 'publint';
import ts from 'typescript';
import { parse } from 'yaml';
import { readConfig, variables } from '../../config/environment.js';
import { loadChainDefinition } from '../../definition/load.js';
import { createSessionChain } from '../../client/session-chain.js';
import { type ChainStack, longHeartbeatTimeoutMs, startChainStack, until } from '../support/chain-stack.js';
import { anchorsOf, codeBlocksOf, linksOf } from '../support/markdown.js';
import { type Project, filesOf, installPackage, link } from '../support/installed-package.js';

/** The package as a host has it: packed, and installed in a project that holds only what the package declares. */

/** What the client may need of the package's dependencies; neither Temporal's worker nor the agent SDK. */
const clientDependencies = [
  '@temporalio/client',
  '@temporalio/common',
  '@temporalio/envconfig',
  'ioredis',
  'pg',
  'pg-connection-string',
  'zod',
];

let stack: ChainStack;
let clientOnly: Project;
let project: Project;

beforeAll(async () => {
  stack = await startChainStack('package', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  clientOnly = installPackage(clientDependencies);
  project = installPackage();
});

afterAll(async () => {
  clientOnly.remove();
  project.remove();
  await stack.stop();
});

describe('the package', () => {
  it('holds the program, the migrations, the templates and the documents, and nothing else', () => {
    const files = filesOf(project);
    const kinds = new Set(
      files.map((file) =>
        file
          .replace(/^dist\/dashboard\/(index\.html|.*\.(js|css|svg)(\.(gz|br))?)$/, 'dist/dashboard')
          .replace(/^(dist\/[a-z]+)\/.*\.(js|d\.ts)$/, '$1')
          .replace(/^docs\/.*\.(json|md|png|svg|yml)$/, 'docs')
          .replace(/^examples\/.*\.(md|sql|ts)$/, 'examples')
          .replace(/^migrations\/.*\.sql$/, 'migrations'),
      ),
    );
    expect([...kinds].sort()).toEqual([
      'ARCHITECTURE.md',
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'SECURITY.md',
      ...readdirSync('cli/templates')
        .map((name) => `cli/templates/${name}`)
        .sort(),
      ...[
        'activities',
        'agent',
        'archive',
        'cli',
        'client',
        'config',
        'contracts',
        'dashboard',
        'definition',
        'http',
        'server',
        'storage',
        'temporal',
        'transcript',
        'workers',
        'workflows',
        'workspace',
      ].map((room) => `dist/${room}`),
      'docs',
      'examples',
      'migrations',
      'package.json',
    ]);
    expect(files).toContain('dist/workers/workflow-bundle.js');
  });

  it('shows the first page of the dashboard for less than 100 kB, compressed', () => {
    const folder = join(project.packageFolder, 'dist/dashboard');
    const html = readFileSync(join(folder, 'index.html'), 'utf8');
    const assets = readdirSync(join(folder, 'assets'));
    const first = [...html.matchAll(/="\/(assets\/[^"]+)"/g)].map(([, file]) => file ?? '');
    // The overview is loaded beside it, with all that it imports.
    const files = new Set([
      ...first,
      ...assets.filter((name) => /^overview-.*\.(js|css)$/.test(name)).map((name) => `assets/${name}`),
    ]);
    for (const file of files) {
      if (!file.endsWith('.js')) continue;
      for (const [, name] of readFileSync(join(folder, file), 'utf8').matchAll(
        /(?:from|import)"\.\/([^"]+)"/g,
      ))
        files.add(`assets/${name}`);
    }
    expect([...files].some((file) => /overview-.*\.js$/.test(file))).toBe(true);
    const sizes = [...files, 'icon.svg'].map(
      (file) => [file, statSync(join(folder, `${file}.gz`)).size] as const,
    );
    const whole = sizes.reduce((sum, [, size]) => sum + size, gzipSync(html).length);
    expect([whole < 100_000, whole, sizes]).toEqual([true, whole, sizes]);
  });

  it('has documents whose links lead to files and headings of the package', () => {
    const files = filesOf(project);
    const textOf = (file: string) => readFileSync(join(project.packageFolder, file), 'utf8');
    const isThere = (file: string, link: string) => {
      const [path = '', anchor] = link.split('#');
      const target = path === '' ? file : join(dirname(file), path);
      return files.includes(target) && (anchor === undefined || anchorsOf(textOf(target)).includes(anchor));
    };
    const links = files
      .filter((file) => file.endsWith('.md'))
      .flatMap((file) => linksOf(textOf(file)).map((link) => [file, link] as const))
      .filter(([, link]) => !/^[a-z]+:/.test(link));
    expect(links.length).toBeGreaterThan(50);
    expect(links.filter(([file, link]) => !isThere(file, link))).toEqual([]);
  });

  it('needs neither the agent SDK nor embedded servers, and runs without our overrides', () => {
    const manifest = JSON.parse(readFileSync(join(project.packageFolder, 'package.json'), 'utf8')) as Record<
      string,
      Record<string, string>
    >;
    const needed = Object.keys({ ...manifest['dependencies'], ...manifest['optionalDependencies'] });
    expect(needed.filter((name) => /anthropic|embedded|offline|redis-memory/.test(name))).toEqual([]);
    const overridden = Object.keys(manifest['overrides'] ?? {});
    expect(needed.filter((name) => overridden.includes(name))).toEqual([]);
    expect(manifest['peerDependenciesMeta']).toEqual({
      '@anthropic-ai/claude-agent-sdk': { optional: true },
    });
    // The peer is exactly what all tests ran with.
    expect(manifest['peerDependencies']).toEqual({
      '@anthropic-ai/claude-agent-sdk': manifest['devDependencies']?.['@anthropic-ai/claude-agent-sdk'],
    });
  });

  it('has exports that bundlers and compilers resolve', async () => {
    const { messages } = await publint({ pkgDir: project.packageFolder, strict: true });
    expect(messages.filter(({ type }) => type !== 'suggestion')).toEqual([]);
    const analysis = await checkPackage(createPackageFromTarballData(readFileSync(project.tarball)));
    // ESM only: resolution from before `exports` finds nothing, a CommonJS module reads it by require(esm) or import().
    const problems = (analysis.types && 'problems' in analysis ? analysis.problems : []).filter(
      (problem) =>
        !('resolutionKind' in problem && ['node10', 'node16-cjs'].includes(problem.resolutionKind)),
    );
    expect(problems).toEqual([]);
    expect(analysis).toMatchObject({ types: { kind: 'included' } });
  });
});

const clientProgram = `
  import { SessionChainError, createSessionChain } from 'session-chain/client';

  const { DATABASE_URL, TEMPORAL_ADDRESS, TASK_QUEUE, WORKSPACE } = process.env;
  const sessionChain = createSessionChain({
    databaseUrl: DATABASE_URL,
    temporal: { address: TEMPORAL_ADDRESS },
    taskQueue: TASK_QUEUE,
    overrides: { compactThresholdTokens: 0 },
  });
  const unknown = await sessionChain.head('nobody').catch((error) => error);
  const started = await sessionChain.start({
    projectId: 'packed', versionId: 'packed-v1', workspace: WORKSPACE, steps: ['build'], createRows: true,
  });
  const result = await sessionChain.wait(started);
  const head = await sessionChain.head('packed');
  await sessionChain.close();
  const loaded = process.report?.getReport().sharedObjects.filter((path) => path.endsWith('.node')) ?? [];
  console.log(JSON.stringify({
    unknown: unknown instanceof SessionChainError && unknown.code, status: result.status,
    isHead: head.sessionId === result.head.sessionId, seq: head.seq, natives: loaded,
  }));
`;

describe('session-chain/client', () => {
  it('starts a chain and reads its head, with addresses alone', async () => {
    await stack.startWorker();
    clientOnly.write('client.js', clientProgram);
    const { workspace } = stack.request();
    const printed = await clientOnly.node(['client.js'], {
      DATABASE_URL: stack.database.url,
      TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'] ?? '',
      TASK_QUEUE: stack.policy.taskQueues.chains,
      WORKSPACE: workspace,
    });
    expect(JSON.parse(printed)).toEqual({
      unknown: 'PROJECT_NOT_FOUND',
      status: 'completed',
      isHead: true,
      seq: 1,
      natives: [],
    });
  });

  it.each([
    [
      'require()',
      `const { createSessionChain } = require('session-chain/client'); console.log(typeof createSessionChain);`,
    ],
    [
      'import()',
      `import('session-chain/client').then((loaded) => console.log(typeof loaded.createSessionChain));`,
    ],
  ])('is loaded by a CommonJS module with %s', async (_, program) => {
    clientOnly.write('old.cjs', program);
    expect(await clientOnly.node(['old.cjs'])).toBe('function\n');
  });
});

const recipes = readdirSync('docs/recipes').map((name) => `docs/recipes/${name}`);

describe('docs/recipes', () => {
  it('lead from an Express app to a chain whose progress and end are told', async () => {
    link(project.folder, 'express');
    for (const { comment, code } of recipes.flatMap((page) => codeBlocksOf(readFileSync(page, 'utf8')))) {
      const [, name] = /^file: (.+)$/.exec(comment) ?? [];
      if (name?.endsWith('.js')) project.write(`recipes/${name}`, code);
      else if (name)
        project.compile(project.write(`recipes/${name}`, code), `recipes/${name.replace(/ts$/, 'js')}`);
    }
    const environment = {
      DATABASE_URL: stack.database.url,
      TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'] ?? '',
      SESSION_CHAIN_TASK_QUEUE: stack.policy.taskQueues.chains,
      WORKSPACES: stack.root,
      PORT: '0',
    };
    const app = await project.start(['recipes/app.js'], environment, 'Listening on port');
    const [, port] = /port (\d+)/.exec(app.output()) ?? [];
    const call = async (path: string, body?: object) => {
      const response = await fetch(`http://127.0.0.1:${port}/projects/${path}`, {
        ...(body && { method: 'POST', body: JSON.stringify(body) }),
        headers: { 'content-type': 'application/json' },
      });
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    };
    const build = { instruction: 'A to-do list' };
    const held = stack.model.holdNext(({ step }) => step === 'build');
    expect((await call('todo/versions/v1/build', build)).status).toBe(202);
    expect((await call('todo/versions/v1/build', build)).status).toBe(200);

    project.write('recipes/watch.js', watchProgram);
    const watching = await project.start(['recipes/watch.js'], environment, 'following');
    held.release();
    await until(() => /^Built, .+$/m.test(watching.output()));
    const [following, ...told] = watching.output().trim().split('\n');
    expect(following).toBe('following');
    expect(told.at(-2)).toBe('completed');
    expect(told.length).toBeGreaterThan(2);
    const { body: head } = await call('todo/head');
    expect(told.at(-1)).toBe(`Built, session ${String(head['sessionId'])}`);

    expect((await call('todo/versions/v1')).body).toMatchObject({ status: 'completed' });
    expect((await call('todo/questions', { text: 'What is there?', messageId: 'm-1' })).body).toMatchObject({
      kind: 'transition',
      reply: expect.stringMatching(/\w/) as unknown,
    });
    expect(await call('other/head')).toMatchObject({ status: 404, body: { code: 'PROJECT_NOT_FOUND' } });
    expect(await call('-/versions/v1/build', build)).toMatchObject({ status: 400 });
    await app.stop();
  });
});

/** Follows the chain as the recipes do: each state as server-sent event and as line, then the outcome. */
const watchProgram = `
  import { once } from 'node:events';
  import { createServer } from 'node:http';
  import { chainKey, createSessionChain } from 'session-chain/client';
  import { outcomeOf } from './ended.js';
  import { sendStates } from './progress.js';

  const sessionChain = createSessionChain({
    databaseUrl: process.env.DATABASE_URL,
    temporal: { address: process.env.TEMPORAL_ADDRESS },
  });
  const key = chainKey({ projectId: 'todo', versionId: 'v1' });
  const server = createServer((_, response) => void sendStates(sessionChain, key, response)).listen(0);
  await once(server, 'listening');
  const response = await fetch('http://127.0.0.1:' + server.address().port);
  console.log('following');
  const events = await response.text();
  for (const event of events.trim().split('\\n\\n')) console.log(JSON.parse(event.replace('data: ', '')).line);
  console.log(await outcomeOf(sessionChain, key));
  server.close();
  await sessionChain.close();
`;

describe('session-chain/worker', () => {
  it('says what to install where the agent SDK is missing, and works once it is there', async () => {
    const { folder } = project;
    project.write(
      'worker.js',
      `import { createWorker, optionsFromEnvironment } from 'session-chain/worker';
      try {
        // Node's own environment, which is no plain object.
        const agentEnvironment = process.env;
        const worker = await createWorker({ ...optionsFromEnvironment(process.env), agentEnvironment });
        worker.shutdown();
        await worker.finished;
        console.log('stopped');
      } catch (error) {
        console.log(JSON.stringify({ code: error.code, remedy: error.remedy }));
      }`,
    );
    const environment = {
      DATABASE_URL: stack.database.url,
      TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'] ?? '',
      SESSION_CHAIN_TASK_QUEUE: `${stack.policy.taskQueues.chains}-own`,
      SESSION_CHAIN_SCRATCH_DIR: join(folder, 'scratch'),
      SESSION_CHAIN_WORKSPACE_ROOTS: stack.root,
      SESSION_CHAIN_LOG_LEVEL: 'silent',
      ANTHROPIC_API_KEY: 'test-credential',
    };
    const without = JSON.parse(await project.node(['worker.js'], environment)) as Record<string, string>;
    expect(without['code']).toBe('AGENT_NOT_FOUND');
    expect(without['remedy']).toMatch(
      /npm install --save-exact @anthropic-ai\/claude-agent-sdk@\d+\.\d+\.\d+$/,
    );
    const command = await project.shell('session-chain worker -o json', environment);
    expect(JSON.parse(command.stderr)).toMatchObject({ error: without });

    link(folder, '@anthropic-ai/claude-agent-sdk');
    expect(await project.node(['worker.js'], environment)).toBe('stopped\n');
  });
});

/** What the programs below have in common. */
const settings = `
  const { DATABASE_URL, TEMPORAL_ADDRESS, TASK_QUEUE, ROOT, SCRATCH, ...agentEnvironment } = process.env;
  const options = {
    workspaceRoots: [ROOT], agentEnvironment, scratchFolder: SCRATCH, limits: { maxAgents: 2, heartbeatThrottleMs: 1000 },
  };`;

/** The queue and the client of a program's chains. */
function onQueueOf(program: string) {
  const taskQueue = `${stack.policy.taskQueues.chains}-${program}`;
  const environment = {
    DATABASE_URL: stack.database.url,
    TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'] ?? '',
    TASK_QUEUE: taskQueue,
    ROOT: stack.root,
    SCRATCH: join(project.folder, 'scratch'),
    ANTHROPIC_BASE_URL: stack.model.url,
    ANTHROPIC_API_KEY: 'test-credential',
  };
  const clientOf = (queue: string, temporal = stack.temporal) =>
    createSessionChain({
      pool: stack.database.pool,
      temporal,
      taskQueue: queue,
      overrides: stack.overrides,
      policy: { heartbeatTimeoutMs: longHeartbeatTimeoutMs, killGraceMs: 1_000 },
    });
  return { taskQueue, environment, clientOf };
}

describe('createWorker', () => {
  it('runs workers beside each other in one process, on a pool and a connection that stay open', async () => {
    link(project.folder, '@anthropic-ai/claude-agent-sdk');
    project.write(
      'two-workers.js',
      `import { NativeConnection, Worker } from '@temporalio/worker';
      import pg from 'pg';
      import { createWorker } from 'session-chain/worker';
      ${settings}
      const pool = new pg.Pool({ connectionString: DATABASE_URL });
      const connection = await NativeConnection.connect({ address: TEMPORAL_ADDRESS });
      const work = async (taskQueue, more) =>
        await createWorker({ ...options, pool, temporal: { connection }, taskQueue, log: console, ...more });
      const first = await work(TASK_QUEUE);
      const onEnd = { activity: 'chainEnded', taskQueue: TASK_QUEUE + '-host' };
      const second = await work(TASK_QUEUE + '-2', { definition: { steps: ['build', 'docs'] }, onEnd });
      const chainEnded = async ({ buildId, status }) => console.log('told of', buildId, status);
      const host = await Worker.create({ connection, taskQueue: onEnd.taskQueue, activities: { chainEnded } });
      const told = host.run();
      console.log('Both are ready.');
      process.once('SIGHUP', async () => {
        first.shutdown();
        await first.finished;
        console.log('The first has stopped.');
      });
      await second.finished;
      await first.finished;
      await told;
      await pool.query('SELECT 1');
      await Promise.all([pool.end(), connection.close()]);`,
    );
    const { environment, taskQueue, clientOf } = onQueueOf('two');
    const program = await project.start(['two-workers.js'], environment, 'Both are ready.');
    const run = async (queue: string, only?: string[]) => {
      const sessionChain = clientOf(queue);
      const request = { ...stack.request(), ...(only ? { steps: only } : {}) };
      const { status, steps } = await sessionChain.wait(await sessionChain.start(request));
      return [status, ...steps.map(({ step }) => step)];
    };
    expect(await Promise.all([run(taskQueue, ['build']), run(`${taskQueue}-2`)])).toEqual([
      ['completed', 'build'],
      ['completed', 'build', 'docs'],
    ]);
    program.signal('SIGHUP');
    await until(() => program.output().includes('The first has stopped.'));
    expect(await run(`${taskQueue}-2`, ['build'])).toEqual(['completed', 'build']);
    // Of chains of both: ends belong to the database.
    await until(() => [...program.output().matchAll(/^told of \S+ completed$/gm)].length === 3);
    await program.stop();
  });
});

describe('sessionChainPlugin', () => {
  const hostProgram = `
    import { NativeConnection, Worker, bundleWorkflowCode } from '@temporalio/worker';
    import pg from 'pg';
    import { sessionChainPlugin } from 'session-chain/worker';
    ${settings}
    const workflowsPath = new URL('host-workflows.js', import.meta.url).pathname;
    const activities = {
      greet: async (name) => 'Hello ' + name,
      chainEnded: async ({ key, status }) => console.log('told', key, status),
    };
    const onEnd = { activity: 'chainEnded', taskQueue: TASK_QUEUE };
    const connection = await NativeConnection.connect({ address: TEMPORAL_ADDRESS });
    const flip = async (payloads) => payloads.map((one) => ({ ...one, data: one.data?.map((byte) => byte ^ 255) }));
    const dataConverter = { payloadCodecs: [{ encode: flip, decode: flip }] };
    const host = { connection, taskQueue: TASK_QUEUE, workflowsPath, activities, dataConverter };
    const silent = { info() {}, warn() {} };`;

  beforeAll(() => {
    link(project.folder, '@anthropic-ai/claude-agent-sdk');
    project.write(
      'host-workflows.js',
      `import { proxyActivities } from '@temporalio/workflow';
      const { greet } = proxyActivities({ startToCloseTimeout: '10 s' });
      export async function greeting(name) { return await greet(name); }`,
    );
  });

  it("runs chains and chats on a host's worker, beside its own workflows, and stops with it", async () => {
    project.write(
      'host.js',
      `${hostProgram}
      const pool = new pg.Pool({ connectionString: DATABASE_URL });
      const worker = await Worker.create({ ...host, plugins: [sessionChainPlugin({ ...options, pool, onEnd })] });
      await worker.run();
      await pool.query('SELECT 1');
      await Promise.all([pool.end(), connection.close()]);
      console.log('All is closed.');`,
    );
    const { environment, taskQueue, clientOf } = onQueueOf('host');
    const flip = async (payloads: Payload[]) =>
      payloads.map((one) => ({ ...one, data: one.data?.map((byte) => byte ^ 255) ?? null }));
    const temporal = new Client({
      connection: stack.temporal.connection,
      dataConverter: { payloadCodecs: [{ encode: flip, decode: flip }] },
    });
    const sessionChain = clientOf(taskQueue, temporal);
    const program = await project.start(['host.js'], environment, 'The worker is ready.');
    const request = { ...stack.request(), steps: ['build'] };
    const started = await sessionChain.start(request);
    const greeting: unknown = await temporal.workflow.execute('greeting', {
      taskQueue,
      workflowId: `greeting-${taskQueue}`,
      args: ['host'],
    });
    expect(greeting).toBe('Hello host');
    expect(await sessionChain.wait(started)).toMatchObject({ status: 'completed', head: { seq: 1 } });
    await until(async () => (await sessionChain.ends(started))[0]?.deliveredAt instanceof Date);
    const [end] = await sessionChain.ends(started);
    expect(program.output()).toContain(`told ${end?.key} completed`);
    const { kind } = await sessionChain.ask({ projectId: request.projectId, text: 'What is next?' });
    expect(kind).toBe('transition');

    const later = { ...stack.request(), steps: ['build', 'docs'] };
    const docs = stack.model.holdNext(
      ({ step, bodyText }) => step === 'docs' && bodyText.includes(later.projectId),
    );
    const interrupted = await sessionChain.start(later);
    await docs.reached;
    await program.stop();
    expect(program.output()).toContain('All is closed.');
    docs.remove();

    // The same chain goes on, on a worker with a bundle that was made beforehand, and the plugin of its connection.
    project.write(
      'bundled.js',
      `${hostProgram}
      const plugin = sessionChainPlugin({ ...options, databaseUrl: DATABASE_URL });
      const { code } = await bundleWorkflowCode({ workflowsPath, plugins: [plugin] });
      const { workflowsPath: _, ...rest } = host;
      const plugged = await NativeConnection.connect({ address: TEMPORAL_ADDRESS, plugins: [plugin] });
      const worker = await Worker.create({ ...rest, connection: plugged, workflowBundle: { code } });
      await worker.run();
      await Promise.all([plugged.close(), connection.close()]);`,
    );
    const bundled = await project.start(['bundled.js'], environment, 'The worker is ready.');
    expect(await sessionChain.wait(interrupted)).toMatchObject({ status: 'completed', head: { seq: 2 } });
    await bundled.stop();
  });

  it('fails Worker.create with what is to be mended', async () => {
    project.write(
      'refused.js',
      `${hostProgram}
      const create = async ({ plugin = {}, ...worker }) => {
        try {
          const chains = sessionChainPlugin({ ...options, databaseUrl: DATABASE_URL, log: silent, ...plugin });
          await Worker.create({ ...host, plugins: [chains], ...worker });
          return 'created';
        } catch ({ code, message }) {
          return code + ': ' + message;
        }
      };
      const { code } = await bundleWorkflowCode({ workflowsPath });
      const unmigrated = new URL(DATABASE_URL);
      unmigrated.pathname = '/postgres';
      const twice = new URL('twice.js', import.meta.url).pathname;
      const answers = [
        await create({ plugin: { databaseUrl: 'postgres://127.0.0.1:1/none' } }),
        await create({ plugin: { databaseUrl: unmigrated.href } }),
        await create({ plugin: { agentEnvironment: {} } }),
        await create({ plugin: { limits: { maxAgents: 0 } } }),
        await create({ plugin: { databaseUrl: undefined } }),
        await create({ plugin: { onEnd: { activity: 'chainEnded' } } }),
        await create({ activities: { ...activities, noteEnd: async () => undefined } }),
        await create({ plugin: { definition: { steps: ['nonsense'] } } }),
        await create({ activities: { ...activities, commit: async () => undefined } }),
        await create({ dataConverter: { payloadConverterPath: workflowsPath } }),
        await create({ dataConverter: { failureConverterPath: workflowsPath } }),
        await create({ connection: undefined }),
        await create({ workflowBundle: { code } }),
        await create({ workflowsPath: twice }),
      ];
      await connection.close().catch(() => undefined);
      console.log(JSON.stringify(answers));
      process.exit(0);`,
    );
    project.write('twice.js', `export async function chat() { return 'mine'; }`);
    const { environment } = onQueueOf('refused');
    const said = (await project.node(['refused.js'], environment)).split('\n').at(-2) ?? '';
    expect(JSON.parse(said)).toEqual([
      expect.stringMatching(/^DATABASE_UNAVAILABLE: /),
      expect.stringMatching(/^MIGRATIONS_BEHIND: /),
      expect.stringMatching(/^CREDENTIALS_MISSING: /),
      expect.stringMatching(/^INVALID_INPUT: .*limits\.maxAgents/),
      expect.stringMatching(/^INVALID_INPUT: .*databaseUrl, pool/),
      expect.stringMatching(/^INVALID_INPUT: .*onEnd\.taskQueue/),
      expect.stringMatching(/^INVALID_INPUT: .*named like those of the chains: noteEnd/),
      expect.stringMatching(/^INVALID_CONFIG: .*options of the worker.*nonsense/),
      expect.stringMatching(/^INVALID_INPUT: .*named like those of the chains: commit/),
      expect.stringMatching(/^INVALID_INPUT: .*payloadConverterPath/),
      expect.stringMatching(/^INVALID_INPUT: .*failureConverterPath/),
      expect.stringMatching(/^INVALID_INPUT: .*connection/),
      expect.stringMatching(/^INVALID_INPUT: .*lacks the workflows/),
      expect.stringMatching(/^INVALID_INPUT: .*named like those of the chains: chat/),
    ]);
  });
});

describe('session-chain init', () => {
  it('writes what an empty project needs, once', async () => {
    const first = await project.shell('mkdir host && cd host && session-chain init');
    expect(first).toMatchObject({ code: 0, stderr: '' });
    expect(first.stdout).toContain('docker compose up --detach --wait');
    expect(readdirSync(join(project.folder, 'host')).sort()).toEqual([
      '.env.example',
      'docker-compose.yml',
      'session-chain.config.ts',
    ]);

    project.write('host/session-chain.config.ts', 'mine');
    const again = await project.shell('session-chain init --dir host -o json');
    expect(again.code).toBe(2);
    expect(JSON.parse(again.stderr)).toMatchObject({
      error: {
        code: 'INVALID_INPUT',
        message: expect.stringContaining('session-chain.config.ts') as unknown,
      },
    });
    expect(readFileSync(join(project.folder, 'host/session-chain.config.ts'), 'utf8')).toBe('mine');

    expect(await project.shell('session-chain init --dir host --force -o json')).toMatchObject({ code: 0 });
    const { definition } = await loadChainDefinition(
      { SESSION_CHAIN_CONFIG: undefined, SESSION_CHAIN_MODEL: undefined },
      join(project.folder, 'host'),
    );
    const docs = definition.steps.find(({ name }) => name === 'docs');
    expect(docs).toMatchObject({ kind: 'work', maxTurns: 30, maxCostUsd: 2 });
  });

  it('gives an environment that is read as it stands, and has every variable that its compose file requires', async () => {
    project.write(
      '.env.example',
      readFileSync('cli/templates/env.example', 'utf8').replace(/^(\w*PASSWORD=)$/gm, '$1secret'),
    );
    const { stdout } = await project.shell('set -a; . ./.env.example; env');
    const environment = Object.fromEntries(
      stdout.split('\n').map((line) => [line.split('=')[0] ?? '', line.slice(line.indexOf('=') + 1)]),
    );
    expect(readConfig(environment).DATABASE_URL).toBe(
      'postgres://session_chain:secret@127.0.0.1:5432/session_chain',
    );
    const required = [
      ...readFileSync('cli/templates/docker-compose.yml', 'utf8').matchAll(/\$\{(\w+):\?/g),
    ].map(([, name]) => name ?? '');
    expect(required.filter((name) => environment[name] !== 'secret')).toEqual([]);
    expect(
      Object.keys(environment).filter((name) => name.startsWith('SESSION_CHAIN_') && !(name in variables)),
    ).toEqual([]);
  });

  it('runs the same servers as the compose file of the repository', () => {
    const servicesOf = (file: string) =>
      (parse(readFileSync(file, 'utf8'), { merge: true }) as { services: Record<string, object> }).services;
    const whole = servicesOf('docker-compose.yml');
    for (const [name, service] of Object.entries(servicesOf('cli/templates/docker-compose.yml'))) {
      // The cache is asked from outside, too.
      const {
        ports: _ports,
        networks: _networks,
        ...rest
      } = service as { ports?: unknown; networks?: unknown };
      if (name === 'cache') expect(whole[name]).toEqual({ ...rest, networks: ['cache'] });
      // The HTTP server, which the template does not have, logs in with a password of its own.
      else if (name === 'app-db') expect(whole[name]).toMatchObject(service);
      else expect(whole[name]).toEqual(service);
    }
  });
});

describe('the types', () => {
  it('show an example of every method of the client', () => {
    const examples = methodExamples();
    expect(examples.length).toBeGreaterThan(25);
    expect(examples.filter(({ method, example }) => !example.includes(`sessionChain.${method}(`))).toEqual(
      [],
    );
  });

  it('hold in a strict project, and catch mistakes', () => {
    for (const name of ['@types/node', '@anthropic-ai/claude-agent-sdk']) link(project.folder, name);
    const pages = [
      ...['README.md', 'docs/adopting.md', 'docs/client.md', 'docs/http.md', 'docs/events.md'],
      ...recipes,
    ];
    const examples = pages.flatMap((page) =>
      codeBlocksOf(readFileSync(page, 'utf8'))
        .filter(({ language, comment }) => language === 'ts' && !comment.startsWith('not compiled'))
        .map(({ code }, index) => project.write(`${page.replace(/\.md$/, '')}-${index}.ts`, code)),
    );
    expect(examples.length).toBeGreaterThan(6);
    examples.push(
      ...methodExamples().map(({ method, example }) =>
        project.write(`example-of-${method}.ts`, `${exampleHost}\n{\n${example}\n}`),
      ),
    );
    const program = ts.createProgram([project.write('host.ts', typedHost), ...examples], {
      target: ts.ScriptTarget.ES2023,
      module: ts.ModuleKind.NodeNext,
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      noEmit: true,
      types: ['node'],
      typeRoots: [join(project.folder, 'node_modules/@types')],
    });
    // What is wrong inside of other packages is not ours to mend, and takes long to look through.
    const ours = program.getSourceFiles().filter(({ fileName }) => fileName.startsWith(project.folder));
    expect(ours.length).toBeGreaterThan(10);
    const problems = ours.flatMap((file) => ts.getPreEmitDiagnostics(program, file));
    expect(problems.map((problem) => ts.formatDiagnostic(problem, formatHost))).toEqual([]);
  });
});

/** The method of the client with the example in its docstring; empty where it has none. */
function methodExamples(): { method: string; example: string }[] {
  const files = ['session-chain', 'chains', 'chats', 'import'].map((name) => {
    const path = `client/${name}.ts`;
    return ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true);
  });
  const interfaces = ['SessionChain', 'ChainReads', 'Chats', 'Imports'];
  return files
    .flatMap((file) => file.statements.filter((one) => ts.isInterfaceDeclaration(one)))
    .filter(({ name }) => interfaces.includes(name.text))
    .flatMap(({ members }) => members.filter((one) => ts.isMethodSignature(one)))
    .map((member) => {
      const tag = ts.getJSDocTags(member).find(({ tagName }) => tagName.text === 'example');
      const text = ts.getTextOfJSDocComment(tag?.comment) ?? '';
      return { method: member.name.getText(), example: text.replace(/^```\w*$/gm, '').trim() };
    });
}

/** What the examples of the methods speak of. */
const exampleHost = `import { type SessionChain, type StartedChain, chainKey } from 'session-chain/client';
declare const sessionChain: SessionChain;
declare const started: StartedChain;
declare const sessionId: string;
declare const messageId: string;
void [sessionChain, started, sessionId, messageId, chainKey];
`;

const formatHost: ts.FormatDiagnosticsHost = {
  getCanonicalFileName: (name) => name,
  getCurrentDirectory: () => project.folder,
  getNewLine: () => '\n',
};

const typedHost = `
import { NativeConnection, Worker } from '@temporalio/worker';
import pg from 'pg';
import { type ChainResult, SessionChainError, createSessionChain } from 'session-chain/client';
import { type ActivityStepInput, defineChain } from 'session-chain/config';
import { createWorker, optionsFromEnvironment, sessionChainPlugin } from 'session-chain/worker';

const sessionChain = createSessionChain({
  databaseUrl: 'postgres://localhost/app',
  temporal: { address: 'localhost:7233', namespace: 'builder' },
  overrides: { budget: { maxCostUsd: 5 } },
});

export async function build(versionId: string): Promise<ChainResult> {
  try {
    const started = await sessionChain.start({ projectId: 'shop', versionId, workspace: '/srv/shop' });
    const reply = await sessionChain.ask({ projectId: 'shop', text: 'What is next?' });
    const text: string = reply.reply;
    console.log(text, started.alreadyStarted satisfies boolean);
    return await sessionChain.wait(started);
  } catch (error) {
    if (error instanceof SessionChainError && error.code === 'PROJECT_NOT_FOUND') console.error(error.remedy);
    // @ts-expect-error No such code.
    if (error instanceof SessionChainError && error.code === 'NO_SUCH_CODE') console.error();
    throw error;
  }
}

// @ts-expect-error A database is missing.
createSessionChain({ temporal: { address: 'localhost:7233' } });

export default defineChain({
  steps: [
    { name: 'build', prompt: ({ instruction }) => instruction ?? 'Build it.' },
    'metadata',
    { name: 'test', kind: 'work', prompt: ({ values }) => \`Test what \${JSON.stringify(values['metadata'])} says.\` },
    { name: 'deploy', kind: 'activity', role: 'deploy', activity: 'deployVersion', taskQueue: 'deploy' },
  ],
  // @ts-expect-error No such field.
  tool: ['Read'],
});

export const deployVersion = async (call: ActivityStepInput): Promise<string> => call.key;
export const worker = createWorker({ ...optionsFromEnvironment(process.env), log: console });
export const onOurs = createWorker({
  pool: new pg.Pool(),
  temporal: { connection: await NativeConnection.connect(), namespace: 'builder' },
  definition: defineChain({ steps: ['build'] }),
  workspaceRoots: ['/srv'],
  agentEnvironment: process.env,
  limits: { maxAgents: 4 },
});
const chains = sessionChainPlugin({ databaseUrl: '', workspaceRoots: ['/srv'], agentEnvironment: process.env });
export const host = Worker.create({ taskQueue: 'shop', workflowsPath: './workflows.js', plugins: [chains] });
// @ts-expect-error The agents' environment is missing.
sessionChainPlugin({ databaseUrl: '', workspaceRoots: ['/srv'] });
`;
