import { type Failure, SessionChainError } from '../../contracts/failures.js';
import type { ProjectId, SessionId } from '../../contracts/ids.js';
import type { Question, ReadTarget, SessionMoment } from '../../contracts/question.js';
import { type Connection, type Pool, queryOne, queryRows } from '../db/pool.js';
import { projectNotFound } from '../heads/errors.js';
import { jsonbOf } from '../jsonb.js';

export interface NewQuestion {
  projectId: ProjectId;
  chatId: string;
  /** The caller's key of this question within the chat. */
  messageId: string;
  question: string;
  when: SessionMoment;
  /** Its answer must not move the head. Default: false. */
  aside?: boolean;
  /** Absolute path of the project's files; absent keeps what the chat knows. */
  workspace?: string;
  /** How many questions of the project may wait for their answers; absent: any number. */
  maxOpen?: number;
}

/**
 * Stores a question before anything is started for it. A known message is the same question; one that failed is asked
 * again. Creates the chat's row where it is missing. Throws PROJECT_NOT_FOUND, MESSAGE_ID_REUSED for a message id with
 * another text or another `aside`, INVALID_INPUT for a chat of another project, CHAT_BUSY.
 */
export async function recordQuestion(pool: Connection, asked: NewQuestion): Promise<Question> {
  const { projectId, chatId, messageId, when, aside = false, workspace, maxOpen } = asked;
  const { outcome, questionId } = await queryOne<{
    outcome:
      | 'recorded'
      | 'other_words'
      | 'chat_of_another_project'
      | 'malformed_chat'
      | 'project_not_found'
      | 'too_many';
    questionId: string;
  }>(pool, {
    name: 'record_question',
    text: `SELECT outcome, question_id::text AS "questionId" FROM session_chain.record_question($1, $2, $3, $4, $5, $6, $7, $8)`,
    values: [projectId, chatId, messageId, asked.question, when, workspace ?? null, aside, maxOpen ?? null],
  });
  switch (outcome) {
    case 'recorded':
      return await requireQuestion(pool, questionId);
    case 'other_words':
      throw new SessionChainError(
        'MESSAGE_ID_REUSED',
        `The message ${messageId} of the chat ${chatId} was asked before, with other words or another aside.`,
      );
    case 'chat_of_another_project':
      throw new SessionChainError('INVALID_INPUT', `The chat ${chatId} belongs to another project.`);
    case 'malformed_chat':
      throw new SessionChainError(
        'INVALID_INPUT',
        `The chat id ${chatId} does not fit the type of chat_plan_sessions.session_id.`,
      );
    case 'project_not_found':
      throw projectNotFound(projectId);
    case 'too_many':
      throw new SessionChainError(
        'CHAT_BUSY',
        `${String(maxOpen)} questions of the project ${projectId} wait for their answers already; this one was not asked.`,
      );
  }
}

const questionColumns = `question_id::text AS "questionId", project_id::text AS "projectId", session_id::text AS "chatId",
  message_id AS "messageId", question, reply, state, kind, read_when AS "when", aside, head_session_id AS "headSessionId",
  ai_session_id::text AS "sessionId", failure, asked_at AS "askedAt", answered_at AS "answeredAt"`;

/** The question, or null where its row is gone. */
export async function readQuestion(pool: Connection, questionId: string): Promise<Question | null> {
  const [question] = await queryRows<Question>(pool, {
    name: 'read_question',
    text: `SELECT ${questionColumns} FROM project_chat_log_minimal WHERE question_id = $1`,
    values: [questionId],
  });
  return question ?? null;
}

/** The question that was asked under a message id. Throws CHAT_NOT_FOUND. */
export async function findQuestion(
  pool: Pool,
  { projectId, chatId, messageId }: { projectId: ProjectId; chatId: string; messageId: string },
): Promise<Question> {
  const [question] = await queryRows<Question>(pool, {
    name: 'find_question',
    text: `SELECT ${questionColumns} FROM project_chat_log_minimal
           WHERE session_id = session_chain.chat_log_key($1) AND project_id = session_chain.chat_log_project_key($2)
             AND message_id = $3 AND question_id IS NOT NULL`,
    values: [chatId, projectId, messageId],
  });
  if (question) return question;
  throw new SessionChainError(
    'CHAT_NOT_FOUND',
    `No question was asked under the message id ${messageId} in the chat ${chatId} of the project ${projectId}.`,
    'Check the message id, or ask the question first.',
  );
}

/** As {@link readQuestion}. Throws REQUEST_LOST. */
export async function requireQuestion(pool: Connection, questionId: string): Promise<Question> {
  const question = await readQuestion(pool, questionId);
  if (question) return question;
  throw new SessionChainError(
    'REQUEST_LOST',
    `The question ${questionId} is not in project_chat_log_minimal: its row was deleted, or the database went back to before it was asked.`,
  );
}

/** The questions of a chat, oldest first; of many the newest `limit`, or those before one. Throws CHAT_NOT_FOUND. */
export async function listQuestions(
  pool: Pool,
  projectId: ProjectId,
  chatId: string,
  { limit, before = null }: { limit: number; before?: string | null },
): Promise<Question[]> {
  const questions = await queryRows<Question>(pool, {
    name: 'list_questions',
    text: `SELECT ${questionColumns} FROM project_chat_log_minimal
           WHERE session_id = session_chain.chat_log_key($1) AND project_id = session_chain.chat_log_project_key($2)
             AND question_id IS NOT NULL AND ($4::bigint IS NULL OR question_id < $4) ORDER BY question_id DESC LIMIT $3`,
    values: [chatId, projectId, limit, before],
  });
  if (questions.length > 0 || before !== null) return questions.reverse();
  throw new SessionChainError(
    'CHAT_NOT_FOUND',
    `Nothing was asked in the chat ${chatId} of the project ${projectId}.`,
  );
}

/** A chat in a list. */
export interface ChatSummary {
  chatId: string;
  /** How many questions were asked in it. */
  questions: number;
  /** Those that wait for their answers. */
  open: number;
  failed: number;
  firstAskedAt: Date;
  /** Its newest question. */
  newest: Question;
}

/** The chats of a project, the one with the newest question first; with `before` those whose newest question is older. */
export async function listChats(
  pool: Pool,
  projectId: ProjectId,
  { limit, before }: { limit: number; before: string | null },
): Promise<ChatSummary[]> {
  const chats = await queryRows<
    Pick<ChatSummary, 'questions' | 'open' | 'failed' | 'firstAskedAt'> & Question
  >(pool, {
    name: 'list_chats',
    text: `SELECT c.questions, c.open, c.failed, c.first_asked_at AS "firstAskedAt", n.*
           FROM (
             SELECT max(q.question_id) AS newest, count(*) AS questions, count(*) FILTER (WHERE q.state IN ('asked', 'running')) AS open,
               count(*) FILTER (WHERE q.state = 'failed') AS failed, min(q.asked_at) AS first_asked_at
             FROM project_chat_log_minimal q
             WHERE q.project_id = session_chain.chat_log_project_key($1) AND q.question_id IS NOT NULL
             GROUP BY q.session_id HAVING $3::bigint IS NULL OR max(q.question_id) < $3
             ORDER BY newest DESC LIMIT $2
           ) c
           CROSS JOIN LATERAL (SELECT ${questionColumns} FROM project_chat_log_minimal WHERE question_id = c.newest) n
           ORDER BY c.newest DESC`,
    values: [projectId, limit, before],
  });
  return chats.map(({ questions, open, failed, firstAskedAt, ...newest }) => ({
    ...{ chatId: newest.chatId, questions, open, failed, firstAskedAt },
    newest,
  }));
}

/** The chain that holds a project, with its newest attempt; null while none does. */
export async function readHolder(pool: Pool, projectId: ProjectId): Promise<ReadTarget | null> {
  const [holder] = await queryRows<ReadTarget>(pool, {
    name: 'read_holder',
    text: `SELECT h.workflow_id AS "workflowId", (
             SELECT a.id::text FROM session_chain.attempts a WHERE a.chain = h.id ORDER BY a.id DESC LIMIT 1) AS "attemptId"
           FROM session_chain.holder_of($1) h`,
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
    text: `SELECT FROM session_chain.holder_of($1) h
           JOIN session_chain.attempts t ON t.id = $3 AND t.chain = h.id
           WHERE h.workflow_id = $2 AND NOT EXISTS (
             SELECT FROM session_chain.attempts a
             WHERE a.chain = h.id AND CASE WHEN a.step = t.step AND a.round = t.round THEN a.state = 'committed' ELSE a.id > t.id END)`,
    values: [projectId, workflowId, attemptId],
  });
  return running.length > 0;
}

/** The folder of the project's files, as known to a chat; null where neither the chat nor a chain named one. */
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

/** What came before a question in its chat. */
export interface ChatPast {
  /**
   * The answer before, if it is a side branch: the chat may continue from its session while its head is the project's.
   */
  branch: { sessionId: SessionId; headSessionId: SessionId | null } | null;
  /** Side branches that the main line does not know, oldest first. */
  unknownToHead: { question: string; reply: string }[];
}

/** The answers of a chat before this question that the head's session does not hold. */
export async function readPast(
  pool: Pool,
  { projectId, chatId, questionId }: Pick<Question, 'projectId' | 'chatId' | 'questionId'>,
): Promise<ChatPast> {
  // An answer that moved the head was told about everything before it. What a rewind took back does not count.
  const rows = await queryRows<
    Pick<Question, 'question' | 'headSessionId'> & { reply: string; sessionId: SessionId; isWhole: boolean }
  >(pool, {
    name: 'read_chat_past',
    text: `WITH chat AS (
             SELECT * FROM project_chat_log_minimal WHERE session_id = session_chain.chat_log_key($1)
               AND project_id = session_chain.chat_log_project_key($2) AND question_id < $3
           )
           SELECT question, reply, head_session_id AS "headSessionId", ai_session_id::text AS "sessionId",
             session_chain.session_fitness($2, ai_session_id::text) = 'whole' AS "isWhole"
           FROM chat WHERE kind = 'side_branch' AND NOT session_chain.is_rewound($2, head_session_id::text)
             AND question_id > coalesce((SELECT max(question_id) FROM chat
               WHERE kind = 'transition' AND NOT session_chain.is_rewound($2, ai_session_id::text)), 0)
           ORDER BY question_id DESC LIMIT 20`,
    values: [chatId, projectId, questionId],
  });
  const [last] = rows;
  return {
    branch: last?.isWhole ? { sessionId: last.sessionId, headSessionId: last.headSessionId } : null,
    unknownToHead: rows.reverse().map(({ question, reply }) => ({ question, reply })),
  };
}

/**
 * Marks that a question is being worked on; `headSessionId` is the project's head as it found it. An answered question
 * stays answered.
 */
export async function startQuestion(
  pool: Pool,
  questionId: string,
  headSessionId: SessionId | null,
): Promise<void> {
  await queryRows(pool, {
    name: 'start_question',
    text: `UPDATE project_chat_log_minimal SET state = 'running', failure = NULL, head_session_id = $2
           WHERE question_id = $1 AND state <> 'answered'`,
    values: [questionId, headSessionId],
  });
}

/**
 * Records that a question has failed; an answered one stays answered. A workflow knows only the code: what the question
 * or its last attempt has already recorded about the same failure is kept in full. A question of another project is left
 * alone.
 */
export async function failQuestion(
  pool: Pool,
  { projectId, questionId }: Pick<Question, 'projectId' | 'questionId'>,
  failure: Failure,
): Promise<void> {
  await queryRows(pool, {
    name: 'fail_question',
    text: 'SELECT session_chain.fail_question($1, $2, $3)',
    values: [projectId, questionId, jsonbOf(failure)],
  });
}

/** An answer beside the main line, for the build that works on it next. */
export interface SideBranch {
  chatId: string;
  messageId: string;
  sessionId: SessionId;
  question: string;
  reply: string;
  answeredAt: Date;
}

/**
 * The side branches that no build was told about, oldest first: answered since the chain of the last committed build
 * was opened, and before `before` (a chain passes when it was opened itself, so that every attempt is told the same).
 * What was asked of a head that a rewind took back is not among them, and a build that it took back does not count.
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
             -- A later answer of the same chat that moved the head was told about it.
             AND NOT EXISTS (SELECT FROM project_chat_log_minimal l
               WHERE l.session_id = t.session_id AND l.project_id = t.project_id AND l.kind = 'transition' AND l.question_id > t.question_id
                 AND NOT session_chain.is_rewound($1, l.ai_session_id::text))
             AND NOT session_chain.is_rewound($1, t.head_session_id::text)
             AND answered_at > coalesce((
               SELECT c.opened_at FROM session_chain.attempts a
               JOIN session_chain.chains c ON c.id = a.chain
               WHERE a.project_id = $1 AND a.role = 'build' AND a.state = 'committed'
                 AND c.opened_at < coalesce($2, clock_timestamp())
                 AND NOT session_chain.is_rewound($1, coalesce(a.adopts, a.session_id))
               ORDER BY a.id DESC LIMIT 1), '-infinity')
           ORDER BY answered_at DESC, question_id DESC LIMIT $3`,
    values: [projectId, before ?? null, limit],
  });
  return newestFirst.reverse();
}
