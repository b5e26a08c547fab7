import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { judgeEvidence } from '../../agent/evidence.js';
import { metadataSchema } from '../../definition/metadata-schema.js';
import { ownEntries } from '../../transcript/entries.js';
import type { ChainKey, SessionId } from '../../contracts/ids.js';
import type { StepName } from '../../contracts/steps.js';
import { parseMessagesRequest } from '../../dev/offline-model/messages.js';
import type { OfflineRequest } from '../../dev/offline-model/request-log.js';
import type { OfflineModel } from '../../dev/offline-model/server.js';
import type { Pool } from '../../storage/db/pool.js';
import { createTranscriptStore } from '../../storage/transcripts/store.js';

/** Looks at a step from outside: at the database directly, past the proxy, at the files and at what the model was asked. */
export interface Witness {
  /** Whether results of all these tool calls are in the session's transcript. */
  hasStored(sessionId: string, toolUseIds: string[]): Promise<boolean>;
  /** Whether the newest attempt's transcript proves that its step is done. */
  isFinished(): Promise<boolean>;
  isCommitted(): Promise<boolean>;
  attempts(): Promise<AttemptSeen[]>;
  /**
   * All that a stray write could change: heads, transitions, journal, files, transcripts but for one that is being written.
   * Not the ledger: what an attempt spent after it was given up is for its own worker to say.
   */
  snapshot(except: string | undefined): Promise<unknown>;
  /** What is wrong with lineage, journal and files after the chain has ended; nothing when all is well. */
  problems(): Promise<string[]>;
  /** Model turns of the step by what became of them. */
  turns(): Promise<{ paidTwice: number; lost: number }>;
}

export interface AttemptSeen {
  attempt: number;
  state: string;
  /** Whether its session takes no more entries. */
  sealed: boolean;
  sessionId: SessionId;
  baseSessionId: SessionId | null;
  adopts: SessionId | null;
}

export interface Witnessed extends ChainKey {
  pool: Pool;
  model: OfflineModel;
  step: StepName;
  workspace: string;
}

export function createWitness({ pool, model, step, workspace, ...key }: Witnessed): Witness {
  const store = createTranscriptStore({ pool, projectId: key.projectId });
  const load = async (sessionId: string) => (await store.load({ projectKey: '', sessionId })) ?? [];

  async function attempts(): Promise<AttemptSeen[]> {
    const { rows } = await pool.query<AttemptSeen>(
      `SELECT attempt, state, s.sealed_at IS NOT NULL AS sealed, session_id AS "sessionId", base_session_id AS "baseSessionId", adopts
       FROM session_chain.attempts JOIN session_chain.sessions s USING (project_id, session_id) WHERE project_id = $1 AND build_id = $2 AND step = $3 ORDER BY attempt`,
      [key.projectId, key.buildId, step],
    );
    return rows;
  }

  /** What the attempts added to the base, including what they inherited from each other. */
  async function ownOf({ sessionId, baseSessionId }: AttemptSeen): Promise<SessionStoreEntry[]> {
    return ownEntries(await load(sessionId), baseSessionId ? await load(baseSessionId) : []);
  }

  async function isFinished(): Promise<boolean> {
    const newest = (await attempts()).at(-1);
    return (
      newest !== undefined && judgeEvidence(step, await ownOf(newest), metadataSchema).kind === 'finished'
    );
  }

  async function turns() {
    const tried = await Promise.all(
      (await attempts()).map(async (attempt) => {
        const own = await ownOf(attempt);
        return {
          ...attempt,
          turns: turnsIn(own),
          finished: judgeEvidence(step, own, metadataSchema).kind === 'finished',
        };
      }),
    );
    const answered = model.requests.filter(
      (request) =>
        isTurn(request, step) &&
        request.response?.status === 200 &&
        tried.some(({ sessionId }) => sessionId === request.sessionId),
    );
    const paidTwice = answered.filter(({ sessionId, bodyText }) => {
      const asking = tried.find((attempt) => attempt.sessionId === sessionId);
      const earlier = tried.filter(({ attempt }) => attempt < (asking?.attempt ?? 0));
      return earlier.some(
        (attempt) =>
          attempt.finished ||
          attempt.turns.some((turn) => turn.marks.some((mark) => !bodyText.includes(mark))),
      );
    }).length;
    const stored = new Set(tried.flatMap((attempt) => attempt.turns.map(({ messageId }) => messageId)));
    const lost =
      step === 'compact'
        ? answered.length - tried.filter(({ finished }) => finished).length
        : answered.filter(({ response }) => !stored.has(response?.messageId ?? '')).length;
    return { paidTwice, lost };
  }

  async function snapshot(except: string | undefined) {
    const { rows } = await pool.query(
      `SELECT (SELECT json_agg(p) FROM projects p) AS projects, (SELECT json_agg(v ORDER BY id) FROM project_versions v) AS versions,
         (SELECT json_agg(t ORDER BY id) FROM session_transitions t) AS transitions,
         (SELECT json_agg(s ORDER BY id) FROM session_chain.sessions s WHERE session_id <> $1) AS sessions,
         (SELECT json_agg(to_jsonb(a) - 'seen_at' ORDER BY id) FROM session_chain.attempts a) AS attempts`,
      [except ?? ''],
    );
    return { database: rows[0] as unknown, files: filesIn(workspace) };
  }

  async function problems(): Promise<string[]> {
    const { rows: transitions } = await pool.query<{
      seq: number;
      old: string | null;
      new: string;
      step: string;
    }>(
      `SELECT seq, old_session_id AS old, new_session_id AS new, step FROM session_transitions
       WHERE project_id = $1 ORDER BY seq`,
      [key.projectId],
    );
    const { rows: heads } = await pool.query<{
      head: string;
      seq: number;
      version: string;
      metadata: unknown;
    }>(
      `SELECT p.last_ai_session_id AS head, p.session_seq AS seq, v.ai_session_id AS version, v.ai_metadata AS metadata
       FROM projects p JOIN project_versions v USING (project_id) WHERE v.version_id = $1`,
      [key.versionId],
    );
    const [head] = heads;
    const last = transitions.at(-1);
    const tried = await attempts();
    const committed = tried.filter(({ state }) => state === 'committed');
    const winner = committed[0];
    const files = new Set(filesIn(workspace).map(([path]) => path));
    const wanted = {
      build: ['index.html', 'style.css', 'app.js'],
      metadata: [],
      docs: ['README.md'],
      compact: [],
    }[step];
    const says = (isWell: boolean, problem: string) => (isWell ? [] : [problem]);
    return [
      ...transitions.flatMap((transition, index) =>
        says(
          transition.seq === index + 1 && transition.old === (transitions[index - 1]?.new ?? null),
          `The lineage breaks at transition ${transition.seq}.`,
        ),
      ),
      ...says(
        transitions.filter((transition) => transition.step === step).length === 1,
        'Not one transition for the step.',
      ),
      ...says(head?.head === last?.new && head?.seq === last?.seq, 'The head is not the last transition.'),
      ...says(head?.version === last?.new, "The version's session is not the head."),
      ...says(committed.length === 1 && tried.at(-1) === winner, 'Not one committed attempt, the last one.'),
      ...says(
        tried.every(({ sealed }) => sealed),
        'A session of the step is not sealed.',
      ),
      ...says(
        last?.new === (winner?.adopts ?? winner?.sessionId),
        'The head is not what the attempt committed.',
      ),
      ...says(
        winner !== undefined &&
          judgeEvidence(
            step,
            await ownOf({ ...winner, sessionId: winner.adopts ?? winner.sessionId }),
            metadataSchema,
          ).kind === 'finished',
        'The transcript of the head does not prove that the step is done.',
      ),
      ...says(step !== 'metadata' || (head?.metadata ?? null) !== null, 'The version has no metadata.'),
      ...wanted.flatMap((path) => says(files.has(path), `${path} is missing.`)),
    ];
  }

  return {
    attempts,
    isFinished,
    snapshot,
    problems,
    turns,
    async hasStored(sessionId, toolUseIds) {
      const text = JSON.stringify((await load(sessionId)).filter(({ type }) => type === 'user'));
      return toolUseIds.every((id) => text.includes(`"tool_use_id":"${id}"`));
    },
    async isCommitted() {
      return (await attempts()).some(({ state }) => state === 'committed');
    },
  };
}

/** A request for a turn of the step, and none of the agent's side questions. */
export function isTurn(request: OfflineRequest, step: StepName): boolean {
  return (
    request.step === step &&
    (step === 'compact' || (parseMessagesRequest(request.bodyText).tools ?? []).length > 0)
  );
}

interface StoredTurn {
  messageId: string;
  /** What a request must hold that goes on after the turn. */
  marks: string[];
}

/** The model's turns in these entries that are stored to their end. */
function turnsIn(own: SessionStoreEntry[]): StoredTurn[] {
  const turns = new Map<string, StoredTurn>();
  for (const { type, message } of own) {
    const { id, model, stop_reason, content } = (message ?? {}) as {
      id?: string;
      model?: string;
      stop_reason?: string | null;
      content?: { type: string; id?: string; text?: string }[];
    };
    if (type !== 'assistant' || id === undefined || model === '<synthetic>' || !stop_reason) continue;
    const marks = (content ?? []).flatMap((block) =>
      block.type === 'tool_use' && block.id !== undefined
        ? [`"${block.id}"`]
        : block.text
          ? [JSON.stringify(block.text).slice(1, -1)]
          : [],
    );
    turns.set(id, { messageId: id, marks: [...(turns.get(id)?.marks ?? []), ...marks] });
  }
  return [...turns.values()];
}

function filesIn(folder: string): [path: string, digest: string][] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => statSync(join(folder, path)).isFile())
    .sort()
    .map((path) => [
      path,
      createHash('sha256')
        .update(readFileSync(join(folder, path)))
        .digest('hex'),
    ]);
}
