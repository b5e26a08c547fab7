import { z } from 'zod';
import { SessionChainError } from '../contracts/failures.js';
import {
  defaultSandbox,
  type SandboxInput,
  type SandboxLimits,
  type SandboxSettings,
} from '../contracts/sandbox.js';

const sandboxKind = z.enum(['bwrap', 'command', 'none']);
const absolutePath = z.string().regex(/^\/[^\0]*$/, 'must be an absolute path');
const hostAndPort = z.string().refine(isHostAndPort, 'must be host:port, such as packages.example.com:443');
const count = z.number().int().min(1);

/** The field `sandbox` of the configuration file and of the worker's options; all of it is optional. */
export const sandboxSchema = z.strictObject({
  kind: sandboxKind.optional(),
  command: absolutePath.optional(),
  read: z.array(absolutePath).optional(),
  egress: z.array(hostAndPort).optional(),
  limits: z
    .strictObject({
      processes: count.optional(),
      memoryMb: count.optional(),
      fileMb: count.optional(),
      openFiles: count.optional(),
      cpuSeconds: count.optional(),
      tmpMb: count.optional(),
    })
    .prefault({}),
});

/** The same as variables; each one that is set replaces that field of the configuration file. */
export const sandboxVariables = {
  SESSION_CHAIN_SANDBOX: sandboxKind
    .optional()
    .describe(
      'How agents are kept in: bwrap (bubblewrap), command (a program of the host), none (no wall); default: bwrap',
    ),
  SESSION_CHAIN_SANDBOX_COMMAND: absolutePath
    .optional()
    .describe('The program of the sandbox `command`, by its absolute path'),
  SESSION_CHAIN_SANDBOX_READ: listOf(':', absolutePath).describe(
    'Files and folders that agents can read besides the system and their workspace, separated by ":"',
  ),
  SESSION_CHAIN_SANDBOX_EGRESS: listOf(',', hostAndPort).describe(
    'host:port that agents reach besides the model, separated by ","',
  ),
  SESSION_CHAIN_SANDBOX_PROCESSES: limit(
    'processes',
    'Processes and threads of one agent and all that it starts',
  ),
  SESSION_CHAIN_SANDBOX_MEMORY_MB: limit(
    'memoryMb',
    'Megabytes of memory of one agent and all that it starts',
  ),
  SESSION_CHAIN_SANDBOX_FILE_MB: limit('fileMb', 'Megabytes of one file that an agent writes'),
  SESSION_CHAIN_SANDBOX_OPEN_FILES: limit('openFiles', 'Files that one process of an agent holds open'),
  SESSION_CHAIN_SANDBOX_CPU_SECONDS: limit(
    'cpuSeconds',
    'Seconds of processor time of one process of an agent',
  ),
  SESSION_CHAIN_SANDBOX_TMP_MB: limit('tmpMb', "Megabytes of an agent's private /tmp"),
} as const;

/** What the variables set; undefined for the rest. */
export function sandboxOfVariables(
  variables: z.infer<z.ZodObject<typeof sandboxVariables>>,
): z.infer<typeof sandboxSchema> {
  return {
    kind: variables.SESSION_CHAIN_SANDBOX,
    command: variables.SESSION_CHAIN_SANDBOX_COMMAND,
    read: variables.SESSION_CHAIN_SANDBOX_READ,
    egress: variables.SESSION_CHAIN_SANDBOX_EGRESS,
    limits: {
      processes: variables.SESSION_CHAIN_SANDBOX_PROCESSES,
      memoryMb: variables.SESSION_CHAIN_SANDBOX_MEMORY_MB,
      fileMb: variables.SESSION_CHAIN_SANDBOX_FILE_MB,
      openFiles: variables.SESSION_CHAIN_SANDBOX_OPEN_FILES,
      cpuSeconds: variables.SESSION_CHAIN_SANDBOX_CPU_SECONDS,
      tmpMb: variables.SESSION_CHAIN_SANDBOX_TMP_MB,
    },
  };
}

/**
 * The settings of a worker: field by field the last input that sets it, else the default. Throws INVALID_CONFIG where
 * they do not fit together.
 */
export function sandboxSettings(...inputs: (SandboxInput | undefined)[]): SandboxSettings {
  const settings = inputs.reduce<SandboxSettings>(
    (below, { limits, ...input } = {}) => ({
      ...below,
      ...(withoutUndefined(input) as Partial<SandboxSettings>),
      limits: { ...below.limits, ...(withoutUndefined(limits ?? {}) as Partial<SandboxLimits>) },
    }),
    defaultSandbox,
  );
  if (settings.kind === 'command' && settings.command === undefined) {
    throw new SessionChainError(
      'INVALID_CONFIG',
      'The sandbox `command` has no program: sandbox.command, or SESSION_CHAIN_SANDBOX_COMMAND, takes its absolute path.',
      'Set it where workers run, or use the sandbox bwrap.',
    );
  }
  return settings;
}

function withoutUndefined(input: object): object {
  return Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined));
}

function listOf(separator: string, item: z.ZodType<string, string>) {
  return z
    .string()
    .transform((value) =>
      value
        .split(separator)
        .map((part) => part.trim())
        .filter(Boolean),
    )
    .pipe(z.array(item))
    .optional();
}

function limit(name: keyof SandboxLimits, meaning: string) {
  return z.coerce
    .number()
    .pipe(count)
    .optional()
    .describe(`${meaning}; default: ${defaultSandbox.limits[name]}`);
}

function isHostAndPort(value: string): boolean {
  const [, port] =
    /^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]):(\d{1,5})$/.exec(value) ?? [];
  return port !== undefined && Number(port) >= 1 && Number(port) <= 65_535;
}
