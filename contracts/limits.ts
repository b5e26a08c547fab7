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

/** Which limit was reached: two labels, all that Temporal learns of it. */
export interface ReachedLimit {
  limit: Limit;
  owner: LimitOwner;
}

const limits = {
  cost: { name: 'cost limit', field: 'maxCostUsd' },
  turns: { name: 'limit of model turns', field: 'maxTurns' },
  time: { name: 'time limit', field: 'timeoutMs' },
} as const;

/** `cost limit of the chain` */
export function limitName(limit: Limit, owner: LimitOwner): string {
  return `${limits[limit].name} of the ${owner}`;
}

const owners: ReadonlySet<unknown> = new Set<LimitOwner>(['step', 'chain', 'question']);

/** Whether a value that was sent names a limit. */
export function isReachedLimit(value: unknown): value is ReachedLimit {
  const { limit, owner } = (value ?? {}) as { limit?: unknown; owner?: unknown };
  return typeof limit === 'string' && Object.hasOwn(limits, limit) && owners.has(owner);
}

/** What to do once a limit is reached: to raise that one, and no other. */
export function limitRemedy(limit: Limit, owner: LimitOwner): string {
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
