import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Command } from 'commander';
import { chainKey } from '../../client/chain-key.js';
import type { ChainResult } from '../../contracts/chain.js';
import type { FailureCode } from '../../contracts/failures.js';
import { exitCodes } from '../../cli/errors.js';
import { checkNames } from '../../cli/finding.js';
import { fittingId } from '../../cli/format.js';
import { createProgram } from '../../cli/program.js';
import { migrate } from '../../storage/db/migrate.js';
import { type ChainStack, longHeartbeatTimeoutMs, startChainStack, until } from '../support/chain-stack.js';
import { type Ended, createCommandLine, onTerminal } from '../support/cli.js';
import { begin, openNew } from '../support/chains.js';
import { createTestDatabase } from '../support/database.js';

/** The compiled command line on real servers; as a process of its own where signals, pipes or the environment matter. */

const main = join(import.meta.dirname, '../../dist/cli/main.js');
const stepNames = ['build', 'metadata', 'docs', 'compact'];
/** Nobody listens there. */
const nowhere = '127.0.0.1:1';

const commandLine = createCommandLine();
let stack: ChainStack;
beforeAll(async () => {
  stack = await startChainStack('cli', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  await stack.startWorker();
});
afterAll(async () => {
  commandLine.stop();
  await stack.stop();
});

function environment(changes: Record<string, string> = {}): NodeJS.ProcessEnv {
  return {
    PATH: process.env['PATH'],
    DATABASE_URL: stack.database.url,
    TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'],
    SESSION_CHAIN_TASK_QUEUE: stack.policy.taskQueues.chains,
    SESSION_CHAIN_WORKSPACE_ROOTS: stack.root,
    SESSION_CHAIN_COMPACT_THRESHOLD_TOKENS: '0',
    SESSION_CHAIN_HEARTBEAT_TIMEOUT_MS: String(stack.policy.heartbeatTimeoutMs),
    SESSION_CHAIN_KILL_GRACE_MS: '1000',
    ...changes,
  };
}

function spawnCli(args: string[]): [ChildProcess, Promise<Ended>] {
  return commandLine.spawn(args, environment());
}

async function cli(args: string[], changes?: Record<string, string>, cwd?: string): Promise<Ended> {
  // A worker has the process to itself.
  if (args[0] === 'worker') return await commandLine.spawn(args, environment(changes), cwd)[1];
  return await commandLine.run(args, environment(changes), cwd);
}

/** As `cli`, of servers that answer: not as a busy machine has it, where one takes longer than a command waits. */
async function cliInTime(args: string[], changes?: Record<string, string>): Promise<Ended> {
  let ended = await cli(args, changes);
  while (/no answer within|timed out|ETIMEDOUT|does not answer/.test(ended.stdout))
    ended = await cli(args, changes);
  return ended;
}

async function json<Document>(args: string[], changes?: Record<string, string>): Promise<Document> {
  const { stdout, stderr, code } = await cli([...args, '-o', 'json'], changes);
  if (code !== 0) throw new Error(`Exit code ${code}: ${stderr}`);
  return JSON.parse(stdout) as Document;
}

/** The options that name a chain of a new version. */
function newChain(projectId?: string) {
  const { projectId: project, versionId: version, workspace } = stack.request(projectId);
  return { project, version, workspace, named: ['--project', project, '--version', version] };
}

const keyOf = ({ project, version }: { project: string; version: string }) =>
  chainKey({ projectId: project, versionId: version });

describe('a chain on the command line', () => {
  const chain = { project: '', version: '', workspace: '', named: [] as string[] };
  let ended: Ended;
  let result: ChainResult & { workflowId: string };
  beforeAll(async () => {
    Object.assign(chain, newChain());
    const start = [
      'start',
      ...chain.named,
      '--workspace',
      chain.workspace,
      '--create',
      '--prompt',
      'A list of books',
    ];
    ended = await cli([...start, '--wait', '-o', 'json']);
    result = JSON.parse(ended.stdout) as typeof result;
  });

  it('start --wait follows it on stderr and prints how it ended as one document', () => {
    expect(ended.code).toBe(exitCodes.ok);
    expect(result).toMatchObject({
      workflowId: `chain/${chain.project}/${chain.version}/${chain.version}`,
      status: 'completed',
      mode: 'initial',
    });
    for (const { step, newSessionId } of result.steps) {
      expect(ended.stderr).toMatch(new RegExp(`^${step} .*-> ${newSessionId?.slice(0, 8)}  .*turns?`, 'm'));
    }
    expect(result.steps.map(({ step }) => step)).toEqual([...stepNames]);
  });

  it('start again starts nothing', async () => {
    const again = await json<object>(['start', ...chain.named, '--workspace', chain.workspace]);
    expect(again).toMatchObject({ alreadyStarted: true, status: 'completed', result: { head: result.head } });
    const text = await cli(['start', ...chain.named, '--workspace', chain.workspace]);
    expect(text).toMatchObject({ code: 0, stderr: '' });
    expect(text.stdout).toContain('nothing was started now');
  });

  it('head prints the session id and nothing else', async () => {
    const { sessionId } = result.head;
    expect(await cli(['head', '--project', chain.project])).toEqual({
      code: 0,
      stdout: `${sessionId}\n`,
      stderr: '',
    });
    expect(await json(['head', '-p', chain.project])).toEqual({ projectId: chain.project, ...result.head });
  });

  it('status lists the chains of the project, or shows one', async () => {
    const listed = await cli(['status', '--project', chain.project]);
    expect(listed.stdout).toMatch(
      new RegExp(
        `^${chain.version} +completed +- +\\$0\\.\\d+ .*${result.head.sessionId?.slice(0, 8)}$`,
        'm',
      ),
    );
    expect(await json(['status', '--project', chain.project])).toMatchObject({
      sessionId: result.head.sessionId,
      chains: [
        {
          versionId: chain.version,
          status: 'completed',
          step: null,
          failure: null,
          firstLine: 'A list of books',
        },
      ],
      nextCursor: null,
    });
    const everywhere = await json<{ chains: object[]; counts: object }>([
      ...['list', '--status', 'completed', 'failed', '--since', '1h'],
    ]);
    expect(everywhere.chains).toContainEqual(expect.objectContaining({ versionId: chain.version }));
    expect(everywhere.counts).toMatchObject({ status: { completed: expect.any(Number) } });
    expect((await cli(['list', '-p', chain.project])).stdout).toMatch(
      /^0 at work, 0 waiting; ended since .*: 1 completed\n\nversion /,
    );
    expect((await cli(['list', '--stuck', '-p', chain.project])).stdout).toBe('There is no such chain.\n');
    expect((await cli(['list', '--stuck', '1d', '--waiting'])).stdout).toBe('There is no such chain.\n');
    expect(await json(['status', ...chain.named])).toMatchObject({ status: 'completed', progress: null });
    expect((await cli(['status', ...chain.named])).stdout).toMatch(
      new RegExp(`^status +completed\nproject +${chain.project}\n`),
    );
  });

  it('watch shows a chain from its start to its end, its live items, and goes on after a cursor', async () => {
    const lines = (await cli(['watch', ...chain.named, '-o', 'jsonl'])).stdout.trimEnd().split('\n');
    const items = lines.map((line) => JSON.parse(line) as { type: string; cursor: string });
    expect([items[0]?.type, items.at(-1)?.type]).toEqual(['chain.queued', 'chain.closed']);
    const opened = items.find(({ type }) => type === 'chain.opened');
    const rest = (await cli(['watch', ...chain.named, '--after', String(opened?.cursor), '-o', 'jsonl']))
      .stdout;
    expect(rest.startsWith(`${String(lines[items.findIndex((item) => item === opened) + 1])}\n`)).toBe(true);
    const shown = (await cli(['watch', ...chain.named])).stdout;
    expect(shown).toMatch(/ build began\n[^]* build committed {2}\d+ turns {2}\$[^]* closed: completed\n$/);
    // Followed as JSON Lines it is the same, and last how it ended.
    const followed = await cli(['status', ...chain.named, '--follow', '-o', 'jsonl']);
    const [last = '', ...before] = followed.stdout.trimEnd().split('\n').reverse();
    expect({ ...followed, stdout: before.reverse() }).toEqual({ code: 0, stdout: lines, stderr: '' });
    expect(JSON.parse(last)).toEqual({ type: 'result', ...result });
  });

  it('status --follow shows on a terminal what was said, which tools were called, and what runs just now', async () => {
    const { code, stdout } = await onTerminal(['status', ...chain.named, '--follow'], environment());
    // What is left on the screen of a line that changes.
    const screen = stdout.replaceAll('\r\n', '\n').replace(/[^\n]*\r\x1b\[K/g, '');
    expect([code, screen]).toEqual([0, expect.stringMatching(/^ {2}build {2}Write …?\S*index\.html$/m)]);
    expect(screen).toMatch(
      /^ {2}build {2}[A-Z].*\n[^]*^build {2}.* turns [^]*^compact [^]*^status +\S*completed\S*$/m,
    );
    expect(screen).not.toContain('\x1b[?7');
    expect(stdout).toMatch(/\r\x1b\[K\x1b\[\?7lbuild +\d turns? .* s\x1b\[\?7h/);
  });

  it('chain shows everything, with full ids and the lineage', async () => {
    const { stdout } = await cli(['chain', ...chain.named]);
    const ids = result.steps.map(({ newSessionId }) => newSessionId);
    for (const id of ids) expect(stdout).toContain(String(id));
    expect(stdout).toMatch(/^ {2}build +[0-9a-f-]{36}\n +wrote (.+, )?index\.html/m);
    expect(stdout).toContain('A list of books');
    expect(await json(['chain', ...chain.named])).toMatchObject({
      instruction: 'A list of books',
      workspace: chain.workspace,
      lineage: ids.reverse(),
    });
  });

  it('transitions lists the moves of the head, the newest first', async () => {
    const { stdout } = await cli(['transitions', '--project', chain.project]);
    expect(
      stdout
        .split('\n')
        .slice(1, 5)
        .map((line) => line.trim().split(/ +/)[1]),
    ).toEqual([...stepNames].reverse());
    const { transitions } = await json<{ transitions: object[] }>([
      'transitions',
      '-p',
      chain.project,
      '--limit',
      '1',
    ]);
    expect(transitions).toEqual([expect.objectContaining({ seq: 4, newSessionId: result.head.sessionId })]);
  });

  it('cancel of a chain that is over says so and changes nothing', async () => {
    expect(await json(['cancel', ...chain.named])).toMatchObject({
      cancelRequested: false,
      status: 'completed',
    });
  });

  it('head, status, chain and transitions work while Temporal is down', async () => {
    const down = { TEMPORAL_ADDRESS: nowhere };
    expect(await json(['head', '-p', chain.project], down)).toMatchObject(result.head);
    expect(await json(['status', '-p', chain.project], down)).toMatchObject({
      sessionId: result.head.sessionId,
    });
    expect(await json(['chain', ...chain.named], down)).toMatchObject({ status: 'completed' });
    expect(await json(['transitions', '-p', chain.project], down)).toMatchObject({
      projectId: chain.project,
    });
  });

  it('finds the running stack by .session-chain/env in the current folder', async () => {
    const folder = join(stack.root, 'elsewhere');
    mkdirSync(join(folder, '.session-chain'), { recursive: true });
    writeFileSync(join(folder, '.session-chain', 'env'), `DATABASE_URL=${stack.database.url}\n`);
    const child = spawn(process.execPath, [main, 'head', '-p', chain.project], {
      cwd: folder,
      env: { PATH: process.env['PATH'] },
      stdio: 'ignore',
    });
    expect(await once(child, 'close')).toEqual([0, null]);
  });
});

describe('a chain that is at work', () => {
  it('is shown live, goes on when following stops, and is cancelled', async () => {
    const chain = newChain();
    const held = stack.model.holdNext(({ step }) => step === 'build');
    const start = ['start', ...chain.named, '--workspace', chain.workspace, '--create', '--wait'];
    const [following, followed] = spawnCli(start);
    await held.reached;
    // A watch of the project in a pipe, which ends with a signal and says where to go on.
    const [watching, watched] = spawnCli(['watch', '-p', chain.project, '--after', '0']);
    await new Promise<void>((resolve) => {
      watching.stdout?.on('data', (data) => String(data).includes('build began') && resolve());
    });
    watching.kill('SIGINT');
    expect(await watched).toMatchObject({
      code: exitCodes.interrupted,
      stderr: expect.stringMatching(/^Go on from here: --after \S+\n$/),
    });
    following.kill('SIGINT');
    const left = await followed;
    expect(left.code).toBe(exitCodes.interrupted);
    expect(left.stdout).toBe('');
    expect(left.stderr).toContain(`the chain goes on. See it: session-chain status ${chain.named.join(' ')}`);

    await until(async () => (await stack.sessionChain.progress(keyOf(chain)))?.step === 'build');
    expect(await json(['status', ...chain.named])).toMatchObject({ progress: { step: 'build' } });
    const listed = await cli(['status', '-p', chain.project]);
    expect(listed.stdout).toMatch(/ running +build /);
    // Without Temporal only what runs just now is missing.
    const offline = await cli(['status', ...chain.named, '-o', 'json'], { TEMPORAL_ADDRESS: nowhere });
    expect(JSON.parse(offline.stdout)).toMatchObject({ status: 'running', progress: null });
    expect(offline).toMatchObject({ code: 0, stderr: expect.stringContaining('is not known: Temporal at') });

    const cancelled = await json<ChainResult>(['cancel', ...chain.named, '--wait']);
    held.remove();
    expect(cancelled).toMatchObject({ status: 'cancelled', head: { sessionId: null, seq: null } });
    const head = await cli(['head', '-p', chain.project]);
    expect(head).toMatchObject({ code: 0, stdout: '' });
    expect(head.stderr).toContain('has no session yet');
  });

  it('whose steps the definition does not have ends as INVALID_INPUT that names those there are; nothing is paid', async () => {
    const chain = newChain();
    const requests = stack.model.requests.length;
    const start = ['start', ...chain.named, '--workspace', chain.workspace, '--create', '--wait'];
    const ended = await cli([...start, '--steps', 'build,deploy']);
    expect(ended.code).toBe(exitCodes.endedBadly);
    expect(ended.stdout).toMatch(
      /^failure +INVALID_INPUT: The chain has no step deploy; the shipped\n +definition has build, metadata, docs, compact\.$/m,
    );
    expect(stack.model.requests).toHaveLength(requests);
  });

  it('ends start --wait with an exit code of its own when it fails', async () => {
    const chain = newChain();
    const refused = stack.model.inject({
      when: ({ step }) => step === 'build',
      fail: { status: 400, message: 'no' },
      times: Number.MAX_SAFE_INTEGER,
    });
    const start = ['start', ...chain.named, '--workspace', chain.workspace, '--create', '--wait'];
    const ended = await cli(start);
    refused.remove();
    expect(ended.code).toBe(exitCodes.endedBadly);
    expect(ended.stdout).toMatch(/^failure +MODEL_REJECTED: [^]*^what to do +/m);
  });
});

describe('chains that wait in the queue', () => {
  it('show their position and what they wait for; status alone frees a project whose workflow is gone', async () => {
    const first = newChain();
    const [second, third] = [newChain(first.project), newChain(first.project)];
    const held = stack.model.holdNext(
      ({ step, bodyText }) => step === 'build' && bodyText.includes(first.project),
    );
    const start = (chain: typeof first, ...more: string[]) => [
      ...['start', ...chain.named, '--workspace', chain.workspace, '--create', '--steps', 'build'],
      ...more,
    ];
    const holder = await json<{ workflowId: string }>(start(first));
    await held.reached;
    const isQueued = (chain: typeof first) => async () => {
      const { chains } = await stack.sessionChain.chains({ projectId: first.project });
      return chains.some(({ versionId, queue }) => versionId === chain.version && queue !== null);
    };
    const next = await json<{ workflowId: string }>(start(second));
    await until(isQueued(second));
    const [following, followed] = spawnCli(start(third, '--wait'));
    await until(isQueued(third));

    const behind = (position: number) => `position ${position}, behind ${first.version}`;
    const listed = await cli(['status', '-p', first.project], { COLUMNS: '120' });
    const inNote = (position: number) =>
      `position ${position}, behind ${fittingId(first.version, 16)}, for \\d+ (s|min)`;
    expect(listed.stdout).toMatch(new RegExp(`^${second.version} +queued .*\n {2}${inNote(1)}$`, 'm'));
    expect(listed.stdout).toMatch(new RegExp(`^${third.version} +queued .*\n {2}${inNote(2)}$`, 'm'));
    const narrow = (await cli(['status', '-p', first.project])).stdout;
    for (const line of narrow.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
    expect(await json(['status', ...third.named])).toMatchObject({
      status: 'queued',
      queue: { position: 2, waitsFor: holder.workflowId },
    });
    expect((await cli(['status', ...third.named])).stdout).toMatch(new RegExp(`^queue +${behind(2)}$`, 'm'));

    await stack.temporal.workflow.getHandle(holder.workflowId).terminate('test');
    const released: string[] = [];
    await until(async () => {
      const { reconciled } = await json<{ reconciled: { released: string[] } | null }>([
        ...['status', '-p', first.project],
      ]);
      released.push(...(reconciled?.released ?? []));
      return (await stack.sessionChain.state(keyOf(first))).status === 'failed';
    });
    // Not before: until its holder is fenced, its agent may commit what it has done.
    held.remove();
    expect(released.filter((workflowId) => workflowId !== holder.workflowId)).toEqual([]);
    const ended = await followed;
    expect([ended.code, following.exitCode]).toEqual([0, 0]);
    expect(ended.stderr).toMatch(/^queued {2}position [12], behind v-/m);
    expect(await json(['status', ...second.named])).toMatchObject({
      workflowId: next.workflowId,
      status: 'completed',
    });
    expect(await json(['head', '-p', first.project, '--when', 'committed'])).toMatchObject({ seq: 2 });
  });
});

describe('a chain whose workflow is gone', () => {
  /** As after its Temporal was lost: the database knows of a run of which this one has never heard. */
  async function orphan(home: string | null, leaseMs = 0) {
    const { pool } = stack.database;
    const chain = await openNew(pool);
    await pool.query('UPDATE session_chain.chains SET home = $2 WHERE id = $1', [chain.chainId, home]);
    await begin(pool, chain, 'build', { leaseMs });
    return {
      workflowId: `chain/${chain.projectId}/${chain.versionId}/${chain.buildId}`,
      project: chain.projectId,
      named: ['--project', chain.projectId, '--version', chain.versionId],
    };
  }
  const terminated = { status: 'failed', failure: { code: 'CHAIN_TERMINATED' } };

  it('is closed by status alone, which says so', async () => {
    const { workflowId, project, named } = await orphan(null);
    const shown = await cli(['status', '-p', project]);
    expect(shown.stderr).toBe(
      `The workflow ${workflowId} is gone; its chain was closed and the project is free.\n`,
    );
    expect(shown.stdout).toMatch(/ failed /);
    expect(await json(['status', ...named])).toMatchObject(terminated);
  });

  it('is named by status while the lease of its agent has not expired', async () => {
    const { project, named } = await orphan(null, 600_000);
    const shown = await cli(['status', '-p', project, '-o', 'json']);
    expect(JSON.parse(shown.stdout)).toMatchObject({
      reconciled: { released: [], endingInMs: expect.any(Number) },
      chains: [{ status: 'running' }],
    });
    expect(shown.stderr).toMatch(/the lease of its agent expires in \d+ min/);
    expect(await json(['status', ...named])).toMatchObject({ status: 'running' });
  });

  it('is not cancelled without --force, which closes it once the lease of its agent has expired', async () => {
    const { workflowId, named } = await orphan(null, 1_000);
    const refused = await cli(['cancel', ...named]);
    expect(refused).toMatchObject({ code: exitCodes.endedBadly, stdout: '' });
    expect(refused.stderr).toMatch(/^error CHAIN_TERMINATED: .*\nwhat to do: Cancel the chain with --force/);
    expect(refused.stderr).toContain(workflowId);
    expect(await json(['cancel', ...named, '--force'])).toMatchObject({ status: 'failed', workflowId });
    expect(await json(['chain', ...named])).toMatchObject(terminated);
  });

  it('with the Temporal that ran it is left alone by status, and closed by cancel --force', async () => {
    const { workflowId, project, named } = await orphan('cluster-1/namespace-1');
    const shown = await cli(['status', '-p', project]);
    expect(shown).toMatchObject({ code: 0, stderr: '' });
    const refused = await cli(['cancel', ...named]);
    expect(refused.code).toBe(exitCodes.unavailable);
    expect(refused.stderr).toContain(workflowId);
    expect(refused.stderr).toContain('cluster-1/namespace-1');
    expect(refused.stderr).toContain('cancel the chain with --force');
    expect(await json(['chain', ...named])).toMatchObject({ status: 'running' });
    await json(['cancel', ...named, '--force']);
    expect(await json(['chain', ...named])).toMatchObject(terminated);
  });
});

describe('record and sync', () => {
  it('record a session from outside and tell what it means; sync tells the share', async () => {
    const { project, version } = newChain();
    await stack.database.pool.query('INSERT INTO projects (project_id) VALUES ($1)', [project]);
    await stack.database.pool.query('INSERT INTO project_versions (version_id, project_id) VALUES ($1, $2)', [
      version,
      project,
    ]);
    const record = ['record', '-p', project, '--session', 'outside-1', '--source', 'metadata_generation'];
    const refused = await cli(record);
    expect(refused).toMatchObject({ code: exitCodes.notFound, stdout: '' });
    expect(refused.stderr).toMatch(
      /^error SESSION_NOT_IN_STORE: .*outside-1[^]*what to do: .*--not-in-store/,
    );
    record.push('--not-in-store');
    expect(await json([...record, '--cost-usd', '0.5', '--turns', '2'])).toMatchObject({
      seq: 1,
      source: 'metadata',
      versionId: version,
      alreadyRecorded: false,
      inStore: false,
    });
    const again = await cli(record);
    expect(again).toMatchObject({ code: 0, stdout: expect.stringMatching(/^recorded +before/m) });
    expect(again.stderr).toMatch(/^warning: .*SESSION_NOT_IN_STORE/);
    expect((await cli(['head', '-p', project])).stdout).toBe('outside-1\n');

    const inSync = await cliInTime(['sync', '-p', project], {
      REDIS_URL: process.env['TEST_REDIS_URL'] ?? '',
    });
    expect(inSync).toMatchObject({ code: 0, stderr: '' });
    expect(inSync.stdout).toBe(
      '1 of 1 projects with a head are in sync (100.0 %).\nCheckpoints compared: 0.\n',
    );
    await stack.database.pool.query('INSERT INTO project_versions (version_id, project_id) VALUES ($1, $2)', [
      `${version}-next`,
      project,
    ]);
    const drifted = await cli(['sync', '-p', project], { REDIS_URL: `redis://${nowhere}` });
    expect(drifted.code).toBe(exitCodes.unexpected);
    expect(drifted.stdout).toContain('Redis does not answer');
    expect(drifted.stdout).toMatch(
      /^p-.+ +v-.+ +outside- +- +no\n {2}no chain of the newest version has opened$/m,
    );
    const document = await cli(['sync', '-p', project, '-o', 'json']);
    expect(document.code).toBe(exitCodes.unexpected);
    expect(JSON.parse(document.stdout)).toMatchObject({
      share: 0,
      drifted: [{ reasons: ['version_not_opened'] }],
      checkpoints: { status: 'off' },
    });
  });
});

describe('bad input', () => {
  const known = { project: '', version: '', workspace: '', named: [] as string[] };
  /** A project that a chain holds. */
  let busy = '';
  beforeAll(async () => {
    Object.assign(known, newChain());
    await stack.database.pool.query('INSERT INTO projects (project_id) VALUES ($1), ($2)', [
      known.project,
      'other',
    ]);
    await stack.database.pool.query(
      `INSERT INTO project_versions (version_id, project_id) VALUES ($1, $2), ('of-other', 'other')`,
      [known.version, known.project],
    );
    writeFileSync(join(stack.root, 'a-file'), 'not a folder');
    writeFileSync(join(stack.root, 'no-text'), 'Shop', 'utf16le');
    busy = (await openNew(stack.database.pool)).projectId;
  });

  const start = (project: string, version: string, workspace: string, ...more: string[]) => [
    ...['start', '--project', project, '--version', version, '--workspace', workspace],
    ...more,
  ];
  const { badInput, notFound, conflict, unavailable, setUp } = exitCodes;
  type Case = [
    name: string,
    code: FailureCode,
    exitCode: number,
    args: () => string[],
    changes?: Record<string, string>,
  ];
  const cases: Case[] = [
    [
      'an unknown project',
      'PROJECT_NOT_FOUND',
      notFound,
      () => start('nobody', known.version, known.workspace),
    ],
    [
      'an unknown version',
      'VERSION_NOT_FOUND',
      notFound,
      () => start(known.project, 'v-none', known.workspace),
    ],
    [
      'a version of another project',
      'VERSION_OF_ANOTHER_PROJECT',
      badInput,
      () => start(known.project, 'of-other', known.workspace),
    ],
    ['a malformed project id', 'INVALID_INPUT', badInput, () => start('a/b', known.version, known.workspace)],
    ['a malformed version id', 'INVALID_INPUT', badInput, () => start(known.project, 'v 1', known.workspace)],
    [
      'a malformed build id',
      'INVALID_INPUT',
      badInput,
      () => start(known.project, known.version, known.workspace, '--build', '.hidden'),
    ],
    [
      'a reserved build id',
      'INVALID_INPUT',
      badInput,
      () => start(known.project, known.version, known.workspace, '--build', 'record:1'),
    ],
    [
      'a workspace outside of the roots',
      'WORKSPACE_NOT_ALLOWED',
      badInput,
      () => start(known.project, known.version, '/usr'),
    ],
    [
      'a workspace that is not there',
      'WORKSPACE_NOT_ALLOWED',
      badInput,
      () => start(known.project, known.version, join(stack.root, 'missing')),
    ],
    [
      'a workspace that is a file',
      'WORKSPACE_NOT_ALLOWED',
      badInput,
      () => start(known.project, known.version, join(stack.root, 'a-file')),
    ],
    [
      'no workspace roots',
      'WORKSPACE_NOT_ALLOWED',
      badInput,
      () => start(known.project, known.version, known.workspace),
      { SESSION_CHAIN_WORKSPACE_ROOTS: '' },
    ],
    [
      'an empty prompt',
      'INVALID_INPUT',
      badInput,
      () => start(known.project, known.version, known.workspace, '--prompt', ' '),
    ],
    [
      'a prompt file that is not there',
      'INVALID_INPUT',
      badInput,
      () => start(known.project, known.version, known.workspace, '--prompt-file', '/nowhere'),
    ],
    [
      'a prompt file that is no text',
      'INVALID_INPUT',
      badInput,
      () =>
        start(known.project, known.version, known.workspace, '--prompt-file', join(stack.root, 'no-text')),
    ],
    [
      'a malformed name of a step',
      'INVALID_INPUT',
      badInput,
      () => start(known.project, known.version, known.workspace, '--steps', 'build,Deploy!'),
    ],
    [
      'an unknown mode',
      'INVALID_INPUT',
      badInput,
      () => start(known.project, known.version, known.workspace, '--mode', 'again'),
    ],
    ['a missing option', 'INVALID_INPUT', badInput, () => ['head']],
    ['an unknown option', 'INVALID_INPUT', badInput, () => ['head', '--project', known.project, '--bogus']],
    ['an unknown command', 'INVALID_INPUT', badInput, () => ['begin']],
    [
      'a limit that is no number',
      'INVALID_INPUT',
      badInput,
      () => ['transitions', '-p', known.project, '-n', '0x1'],
    ],
    [
      'a wait for a chain that does not end in time',
      'WAIT_TIMED_OUT',
      conflict,
      () => ['head', '-p', busy, '--when', 'committed', '--timeout', '1s'],
    ],
    ['a code that is none', 'INVALID_INPUT', badInput, () => ['list', '--failed', 'OOPS']],
    ['a cursor of nowhere', 'INVALID_INPUT', badInput, () => ['list', '--cursor', 'abc']],
    ['a time that is none', 'INVALID_INPUT', badInput, () => ['list', '--stuck', 'soon']],
    ['something to wait for that is none', 'INVALID_INPUT', badInput, () => ['list', '--waiting', 'godot']],
    [
      'a chain to follow that has no version',
      'INVALID_INPUT',
      badInput,
      () => ['status', '-p', 'a', '--follow'],
    ],
    [
      'following a chain that was never started',
      'CHAIN_NOT_FOUND',
      notFound,
      () => ['status', ...known.named, '--follow'],
    ],
    ['a watch of an unknown project', 'PROJECT_NOT_FOUND', notFound, () => ['watch', '-p', 'nobody']],
    ['a watch from a cursor of nowhere', 'INVALID_INPUT', badInput, () => ['watch', '--all', '--after', 'x']],
    ['the list of an unknown project', 'PROJECT_NOT_FOUND', notFound, () => ['list', '-p', 'nobody']],
    ['a version of no project', 'INVALID_INPUT', badInput, () => ['status', '--version', known.version]],
    ['an unknown moment', 'INVALID_INPUT', badInput, () => ['head', '-p', known.project, '--when', 'later']],
    [
      'a recorded session with a malformed id',
      'INVALID_INPUT',
      badInput,
      () => ['record', '-p', known.project, '-s', 'a/b', '--source', 'build'],
    ],
    [
      'a recorded session from a malformed source',
      'INVALID_INPUT',
      badInput,
      () => ['record', '-p', known.project, '-s', 'some', '--source', 'Magic!'],
    ],
    [
      'a recorded session at a cost that is no number',
      'INVALID_INPUT',
      badInput,
      () => ['record', '-p', known.project, '-s', 'some', '--source', 'build', '--cost-usd', 'much'],
    ],
    [
      'a recorded session of an unknown project',
      'PROJECT_NOT_FOUND',
      notFound,
      () => ['record', '-p', 'nobody', '-s', 'some', '--source', 'build'],
    ],
    [
      'a recorded session while a chain works',
      'PROJECT_BUSY',
      conflict,
      () => ['record', '-p', busy, '-s', 'some', '--source', 'build'],
    ],
    ['the sync of an unknown project', 'PROJECT_NOT_FOUND', notFound, () => ['sync', '-p', 'nobody']],
    ['the head of an unknown project', 'PROJECT_NOT_FOUND', notFound, () => ['head', '-p', 'nobody']],
    ['the chains of an unknown project', 'PROJECT_NOT_FOUND', notFound, () => ['status', '-p', 'nobody']],
    [
      'the transitions of an unknown project',
      'PROJECT_NOT_FOUND',
      notFound,
      () => ['transitions', '-p', 'nobody'],
    ],
    ['a chain that was never started', 'CHAIN_NOT_FOUND', notFound, () => ['status', ...known.named]],
    [
      'cancelling a chain that was never started',
      'CHAIN_NOT_FOUND',
      notFound,
      () => ['cancel', ...known.named],
    ],
    [
      'an environment that makes no sense',
      'INVALID_INPUT',
      badInput,
      () => ['head', '-p', known.project],
      { SESSION_CHAIN_MAX_AGENTS: 'many' },
    ],
    ['no DATABASE_URL', 'INVALID_INPUT', badInput, () => ['head', '-p', known.project], { DATABASE_URL: '' }],
    [
      'a database that is down',
      'DATABASE_UNAVAILABLE',
      unavailable,
      () => start(known.project, known.version, known.workspace),
      { DATABASE_URL: `postgres://${nowhere}/none` },
    ],
    [
      'a worker whose database is down',
      'DATABASE_UNAVAILABLE',
      unavailable,
      () => ['worker'],
      { DATABASE_URL: `postgres://${nowhere}/none`, ANTHROPIC_API_KEY: 'some' },
    ],
    [
      'Temporal that is down',
      'TEMPORAL_UNAVAILABLE',
      unavailable,
      () => start(known.project, known.version, known.workspace),
      { TEMPORAL_ADDRESS: nowhere },
    ],
    [
      'a namespace without the search attributes that are insisted on',
      'SEARCH_ATTRIBUTES_NOT_REGISTERED',
      setUp,
      () => start(known.project, known.version, known.workspace),
      { SESSION_CHAIN_SEARCH_ATTRIBUTES: 'on', TEMPORAL_NAMESPACE: 'temporal-system' },
    ],
    ['a worker without a model credential', 'CREDENTIALS_MISSING', setUp, () => ['worker']],
  ];

  it.each(cases)(
    '%s: %s, exit code %d, one clear error, nothing changed',
    async (...[, code, exitCode, args, changes]: Case) => {
      const before = await everything();
      let ended = await cli(args(), changes);
      // A busy machine may answer later than the end of a wait can wait for.
      while (ended.stderr.includes('the database did not say within')) ended = await cli(args(), changes);
      expect(ended).toMatchObject({ code: exitCode, stdout: '' });
      const lines = ended.stderr.trimEnd().split('\n');
      expect(lines).toHaveLength(2);
      expect(lines[0]).toMatch(new RegExp(`^error ${code}: .{8,}[.:)]?`));
      expect(lines[1]).toMatch(/^what to do: .{8,}/);
      expect(await everything()).toEqual(before);
    },
  );

  it('is one JSON document on stderr with -o json, and stdout stays empty', async () => {
    for (const args of [start('nobody', 'v1', known.workspace), ['head', '--bogus']]) {
      const ended = await cli([...args, '-o', 'json']);
      expect(ended.stdout).toBe('');
      expect(JSON.parse(ended.stderr)).toEqual({
        error: { code: expect.any(String), message: expect.any(String), remedy: expect.any(String) },
      });
    }
  });

  /** All that a refused call might have changed in the database. */
  async function everything(): Promise<unknown> {
    const { rows } = await stack.database.pool.query(
      `SELECT (SELECT json_agg(p ORDER BY project_id) FROM projects p) AS projects,
         (SELECT json_agg(v ORDER BY id) FROM project_versions v) AS versions,
         (SELECT json_agg(c ORDER BY id) FROM session_chain.chains c) AS chains`,
    );
    return rows;
  }
});

describe('migrate', () => {
  it('says what is missing, applies it, and has nothing to do the second time', async () => {
    const database = await createTestDatabase({ empty: true });
    try {
      const changes = { DATABASE_URL: database.url };
      const behind = await cli(['head', '-p', 'any'], changes);
      expect(behind).toMatchObject({ code: exitCodes.setUp, stdout: '' });
      expect(behind.stderr).toMatch(
        /^error MIGRATIONS_BEHIND: .*\nwhat to do: Run: session-chain migrate\n$/,
      );
      expect(await cli(['doctor', '--only', 'migrations'], changes)).toMatchObject({ code: exitCodes.setUp });

      const { pending } = await json<{ pending: string[] }>(['migrate', '--dry-run'], changes);
      expect(pending.length).toBeGreaterThan(0);
      // Two at once: one applies, the other waits and finds everything done.
      const [one, other] = await Promise.all(
        [1, 2].map(() => json<{ applied: string[] }>(['migrate'], changes)),
      );
      expect([...(one?.applied ?? []), ...(other?.applied ?? [])]).toEqual(pending);
      expect((await cli(['migrate'], changes)).stdout).toBe('The database is up to date.\n');
      expect(await json(['doctor', '--only', 'migrations'], changes)).toMatchObject({
        checks: [{ status: 'ok' }],
      });
    } finally {
      await database.drop();
    }
  });
});

describe('doctor', () => {
  const byName = ({ stdout }: Ended) => {
    const { checks } = JSON.parse(stdout) as {
      checks: { check: string; status: string; message: string; remedy?: string }[];
    };
    return Object.fromEntries(checks.map(({ check, ...finding }) => [check, finding]));
  };

  it('finds everything in order, also by --strict, as production is set up', async () => {
    const role = `cli_doctor_${process.pid}`;
    const { pool, url } = stack.database;
    await pool.query(`CREATE ROLE ${role} LOGIN`);
    await migrate(url, {}, [
      { part: 'worker', role },
      { part: 'client', role },
    ]);
    try {
      const archive = join(stack.root, 'archive');
      mkdirSync(archive);
      const shown = (folder: string) => /^\/(usr\/|bin|sbin)/.test(folder);
      const ended = await cliInTime(['doctor', '--strict', '-o', 'json'], {
        PATH: (process.env['PATH'] ?? '').split(':').filter(shown).join(':'),
        ANTHROPIC_API_KEY: 'some',
        DATABASE_URL: Object.assign(new URL(url), { username: role }).href,
        REDIS_URL: process.env['TEST_REDIS_URL'] ?? '',
        SESSION_CHAIN_ARCHIVE: archive,
        SESSION_CHAIN_CONFIG: stack.configuration(
          `{ steps: [{ name: 'build', maxCostUsd: 4 }, { name: 'compact', maxCostUsd: 0.5 }] }`,
        ),
      });
      const { checks } = JSON.parse(ended.stdout) as { checks: { check: string; status: string }[] };
      expect(checks.filter(({ status }) => status !== 'ok')).toEqual([]);
      expect([...new Set(checks.map(({ check }) => check))]).toEqual([...checkNames]);
      expect(ended.code).toBe(0);
      expect(byName(ended)).toMatchObject({
        agent: { message: expect.stringMatching(/^Claude Code \d+\.\d+\.\d+/) },
        limits: { message: expect.stringContaining('$4.50') },
      });
      expect(readdirSync(archive)).toEqual([]);
    } finally {
      await pool.query(`DELETE FROM session_chain.grants; DROP OWNED BY ${role}; DROP ROLE ${role}`);
    }
  });

  it('warns of a superuser, and of steps without a limit of cost, unless chains have one as a whole', async () => {
    const database = await createTestDatabase();
    try {
      const look = async (body: string) => {
        const ended = await cli(['doctor', '--only', 'limits,rights', '-o', 'json'], {
          DATABASE_URL: database.url,
          SESSION_CHAIN_CONFIG: stack.configuration(body),
        });
        return byName(ended);
      };
      const partly = `{ steps: ['build', { name: 'docs', maxCostUsd: 1 }, 'compact'] }`;
      const { limits, rights } = await look(partly);
      expect(limits).toEqual({
        status: 'warn',
        message: 'no cost limit for the steps build, compact',
        remedy: expect.stringMatching(/maxCostUsd .*--max-cost-usd/),
      });
      // Tests connect as a superuser.
      expect(rights).toMatchObject({ status: 'warn', remedy: expect.stringContaining('migrate --grants') });
      for (let count = 0; count < 2; count++) await openNew(database.pool);
      const limit = (to: string) =>
        `UPDATE session_chain.chains SET budget = '{"maxCostUsd": 3}' WHERE ${to}`;
      await database.pool.query(limit('id = (SELECT max(id) FROM session_chain.chains)'));
      expect((await look('{}')).limits?.message).toMatch(
        /steps build, metadata, docs, compact, and 1 of the last 2 chains had none/,
      );
      await database.pool.query(limit('true'));
      expect((await look('{}')).limits).toMatchObject({
        status: 'ok',
        message: expect.stringContaining('2 chains'),
      });
    } finally {
      await database.drop();
    }
  });

  it.each([
    ['is not there', (_: string) => undefined, /ARCHIVE|could not write/],
    ['is a file', (path: string) => writeFileSync(path, ''), /could not write/],
  ])('has failed where the archive %s', async (name, make, said) => {
    const path = join(stack.root, `archive-${name.replaceAll(' ', '-')}`);
    make(path);
    const ended = await cli(['doctor', '--only', 'archive', '-o', 'json'], { SESSION_CHAIN_ARCHIVE: path });
    expect(ended.code).toBe(exitCodes.setUp);
    expect(byName(ended)['archive']).toMatchObject({ status: 'fail', message: expect.stringMatching(said) });
  });

  it('makes every check though some fail, and says what to do about each', async () => {
    const ended = await cli(['doctor', '-o', 'json'], {
      DATABASE_URL: `postgres://${nowhere}/none`,
      TEMPORAL_ADDRESS: nowhere,
      REDIS_URL: `redis://${nowhere}`,
      SESSION_CHAIN_WORKSPACE_ROOTS: join(stack.root, 'missing'),
      SESSION_CHAIN_AGENT_PATH: '/usr/bin/nobody',
    });
    expect(ended.code).toBe(exitCodes.setUp);
    const found = byName(ended);
    const failed = [
      'agent',
      'workspaces',
      'database',
      'migrations',
      'temporal',
      'search-attributes',
      'worker',
    ];
    for (const name of failed)
      expect([name, found[name]]).toEqual([name, expect.objectContaining({ status: 'fail' })]);
    for (const name of ['credentials', 'redis']) expect(found[name]?.status).toBe('warn');
    expect(found['workspaces']?.message).toContain('no worker starts');
    expect(found['node']?.status).toBe('ok');
    for (const finding of Object.values(found)) {
      if (finding.status !== 'ok') expect(finding.remedy).toMatch(/\w{3}/);
    }
  });

  describe('of the sandbox', () => {
    const sandboxOf = async (changes: Record<string, string>) => {
      const servers = { REDIS_URL: process.env['TEST_REDIS_URL'] ?? '', ...changes };
      const { code, stdout } = await cliInTime(['doctor', '--only', 'sandbox', '-o', 'json'], servers);
      const { checks } = JSON.parse(stdout) as {
        checks: { status: string; message: string; remedy?: string }[];
      };
      const inState = (wanted: string) =>
        checks.filter(({ status }) => status === wanted).map(({ message }) => message);
      return { code, checks, ok: inState('ok'), warn: inState('warn'), fail: inState('fail') };
    };
    const forbidden = [
      'read another workspace',
      'read the environment of the worker',
      ...['the database', 'Redis', 'Temporal'].map((server) => `connect to ${server}`),
      'write to /usr',
    ];

    it('has a line for each thing that an agent cannot do, for limits, and for what it does not see', async () => {
      const { code, ok, warn, fail } = await sandboxOf({
        PATH: `${process.env['PATH']}:${stack.root}`,
        SESSION_CHAIN_SANDBOX_READ: '/no/tools',
      });
      expect([code, fail]).toEqual([0, []]);
      expect(ok).toEqual([
        expect.stringMatching(/^bubblewrap \d/),
        ...forbidden.map((name) => `agents cannot ${name}`),
        expect.stringMatching(/^limits: .* control group/),
      ]);
      expect(warn).toEqual([
        expect.stringMatching(/^\/no\/tools.* does not exist here/),
        expect.stringMatching(new RegExp(`folders of the PATH: .*${stack.root}$`)),
      ]);
    });

    it('has failed for each thing that an agent can do', async () => {
      const program = join(stack.root, 'no-wall');
      writeFileSync(
        program,
        '#!/bin/sh\nshift 2\nexec bwrap --dev-bind / / --unshare-pid --die-with-parent -- "$@"\n',
        { mode: 0o755 },
      );
      const { code, ok, fail } = await sandboxOf({
        SESSION_CHAIN_SANDBOX: 'command',
        SESSION_CHAIN_SANDBOX_COMMAND: program,
      });
      expect(code).toBe(exitCodes.setUp);
      expect([ok[0], fail]).toEqual([
        `by ${program}`,
        expect.arrayContaining(['agents can read another workspace']),
      ]);
      for (const server of ['the database', 'Redis', 'Temporal']) {
        expect(fail).toContain(`agents can connect to ${server}`);
      }
    });

    it('says what to install, and what no sandbox means', async () => {
      const bin = join(stack.root, 'bin');
      mkdirSync(bin);
      symlinkSync(process.execPath, join(bin, 'node'));
      const { code, checks } = await sandboxOf({ PATH: bin });
      expect(code).toBe(exitCodes.setUp);
      expect(checks).toEqual([
        expect.objectContaining({
          message: expect.stringMatching(/needs bwrap, socat, setpriv.* and /),
          remedy: expect.stringMatching(/apt-get install bubblewrap socat/),
        }),
      ]);
      const none = await sandboxOf({ SESSION_CHAIN_SANDBOX: 'none' });
      if (process.geteuid?.() === 0)
        expect(none.fail).toEqual([expect.stringMatching(/root of the machine/)]);
      else
        expect(none.warn).toEqual([expect.stringMatching(/Agents run without a sandbox: .* other projects/)]);
    });

    it('is made as it is configured when the agent is probed', async () => {
      const { code, stdout } = await cli(['doctor', '--only', 'node', '--probe-agent', '-o', 'json'], {
        SESSION_CHAIN_SANDBOX_READ: '/',
      });
      expect([code, stdout]).toEqual([exitCodes.setUp, '']);
    });
  });

  it('counts a warning as a problem with --strict', async () => {
    expect((await cli(['doctor', '--only', 'credentials'])).code).toBe(0);
    expect((await cli(['doctor', '--only', 'credentials', '--strict'])).code).toBe(exitCodes.setUp);
  });

  it('tells the health of a worker on this host', async () => {
    expect((await cliInTime(['doctor', '--only', 'database,worker-here'])).code).toBe(0);
    const nobody = { SESSION_CHAIN_TASK_QUEUE: 'nobody-polls-this' };
    expect((await cli(['doctor', '--only', 'worker-here'], nobody)).code).toBe(exitCodes.setUp);
  });
});

describe('credentials', () => {
  const canary = 'canary-5d2f8c1b';
  const withCanary = (url: string | undefined) => {
    const address = new URL(url ?? '');
    Object.assign(address, { username: address.username || 'app', password: canary });
    return address.href;
  };
  /** One in every variable that may hold one, each at a server that takes it or ignores it. */
  const carried = () => ({
    ANTHROPIC_API_KEY: `sk-ant-${canary}`,
    ANTHROPIC_AUTH_TOKEN: canary,
    ANTHROPIC_CUSTOM_HEADERS: `X-Gateway: ${canary}`,
    ANTHROPIC_BASE_URL: `${withCanary(stack.model.url)}?key=${canary}`,
    DATABASE_URL: withCanary(stack.database.url),
    REDIS_URL: withCanary(process.env['TEST_REDIS_URL']),
    HTTPS_PROXY: `http://u:${canary}@${nowhere}`,
    NO_PROXY: '127.0.0.1',
    SESSION_CHAIN_LOG_LEVEL: 'debug',
  });
  const unreachable = {
    DATABASE_URL: `postgres://app:${canary}@${nowhere}/none?password=${canary}`,
    REDIS_URL: `redis://:${canary}@${nowhere}`,
    ANTHROPIC_BASE_URL: `http://u:${canary}@${nowhere}/?token=${canary}`,
    TEMPORAL_API_KEY: canary,
    TEMPORAL_ADDRESS: nowhere,
  };
  const malformed = {
    DATABASE_URL: `postgres://app:p/${canary}@host:port/none`,
    REDIS_URL: `rediss://:${canary}@`,
    TEMPORAL_ADDRESS: `https://u:${canary}@${nowhere}/?token=${canary}`,
  };
  const expectNone = ({ stdout, stderr }: Ended) => expect(stdout + stderr).not.toContain(canary);

  it.each(['text', 'json'])('are not in what doctor prints as %s, whatever it finds', async (format) => {
    const given = [carried(), { ...carried(), ...unreachable }, { ...carried(), ...malformed }];
    const [fine, ...bad] = await Promise.all(given.map((changes) => cli(['doctor', '-o', format], changes)));
    expect(fine?.stdout).toMatch(/model service\s+http:\/\/127\.0\.0\.1:\d+\W/);
    for (const ended of [fine!, ...bad]) expectNone(ended);
  });

  it('are not in what a command says of a failure, with its stack and as JSON', async () => {
    const { named, workspace } = newChain();
    const commands = [
      ['head', '--project', 'shop'],
      ['migrate', '--dry-run'],
      ['start', ...named, '--workspace', workspace, '--create'],
      ['worker'],
    ];
    const given = [unreachable, malformed, { ...malformed, DATABASE_URL: stack.database.url, REDIS_URL: '' }];
    for (const changes of given) {
      const all = commands.map((command) => cli([...command, '-o', 'json'], { ...carried(), ...changes }));
      for (const ended of await Promise.all(all)) expectNone(ended);
    }
  });

  it('are not in the log of a worker, nor in what a chain leaves in the database and in Temporal', async () => {
    const queue = { SESSION_CHAIN_TASK_QUEUE: `cli-credentials-${process.pid}` };
    const worker = await stack.startWorker({
      ...carried(),
      ...queue,
      ANTHROPIC_BASE_URL: stack.model.url,
    });
    const { named, workspace, project, version } = newChain();
    await cli(['start', ...named, '--workspace', workspace, '--create'], queue);
    const rowsOf = async (table: 'attempts' | 'chains') => {
      const { pool } = stack.database;
      const text = `SELECT * FROM session_chain.${table} WHERE project_id = $1`;
      return (await pool.query<Record<string, unknown>>({ text, values: [project] })).rows;
    };
    await until(async () => (await rowsOf('attempts')).some(({ state }) => state !== 'running'));
    await worker.kill('SIGTERM');
    const handle = stack.temporal.workflow.getHandle(`chain/${project}/${version}/${version}`);
    await handle.terminate();
    const payloads = JSON.stringify(await handle.fetchHistory(), (_key, value: unknown) =>
      value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : value,
    );
    const left = JSON.stringify([await rowsOf('attempts'), await rowsOf('chains')]);
    expect(worker.output()).toContain('The worker is ready.');
    expect(worker.output() + left + payloads).not.toContain(canary);
  });
});

describe('help', () => {
  const leaves = ({ commands }: Command, parent = ''): [string, Command][] =>
    commands.flatMap((command) => {
      const name = `${parent}${command.name()}`;
      return command.commands.length > 0 ? leaves(command, `${name} `) : [[name, command]];
    });
  it.each(leaves(createProgram(() => undefined)))(
    '%s explains itself, with an example and -o',
    (name, command) => {
      let help = '';
      command.configureOutput({ writeOut: (text) => (help += text) }).outputHelp();
      expect(help).toMatch(new RegExp(`\\nExample:\\n.*session-chain ${name}`));
      expect(help).toContain('-o, --output <format>');
    },
  );

  it('lists the exit codes', async () => {
    const { code, stdout } = await cli(['--help']);
    expect(code).toBe(0);
    for (const exitCode of Object.values(exitCodes))
      expect(stdout).toMatch(new RegExp(`^  ${exitCode} +\\w`, 'm'));
    expect(stdout).toContain('\nExample:\n');
  });

  it('ends in silence when its reader has read enough', async () => {
    const main = join(import.meta.dirname, '../../dist/cli/main.js');
    const command = `"${process.execPath}" "${main}" --help; echo "code $?" >&2`;
    // The reader is gone before a word is written.
    const { stderr } = await promisify(execFile)('sh', ['-c', `{ ${command}; } | true`]);
    expect(stderr).toBe('code 0\n');
  });
});
