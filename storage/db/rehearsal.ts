import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { SessionChainError } from '../../contracts/failures.js';
import {
  type BuildId,
  type ProjectId,
  type SessionId,
  type VersionId,
  parseBuildId,
} from '../../contracts/ids.js';
import type { StepName } from '../../contracts/steps.js';
import { closeChain, openChain, registerChain } from '../chains/chains.js';
import { unknownSpend } from '../operations/record.js';
import {
  type Attempt,
  type OperationRequest,
  beginOperation,
  commitOperation,
} from '../operations/operations.js';
import { recordQuestion } from '../questions/questions.js';
import type { Expectations, Obstacle } from './host-tables.js';
import { migrationsFolder } from './migrations-folder.js';
import { type Connection, classified, isDatabaseAway, queryOne, queryRows } from './pool.js';
import { quoted } from './quoted.js';

/**
 * A rehearsal writes to the host's tables what chains and chats write, through the same functions, and undoes it: what a trigger,
 * a constraint, a rule, a policy or a type of the host would refuse is found before a chain has been paid for. Triggers run in
 * it; sequences advance; no NOTIFY is sent. It needs a transaction of the caller.
 */

/** How many projects are tried: one that is archived or locked by the host says nothing of the others. */
const triedProjects = 3;

interface Rehearsed {
  /** What kept every project that was tried from being written to; empty where one went through. */
  obstacles: Obstacle[];
  /** False where the tables have no project with a version, and none could be made. */
  hasRun: boolean;
}

/** Throws what `queryRows` throws where the database is away. */
export async function rehearse(
  connection: Connection,
  expectations: Required<Expectations>,
): Promise<Rehearsed> {
  const found = await projectsToTry(connection);
  let first: Obstacle | null = null;
  for (const project of found) {
    const obstacle = await undone(connection, async () => await playOn(connection, project, expectations));
    if (obstacle === null) return { obstacles: [], hasRun: true };
    first ??= obstacle;
  }
  if (first !== null) return { obstacles: [first], hasRun: true };
  // A row of the host may need columns that nobody here knows.
  let wasMade = false;
  const made = await undone(connection, async () => {
    const project = await makeProject(connection);
    wasMade = true;
    await playOn(connection, project, expectations);
  });
  return { obstacles: wasMade && made !== null ? [made] : [], hasRun: wasMade };
}

interface Project {
  projectId: ProjectId;
  versionId: VersionId;
  /** A chat of the project; null: none is there. */
  chatId: string | null;
  head: SessionId | null;
}

/** Those whose heads moved last, on which nothing of ours works. */
async function projectsToTry(connection: Connection): Promise<Project[]> {
  return await queryRows<Project>(connection, {
    text: `SELECT p.project_id::text AS "projectId", v.version_id::text AS "versionId", p.last_ai_session_id AS head,
             (SELECT c.session_id::text FROM chat_plan_sessions c WHERE c.project_id::text = p.project_id::text LIMIT 1) AS "chatId"
           FROM (SELECT o.project_id, coalesce(o.last_ai_session_updated_at, '-infinity') AS moved_at FROM projects o
             WHERE EXISTS (SELECT FROM project_versions v WHERE v.project_id = o.project_id)
             ORDER BY moved_at DESC, o.project_id LIMIT 100) last
           JOIN projects p ON p.project_id = last.project_id
           CROSS JOIN LATERAL (SELECT n.version_id FROM project_versions n WHERE n.project_id = p.project_id
             ORDER BY n.created_at DESC LIMIT 1) v
           WHERE NOT EXISTS (SELECT FROM session_chain.chains c WHERE c.project_id = p.project_id::text AND c.closed_at IS NULL)
             AND NOT EXISTS (SELECT FROM session_chain.erasures e WHERE e.project_id = p.project_id::text AND e.finished_at IS NULL)
           ORDER BY last.moved_at DESC LIMIT ${triedProjects} FOR NO KEY UPDATE OF p SKIP LOCKED`,
  });
}

async function makeProject(connection: Connection): Promise<Project> {
  const name = `rehearsal-${randomUUID().slice(0, 8)}`;
  const [made] = await queryRows<Project>(connection, {
    text: `WITH ids AS (
             SELECT ${madeUp('projects', 'project_id')} AS project, ${madeUp('project_versions', 'version_id')} AS version
           ), project AS (
             INSERT INTO projects (project_id) SELECT session_chain.project_key(project) FROM ids RETURNING project_id
           )
           INSERT INTO project_versions (version_id, project_id)
           SELECT session_chain.version_key(ids.version), project.project_id FROM ids, project
           RETURNING project_id::text AS "projectId", version_id::text AS "versionId", NULL AS head, NULL AS "chatId"`,
    values: [name],
  });
  if (!made) throw new Error('The row of a project was not inserted.');
  return made;
}

/** An id of the type of a column, as text: of a number the greatest, else $1 or a uuid. */
function madeUp(table: string, column: string): string {
  return `(SELECT CASE coalesce(nullif(t.typbasetype, 0), t.oid)::regtype
      WHEN 'smallint'::regtype THEN '32767' WHEN 'integer'::regtype THEN '2147483647' WHEN 'bigint'::regtype THEN '9223372036854775807'
      WHEN 'uuid'::regtype THEN gen_random_uuid()::text ELSE $1 END
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid WHERE a.attrelid = '${table}'::regclass AND a.attname = '${column}')`;
}

/** Everything that is written to a project. Throws what keeps it from that. */
async function playOn(
  connection: Connection,
  project: Project,
  { sources, columns, statuses }: Required<Expectations>,
): Promise<void> {
  const { projectId, versionId } = project;
  let head = project.head;
  // The first source twice: a key of the host may be unique for one version.
  for (const [n, source] of [...sources.slice(0, 1), ...sources].entries()) {
    const attempt = await begun(connection, projectId, {
      ...{ kind: 'outside', versionId, buildId: `rehearsal:${n}`, sessionId: null },
      source,
    });
    head = await committed(connection, attempt, source);
  }
  const [succeeded, failed] = [statuses[0], statuses.at(-1)];
  for (const [status, said] of [
    [succeeded, 'completed'],
    [failed, 'failed'],
  ] as const) {
    const key = { projectId, versionId, buildId: parseBuildId(`rehearsal-${said}`) };
    const ticketed = await opened(connection, key, head);
    if (said === 'completed') {
      const attempt = await begun(connection, projectId, {
        ...{ kind: 'step', ...ticketed, step: rehearsed, round: 1, role: 'build', scheduledAtMs: Date.now() },
        ...{ headSessionId: head, baseSessionId: null },
      });
      head = await committed(connection, attempt, sources[0] ?? 'build');
      for (const { column } of columns) await writeValue(connection, attempt, column);
    }
    await closeChain(connection, key, {
      ...{ ticket: ticketed.ticket, runId: said },
      result: { status: said, head: { sessionId: head, seq: null }, steps: [], warnings: [] },
      versionStatus: { succeeded: succeeded ?? null, failed: failed ?? null },
    });
    await requireVersion(connection, project, head, status ?? null);
  }
  await ask(connection, project);
  // What the host checks at the end of a transaction is checked now.
  await queryRows(connection, { text: 'SET CONSTRAINTS ALL IMMEDIATE' });
}

const rehearsed = 'rehearsal' as StepName;

async function opened(
  connection: Connection,
  key: { projectId: ProjectId; versionId: VersionId; buildId: BuildId },
  head: SessionId | null,
) {
  const { chainId } = await registerChain(connection, { ...key, workspace: '/rehearsal', createRows: false });
  const runId = key.buildId.replace('rehearsal-', '');
  const outcome = await openChain(connection, { ...key, chainId }, { runId, home: '', ticket: null }, null, {
    plan: [{ name: rehearsed, kind: 'work', role: 'build' }],
    ...(head === null ? {} : { recovery: { head, base: null } }),
  });
  if (outcome.outcome !== 'opened') throw new Error(`A chain was not opened: ${outcome.outcome}.`);
  return { chainId, ticket: outcome.ticket };
}

async function begun(
  connection: Connection,
  projectId: ProjectId,
  operation: OperationRequest['operation'],
): Promise<Attempt> {
  const request = {
    projectId,
    inputDigest: 'rehearsal',
    worker: 'session-chain migrate',
    leaseMs: 0,
    operation,
  };
  const outcome = await beginOperation(connection, request);
  if (outcome.outcome !== 'begun') throw new Error(`An operation was not begun: ${outcome.outcome}.`);
  return outcome.attempt;
}

/** Moves the head, and looks whether what was written is there: a trigger may leave a row out or write another value. */
async function committed(connection: Connection, attempt: Attempt, source: string): Promise<SessionId> {
  const { projectId, versionId, attemptId, sessionId } = attempt;
  await commitOperation(connection, {
    ...{ attempt, source, newSessionId: sessionId, parentSessionId: null },
    ...{ metrics: unknownSpend, result: {}, requireTranscript: false },
  });
  const [there] = await queryRows<Record<string, boolean>>(connection, {
    text: `SELECT EXISTS (SELECT FROM projects p WHERE p.project_id = session_chain.project_key($1) AND p.last_ai_session_id::text = $4) AS projects,
             EXISTS (SELECT FROM project_versions v WHERE v.version_id = session_chain.version_key($2) AND v.ai_session_id::text = $4) AS project_versions,
             EXISTS (SELECT FROM session_transitions t WHERE t.project_id = session_chain.transition_project_key($1)
               AND t.attempt_id = $3 AND t.new_session_id::text = $4 AND t.source::text = $5) AS session_transitions,
             EXISTS (SELECT FROM project_ai_session_metrics m WHERE m.attempt_id = $3 AND m.session_id::text = $4) AS project_ai_session_metrics`,
    values: [projectId, versionId, attemptId, sessionId, source],
  });
  for (const [table, isThere] of Object.entries(there ?? {})) if (!isThere) throw notWritten(table);
  return sessionId;
}

async function writeValue(connection: Connection, attempt: Attempt, column: string): Promise<void> {
  const [row] = await queryRows(connection, {
    text: `UPDATE project_versions SET "${column.replaceAll('"', '""')}" = '{}'
           WHERE version_id = session_chain.version_key($1) AND project_id = session_chain.project_key($2) RETURNING 1`,
    values: [attempt.versionId, attempt.projectId],
  });
  if (!row) throw notWritten('project_versions');
}

async function requireVersion(
  connection: Connection,
  { versionId }: Project,
  head: SessionId | null,
  status: string | null,
): Promise<void> {
  const [row] = await queryRows(connection, {
    text: `SELECT FROM project_versions v WHERE v.version_id = session_chain.version_key($1)
             AND v.ai_session_id::text IS NOT DISTINCT FROM $2 AND ($3::text IS NULL OR v.status::text = $3)`,
    values: [versionId, head, status],
  });
  if (!row) throw notWritten('project_versions');
}

/** In a chat of the host, or in one whose id is made up, which keys and checks of the host may refuse with good reason. */
async function ask(connection: Connection, { projectId, chatId }: Project): Promise<void> {
  await queryRows(connection, { text: 'SAVEPOINT session_chain_chat' });
  try {
    await askIn(connection, projectId, chatId ?? (await madeUpChat(connection)));
  } catch (error) {
    if (chatId !== null || !/^(23503|23514|22001)$/.test(saidOf(error).code ?? '')) throw error;
    await queryRows(connection, { text: 'ROLLBACK TO SAVEPOINT session_chain_chat' });
  }
}

async function askIn(connection: Connection, projectId: ProjectId, chatId: string): Promise<void> {
  const { questionId } = await recordQuestion(connection, {
    ...{ projectId, chatId, messageId: `rehearsal:${randomUUID()}`, question: 'Rehearsal', when: 'now' },
  });
  const attempt = await begun(connection, projectId, {
    ...{
      kind: 'outside',
      versionId: null,
      buildId: `chat:${questionId}`,
      source: 'chat_plan',
      sessionId: null,
    },
  });
  await commitOperation(connection, {
    ...{ attempt, source: 'chat_plan', newSessionId: attempt.sessionId, parentSessionId: null },
    ...{ metrics: unknownSpend, result: {}, requireTranscript: false },
    ...{ answer: { questionId, reply: 'Rehearsal' } },
  });
  const [there] = await queryRows(connection, {
    text: `SELECT FROM chat_plan_sessions c, project_chat_log_minimal q
           WHERE c.session_id::text = $1 AND q.question_id = $2 AND q.state = 'answered'`,
    values: [chatId, questionId],
  });
  if (!there) throw notWritten('chat_plan_sessions or project_chat_log_minimal');
}

async function madeUpChat(connection: Connection): Promise<string> {
  const { id } = await queryOne<{ id: string }>(connection, {
    text: `SELECT ${madeUp('chat_plan_sessions', 'session_id')} AS id`,
    values: [`rehearsal-${randomUUID().slice(0, 8)}`],
  });
  return id;
}

/** Runs `work` and takes back what it wrote. Null where it went through. */
async function undone(connection: Connection, work: () => Promise<void>): Promise<Obstacle | null> {
  await queryRows(connection, { text: 'SAVEPOINT session_chain_rehearsal' });
  let obstacle: Obstacle | null = null;
  try {
    await work();
  } catch (error) {
    const known = classified(error);
    if (isDatabaseAway(known)) throw known;
    obstacle = obstacleOf(error);
  }
  await queryRows(connection, { text: 'ROLLBACK TO SAVEPOINT session_chain_rehearsal' });
  return obstacle;
}

function notWritten(table: string): Error {
  return Object.assign(
    new Error(
      `what was written to ${table} is not there afterwards: a trigger or a key left the row out, or a trigger wrote another value`,
    ),
    { table },
  );
}

/** What Postgres says of itself. */
interface Said {
  message?: string;
  code?: string;
  detail?: string;
  table?: string;
  column?: string;
  constraint?: string;
  where?: string;
}

function saidOf(error: unknown): Said {
  return ((error instanceof SessionChainError ? error.cause : undefined) ?? error) as Said;
}

function obstacleOf(error: unknown): Obstacle {
  const { message = String(error), detail, table, column, constraint, where } = saidOf(error);
  // The innermost line says where it happened, unless that is in a function of ours.
  const [, line, name = ''] = /^(\S+ function (?:\S+\.)?([^\s(]+).*)/.exec(where ?? '') ?? [];
  const place = existsSync(join(migrationsFolder(), 'functions', `${name}.sql`)) ? undefined : line;
  // Not the row itself, which has the host's data.
  const at = [place, detail?.startsWith('Failing row') ? undefined : detail].filter(Boolean).join('; ');
  return {
    table: table ?? 'projects',
    column: column ?? null,
    problem: `a chain was rehearsed, and could not write: ${message}${at ? ` (${at})` : ''}`,
    statement:
      table !== undefined && constraint !== undefined
        ? `ALTER TABLE ${quoted(table)} DROP CONSTRAINT ${quoted(constraint)}; -- or change it so that it lets the row pass`
        : `-- change ${place ?? table ?? 'what the message names'} so that it lets pass what is written`,
  };
}
