import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SessionChainError } from '../../contracts/failures.js';
import { createScratch } from '../process/scratch.js';
import type { Sandbox } from './sandbox.js';
import { outputOf } from './unavailable.js';

export interface SandboxProbe {
  name: string;
  /** Whether the sandbox kept it from happening. */
  isRefused: boolean;
}

export interface ProbedPlaces {
  scratchRoot: string;
  /** The real path of the claude binary. */
  binary: string;
  path: string;
  /** What must not be reached, by name. */
  addresses: readonly { name: string; host: string; port: number }[];
}

/** Tries from inside of the real sandbox what must fail there; takes a fraction of a second. Throws SANDBOX_UNAVAILABLE where nothing starts. */
export async function probeSandbox(
  sandbox: Sandbox,
  { scratchRoot, binary, path, addresses }: ProbedPlaces,
  timeoutMs = 14_000,
): Promise<SandboxProbe[]> {
  const scratch = await createScratch(scratchRoot);
  try {
    const [workspace, other] = [join(scratch.tmp, 'own'), join(scratch.tmp, 'other')];
    for (const folder of [workspace, other]) await mkdir(folder);
    await writeFile(join(other, 'file'), 'text');
    await writeFile(scratch.socket, '');
    const tries: [string, string, ...string[]][] = [
      ['read another workspace', 'cat "$1"', join(other, 'file')],
      ["read the worker's environment", 'cat "$1"', `/proc/${process.pid}/environ`],
      ...addresses.map(({ name, host, port }): [string, string, ...string[]] => [
        `connect to ${name}`,
        ': <>"/dev/tcp/$1/$2"',
        host,
        String(port),
      ]),
      ['write to /usr', 'f="/usr/.session-chain-$$"; : >"$f" && rm -f "$f"'],
    ];
    const inside = await sandbox.prepare({ workspace, scratch, scratchRoot, binary });
    const script =
      'for try; do IFS=$\'\\t\' read -r code first second <<<"$try"; timeout 3 bash -c "$code" try "$first" "$second" >/dev/null 2>&1 && echo reached || echo refused; done';
    const command = inside({
      command: ['bash', '-c', script, 'probe', ...tries.map(([, ...one]) => one.join('\t'))],
      config: scratch.config,
    });
    const outcomes = (await outputOf(command, path, timeoutMs)).trim().split('\n');
    return tries.map(([name], index) => ({ name, isRefused: outcomes[index] === 'refused' }));
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
