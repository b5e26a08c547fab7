import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { delimiter } from 'node:path';
import { promisify } from 'node:util';
import { findAgentBinary } from '../agent/process/binary.js';
import { checkSandbox } from '../agent/sandbox/apart.js';
import { makeControlGroup } from '../agent/sandbox/cgroup.js';
import { type ProbedAddress, probeSandbox, remedyOfProbes } from '../agent/sandbox/probes.js';
import { openSandbox, withoutSandbox } from '../agent/sandbox/sandbox.js';
import type { Config } from '../config/environment.js';
import { sandboxOfVariables, sandboxSettings } from '../config/sandbox.js';
import type { SandboxSettings } from '../contracts/sandbox.js';
import { loadChainDefinition } from '../definition/load.js';
import { temporalAddressOf } from '../temporal/connect.js';
import { type Finding, ok } from './finding.js';

/** How a worker with this configuration would keep agents in. Throws what such a worker would. */
export async function configuredSandbox(
  config: Config,
): Promise<{ sandbox: SandboxSettings; missing: string[] }> {
  const { definition } = await loadChainDefinition(config);
  return await checkSandbox(sandboxSettings(definition.sandbox, sandboxOfVariables(config)), {
    workspaceRoots: config.SESSION_CHAIN_WORKSPACE_ROOTS,
    scratchRoot: config.SESSION_CHAIN_SCRATCH_DIR,
  });
}

/** The sandbox itself, each thing that an agent must not be able to do in it, its limits, and what agents do not see. */
export async function sandboxFindings(config: Config): Promise<Finding[]> {
  const { sandbox: settings, missing } = await configuredSandbox(config);
  const sandbox = await openSandbox(settings, config.environment);
  if (sandbox.kind === 'none') {
    return [
      {
        status: 'warn',
        message: withoutSandbox(sandbox.hold),
        remedy: 'Unset SESSION_CHAIN_SANDBOX (sandbox.kind) to keep agents in by bubblewrap.',
      },
    ];
  }
  const path = config.environment['PATH'] ?? '';
  const binary = await findAgentBinary(config.SESSION_CHAIN_AGENT_PATH);
  const probes = await probeSandbox(sandbox, {
    ...{ binary, path, addresses: addressesOf(config), scratchRoot: config.SESSION_CHAIN_SCRATCH_DIR },
  });
  return [
    ok(sandbox.kind === 'bwrap' ? await bubblewrapVersion(path) : `by ${settings.command}`),
    ...probes.map(({ name, isRefused }): Finding =>
      isRefused
        ? ok(`agents cannot ${name}`)
        : {
            status: 'fail',
            message: `agents can ${name}`,
            remedy: remedyOfProbes(sandbox),
          },
    ),
    await limitsFinding(settings),
    ...missing.map((entry): Finding => ({
      status: 'warn',
      message: `${entry}, which sandbox.read names, does not exist here; agents go without it`,
      remedy: 'Create it, or correct sandbox.read (SESSION_CHAIN_SANDBOX_READ).',
    })),
    ...(sandbox.kind === 'bwrap' ? await hiddenOfPath(path, settings.read) : []),
  ];
}

/** The database, Temporal and Redis, as far as they are configured. */
function addressesOf(config: Config): ProbedAddress[] {
  const temporal = temporalAddressOf(config);
  const colon = temporal.lastIndexOf(':');
  const bare = (host: string) => host.replace(/^\[|\]$/g, '');
  return [
    ...[
      ['the database', config.DATABASE_URL, 5432] as const,
      ['Redis', config.REDIS_URL, 6379] as const,
    ].flatMap(([name, text, defaultPort]): ProbedAddress[] => {
      if (text === undefined) return [];
      const url = new URL(text);
      const host = decodeURIComponent(url.hostname) || url.searchParams.get('host') || '127.0.0.1';
      const port = Number(url.port || defaultPort);
      return [
        host.startsWith('/')
          ? { name, socket: `${host}/.s.PGSQL.${port}` }
          : { name, host: bare(host), port },
      ];
    }),
    { name: 'Temporal', host: bare(temporal.slice(0, colon)), port: Number(temporal.slice(colon + 1)) },
  ];
}

async function bubblewrapVersion(path: string): Promise<string> {
  const { stdout } = await promisify(execFile)('bwrap', ['--version'], { env: { PATH: path } });
  return stdout.trim();
}

async function limitsFinding({ limits }: SandboxSettings): Promise<Finding> {
  const group = makeControlGroup(`doctor-${process.pid}`, {
    processes: limits.processes,
    bytes: limits.memoryMb * 1024 * 1024,
  });
  await group?.remove();
  return ok(
    group
      ? 'limits: the kernel holds processes and memory of a run together, by a control group'
      : 'limits: the kernel holds each process, the worker all of a run together; no control group can be made here',
  );
}

async function hiddenOfPath(path: string, read: readonly string[]): Promise<Finding[]> {
  const shown = ['/usr', '/bin', '/sbin', ...read];
  const isShown = (folder: string) => shown.some((one) => folder === one || folder.startsWith(`${one}/`));
  // npx and npm put the folders of packages there, for themselves.
  const folders = [...new Set(path.split(delimiter))].filter(
    (folder) => folder !== '' && !folder.endsWith('/node_modules/.bin') && !isShown(folder),
  );
  const there = await Promise.all(
    folders.map(async (folder) => (await stat(folder).catch(() => null)) !== null),
  );
  const hidden = folders.filter((_folder, index) => there[index]);
  if (hidden.length === 0) return [];
  return [
    {
      status: 'warn',
      message: `agents do not see these folders of the PATH: ${hidden.join(', ')}`,
      remedy:
        'No action needed where agents do not use their programs; else name what they need in sandbox.read (SESSION_CHAIN_SANDBOX_READ).',
    },
  ];
}
