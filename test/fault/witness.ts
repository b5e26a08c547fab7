import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { kinds, stepTask } from '../../agent/kinds/kinds.js';
import type { ChainKey, SessionId } from '../../contracts/ids.js';
import type { StepName } from '../../contracts/steps.js';
import type { ActivityStep, AgentStepDefinition } from '../../definition/definition.js';
import { parseMessagesRequest } from '../../dev/offline-model/messages.js';
import type { OfflineRequest } from '../../dev/offline-model/request-log.js';
import type { OfflineModel } from '../../dev/offline-model/server.js';
import type { Pool } from '../../storage/db/pool.js';
import { createTranscriptStore } from '../../storage/transcripts/store.js';
import { ownEntries } from '../../transcript/entries.js';
import { stepNames } from './definition.js';
import type { HostCall } from './host.js';

/** Looks at a step from outside: at the database directly, past the proxy, at the files and at what the model was asked. */
export interface Witness {
  isCommitted(): Promise<boolean>;
  /** The attempts of the step; none of one that is an activity of the host. */
  attempts(): Promise<AttemptSeen[]>;
  /**
   * All that a stray write could change: heads, transitions, journal, files, transcripts but for one that is being written.
   * Not the ledger: what an attempt spent after it was given up is for its own worker to say.
   */
  snapshot(except: string | undefined): Promise<unknown>;
  /** What is wrong with lineage, journal and files after the chain has ended; nothing when all is well. */
  problems(): Promise<string[]>;
  /** Model turns of the step, or calls of the host, by what became of them. */
  turns(): Promise<{ paidTwice: number; lost: number }>;
}

export interface AgentWitness extends Witness {
  /** Whether results of all these tool calls are in the session's transcript. */
  hasStored(sessionId: string, toolUseIds: string[]): Promise<boolean>;
  /** Whether the newest attempt's transcript proves that its step is done. */
  isFinished(): Promise<boolean>;
}

export interface AttemptSeen {
  attempt: number;
  state: string;
  /** Whether its session takes no more entries. */
  sealed: boolean;
  sessionId: SessionId;
  baseSessionId: SessionId | null;
  adopts: SessionId | null;
  /** What a submission handed in. */
  value: unknown;
}

interface Witnessed extends ChainKey {
  pool: Pool;
  workspace: string;
}

export function createWitness({
  model,
  step,
  ...witnessed
}: Witnessed & { model: OfflineModel; step: AgentStepDefinition }): AgentWitness {
  const { pool, workspace, ...key } = witnessed;
  const task = stepTask(step);
  const store = createTranscriptStore({ pool, projectId: key.projectId });
  const load = async (sessionId: string) => (await store.load({ projectKey: '', sessionId })) ?? [];

  async function attempts(): Promise<AttemptSeen[]> {
    const { rows } = await pool.query<AttemptSeen>(
      `SELECT attempt, state, s.sealed_at IS NOT NULL AS sealed, session_id AS "sessionId", base_session_id AS "baseSessionId", adopts, value
       FROM session_chain.attempts JOIN session_chain.sessions s USING (project_id, session_id) WHERE project_id = $1 AND build_id = $2 AND step = $3 ORDER BY attempt`,
      [key.projectId, key.buildId, step.name],
    );
    return rows;
  }

  /** What the attempts added to the base, including what they inherited from each other. */
  async function ownOf({ sessionId, baseSessionId }: AttemptSeen): Promise<SessionStoreEntry[]> {
    return ownEntries(await load(sessionId), baseSessionId ? await load(baseSessionId) : []);
  }

  const isDone = (own: SessionStoreEntry[]) => kinds[task.kind].evidence(task, own).kind === 'finished';

  async function isFinished(): Promise<boolean> {
    const newest = (await attempts()).at(-1);
    return newest !== undefined && isDone(await ownOf(newest));
  }

  async function turns() {
    const tried = await Promise.all(
      (await attempts()).map(async (attempt) => {
        const own = await ownOf(attempt);
        return { ...attempt, turns: turnsIn(own), finished: isDone(own) };
      }),
    );
    const answered = model.requests.filter(
      (request) =>
        isTurn(request, step.name) &&
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
      step.kind === 'compaction'
        ? answered.length - tried.filter(({ finished }) => finished).length
        : answered.filter(({ response }) => !stored.has(response?.messageId ?? '')).length;
    return { paidTwice, lost };
  }

  async function problems(): Promise<string[]> {
    const { transitions, problems } = await lineageOf(witnessed);
    const moves = transitions.filter((transition) => transition.step === step.name);
    const tried = await attempts();
    const committed = tried.filter(({ state }) => state === 'committed');
    const winner = committed[0];
    return [
      ...problems,
      ...says(moves.length === 1, 'Not one transition for the step.'),
      ...says(committed.length === 1 && tried.at(-1) === winner, 'Not one committed attempt, the last one.'),
      ...says(
        tried.every(({ sealed }) => sealed),
        'A session of the step is not sealed.',
      ),
      ...says(
        moves[0]?.new === (winner?.adopts ?? winner?.sessionId),
        'The head did not become what the attempt committed.',
      ),
      ...says(
        winner !== undefined &&
          isDone(await ownOf({ ...winner, sessionId: winner.adopts ?? winner.sessionId })),
        'The transcript of the head does not prove that the step is done.',
      ),
      ...(step.kind === 'submission' ? await problemsOfValue(step, winner?.value) : []),
      ...(step.kind === 'work' ? missingFiles(step) : []),
    ];
  }

  async function problemsOfValue(
    { column }: Extract<AgentStepDefinition, { kind: 'submission' }>,
    value: unknown,
  ): Promise<string[]> {
    const { rows } = await pool.query<{ same: boolean }>(
      'SELECT to_jsonb(v) -> $2 = $3::jsonb AS same FROM project_versions v WHERE v.version_id = $1',
      [key.versionId, column, JSON.stringify(value)],
    );
    return [
      ...says((value ?? null) !== null, 'The committed attempt has no value.'),
      ...says(column === undefined || rows[0]?.same === true, 'The version has another value.'),
    ];
  }

  function missingFiles({ role, writes = [] }: Extract<AgentStepDefinition, { kind: 'work' }>): string[] {
    const files = new Set(filesIn(workspace).map(([path]) => path));
    const wanted =
      role === 'build' ? ['index.html', 'style.css', 'app.js'] : writes.filter((path) => !path.endsWith('/'));
    return wanted.flatMap((path) => says(files.has(path), `${path} is missing.`));
  }

  return {
    attempts,
    isFinished,
    snapshot: async (except) => await snapshotOf(witnessed, except),
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

/** Of a step that is an activity of the host, whose calls are told by the host itself. */
export function createCallWitness({
  step,
  calls,
  ...witnessed
}: Witnessed & { step: ActivityStep; calls: readonly HostCall[] }): Witness {
  const { pool, buildId, projectId } = witnessed;

  async function read() {
    const { rows } = await pool.query<{
      key: string;
      state: string;
      sessionId: string;
      endedAt: Date | null;
    }>(
      `SELECT a.key, a.state, a.session_id AS "sessionId", a.ended_at AS "endedAt"
       FROM session_chain.activity_steps a JOIN session_chain.chains c ON c.id = a.chain
       WHERE c.project_id = $1 AND c.build_id = $2 AND a.step = $3`,
      [projectId, buildId, step.name],
    );
    return rows;
  }

  return {
    attempts: () => Promise.resolve([]),
    snapshot: async (except) => await snapshotOf(witnessed, except),
    async isCommitted() {
      return (await read()).some(({ state }) => state === 'completed');
    },
    async problems() {
      const { transitions, problems } = await lineageOf(witnessed);
      // Steps that follow it may have moved the head since.
      const following = stepNames.slice(stepNames.findIndex((name) => name === step.name) + 1);
      const head = transitions.findLast((move) => !following.some((name) => name === move.step))?.new;
      const rows = await read();
      const [row] = rows;
      return [
        ...problems,
        ...says(
          transitions.every((transition) => transition.step !== step.name),
          'The step has moved the head.',
        ),
        ...says(rows.length === 1 && row?.state === 'completed', 'The step is not completed once.'),
        ...says(calls.length > 0, 'The host was not called.'),
        ...says(
          calls.every(({ key }) => key === row?.key),
          'The host was called with another key.',
        ),
        ...says(
          [row, ...calls].every((one) => one?.sessionId === head),
          'The host was called with another session than the head.',
        ),
      ];
    },
    /** A call is repeated only as long as its end is not stored. */
    async turns() {
      const endedAt = (await read())[0]?.endedAt?.getTime() ?? Infinity;
      return { paidTwice: calls.filter(({ atMs }) => atMs > endedAt).length, lost: 0 };
    },
  };
}

interface Lineage {
  transitions: { seq: number; old: string; new: string; step: string }[];
  problems: string[];
}

/** Transitions of a project, and what is wrong with them and its head. */
async function lineageOf({ pool, projectId, versionId }: Witnessed): Promise<Lineage> {
  const { rows: transitions } = await pool.query<Lineage['transitions'][number]>(
    `SELECT seq, old_session_id AS old, new_session_id AS new, step FROM session_transitions
     WHERE project_id = $1 ORDER BY seq`,
    [projectId],
  );
  const { rows: heads } = await pool.query<
    Record<'sessionId' | 'version', string | null> & { seq: number | null }
  >(
    `SELECT p.last_ai_session_id AS "sessionId", p.session_seq AS seq, v.ai_session_id AS version
     FROM projects p JOIN project_versions v USING (project_id) WHERE v.version_id = $1`,
    [versionId],
  );
  const [head = { sessionId: null, seq: null, version: null }] = heads;
  const last = transitions.at(-1);
  return {
    transitions,
    problems: [
      ...transitions.flatMap((transition, index) =>
        says(
          transition.seq === index + 1 && transition.old === (transitions[index - 1]?.new ?? null),
          `The lineage breaks at transition ${transition.seq}.`,
        ),
      ),
      ...says(head.sessionId === last?.new && head.seq === last?.seq, 'The head is not the last transition.'),
      ...says(head.version === last?.new, "The version's session is not the head."),
    ],
  };
}

async function snapshotOf({ pool, workspace }: Witnessed, except: string | undefined): Promise<unknown> {
  const { rows } = await pool.query(
    `SELECT (SELECT json_agg(p) FROM projects p) AS projects, (SELECT json_agg(v ORDER BY id) FROM project_versions v) AS versions,
       (SELECT json_agg(t ORDER BY id) FROM session_transitions t) AS transitions,
       (SELECT json_agg(s ORDER BY id) FROM session_chain.sessions s WHERE session_id <> $1) AS sessions,
       (SELECT json_agg(to_jsonb(a) - 'seen_at' ORDER BY id) FROM session_chain.attempts a) AS attempts,
       (SELECT json_agg(a ORDER BY chain, step, round) FROM session_chain.activity_steps a) AS calls`,
    [except ?? ''],
  );
  return { database: rows[0] as unknown, files: filesIn(workspace) };
}

function says(isWell: boolean, problem: string): string[] {
  return isWell ? [] : [problem];
}

/** A request for a turn of the step, and none of the agent's side questions. */
export function isTurn(request: OfflineRequest, step: StepName): boolean {
  return (
    request.step === step &&
    (request.kind === 'compaction' || (parseMessagesRequest(request.bodyText).tools ?? []).length > 0)
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
