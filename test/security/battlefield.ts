import { execFile, execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createSocketServer } from 'node:net';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { StartRequest } from '../../client/start-request.js';
import { findAgentBinary } from '../../agent/process/binary.js';
import {
  type ChainStack,
  type TestWorker,
  type WorkerCommand,
  longHeartbeatTimeoutMs,
  startChainStack,
} from '../support/chain-stack.js';
import type { Target } from './attacks.js';

/** The users that a worker may run as: root, where this process is root, and an ordinary one. */
export const users = process.geteuid?.() === 0 ? (['root', 'user'] as const) : (['user'] as const);
export type User = (typeof users)[number];

/** Whether root has what root has outside of containers, so that an attack can fail by our wall alone. */
export function isFullRoot(): boolean {
  const [, effective = '0'] = /^CapEff:\s*(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  const capSysAdmin = 21n;
  return ((BigInt(`0x${effective}`) >> capSysAdmin) & 1n) === 1n;
}

/** A uid without a name and without any right, for the ordinary user of a test that runs as root. */
const ordinaryUid = 64_999;

/** A stack with a canary in every credential of its worker, a victim, and baits that must not be reached. */
export interface Battlefield {
  stack: ChainStack;
  worker: TestWorker;
  /** By name; the values are found nowhere but where they were put. */
  canaries: Readonly<Record<string, string>>;
  /** The victim's canary is in the file secret.txt of its workspace. */
  victim: StartRequest & { versionId: string };
  target: Target;
  /** A request for a project, a new one unless one is given, whose folder belongs to the worker's user. */
  request(projectId?: string): StartRequest & { versionId: string };
  /** Gives a folder and all in it to the worker's user. */
  give(folder: string): void;
  /** What reached the baits. */
  reached(): string[];
  /** Runs a script as the worker's user in the worker's environment, without any wall, and returns what it printed. */
  runOutside(folder: string, script: string): Promise<string>;
  stop(): Promise<void>;
}

export async function startBattlefield(user: User): Promise<Battlefield> {
  const stack = await startChainStack(`attacks-${user}`, { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  const own = user === 'user' && process.geteuid?.() === 0;
  const give = (path: string) => {
    if (own) execFileSync('chown', ['-hR', `${ordinaryUid}:${ordinaryUid}`, path]);
  };
  const folder = (...names: string[]) => {
    const path = join(stack.root, ...names);
    mkdirSync(path, { recursive: true });
    give(path);
    return path;
  };
  give(stack.root);

  const id = randomUUID().slice(0, 8);
  const canary = (name: string) => `canary-${id}-${name}`;
  const canaries = Object.fromEntries(
    ['model', 'postgres', 'redis', 'temporal', 'aws', 'other', 'home', 'victim'].map((name) => [
      name,
      canary(name),
    ]),
  );
  const withPassword = (url: string, username: string, password: string) =>
    Object.assign(new URL(url), { username, password }).href;
  const home = folder('home');
  const aws = folder('home', '.aws');
  writeFileSync(join(aws, 'credentials'), canary('home'));
  give(join(aws, 'credentials'));
  const redis = process.env['TEST_REDIS_URL'] ?? '';
  const environment = {
    HOME: home,
    TMPDIR: folder('tmp'),
    // The servers of the tests ask for no password, and take any.
    DATABASE_URL: withPassword(stack.database.url, new URL(stack.database.url).username, canary('postgres')),
    REDIS_URL: withPassword(redis, 'default', canary('redis')),
    TEMPORAL_API_KEY: canary('temporal'),
    TEMPORAL_TLS: 'false',
    ANTHROPIC_API_KEY: canary('model'),
    AWS_SECRET_ACCESS_KEY: canary('aws'),
    SOME_OTHER_SECRET: canary('other'),
  };

  const request = (projectId?: string) => {
    const made = stack.request(projectId);
    if (projectId === undefined) give(made.workspace);
    return made;
  };
  const victim = request();
  const secret = join(victim.workspace, 'secret.txt');
  writeFileSync(secret, `${canary('victim')}\n`, { mode: 0o600 });
  give(secret);

  const baits = await startBaits(stack.root, id);
  if (own) chmodSync(baits.socket, 0o777);
  const worker = await stack.startWorker(environment, ...(own ? [asOrdinaryUser(folder('checkout'))] : []));
  const bystander = spawn(...prefixed(own, 'sleep', ['3600']), { stdio: 'ignore' });
  const binary = await findAgentBinary();
  const url = (text: string) => new URL(text).host;
  return {
    stack,
    worker,
    canaries,
    victim,
    request,
    give,
    target: {
      processes: '/proc/[0-9]*',
      worker: worker.process.pid ?? -1,
      bystander: bystander.pid ?? -1,
      root: stack.root,
      victim: { workspace: victim.workspace, secret },
      home,
      program: join(process.cwd(), 'dist'),
      binary,
      postgres: url(stack.database.url),
      redis: url(redis),
      temporal: process.env['TEST_TEMPORAL_ADDRESS'] ?? '',
      model: url(stack.model.url),
      bait: baits,
    },
    reached: baits.reached,
    async runOutside(cwd, script) {
      const [command, args] = prefixed(own, 'bash', ['-c', script]);
      const { stdout } = await promisify(execFile)(command, args, {
        cwd,
        env: { PATH: process.env['PATH'], ...environment, HOME: cwd },
        maxBuffer: 1e7,
      });
      return stdout;
    },
    async stop() {
      bystander.kill('SIGKILL');
      await baits.stop();
      await stack.stop();
    },
  };
}

const dropping = ['--reuid', String(ordinaryUid), '--regid', String(ordinaryUid), '--clear-groups', '--'];

function prefixed(own: boolean, command: string, args: string[]): [string, string[]] {
  return own ? ['setpriv', [...dropping, command, ...args]] : [command, args];
}

/** The worker's command as the ordinary user, for whom this checkout may lie in a closed folder: it is mounted in another. */
function asOrdinaryUser(folder: string): WorkerCommand {
  return (node, args) => {
    const script = 'mount --bind "$1" "$2" && mount --bind "$3" "$4" && shift 4 && exec "$@"';
    const here = (path: string) => path.replace(process.cwd(), folder);
    const program = join(dirname(folder), 'node');
    writeFileSync(program, '');
    const run = ['setpriv', ...dropping, program, ...args.map(here)];
    return [
      'unshare',
      ['--mount', 'bash', '-c', script, 'bash', process.cwd(), folder, node, program, ...run],
    ];
  };
}

/** What hostile code might connect to: it answers `taken`. */
async function startBaits(root: string, id: string) {
  const reached: string[] = [];
  const web = (name: string) =>
    createServer((request, response) => {
      reached.push(`${name} ${request.method} ${request.url}`);
      response.end('taken\n');
    });
  const line = (name: string) =>
    createSocketServer((socket) => {
      reached.push(name);
      socket.on('error', () => undefined).end('taken\n');
    });
  const [ip4, ip6, inFiles, abstract] = [web('IPv4'), web('IPv6'), line('socket'), line('abstract socket')];
  ip4.listen(0, '127.0.0.1');
  await once(ip4, 'listening');
  const { port } = ip4.address() as AddressInfo;
  const servers = [ip4, inFiles, abstract];
  // Not every machine has IPv6.
  await new Promise<void>((resolve) => {
    ip6.once('error', () => resolve());
    ip6.listen(port, '::1', () => {
      servers.push(ip6);
      resolve();
    });
  });
  const socket = join(root, 'bait.sock');
  inFiles.listen(socket);
  await once(inFiles, 'listening');
  abstract.listen(`\0bait-${id}`);
  await once(abstract, 'listening');
  return {
    port,
    socket,
    abstract: `bait-${id}`,
    reached: () => reached.splice(0),
    stop: async () => {
      for (const server of servers) await new Promise((resolve) => server.close(resolve));
    },
  };
}
