import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { ActivityStep, AgentStepDefinition } from '../../definition/definition.js';
import type { InjectionHandle } from '../../dev/offline-model/injections.js';
import { blocksOf, parseMessagesRequest } from '../../dev/offline-model/messages.js';
import type { OfflineRequest } from '../../dev/offline-model/request-log.js';
import type { OfflineModel } from '../../dev/offline-model/server.js';
import type { Host } from './host.js';
import type { MomentName } from './matrix.js';
import type { HeldStatement, StatementProxy } from './statement-proxy.js';
import { type AgentWitness, type Witness, isTurn } from './witness.js';

/** What a moment is reached with. Nothing in the product knows of it. */
export type MomentContext = AgentContext | CallContext;

interface AgentContext {
  step: AgentStepDefinition;
  workspace: string;
  model: OfflineModel;
  proxy: StatementProxy;
  witness: AgentWitness;
}

/** A step that is an activity of the host. */
interface CallContext {
  step: ActivityStep;
  host: Host;
  proxy: StatementProxy;
  witness: Witness;
}

/** A chain that is held at a moment, or will be. */
export interface Barrier {
  /** Where the chain is held: what waits at the database comes to a thawed worker's database late. */
  place: 'model' | 'tool' | 'database';
  isReached(): Promise<boolean> | boolean;
  release(): void;
}

export function hold(moment: MomentName, context: MomentContext): Barrier {
  if (!('host' in context)) return barriers[moment](context);
  const barrier = barriersOfCall[moment];
  if (!barrier) throw new Error(`An activity of the host has no such moment: ${moment}.`);
  return barrier(context);
}

const barriers: Record<MomentName, (context: AgentContext) => Barrier> = {
  // The step before is committed; that this one begins does not reach Postgres.
  parked: beforeStep,

  // The attempt is journalled; the look at what was spent so far comes between that and the agent.
  'before-agent': ({ proxy }) =>
    atStatement(proxy.hold('request', (bytes) => bytes.includes('chain_elapsed'))),

  // Its first entries do not reach Postgres, with which what the step before left is copied.
  'not-copied': ({ proxy }) =>
    atStatement(proxy.hold('request', (bytes) => bytes.includes('append_to_copy'))),

  // The first request has come and gets no answer.
  'before-request': ({ model, step }) => atModel(model.holdNext((request) => isTurn(request, step.name))),

  // The answer stops after its first words: that of the second turn where there is one, so that the first is at stake.
  'mid-stream': ({ model, step }) =>
    atModel(model.inject({ hold: 'midStream', when: (request) => isNthTurn(model, request, step) })),

  // The model's first turn calls a tool that reads a pipe that has no writer.
  'mid-tool': ({ model, step, workspace }) => {
    const pipe = join(workspace, 'pipe');
    execFileSync('mkfifo', [pipe]);
    model.inject({
      when: (request) => isTurn(request, step.name),
      answer: () => ({
        content: [
          { type: 'text', text: 'I look at something first.' },
          { type: 'tool_use', ...readerOf(step, pipe) },
        ],
        stopReason: 'tool_use',
      }),
    });
    return atPipe(pipe);
  },

  // The second request, which brings a tool's result, is held until that result is seen in the store.
  'tool-result-stored': holdWithStoredResult,

  // Postgres stores the entry of the message that ends the turn, but the worker is not told: the agent's result waits
  // for all appends.
  'final-stored': ({ model, proxy, step, witness }) => {
    const isFinal = (bytes: string) =>
      step.kind === 'compaction'
        ? bytes.includes('"isCompactSummary":true')
        : model.requests.some(
            ({ response, ...request }) =>
              request.step === step.name &&
              response?.stopReason === 'end_turn' &&
              bytes.includes(response.messageId ?? '?'),
          );
    const held = proxy.hold('answer', isFinal);
    return { ...atStatement(held), isReached: async () => held.isReached() && (await witness.isFinished()) };
  },

  // The commit statement does not reach Postgres.
  'before-commit': ({ proxy }) => atStatement(proxy.hold('request', isCommit)),

  // The commit is done, its answer does not reach the worker.
  'after-commit': ({ proxy, witness }) => {
    const held = proxy.hold('answer', isCommit);
    return { ...atStatement(held), isReached: async () => held.isReached() && (await witness.isCommitted()) };
  },
};

const barriersOfCall: Partial<Record<MomentName, (context: CallContext) => Barrier>> = {
  // Whether the host is to be called is not journalled yet.
  'before-agent': ({ proxy }) =>
    atStatement(proxy.hold('request', (bytes) => bytes.includes('begin_activity'))),

  // The host is at work.
  'mid-tool': ({ host }) => ({ place: 'tool', ...host.hold() }),

  // The host is done, and Postgres does not learn it.
  'before-commit': ({ proxy }) =>
    atStatement(proxy.hold('request', (bytes) => bytes.includes('end_activity'))),

  // The end is stored, and the worker does not learn it.
  'after-commit': ({ proxy, witness }) => {
    const held = proxy.hold('answer', (bytes) => bytes.includes('end_activity'));
    return { ...atStatement(held), isReached: async () => held.isReached() && (await witness.isCommitted()) };
  },
};

/** Holds the statement that begins the first attempt of a step. */
export function beforeStep({ proxy, step: { name } }: Pick<AgentContext, 'proxy' | 'step'>): Barrier {
  // A value has its length before it.
  const value = String.fromCharCode(0, 0, 0, name.length) + name;
  return atStatement(
    proxy.hold('request', (bytes) => bytes.includes('begin_operation') && bytes.includes(value)),
  );
}

/** Holds the request that brings a tool's result; it is reached when that result is in the store. */
export function holdWithStoredResult({
  model,
  step,
  witness,
}: Omit<AgentContext, 'proxy' | 'workspace'>): Barrier {
  const held = model.holdNext((request) => isTurn(request, step.name) && ownToolResults(request).length > 0);
  return {
    ...atModel(held),
    isReached: async () => {
      const [request] = held.hits;
      return (
        request?.sessionId !== undefined &&
        (await witness.hasStored(request.sessionId, ownToolResults(request)))
      );
    },
  };
}

function isNthTurn(
  model: OfflineModel,
  request: OfflineRequest,
  { name, kind }: AgentStepDefinition,
): boolean {
  const turns = model.requests.filter((candidate) => isTurn(candidate, name)).length;
  return isTurn(request, name) && turns === (kind === 'compaction' ? 1 : 2);
}

function isCommit(bytes: string): boolean {
  return bytes.includes('commit_operation');
}

/** The ids of the tool calls that the last message of a request answers. */
function ownToolResults(request: OfflineRequest): string[] {
  const { messages } = parseMessagesRequest(request.bodyText);
  const last = messages.findLast(({ role }) => role === 'user');
  return blocksOf(last?.content).flatMap((block) =>
    block.type === 'tool_result' && typeof block.tool_use_id === 'string' ? [block.tool_use_id] : [],
  );
}

function readerOf(step: AgentStepDefinition, pipe: string) {
  return 'allowedTools' in step && step.allowedTools.includes('Bash')
    ? { name: 'Bash', input: { command: `cat ${pipe}`, description: 'Read the pipe' } }
    : { name: 'Read', input: { file_path: pipe } };
}

function atModel(handle: InjectionHandle): Barrier {
  let reached = false;
  void handle.reached.then(() => (reached = true));
  return { place: 'model', isReached: () => reached, release: () => handle.remove() };
}

function atStatement(held: HeldStatement): Barrier {
  return { place: 'database', isReached: () => held.isReached(), release: () => held.release() };
}

/** A pipe can be opened for writing, without waiting, once it has a reader; closed again, the reader comes to its end. */
function atPipe(pipe: string): Barrier {
  let writer: number | undefined;
  return {
    place: 'tool',
    isReached() {
      try {
        writer ??= openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK);
        return true;
      } catch {
        return false;
      }
    },
    release() {
      if (writer === undefined) return;
      // It is read once only.
      rmSync(pipe, { force: true });
      try {
        writeSync(writer, 'x\n');
      } catch {
        // Its reader is dead.
      }
      closeSync(writer);
      writer = undefined;
    },
  };
}
