import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { type Meter, attemptOutcomes } from '../activities/meter.js';
import type { AgentEvent } from '../agent/run.js';
import { failureCodes } from '../contracts/failures.js';
import type { StepName } from '../contracts/steps.js';

/** What a worker counts from its start on; a process may have several. docs/metrics.md explains each. */
export interface WorkerMetrics extends Meter {
  agentEvent(event: AgentEvent): void;
  /** How many processes wait for their next task now. */
  parked(count: number): void;
  /** Called once the worker is ready. A step that is not among `steps` counts as `other`, which bounds the series. */
  describe(worker: {
    steps: readonly StepName[];
    maxAgents: number;
    maxChats: number;
    claudeCode: string;
    sandbox: string;
    release: string;
  }): void;
  /** In the text format of Prometheus. */
  text(): Promise<string>;
}

const attemptSeconds = [1, 5, 15, 30, 60, 120, 300, 600, 1_200, 2_400];

export function createWorkerMetrics(): WorkerMetrics {
  const registry = new Registry();
  const registers = [registry];
  const counter = <Label extends string>(name: string, help: string, ...labelNames: Label[]) =>
    new Counter({ name, help, labelNames, registers });
  const gauge = <Label extends string>(name: string, help: string, ...labelNames: Label[]) =>
    new Gauge({ name, help, labelNames, registers });
  const histogram = <Label extends string>(name: string, help: string, ...labelNames: Label[]) =>
    new Histogram({ name, help, labelNames, registers, buckets: attemptSeconds });

  const stepsEnded = counter(
    'session_chain_steps_total',
    'Attempts of steps that ended on this worker.',
    'step',
    'outcome',
  );
  const stepSeconds = histogram(
    'session_chain_step_duration_seconds',
    'Time of a committed attempt of a step.',
    'step',
  );
  const questionsEnded = counter(
    'session_chain_questions_total',
    'Attempts to answer questions that ended on this worker.',
    'outcome',
  );
  const questionSeconds = histogram(
    'session_chain_question_duration_seconds',
    'Time of an attempt that answered a question.',
  );
  const failures = counter(
    'session_chain_failures_total',
    'Activities that failed, by the code of the failure.',
    'code',
  );
  const limitsReached = counter(
    'session_chain_limits_reached_total',
    'Limits that ended an attempt.',
    'limit',
    'owner',
  );
  const tokens = counter(
    'session_chain_tokens_total',
    'Tokens of attempts that ended on this worker.',
    'type',
  );
  const cost = counter(
    'session_chain_cost_usd_total',
    'Cost of attempts that ended on this worker, in US dollars.',
  );
  const unknownCost = counter(
    'session_chain_attempts_of_unknown_cost_total',
    'Attempts whose cost was unknown when they ended.',
  );
  const egressRefused = counter(
    'session_chain_egress_refused_total',
    'Hosts that the sandbox refused to agents.',
  );
  const unreachable = counter(
    'session_chain_model_unreachable_total',
    'Requests of agents that did not reach the model service.',
  );
  const running = gauge(
    'session_chain_agents_running',
    'Agents that run now, for steps or questions.',
    'task',
  );
  const parked = gauge(
    'session_chain_agents_parked',
    'Claude Code processes that wait for the next task of their chain or chat.',
  );
  const starts = counter(
    'session_chain_agent_starts_total',
    'Agents that began a task, in the process of the task before (warm) or in one of their own (cold).',
    'task',
    'start',
  );
  const most = gauge(
    'session_chain_agents_max',
    'Agents that may run at a time, for steps or questions.',
    'task',
  );
  const info = gauge(
    'session_chain_worker_info',
    'What the worker runs; the value is 1.',
    'claude_code',
    'sandbox',
    'release',
  );

  const known = new Set<string>();
  const nameOf = (step: StepName) => (known.has(step) ? step : 'other');
  // A series that begins with its first event shows no increase by it.
  for (const code of failureCodes) failures.inc({ code }, 0);
  for (const task of ['step', 'question']) {
    running.set({ task }, 0);
    for (const start of ['warm', 'cold']) starts.inc({ task, start }, 0);
  }
  for (const outcome of attemptOutcomes) questionsEnded.inc({ outcome }, 0);
  for (const type of tokenTypes) tokens.inc({ type }, 0);

  return {
    attemptEnded({ step, outcome, durationMs, spent }) {
      if (step === null) questionsEnded.inc({ outcome });
      else stepsEnded.inc({ step: nameOf(step), outcome });
      if (outcome === 'committed') {
        const seconds = durationMs / 1_000;
        if (step === null) questionSeconds.observe(seconds);
        else stepSeconds.observe({ step: nameOf(step) }, seconds);
      }
      const { inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens } = spent.usage;
      add(tokens.labels('input'), inputTokens);
      add(tokens.labels('output'), outputTokens);
      add(tokens.labels('cache_read'), cacheReadTokens);
      add(tokens.labels('cache_write'), cacheWriteTokens);
      if (spent.costUsd === null) unknownCost.inc();
      else add(cost, spent.costUsd);
    },
    stepSkipped: (step) => stepsEnded.inc({ step: nameOf(step), outcome: 'skipped' }),
    activityEnded(step, failure) {
      const outcome =
        failure === null ? 'completed' : failure.code === 'CANCELLED' ? 'interrupted' : 'failed';
      stepsEnded.inc({ step: nameOf(step), outcome });
    },
    failed({ code, reached }) {
      failures.inc({ code });
      if (reached) limitsReached.inc({ limit: reached.limit, owner: reached.owner });
    },
    agentEvent(event) {
      switch (event.event) {
        case 'agent.started':
          starts.inc({ task: taskOf(event.step), start: event.warm ? 'warm' : 'cold' });
          return running.inc({ task: taskOf(event.step) });
        case 'agent.ended':
        case 'agent.failed':
          return running.dec({ task: taskOf(event.step) });
        case 'agent.egress_refused':
          return egressRefused.inc();
        case 'agent.model_unreachable':
          return unreachable.inc();
        default:
      }
    },
    parked: (count) => parked.set(count),
    describe({ steps, maxAgents, maxChats, claudeCode, sandbox, release }) {
      for (const step of steps) {
        known.add(step);
        for (const outcome of stepOutcomes) stepsEnded.inc({ step, outcome }, 0);
      }
      most.set({ task: 'step' }, maxAgents);
      most.set({ task: 'question' }, maxChats);
      info.set({ claude_code: claudeCode, sandbox, release }, 1);
    },
    text: async () => await registry.metrics(),
  };

  function taskOf(step: string): string {
    return known.has(step) ? 'step' : 'question';
  }
}

const stepOutcomes = [
  ...attemptOutcomes,
  /** There was nothing to do. */
  'skipped',
  /** Of an activity of the host. */
  'completed',
] as const;
const tokenTypes = ['input', 'output', 'cache_read', 'cache_write'] as const;

/** A counter throws at what is less than nothing, and counting must not fail the work that is counted. */
function add(counter: { inc(value: number): void }, value: number): void {
  if (value > 0) counter.inc(value);
}
