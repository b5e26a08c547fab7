import type { SandboxLimits } from './sandbox.js';

/** The limits of one step. */
export interface StepLimits {
  /** Wall-clock time of one attempt. */
  timeoutMs: number;
  /** Model turns of all its attempts together. */
  maxTurns: number;
  /** US dollars of all its attempts together; no limit when absent. */
  maxCostUsd?: number;
  /** Attempts after which the step has failed. */
  maxAttempts: number;
}

/** The limits of a whole chain, over all its attempts; no limit where a field is absent. */
export interface ChainBudget {
  maxCostUsd?: number;
  /** Model turns. */
  maxTurns?: number;
  /** Wall-clock time since the chain took the project. */
  timeoutMs?: number;
}

export type Limit = 'cost' | 'turns' | 'time';
/** What a limit applies to. */
export type LimitOwner = 'step' | 'chain' | 'question';
/** A limit of the sandbox, by the field that sets it. */
export type SandboxLimit = keyof SandboxLimits;

/** Which limit was reached: two labels, all that Temporal learns of it. */
export type ReachedLimit = { limit: Limit; owner: LimitOwner } | { limit: SandboxLimit; owner: 'sandbox' };

const limits = {
  cost: { name: 'cost limit', field: 'maxCostUsd' },
  turns: { name: 'limit of model turns', field: 'maxTurns' },
  time: { name: 'time limit', field: 'timeoutMs' },
} as const;

const sandboxLimits: Record<SandboxLimit, { name: string; unit: string; variable: string }> = {
  processes: { name: 'limit of processes', unit: '', variable: 'PROCESSES' },
  memoryMb: { name: 'memory limit', unit: ' MB', variable: 'MEMORY_MB' },
  fileMb: { name: 'limit of file size', unit: ' MB', variable: 'FILE_MB' },
  openFiles: { name: 'limit of open files', unit: '', variable: 'OPEN_FILES' },
  cpuSeconds: { name: 'limit of processor time', unit: ' s', variable: 'CPU_SECONDS' },
  tmpMb: { name: 'size limit of /tmp', unit: ' MB', variable: 'TMP_MB' },
};

/** `cost limit of the chain` */
export function limitName(limit: Limit, owner: LimitOwner): string {
  return `${limits[limit].name} of the ${owner}`;
}

/** `memory limit of the sandbox (4096 MB)` */
export function sandboxLimitName(limit: SandboxLimit, all: SandboxLimits): string {
  const { name, unit } = sandboxLimits[limit];
  return `${name} of the sandbox (${all[limit]}${unit})`;
}

const owners: ReadonlySet<unknown> = new Set<LimitOwner>(['step', 'chain', 'question']);

/** Whether a value that was sent names a limit. */
export function isReachedLimit(value: unknown): value is ReachedLimit {
  const { limit, owner } = (value ?? {}) as { limit?: unknown; owner?: unknown };
  if (typeof limit !== 'string') return false;
  return owner === 'sandbox'
    ? Object.hasOwn(sandboxLimits, limit)
    : Object.hasOwn(limits, limit) && owners.has(owner);
}

/** What to do once a limit is reached: to raise that one, and no other. */
export function limitRemedy(reached: ReachedLimit): string {
  if (reached.owner === 'sandbox') {
    const { name, variable } = sandboxLimits[reached.limit];
    return `If the work needs more: raise the ${name} of the sandbox (sandbox.limits.${reached.limit}, SESSION_CHAIN_SANDBOX_${variable}), restart the workers, and start again.`;
  }
  const { limit, owner } = reached;
  const { field } = limits[limit];
  switch (owner) {
    case 'step':
      return `Raise the ${limitName(limit, owner)} (limits.${field}) and start the chain again.`;
    case 'chain':
      return `Raise the ${limitName(limit, owner)} (budget.${field}) and start the chain again.`;
    case 'question':
      return `Raise the ${limitName(limit, owner)} (chat.limits.${field}) and ask again.`;
  }
}
