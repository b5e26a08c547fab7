import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Pool, isDatabaseAway } from '../../storage/db/pool.js';
import { createTestDatabase } from '../support/database.js';
import { type TcpProxy, startTcpProxy } from '../support/tcp-proxy.js';
import { type FinalState, type Rule, check } from './checker.js';
import { type Operation, nowUs, readHistory } from './history.js';
import { type MutantName, describeMutant, mutateDatabase } from './mutants.js';
import { rushedProject } from './rush.js';
import type { WriterOptions } from './writer.js';

/** Several processes that move the heads of a few projects at once, while things break. */
export interface LoadOptions {
  /** The compiled writer.js. */
  writer: string;
  writers: number;
  clientsPerWriter: number;
  projects: number;
  /** All writers together, at least. */
  operations: number;
  /** Without the constraints that guard the tables; with the mutant's function, where one is named. */
  guards: 'kept' | 'dropped' | MutantName;
  /** Between two faults. */
  faultEveryMs: number;
}

export interface LoadResult {
  history: Operation[];
  final: FinalState;
  /** How often each fault struck. */
  faults: Record<FaultName, number>;
  processes: number;
  durationMs: number;
}

type FaultName =
  | 'backend terminated'
  | 'answer lost'
  | 'network cut'
  | 'row lock held'
  | 'writer killed'
  | 'writer frozen'
  | 'frozen writer declared gone';

/** A load takes a minute at most; one that hangs is a failure. */
const patienceMs = 300_000;

export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const startedAtUs = nowUs();
  const database = await createTestDatabase();
  const folder = mkdtempSync(join(tmpdir(), 'session-chain-concurrency-'));
  mkdirSync(join(folder, 'gone'));
  try {
    if (options.guards !== 'kept') {
      await mutateDatabase(database.pool, options.guards === 'dropped' ? undefined : options.guards);
    }
    const projects = Array.from({ length: options.projects }, () => `p-${randomUUID()}`);
    const crew = await startCrew(options, folder, database.url, projects);
    const faults = await breakThings(crew, database.pool, projects, folder, options.faultEveryMs).finally(
      () => crew.stop(),
    );
    return {
      history: readHistory(folder),
      final: await readFinalState(database.pool, projects),
      faults,
      processes: crew.started(),
      durationMs: (nowUs() - startedAtUs) / 1000,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
    await database.drop();
  }
}

/**
 * Lets the load run on a mutant until the check finds what the mutant breaks. What a race does is a matter of chance: a load
 * that found nothing is repeated, up to `rounds` times.
 */
export async function catchMutant(
  load: LoadOptions & { guards: MutantName },
  rounds: number,
): Promise<{ broken: Rule[]; operations: number }> {
  let operations = 0;
  for (let round = 0; round < rounds; round++) {
    const { history, final } = await runLoad(load);
    operations += history.length;
    const { breaks } = describeMutant(load.guards);
    const broken = check(history, final).filter(
      ({ name, violations }) => violations.length > 0 && breaks.test(name),
    );
    if (broken.length > 0) return { broken, operations };
  }
  return { broken: [], operations };
}

interface Writer {
  name: string;
  process: ChildProcess;
  operations: number;
}

interface Crew {
  /** Those that have not done their share yet. */
  atWork(): Writer[];
  proxies: TcpProxy[];
  /** Kills a writer and puts another one in its place. */
  replace(writer: Writer): Promise<void>;
  /** Processes so far. */
  started(): number;
  /** Throws for a writer that failed by itself. */
  stop(): Promise<void>;
}

/** A third of the writers are connected directly, a third by a network that breaks, a third must not wait for long. */
async function startCrew(
  options: LoadOptions,
  folder: string,
  databaseUrl: string,
  projects: string[],
): Promise<Crew> {
  const proxy = await startTcpProxy(databaseUrl);
  const atWork = new Set<Writer>();
  const problems: string[] = [];
  let started = 0;
  let isOver = false;
  const start = (place: number, operations: number): void => {
    const name = `w${place}-${++started}`;
    const writerOptions: WriterOptions = {
      name,
      databaseUrl: place % 3 === 1 ? proxy.url : databaseUrl,
      folder,
      projects,
      clients: options.clientsPerWriter,
      operations,
      ...(place % 3 === 2 ? { statementTimeoutMs: 60 } : {}),
    };
    const child = spawn(process.execPath, [options.writer, JSON.stringify(writerOptions)], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let output = '';
    child.stderr.on('data', (data: Buffer) => (output += data.toString()));
    const writer = { name, process: child, operations };
    atWork.add(writer);
    child.once('close', (code) => {
      atWork.delete(writer);
      if (isOver) return;
      if (code !== 0 && code !== null) problems.push(`${name} ended with ${code}: ${output}`);
      if (code === null) {
        // Its lives are named after it.
        if (hasBegun(folder, name)) declareGone(folder, readFileSync(join(folder, `${name}.life`), 'utf8'));
        const left = operations - invocationsOf(folder, name);
        if (left > 0) start(place, left);
      }
    });
  };
  for (let place = 0; place < options.writers; place++)
    start(place, Math.ceil(options.operations / options.writers));
  return {
    atWork: () => [...atWork],
    proxies: [proxy],
    started: () => started,
    async replace(writer) {
      const closed = once(writer.process, 'close');
      writer.process.kill('SIGKILL');
      await closed;
    },
    async stop() {
      isOver = true;
      await Promise.all(
        [...atWork].map(async (writer) => {
          const closed = once(writer.process, 'close');
          writer.process.kill('SIGKILL');
          await closed;
        }),
      );
      await proxy.stop();
      if (problems.length > 0) throw new Error(problems.join('\n'));
    },
  };
}

/** Strikes at intervals until all writers have done their share. */
async function breakThings(
  crew: Crew,
  pool: Pool,
  projects: string[],
  folder: string,
  everyMs: number,
): Promise<Record<FaultName, number>> {
  const faults: Record<FaultName, number> = {
    'backend terminated': 0,
    'answer lost': 0,
    'network cut': 0,
    'row lock held': 0,
    'writer killed': 0,
    'writer frozen': 0,
    'frozen writer declared gone': 0,
  };
  const freezes = new Set<Promise<void>>();
  const strikes: [weight: number, strike: (writer: Writer) => Promise<void> | void][] = [
    [
      4,
      async () => {
        faults['backend terminated']++;
        await pool.query(
          `SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity
             WHERE application_name = 'concurrency writer' AND datname = current_database() ORDER BY random() LIMIT 3) AS picked`,
        );
      },
    ],
    [
      5,
      () => {
        faults['answer lost']++;
        crew.proxies.forEach((proxy) => proxy.loseNextAnswer());
      },
    ],
    [
      1,
      async () => {
        faults['network cut']++;
        for (const proxy of crew.proxies) {
          await proxy.cut();
          await proxy.restore();
        }
      },
    ],
    [
      6,
      async () => {
        faults['row lock held']++;
        const project = rushedProject(projects);
        // All queue behind it: statements run out of time, and others go on with a snapshot that is old by then.
        await pool.query(
          `WITH held AS MATERIALIZED (SELECT project_id FROM projects WHERE project_id = $1 FOR NO KEY UPDATE)
           SELECT pg_sleep(0.04 + random() * 0.08) FROM held`,
          [project],
        );
      },
    ],
    [
      1,
      async (writer) => {
        faults['writer killed']++;
        await crew.replace(writer);
      },
    ],
    [
      2,
      (writer) => {
        faults['writer frozen']++;
        writer.process.kill('SIGSTOP');
        if (Math.random() < 0.7) {
          faults['frozen writer declared gone']++;
          declareGone(folder, readFileSync(join(folder, `${writer.name}.life`), 'utf8'));
        }
        const thaw = sleep(100 + Math.random() * 400).then(() => {
          writer.process.kill('SIGCONT');
          freezes.delete(thaw);
        });
        freezes.add(thaw);
      },
    ],
  ];
  const total = strikes.reduce((sum, [weight]) => sum + weight, 0);
  const deadline = performance.now() + patienceMs;
  while (crew.atWork().length > 0) {
    if (performance.now() > deadline) {
      const names = crew.atWork().map(({ name }) => name);
      throw new Error(`After ${patienceMs} ms some writers had not done their share: ${names.join(', ')}.`);
    }
    const writers = crew.atWork().filter(({ name }) => hasBegun(folder, name));
    const writer = writers[Math.floor(Math.random() * writers.length)];
    if (!writer) {
      await sleep(20);
      continue;
    }
    let dice = Math.random() * total;
    const strike = strikes.find(([weight]) => (dice -= weight) < 0)?.[1];
    await strike?.(writer);
    await sleep(everyMs * (0.5 + Math.random()));
  }
  await Promise.all(freezes);
  return faults;
}

function declareGone(folder: string, runOrLife: string): void {
  writeFileSync(join(folder, 'gone', encodeURIComponent(runOrLife)), '');
}

function hasBegun(folder: string, name: string): boolean {
  const file = join(folder, `${name}.life`);
  // It is there before it is written.
  return existsSync(file) && readFileSync(file, 'utf8') !== '';
}

function invocationsOf(folder: string, name: string): number {
  if (!hasBegun(folder, name)) return 0;
  const text = readFileSync(join(folder, `${name}.jsonl`), 'utf8');
  return text.split('\n').filter((line) => line.includes('"call"')).length;
}

/** What the tables hold of these projects once nothing works on them any more. */
export async function readFinalState(pool: Pool, projects: string[]): Promise<FinalState> {
  // A statement whose caller is gone may still be at work.
  await pool.query(
    `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'concurrency writer'`,
  );
  const heads = await pool.query<FinalState['heads'][number]>(
    `SELECT project_id AS project, last_ai_session_id AS "sessionId", session_seq AS seq FROM projects
     WHERE project_id = ANY ($1)`,
    [projects],
  );
  const transitions = await pool.query<FinalState['transitions'][number]>(
    `SELECT t.project_id AS project, t.seq, t.prev_seq AS "prevSeq", t.old_session_id AS old, t.new_session_id AS new,
       CASE WHEN a.chain IS NULL THEN a.build_id ELSE 'chain/' || a.project_id || '/' || a.version_id || '/' || a.build_id END AS chain,
       t.step, a.ticket, a.epoch, (extract(epoch FROM t.created_at) * 1000000)::bigint AS "atUs"
     FROM session_transitions t LEFT JOIN session_chain.attempts a ON a.id = t.attempt_id
     WHERE t.project_id = ANY ($1) ORDER BY t.project_id, t.seq, t.id`,
    [projects],
  );
  const attempts = await pool.query<FinalState['attempts'][number]>(
    `SELECT project_id AS project, epoch, (extract(epoch FROM started_at) * 1000000)::bigint AS "atUs"
     FROM session_chain.attempts WHERE project_id = ANY ($1) AND epoch IS NOT NULL`,
    [projects],
  );
  return { heads: heads.rows, transitions: transitions.rows, attempts: attempts.rows };
}

/** Errors in the place of an answer that no fault of ours explains. */
export function unexplained(history: readonly Operation[]): string[] {
  const errors = history.flatMap(({ error }) => error ?? []);
  return [...new Set(errors.filter((error) => !isExplained(error)))];
}

function isExplained(error: string): boolean {
  return (
    /^The database (cannot be reached|did not|gave no connection|ended a session)/.test(error) ||
    isDatabaseAway(new Error(error))
  );
}
