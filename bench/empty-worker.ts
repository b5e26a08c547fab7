import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Client } from '@temporalio/client';
import { NativeConnection, Runtime, DefaultLogger, Worker } from '@temporalio/worker';
import type { AgentActivities, ChainActivities } from '../contracts/activities.js';
import type { ChainInput, StepInput, StepResult } from '../contracts/chain.js';
import {
  type AttemptId,
  type ChainId,
  parseBuildId,
  parseProjectId,
  parseSessionId,
  parseVersionId,
} from '../contracts/ids.js';
import { payloadVersion } from '../contracts/plan.js';
import { defaultPolicy } from '../contracts/policy.js';
import { resolvePlan } from '../definition/resolve-plan.js';
import { shippedDefinition } from '../definition/shipped.js';
import { chainWorkflowId, taskQueuesOf, workflowTypes } from '../temporal/names.js';

/** A process of its own, so that its CPU can be told apart. Gets `{chains, atOnce}` from its parent and answers with an EmptyRun. */

export interface EmptyWorkerOptions {
  address: string;
  /** The worker's settings: ours, or the SDK's defaults. */
  tuned: boolean;
}

export interface EmptyRun {
  wallMs: number;
  /** CPU of this process: the worker and the client. */
  workerCpuMs: number;
  workflowIds: string[];
}

const taskQueues = taskQueuesOf('empty').chains;

async function main({ address, tuned }: EmptyWorkerOptions): Promise<void> {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  const connection = await NativeConnection.connect(
    tuned ? { address, grpcCompression: { codec: 'none' } } : { address },
  );
  const workers = await Promise.all([
    Worker.create({
      connection,
      taskQueue: taskQueues.chains,
      workflowBundle: { codePath: join(import.meta.dirname, '../workers/workflow-bundle.js') },
      ...(tuned ? { workflowThreadPoolSize: 1 } : {}),
      activities: emptyActivities,
    }),
    Worker.create({ connection, taskQueue: taskQueues.agents, activities: emptySteps }),
  ]);
  const running = workers.map((worker) => worker.run());
  const client = new Client({ connection });
  process.on('message', (order: { chains: number; atOnce: number }) => {
    void runChains(client, order).then((run) => process.send?.(run));
  });
  process.once('disconnect', () => {
    for (const worker of workers) worker.shutdown();
  });
  process.send?.('ready');
  await Promise.all(running);
  await connection.close();
}

async function runChains(
  client: Client,
  { chains, atOnce }: { chains: number; atOnce: number },
): Promise<EmptyRun> {
  const cpu = process.cpuUsage();
  const startedAt = performance.now();
  let left = chains;
  const workflowIds: string[] = [];
  const lane = async () => {
    while (left-- > 0) workflowIds.push(await runChain(client));
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  const wallMs = performance.now() - startedAt;
  const { user, system } = process.cpuUsage(cpu);
  return { wallMs, workerCpuMs: (user + system) / 1000, workflowIds };
}

async function runChain(client: Client): Promise<string> {
  const id = `empty-${randomUUID()}`;
  const key = { projectId: parseProjectId(id), versionId: parseVersionId(id), buildId: parseBuildId(id) };
  const input: ChainInput = {
    version: payloadVersion,
    ...key,
    chainId: '1' as ChainId,
    mode: 'initial',
    policy: { ...defaultPolicy, taskQueues },
    overrides: [],
  };
  const workflowId = chainWorkflowId(key);
  await client.workflow.execute(workflowTypes.chain, {
    workflowId,
    taskQueue: taskQueues.chains,
    args: [input],
  });
  return workflowId;
}

const step = async ({ step, head }: StepInput): Promise<StepResult> => ({
  outcome: 'committed',
  step,
  attemptId: '1' as AttemptId,
  attempt: 1,
  oldSessionId: head.sessionId,
  newSessionId: parseSessionId(randomUUID()),
  seq: (head.seq ?? 0) + 1,
  turns: 0,
  usage: { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 },
  costUsd: 0,
  durationMs: 0,
  warnings: [],
});

const { plan } = resolvePlan(shippedDefinition, []);

/** The activities of the database, which do nothing. */
const emptyActivities: ChainActivities = {
  open: async () => ({
    outcome: 'opened',
    head: { sessionId: null, seq: null },
    baseSessionId: null,
    ticket: 1,
    warnings: [],
    origin: { kind: 'fresh', headSessionId: null, headSeq: null },
    plan,
  }),
  committedStep: async () => null,
  beginActivity: async () => ({ outcome: 'completed' }),
  endActivity: async () => undefined,
  commit: async () => ({ costUsd: 0, attemptsOfUnknownCost: 0 }),
};

/** Those of the shipped steps, which do nothing either. */
const emptySteps: AgentActivities = Object.fromEntries(plan.steps.map(({ name }) => [name, step]));

await main(JSON.parse(process.argv[2] ?? '{}') as EmptyWorkerOptions);
