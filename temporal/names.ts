import type { ChainPolicy } from '../contracts/chain.js';
import type { ChainKey, ProjectId } from '../contracts/ids.js';
import type { ChatPolicy } from '../contracts/question.js';

/** The names of things in Temporal. Pure: workflows import it, too. */

/** The workflow types. */
export const workflowTypes = {
  chain: 'chain',
  chat: 'chat',
  chainEnd: 'chainEnd',
  retention: 'retention',
  restore: 'restore',
  erase: 'erase',
} as const;

/** The queries of a chain. */
export const queries = { chainState: 'chainState', sessionNow: 'sessionNow' } as const;

/** The update of a chat. */
export const updates = { ask: 'ask' } as const;

export const signals = {
  /** To a queued chain: the project may be free. It has no payload. */
  projectFree: 'projectFree',
  /** From a chat to a running chain. */
  requestSession: 'requestSession',
  /** From a chain to the chat that asked. */
  sessionAnswer: 'sessionAnswer',
} as const;

/** The workflow id of a chain. The three parts cannot hold a slash, so the id reads back unambiguously. */
export function chainWorkflowId({ projectId, versionId, buildId }: ChainKey): string {
  return `chain/${projectId}/${versionId}/${buildId}`;
}

/** The chain that a workflow id names; null for any other id. */
export function chainKeyOf(workflowId: string): ChainKey | null {
  const [kind, projectId, versionId, buildId, ...more] = workflowId.split('/');
  if (kind !== 'chain' || !projectId || !versionId || !buildId || more.length > 0) return null;
  return { projectId, versionId, buildId } as ChainKey;
}

/** The ids that the id of a workflow names, whatever kind it is of. */
export function idsIn(workflowId: string): {
  projectId?: string;
  versionId?: string;
  buildId?: string;
  chatId?: string;
} {
  const [kind, projectId = '', second = '', buildId = ''] = workflowId.split('/');
  switch (kind) {
    case 'chain':
    case 'end':
      return { projectId, versionId: second, buildId };
    case 'chat':
      return { projectId, chatId: second };
    case 'restore':
      return { projectId };
    default:
      return {};
  }
}

/** The workflow id of a chat. */
export function chatWorkflowId({ projectId, chatId }: { projectId: ProjectId; chatId: string }): string {
  return `chat/${projectId}/${chatId}`;
}

/** The workflow id of the delivery of an end of a chain. */
export function endWorkflowId({ projectId, versionId, buildId }: ChainKey, key: string): string {
  return `end/${projectId}/${versionId}/${buildId}/${key}`;
}

/** The id of the schedule of retention on a task queue; its runs, and those that are asked for, have it as a prefix. */
export function retentionId(taskQueue: string): string {
  return `retention/${taskQueue}`;
}

/** The workflow id of a restoration; one at a time for each project. */
export function restoreWorkflowId(projectId: ProjectId): string {
  return `restore/${projectId}`;
}

/** The workflow id of an erasure; its history names the project and holds nothing else of it. */
export function eraseWorkflowId(erasureId: string): string {
  return `erase/${erasureId}`;
}

/** The prefixes of the ids of every workflow that works for a project. */
export function workflowPrefixesOf(projectId: ProjectId): string[] {
  return ['chain', 'chat', 'end', 'restore'].map((kind) => `${kind}/${projectId}`);
}

/** The task queues that share one configured name. */
export interface TaskQueueNames {
  /** The queues of the chains and their agents. */
  chains: ChainPolicy['taskQueues'];
  /** The queues of the chats. */
  chats: ChatPolicy['taskQueues'];
}

export function taskQueuesOf(name: string): TaskQueueNames {
  return {
    chains: { chains: name, agents: `${name}-agents` },
    chats: { chats: `${name}-chats`, chains: name },
  };
}

/** The queues that one worker alone polls, for tasks whose process it keeps; `worker` names it uniquely. */
export function ownTaskQueuesOf(name: string, worker: string): { agents: string; chats: string } {
  const { chains, chats } = taskQueuesOf(name);
  return { agents: `${chains.agents}-${worker}`, chats: `${chats.chats}-${worker}` };
}
