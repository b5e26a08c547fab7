import type { Client } from '@temporalio/client';
import type { openMigratedDatabase } from '../client/database.js';
import type { SessionChain } from '../client/session-chain.js';
import { type Config, processEnvironment, readConfig, required } from '../config/environment.js';
import type { ChainPolicy } from '../contracts/chain.js';
import type { ChainOverrides } from '../contracts/plan.js';
import { defaultPolicy } from '../contracts/policy.js';
import { taskQueuesOf } from '../temporal/names.js';

/** What a command works with; each part is loaded and made when it is first asked for, and closed with the command. */
export interface CommandContext {
  config: Config;
  /** The migrated database. Throws DATABASE_UNAVAILABLE, MIGRATIONS_BEHIND. */
  database: () => ReturnType<typeof openMigratedDatabase>;
  /** A client of the configured namespace, once it is connected. Throws TEMPORAL_UNAVAILABLE. */
  temporal: () => Promise<Client>;
  /** The client API on both; Temporal is connected at its first use. Throws as `database`. */
  sessionChain: () => Promise<SessionChain>;
}

/** Runs a command's work and closes what it opened, so that the process ends by itself. */
export async function withContext<Result>(
  work: (context: CommandContext) => Promise<Result>,
): Promise<Result> {
  const closing: (() => Promise<void>)[] = [];
  const config = readConfig(processEnvironment());
  const database = once(async () => {
    const url = required(config.DATABASE_URL, 'DATABASE_URL');
    const { openMigratedDatabase } = await import('../client/database.js');
    const pool = await openMigratedDatabase(url, 'session-chain cli');
    closing.push(() => pool.end());
    return pool;
  });
  const client = once(async () => {
    const { lazyClientOf } = await import('../temporal/connect.js');
    const made = lazyClientOf(config);
    closing.push(() => made.connection.close());
    return made;
  });
  const temporal = once(async () => {
    const { connected } = await import('../temporal/connect.js');
    return await connected(await client(), config);
  });
  const sessionChain = once(async () => {
    const { createSessionChain } = await import('../client/session-chain.js');
    return createSessionChain({
      pool: await database(),
      temporal: await client(),
      ...clientOptionsOf(config),
    });
  });
  try {
    return await work({ config, database, temporal, sessionChain });
  } finally {
    await Promise.allSettled(closing.map((close) => close()));
  }
}

/** The options of a client, without its connections, from the environment. */
export function clientOptionsOf(config: Config) {
  return {
    policy: policyOf(config),
    overrides: overridesOf(config),
    maxQueued: config.SESSION_CHAIN_MAX_QUEUED,
    workspaceRoots: config.SESSION_CHAIN_WORKSPACE_ROOTS,
    searchAttributes: config.SESSION_CHAIN_SEARCH_ATTRIBUTES,
    ...(config.SESSION_CHAIN_DASHBOARD_URL === undefined
      ? {}
      : { dashboardUrl: config.SESSION_CHAIN_DASHBOARD_URL }),
  };
}

/** How chains wait, from the environment. */
export function policyOf(config: Config): ChainPolicy {
  return {
    ...defaultPolicy,
    heartbeatTimeoutMs: config.SESSION_CHAIN_HEARTBEAT_TIMEOUT_MS,
    killGraceMs: config.SESSION_CHAIN_KILL_GRACE_MS,
    taskQueues: taskQueuesOf(config.SESSION_CHAIN_TASK_QUEUE).chains,
  };
}

/** What the environment says in place of the workers' definition. */
export function overridesOf(config: Config): ChainOverrides {
  const compactThresholdTokens = config.SESSION_CHAIN_COMPACT_THRESHOLD_TOKENS;
  const operations = config.SESSION_CHAIN_RESET_AFTER_OPERATIONS;
  const contextTokens = config.SESSION_CHAIN_RESET_AFTER_TOKENS;
  return {
    ...(compactThresholdTokens === undefined ? {} : { compactThresholdTokens }),
    reset: {
      ...(operations === undefined ? {} : { operations }),
      ...(contextTokens === undefined ? {} : { contextTokens }),
    },
  };
}

function once<Value>(make: () => Promise<Value>): () => Promise<Value> {
  let made: Promise<Value> | undefined;
  return () => (made ??= make());
}
