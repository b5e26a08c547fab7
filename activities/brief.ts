import { briefOf, lostOperationsNote, rewoundNote, sideBranchesNote } from '../agent/brief.js';
import type { StepInput } from '../contracts/chain.js';
import { SessionChainError } from '../contracts/failures.js';
import type { ProjectId, SessionId } from '../contracts/ids.js';
import { isAtOrigin } from '../contracts/origin.js';
import {
  keepBrief,
  operationsSince,
  readBrief,
  readPast,
  rewoundOperations,
} from '../storage/chains/brief.js';
import type { ChainRow } from '../storage/chains/chains.js';
import { listSideBranches } from '../storage/questions/questions.js';
import { readDocuments } from '../workspace/documents.js';
import type { ActivityDependencies } from './dependencies.js';

/**
 * What a step is told beside its prompt because it cannot remember it: the state of the project where its session is
 * fresh, the operations that are lost where it continues from an ancestor, and for a build the operations that a rewind
 * took back and the questions that were answered beside the main line. Every attempt of the step is told the same.
 */
export async function notesFor(
  deps: Pick<ActivityDependencies, 'pool' | 'createTranscriptStore'>,
  input: StepInput,
  chain: ChainRow,
  baseSessionId: SessionId | null,
  workspace: string,
): Promise<string[]> {
  // A compaction takes no text of ours, and does not need it.
  if (input.plan.kind === 'compaction') return [];
  const { origin } = chain;
  const isFirst = origin !== null && isAtOrigin(origin, input.head);
  const hasGap = isFirst && (origin.kind === 'recovery' || origin.kind === 'context_reset');
  const head = hasGap ? origin.headSessionId : null;
  return [
    ...(head !== null && baseSessionId === null ? [await brief(deps, chain, head, workspace)] : []),
    ...(head !== null && baseSessionId !== null
      ? [lostOperationsNote(await operationsSince(deps.pool, input.projectId, baseSessionId))]
      : []),
    ...(input.plan.role === 'build'
      ? [...(await rewound(deps, chain)), ...(await sideBranches(deps, chain))]
      : []),
  ];
}

async function rewound(
  { pool }: Pick<ActivityDependencies, 'pool'>,
  { projectId }: ChainRow,
): Promise<string[]> {
  const forgotten = await rewoundOperations(pool, projectId);
  return forgotten.count === 0 ? [] : [rewoundNote(forgotten)];
}

async function sideBranches(
  { pool }: Pick<ActivityDependencies, 'pool'>,
  { projectId, openedAt }: ChainRow,
): Promise<string[]> {
  const branches = await listSideBranches(pool, projectId, openedAt ? { before: openedAt } : {});
  return branches.length === 0 ? [] : [sideBranchesNote(branches)];
}

/** Made once for a head, and stored: what an attempt was told, the next one is told again. */
async function brief(
  deps: Pick<ActivityDependencies, 'pool' | 'createTranscriptStore'>,
  { chainId, projectId }: ChainRow,
  headSessionId: SessionId,
  workspace: string,
): Promise<string> {
  const known = await readBrief(deps.pool, chainId, headSessionId);
  if (known) return known.content;
  const [past, entries, documents] = await Promise.all([
    readPast(deps.pool, projectId, chainId),
    transcriptOf(deps, projectId, headSessionId),
    readDocuments(workspace, { maxFiles: 6, maxCharacters: 4_000 }),
  ]);
  const made = briefOf({
    ...past,
    documents,
    memory: entries === null ? null : { sessionId: headSessionId, entries },
  });
  return (await keepBrief(deps.pool, chainId, { ...made, headSessionId })).content;
}

/** Null if it is lost: the rest still helps. */
async function transcriptOf(
  { createTranscriptStore }: Pick<ActivityDependencies, 'createTranscriptStore'>,
  projectId: ProjectId,
  sessionId: SessionId,
) {
  try {
    return await createTranscriptStore(projectId).load({ projectKey: '', sessionId });
  } catch (error) {
    if (error instanceof SessionChainError && error.code === 'SESSION_NOT_IN_STORE') return null;
    throw error;
  }
}
