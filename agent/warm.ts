import { lstatSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type ChainDefinition, isAgentStep } from '../definition/definition.js';
import { stepTask } from './kinds/kinds.js';
import type { Line } from './line.js';
import type { AgentRequest, Run } from './run.js';
import type { Sandbox } from './sandbox/sandbox.js';

/** Which tasks may follow each other in one process. */

/** The tools that any task of a process may use, which Claude Code is told once: a question's own, or those of all steps. */
export function toolsOfProcess({ dependencies: { definition }, request: { task } }: Run): readonly string[] {
  if (task.kind === 'question') return task.allowedTools;
  const ofSteps = definition.steps.filter(isAgentStep).flatMap((step) => stepTask(step).allowedTools);
  return [...new Set([...ofSteps, ...task.allowedTools])].sort();
}

/** What the tasks of one process have in common: all that it was started with, and has read since. */
export async function keyOf(run: Run, binary: string, allowedTools: readonly string[]): Promise<string> {
  const { request, context, claudeMd } = run;
  const { task, workspace, model, mode, instructionKind, killGraceMs } = request;
  const [folder, file] = await Promise.all([stat(workspace), stat(binary)]);
  // A mount of its own in the sandbox.
  const marker = lstatSync(join(workspace, '.session-chain'), { throwIfNoEntry: false });
  return JSON.stringify([
    ...[workspace, folder.dev, folder.ino, marker?.ino],
    ...[binary, file.ino, file.size, file.mtimeMs],
    // Told another model, it asks that for a word, and puts the change into the conversation.
    ...[task.kind === 'question', allowedTools, model, mode, instructionKind, killGraceMs],
    ...[claudeMd.digest, context.onText !== undefined],
  ]);
}

/** Whether a process goes on with a task as a new one would. */
export function fits(
  line: Pick<Line, 'key' | 'maxTurns' | 'costLeftUsd'>,
  key: string,
  request: Pick<AgentRequest, 'maxTurns' | 'maxCostUsd' | 'store' | 'earlierEntries'>,
): boolean {
  const { maxTurns, maxCostUsd = Infinity, store, earlierEntries } = request;
  const { costLeftUsd = Infinity } = line;
  return (
    line.key === key &&
    // The process has nothing but the session that it holds.
    earlierEntries === undefined &&
    store.appendToCopy !== undefined &&
    // It ends by itself at the limits that it was started with; fewer turns are counted here.
    maxTurns <= line.maxTurns &&
    (costLeftUsd === maxCostUsd || Math.abs(costLeftUsd - maxCostUsd) < billionth)
  );
}

/** Of a dollar: what sums of costs differ by when they are added in another order. */
const billionth = 1e-9;

/**
 * Whether what a task started can be kept from the next: in a process namespace everything can be found and ended, and the
 * sandbox keeps it from changing the agent itself. Servers that the agent has started would be ended, too.
 */
export function canBeFenced(
  { hasStartedProcesses }: Pick<Line, 'hasStartedProcesses'>,
  { mcpServers }: Pick<ChainDefinition, 'mcpServers'>,
  { hold, kind, hasFilter }: Pick<Sandbox, 'hold' | 'kind' | 'hasFilter'>,
): boolean {
  const startsServers = Object.values(mcpServers).some(
    (server) => typeof server !== 'function' && 'command' in server,
  );
  return hold === 'namespace' && !startsServers && ((kind === 'bwrap' && hasFilter) || !hasStartedProcesses);
}
