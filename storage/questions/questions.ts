import type { ChatTurn, ChatTurnKind, ReadTarget, SessionMoment } from '../../contracts/chat.js';
import { turnBuildId } from '../../contracts/chat.js';
import { type Failure, SessionChainError } from '../../contracts/failures.js';
import type { AttemptId, ProjectId, SessionId } from '../../contracts/ids.js';
import { type AttemptMetrics, metricColumns, metricParameters, metricValues } from '../ledger/metrics.js';
import { type Pool, queryOne, queryRows } from '../db/pool.js';

export interface Question {
  projectId: ProjectId;
  chatId: string;
  /** The caller's key of this question within the chat. */
  messageId: string;
  question: string;
  when: SessionMoment;
  /** Absolute path of the project's files; absent keeps what the chat knows. */
  workspace?: string;
}

/**
 * Stores a question before anything is started for it, and returns its turn. A message that is known already is the same
 * turn; one whose turn failed is asked anew. Makes the chat's row where it is missing. Throws PROJECT_NOT_FOUND,
 * MESSAGE_ID_REUSED for a message id with other words, INVALID_INPUT for a chat of another project.
 */
export async function recordQuestion(pool: Pool, question: Question): Promise<ChatTurn> {
  const { projectId, chatId, messageId, when, workspace } = question;
  const { outcome, turnId } = await queryOne<{
    outcome: 'recorded' | 'other_words' | 'chat_of_another_project' | 'malformed_chat' | 'project_not_found';
    turnId: string;
  }>(pool, {
    name: 'record_question',
    text: `SELECT outcome, turn_id::text AS "turnId" FROM session_chain.record_question($1, $2, $3, $4, $5, $6)`,
    values: [projectId, chatId, messageId, question.question, when, workspace ?? null],
  });
  switch (outcome) {
    case 'recorded':
      return await requireTurn(pool, turnId);
    case 'other_words':
      throw new SessionChainError(
        'MESSAGE_ID_REUSED',
        `The message ${messageId} of the chat ${chatId} was asked before, with other words.`,
      );
    case 'chat_of_another_project':
      throw new SessionChainError('INVALID_INPUT', `The chat ${chatId} belongs to another project.`);
    case 'malformed_chat':
      throw new SessionChainError(
        'INVALID_INPUT',
        `The chat id ${chatId} does not fit the type of chat_plan_sessions.session_id.`,
      );
    case 'project_not_found':
      throw new SessionChainError(
        'PROJECT_NOT_FOUND',
        `The project ${projectId} is not in the table projects.`,
      );
  }
}

const turnColumns = `turn_id::text AS "turnId", project_id::text AS "projectId", session_id::text AS "chatId",
  message_id AS "messageId", question, reply, state, kind, read_when AS "when", head_session_id AS "headSessionId",
  ai_session_id::text AS "sessionId", failure, asked_at AS "askedAt", answered_at AS "answeredAt"`;

/** The turn, or null where its row is gone. */
export async function readTurn(pool: Pool, turnId: string): Promise<ChatTurn | null> {
  const [turn] = await queryRows<ChatTurn>(pool, {
    name: 'read_turn',
    text: `SELECT ${turnColumns} FROM project_chat_log_minimal WHERE turn_id = $1`,
    values: [turnId],
  });
  return turn ?? null;
}

/** As {@link readTurn}, for whoever was told that the turn is there. Throws INVALID_INPUT. */
export async function requireTurn(pool: Pool, turnId: string): Promise<ChatTurn> {
  const turn = await readTurn(pool, turnId);
  if (turn) return turn;
  throw new SessionChainError('INVALID_INPUT', `The turn ${turnId} is not in project_chat_log_minimal.`);
}

/** The turns of a chat, the oldest first; of many the newest `limit`. Throws CHAT_NOT_FOUND. */
export async function listTurns(
  pool: Pool,
  projectId: ProjectId,
  chatId: string,
  limit: number,
): Promise<ChatTurn[]> {
  const turns = await queryRows<ChatTurn>(pool, {
    name: 'list_turns',
    text: `SELECT ${turnColumns} FROM project_chat_log_minimal
           WHERE session_id = session_chain.chat_log_key($1) AND project_id = session_chain.chat_log_project_key($2)
             AND turn_id IS NOT NULL ORDER BY turn_id DESC LIMIT $3`,
    values: [chatId, projectId, limit],
  });
  if (turns.length > 0) return turns.reverse();
  throw new SessionChainError(
    'CHAT_NOT_FOUND',
    `Nothing was asked in the chat ${chatId} of the project ${projectId}.`,
  );
}

/** The chain that holds a project, with its newest attempt; null while none does. */
export async function readHolder(pool: Pool, projectId: ProjectId): Promise<ReadTarget | null> {
  const [holder] = await queryRows<ReadTarget>(pool, {
    name: 'read_holder',
    text: `SELECT c.workflow_id AS "workflowId", (
             SELECT a.id::text FROM session_chain.attempts a
             WHERE a.project_id = c.project_id AND a.version_id = c.version_id AND a.build_id = c.build_id
             ORDER BY a.id DESC LIMIT 1) AS "attemptId"
           FROM session_chain.chains c WHERE c.project_id = $1 AND c.status IN ('running', 'waiting')`,
    values: [projectId],
  });
  return holder ?? null;
}

/** Whether the chain of a target still runs the step in which the target's attempt was one. */
export async function isStepRunning(
  pool: Pool,
  projectId: ProjectId,
  { workflowId, attemptId }: ReadTarget,
): Promise<boolean> {
  const running = await queryRows(pool, {
    name: 'is_step_running',
    text: `SELECT FROM session_chain.chains c
           JOIN session_chain.attempts t ON t.id = $3 AND t.project_id = c.project_id
           WHERE c.project_id = $1 AND c.workflow_id = $2 AND c.status IN ('running', 'waiting') AND NOT EXISTS (
             SELECT FROM session_chain.attempts a
             WHERE a.project_id = c.project_id AND a.version_id = c.version_id AND a.build_id = c.build_id
               AND ((a.step = t.step AND a.state = 'committed') OR (a.step <> t.step AND a.id > t.id)))`,
    values: [projectId, workflowId, attemptId],
  });
  return running.length > 0;
}

/** The folder of the project's files as a chat sees it; null where neither the chat nor a chain named one. */
export async function chatWorkspace(
  pool: Pool,
  projectId: ProjectId,
  chatId: string,
): Promise<string | null> {
  const [row] = await queryRows<{ workspace: string | null }>(pool, {
    name: 'chat_workspace',
    text: `SELECT coalesce(
             (SELECT c.workspace FROM chat_plan_sessions c WHERE c.session_id = session_chain.chat_key($2) LIMIT 1),
             (SELECT c.workspace FROM session_chain.chains c WHERE c.project_id = $1 ORDER BY c.id DESC LIMIT 1)) AS workspace`,
    values: [projectId, chatId],
  });
  return row?.workspace ?? null;
}

/** What came before a turn in its chat. */
export interface ChatPast {
  /** The turn before, where it is a side branch: its session may be gone on from while its head is the project's. */
  branch: { sessionId: SessionId; headSessionId: SessionId | null } | null;
  /** Side branches that the main line does not know, the oldest first. */
  unknownToHead: { question: string; reply: string }[];
}

/** The answered turns of a chat before this one, as far as the head's session does not hold them. */
export async function readPast(
  pool: Pool,
  { projectId, chatId, turnId }: Pick<ChatTurn, 'projectId' | 'chatId' | 'turnId'>,
): Promise<ChatPast> {
  // A turn that moved the head was told of everything before it.
  const rows = await queryRows<
    Pick<ChatTurn, 'question' | 'headSessionId'> & { reply: string; sessionId: SessionId; isUsable: boolean }
  >(pool, {
    name: 'read_chat_past',
    text: `SELECT question, reply, head_session_id AS "headSessionId", ai_session_id::text AS "sessionId",
             session_chain.session_is_usable(project_id::text, ai_session_id::text) AS "isUsable"
           FROM project_chat_log_minimal t
           WHERE session_id = $1 AND project_id = $2 AND kind = 'side_branch' AND turn_id < $3 AND turn_id > coalesce((
             SELECT max(turn_id) FROM project_chat_log_minimal
             WHERE session_id = $1 AND project_id = $2 AND kind = 'transition' AND turn_id < $3), 0)
           ORDER BY turn_id DESC LIMIT 20`,
    values: [chatId, projectId, turnId],
  });
  const [last] = rows;
  return {
    branch: last?.isUsable ? { sessionId: last.sessionId, headSessionId: last.headSessionId } : null,
    unknownToHead: rows.reverse(),
  };
}

/** Marks that a turn is worked on; `headSessionId` is the project's head as it found it. An answered one stays. */
export async function startTurn(pool: Pool, turnId: string, headSessionId: SessionId | null): Promise<void> {
  await queryRows(pool, {
    name: 'start_turn',
    text: `UPDATE project_chat_log_minimal SET state = 'running', failure = NULL, head_session_id = $2
           WHERE turn_id = $1 AND state <> 'answered'`,
    values: [turnId, headSessionId],
  });
}

/** An earlier try of a turn that was asked the same, whatever it forked; sealed by now. */
export interface EarlierTry {
  sessionId: SessionId;
  baseSessionId: SessionId | null;
}

/** Earlier tries of a turn, the newest first. Unlike those of a step they count on any base: a reply is a reply. */
export async function earlierTries(
  pool: Pool,
  move: { projectId: ProjectId; attemptId: AttemptId; buildId: string },
): Promise<EarlierTry[]> {
  return await queryRows<EarlierTry>(pool, {
    name: 'earlier_tries',
    text: `SELECT a.session_id AS "sessionId", a.base_session_id AS "baseSessionId"
           FROM session_chain.attempts own
           JOIN session_chain.attempts a ON a.project_id = own.project_id AND a.build_id = own.build_id
             AND a.step = own.step AND a.input_digest = own.input_digest AND a.id < own.id
           WHERE own.id = $1 AND session_chain.session_is_usable(a.project_id, a.session_id)
           ORDER BY a.id DESC`,
    values: [move.attemptId],
  });
}

export interface Answer {
  turnId: string;
  kind: ChatTurnKind;
  sessionId: SessionId;
  reply: string;
}

/** Writes the reply of a turn whose session is committed. The first answer stays. */
export async function answerTurn(pool: Pool, answer: Answer): Promise<void> {
  await queryRows(pool, {
    name: 'answer_turn',
    text: `UPDATE project_chat_log_minimal SET ${answerColumns}
           WHERE turn_id = $1 AND state <> 'answered'`,
    values: [answer.turnId, answer.sessionId, answer.reply, answer.kind],
  });
}

const answerColumns = `state = 'answered', failure = NULL, ai_session_id = $2, reply = $3, kind = $4, answered_at = clock_timestamp()`;

/**
 * Ends a turn that cannot move the head: journal, seal, metrics and reply change in one statement or not at all. Throws
 * FENCED when another attempt of the turn has taken over.
 */
export async function commitSideBranch(
  pool: Pool,
  move: { attemptId: AttemptId },
  answer: Omit<Answer, 'kind'>,
  metrics: AttemptMetrics,
): Promise<void> {
  const result = { outcome: 'side_branch', newSessionId: answer.sessionId };
  const committed = await queryRows(pool, {
    name: 'commit_side_branch',
    text: `
      WITH journal AS (
        UPDATE session_chain.attempts a SET state = 'committed', ended_at = clock_timestamp(), result = $5::jsonb
        WHERE a.id = $6 AND a.state = 'running' AND $7 IN (a.session_id, a.adopts)
          AND session_chain.session_is_usable(a.project_id, $7)
        RETURNING a.*
      ), seal AS (
        UPDATE session_chain.sessions s SET sealed_at = clock_timestamp()
        FROM journal j WHERE s.project_id = j.project_id AND s.session_id IN ($7, j.session_id) AND s.sealed_at IS NULL
      ), metrics AS (
        INSERT INTO project_ai_session_metrics (session_id, project_id, version_id, build_id, step, attempt_id, outcome,
          ${metricColumns})
        SELECT session_id, session_chain.project_key(project_id), session_chain.version_key(version_id), build_id, step, id,
          CASE WHEN $7 = session_id THEN 'committed' ELSE 'adopted' END, ${metricParameters(8)}
        FROM journal
      ), answered AS (
        UPDATE project_chat_log_minimal t SET ${answerColumns}
        FROM journal j WHERE t.turn_id = $1 AND t.state <> 'answered'
      )
      SELECT id FROM journal`,
    values: [
      answer.turnId,
      answer.sessionId,
      answer.reply,
      'side_branch' satisfies ChatTurnKind,
      JSON.stringify(result),
      move.attemptId,
      answer.sessionId,
      ...metricValues(metrics),
    ],
  });
  if (committed.length > 0) return;
  throw new SessionChainError(
    'FENCED',
    `The attempt ${move.attemptId} of ${turnBuildId(answer.turnId)} is no longer the one that works on it.`,
  );
}

/** Records that a turn has failed; an answered one stays answered. */
export async function failTurn(pool: Pool, turnId: string, failure: Failure): Promise<void> {
  await queryRows(pool, {
    name: 'fail_turn',
    text: `UPDATE project_chat_log_minimal SET state = 'failed', failure = $2 WHERE turn_id = $1 AND state <> 'answered'`,
    values: [turnId, JSON.stringify(failure)],
  });
}

/** A turn beside the main line, for those who work on it next. */
export interface SideBranch {
  chatId: string;
  messageId: string;
  sessionId: SessionId;
  question: string;
  reply: string;
  answeredAt: Date;
}

/**
 * The side branches that no build was told of, the oldest first: answered since the chain of the last committed build was
 * opened, and before `before` (a chain passes when it was opened itself, so that every attempt is told the same).
 */
export async function listSideBranches(
  pool: Pool,
  projectId: ProjectId,
  { before, limit = 20 }: { before?: Date; limit?: number } = {},
): Promise<SideBranch[]> {
  const newestFirst = await queryRows<SideBranch>(pool, {
    name: 'list_side_branches',
    text: `SELECT session_id::text AS "chatId", message_id AS "messageId", ai_session_id::text AS "sessionId", question,
             reply, answered_at AS "answeredAt"
           FROM project_chat_log_minimal t
           WHERE project_id = session_chain.chat_log_project_key($1) AND kind = 'side_branch' AND answered_at <= coalesce($2, clock_timestamp())
             -- A later turn of the same chat that moved the head was told of it.
             AND NOT EXISTS (SELECT FROM project_chat_log_minimal l
               WHERE l.session_id = t.session_id AND l.project_id = t.project_id AND l.kind = 'transition' AND l.turn_id > t.turn_id)
             AND answered_at > coalesce((
               SELECT c.opened_at FROM session_chain.attempts a
               JOIN session_chain.chains c ON c.project_id = a.project_id AND c.version_id = a.version_id
                 AND c.build_id = a.build_id
               WHERE a.project_id = $1 AND a.step = 'build' AND a.state = 'committed'
                 AND c.opened_at < coalesce($2, clock_timestamp())
               ORDER BY a.id DESC LIMIT 1), '-infinity')
           ORDER BY answered_at DESC LIMIT $3`,
    values: [projectId, before ?? null, limit],
  });
  return newestFirst.reverse();
}
