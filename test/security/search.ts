import { type Dirent, readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import type { Battlefield } from './battlefield.js';

/** A place where a canary was found, and which. */
export interface Finding {
  place: string;
  canary: string;
}

/**
 * Looks for canaries everywhere but where they were put: the worker's log, Temporal, the database, files, processes and
 * what the model received. The victim's canary may be in what is the victim's own.
 */
export async function searchEverywhere(field: Battlefield): Promise<Finding[]> {
  return [
    ...searchProcesses(field),
    ...searchFiles(field),
    ...searchModel(field),
    ...found(field, "the worker's log", field.worker.output()),
    ...(await searchTemporal(field)),
    ...(await searchDatabase(field)),
  ];
}

function found({ canaries }: Battlefield, place: string, text: string, except?: string): Finding[] {
  return Object.entries(canaries)
    .filter(([name, value]) => name !== except && text.includes(value))
    .map(([canary]) => ({ place, canary }));
}

/** Command lines and environments of the agents and what they started. */
function searchProcesses(field: Battlefield): Finding[] {
  return field.worker
    .agentProcesses()
    .flatMap((pid) =>
      ['cmdline', 'environ'].flatMap((file) => found(field, `process ${file}`, read(`/proc/${pid}/${file}`))),
    );
}

/** All files of the workers and agents, their names included. */
function searchFiles(field: Battlefield): Finding[] {
  const { root, victim } = field.target;
  const walk = (folder: string): Finding[] =>
    entriesOf(folder).flatMap((entry) => {
      const path = join(folder, entry.name);
      // Where they were put; the victim's agent works there.
      if (path === victim.workspace || path === join(root, 'home')) return [];
      if (entry.isDirectory()) return walk(path);
      const text = entry.isFile() ? read(path) : '';
      const isVictims = path.includes(victim.workspace.replace(/[^A-Za-z0-9]/g, '-'));
      return found(field, relative(root, path), `${entry.name}\n${text}`, isVictims ? 'victim' : undefined);
    });
  return walk(root);
}

/** What the model was sent, and so what an attacker learned. */
function searchModel(field: Battlefield): Finding[] {
  return field.stack.model.requests.flatMap(({ bodyText, step }) =>
    found(
      field,
      `request to the model in ${step}`,
      bodyText,
      isOfVictim(field, bodyText) ? 'victim' : undefined,
    ),
  );
}

/** Whether a request is one of the victim's: its own folder is the first that it names. */
export function isOfVictim({ victim, stack }: Battlefield, bodyText: string): boolean {
  const [folder] = new RegExp(`${stack.root}/p-[0-9a-f-]+`).exec(bodyText) ?? [];
  return folder === victim.workspace;
}

/** Histories, and the heartbeats of activities that run just now. */
async function searchTemporal(field: Battlefield): Promise<Finding[]> {
  const { temporal, database } = field.stack;
  const { rows } = await database.pool.query<{ id: string }>(
    `SELECT workflow_id AS id FROM session_chain.chains
     UNION SELECT 'chat/' || project_id || '/' || session_id FROM chat_plan_sessions`,
  );
  const findings: Finding[] = [];
  for (const { id } of rows) {
    const handle = temporal.workflow.getHandle(id);
    const history = historyToJSON(await handle.fetchHistory());
    const { raw } = await handle.describe();
    const heartbeats = (raw.pendingActivities ?? []).flatMap(({ heartbeatDetails }) =>
      (heartbeatDetails?.payloads ?? []).map(({ data }) => Buffer.from(data ?? []).toString()),
    );
    const payloads = [...history.matchAll(/"data": ?"([^"]*)"/g)].map(([, data = '']) =>
      Buffer.from(data, 'base64').toString(),
    );
    findings.push(
      ...found(field, `history of ${id}`, [history, ...payloads].join('\n')),
      ...found(field, `heartbeats of ${id}`, heartbeats.join('\n')),
    );
  }
  return findings;
}

/** Every row of every table, as text. */
async function searchDatabase(field: Battlefield): Promise<Finding[]> {
  const { pool } = field.stack.database;
  const { rows: tables } = await pool.query<{ name: string }>(
    `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
     WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`,
  );
  const findings: Finding[] = [];
  for (const { name } of tables) {
    const { rows } = await pool.query<{ row: string; project: string | null }>(
      `SELECT t::text AS row, to_jsonb(t) ->> 'project_id' AS project FROM ${name} t WHERE t::text ~ $1`,
      [Object.values(field.canaries).join('|')],
    );
    for (const { row, project } of rows) {
      findings.push(
        ...found(field, `table ${name}`, row, project === field.victim.projectId ? 'victim' : undefined),
      );
    }
  }
  return findings;
}

function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
