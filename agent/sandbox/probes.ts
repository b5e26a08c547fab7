import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SessionChainError } from '../../contracts/failures.js';
import { createScratch } from '../process/scratch.js';
import type { Sandbox } from './sandbox.js';
import { outputOf } from './unavailable.js';

export interface SandboxProbe {
  /** What was tried, such as `read another workspace`. */
  name: string;
  /** Whether the sandbox kept it from happening. */
  isRefused: boolean;
}

/** Where a server listens: a port, or a socket by its path. */
export type ProbedAddress = { name: string } & ({ host: string; port: number } | { socket: string });

export interface ProbedPlaces {
  scratchRoot: string;
  /** The real path of the claude binary. */
  binary: string;
  path: string;
  /** What must not be reached. */
  addresses: readonly ProbedAddress[];
}

/**
 * Tries from inside of the real sandbox what must fail there: all of it at the same time, in a fraction of a second. Throws
 * SANDBOX_UNAVAILABLE where nothing starts, or not even the agent's own workspace can be read.
 */
export async function probeSandbox(
  sandbox: Sandbox,
  { scratchRoot, binary, path, addresses }: ProbedPlaces,
  timeoutMs = 14_000,
): Promise<SandboxProbe[]> {
  const scratch = await createScratch(scratchRoot);
  try {
    const [workspace, other] = [join(scratch.tmp, 'own'), join(scratch.tmp, 'other')];
    for (const folder of [workspace, other]) {
      await mkdir(folder);
      await writeFile(join(folder, 'file'), 'text');
    }
    await writeFile(scratch.socket, '');
    const read = 'cat "$1"';
    const tries: [name: string, code: string, ...words: string[]][] = [
      ['read its own workspace', read, join(workspace, 'file')],
      ['read another workspace', read, join(other, 'file')],
      ['read the environment of the worker', read, `/proc/${process.pid}/environ`],
      ...addresses.map((address): (typeof tries)[number] =>
        'socket' in address
          ? [`connect to ${address.name}`, 'test -S "$1"', address.socket]
          : [`connect to ${address.name}`, ': <>"/dev/tcp/$1/$2"', address.host, String(address.port)],
      ),
      ['write to /usr', 'f="/usr/.session-chain-$$"; : >"$f" && rm -f "$f"'],
    ];
    const inside = await sandbox.prepare({ workspace, scratch, scratchRoot, binary });
    const command = inside({
      command: ['bash', '-c', script, 'probe', ...tries.map(([, ...one]) => one.join('\t'))],
      config: scratch.config,
    });
    const reached = new Set((await outputOf(command, path, timeoutMs)).trim().split('\n').map(Number));
    const [own, ...others] = tries.map(([name], index) => ({ name, isRefused: !reached.has(index) }));
    if (own?.isRefused) {
      throw new SessionChainError(
        'SANDBOX_UNAVAILABLE',
        'In the sandbox of the agents, bash could not read a file of the workspace.',
      );
    }
    return others;
  } finally {
    await scratch.remove();
  }
}

/** Throws SANDBOX_UNAVAILABLE where an agent could not be started in it, or is not kept in. */
export async function requireKeepingIn(sandbox: Sandbox, places: ProbedPlaces): Promise<void> {
  const possible = (await probeSandbox(sandbox, places, 30_000)).filter(({ isRefused }) => !isRefused);
  if (possible.length === 0) return;
  throw new SessionChainError(
    'SANDBOX_UNAVAILABLE',
    `The sandbox does not keep agents in. From inside it is possible to ${possible.map(({ name }) => name).join(', ')}.`,
    remedyOfProbes(sandbox),
  );
}

/** What a person does about what is possible from inside. */
export function remedyOfProbes({ kind }: Sandbox): string {
  return kind === 'command'
    ? 'Correct the program of the sandbox: it shows agents the files that it is told, and no network.'
    : 'Correct sandbox.read: nothing that it names may hold workspaces or what belongs to the worker.';
}

/** Prints the index of each try that succeeded. */
const script = `
index=0
for try; do
  IFS=$'\\t' read -r code first second <<<"$try"
  { timeout 3 bash -c "$code" try "$first" "$second" >/dev/null 2>&1 && echo "$index"; } &
  tries+=($!) index=$((index + 1))
done
wait "\${tries[@]}"
exit 0
`;
