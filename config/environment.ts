import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism, tmpdir, totalmem } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { parseEnv } from 'node:util';
import { z } from 'zod';
import { SessionChainError } from '../contracts/failures.js';
import { modelCredentials } from '../contracts/model-credentials.js';
import { defaultMaxQueued, defaultPolicy } from '../contracts/policy.js';
import { sandboxVariables } from './sandbox.js';
import { credentialsIn, withoutValues } from '../contracts/secrets.js';

/** A century; an interval of Postgres holds more, a point in time that far back does not. */
export const maxEventsDays = 36_500;

/**
 * Every variable that the product itself reads: its meaning, shape and default; docs/reference/environment.md lists
 * them.
 */
export const variables = {
  DATABASE_URL: z
    .string()
    .regex(/^postgres(ql)?:\/\//, { error: 'must begin with postgres://' })
    .optional()
    .describe('Postgres 15 or newer, as postgres://…; docs/host-databases.md says which parameters count'),
  REDIS_URL: z
    .url({ protocol: /^rediss?$/ })
    .optional()
    .describe('Redis-protocol cache for the checkpoint; optional, nothing depends on it'),
  SESSION_CHAIN_TASK_QUEUE: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,200}$/)
    .default('session-chain')
    .describe('Task queue of the chains; the agents use the same name with -agents, the chats with -chats'),
  SESSION_CHAIN_WORKSPACE_ROOTS: z
    .string()
    .default('')
    .transform((value) =>
      value
        .split(delimiter)
        .filter(Boolean)
        .map((path) => resolve(path)),
    )
    .describe('Folders below which workspaces may lie, separated by ":"; required by worker and start'),
  SESSION_CHAIN_WORKSPACE_WAIT_MS: milliseconds(600_000).describe(
    'Time after which a folder that no worker has had fails what waits for it, and a step goes on with another version of Claude Code',
  ),
  SESSION_CHAIN_EVENTS_DAYS: z.coerce
    .number()
    .int()
    .min(1)
    .max(maxEventsDays)
    .default(30)
    .describe('Days after which a worker deletes events; of several workers the least counts'),
  SESSION_CHAIN_ARCHIVE: z
    .string()
    .refine(
      (value) =>
        value.startsWith('/') || /^s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](\/[\w./-]*)?$/.test(value),
      {
        error: 'must be an absolute path, or s3://bucket/prefix',
      },
    )
    .optional()
    .describe(
      'Where retention archives to: a folder that all workers share, or s3://bucket/prefix (AWS_* variables as usual, AWS_ENDPOINT_URL for other servers); without it no transcript is dropped',
    ),
  SESSION_CHAIN_KEEP_TRANSITIONS_DAYS: days(30).describe(
    'Days after which transitions move from session_transitions to session_chain.session_transitions_archive',
  ),
  SESSION_CHAIN_ARCHIVE_TRANSCRIPTS_DAYS: days(90).describe(
    'Days after its last entry after which a transcript that nothing needs is archived',
  ),
  SESSION_CHAIN_DROP_TRANSCRIPTS_DAYS: days(30).describe(
    'Days after which an archived transcript that nothing needs is dropped from the database',
  ),
  SESSION_CHAIN_KEEP_DETAILS_DAYS: days(400).describe(
    'Days after which failed attempts, metrics (rolled up per day) and briefs of closed chains are archived and dropped',
  ),
  SESSION_CHAIN_RETENTION_HOST_TABLES: z
    .enum(['0', '1'])
    .default('0')
    .transform((value) => value === '1')
    .describe(
      '1 lets retention delete old rows from tables that the host created: session_transitions and project_ai_session_metrics',
    ),
  SESSION_CHAIN_MAX_AGENTS: z.coerce
    .number()
    .int()
    .min(1)
    .default(() => Math.max(1, Math.min(2 * availableParallelism(), Math.floor(totalmem() / 512e6))))
    .describe('Agents that one worker runs at a time; default min(2 x cores, memory / 512 MB)'),
  SESSION_CHAIN_CONFIG: z
    .string()
    .optional()
    .describe(
      'The definition of the chains; default: session-chain.config.{ts,js,mjs} in the working folder',
    ),
  SESSION_CHAIN_MAX_CHATS: z.coerce
    .number()
    .int()
    .min(1)
    .default(2)
    .describe('Questions that one worker answers at a time, beside its agents'),
  SESSION_CHAIN_WARM: z
    .enum(['0', '1'])
    .default('1')
    .transform((value) => value === '1')
    .describe(
      'Steps and answers go on in the Claude Code process of the one before, where it is still there; 0 starts each anew',
    ),
  SESSION_CHAIN_MAX_QUEUED: z.coerce
    .number()
    .int()
    .min(1)
    .default(defaultMaxQueued)
    .describe('Chains of one project that may be queued; one more start is refused'),
  SESSION_CHAIN_MODEL: z
    .string()
    .optional()
    .describe("Model where the definition names none; default: ANTHROPIC_MODEL, else the agent's own"),
  SESSION_CHAIN_AGENT_PATH: z
    .string()
    .optional()
    .describe('The claude binary; default: the one that comes with the agent SDK'),
  SESSION_CHAIN_SCRATCH_DIR: z
    .string()
    .default(() => join(tmpdir(), 'session-chain'))
    .describe(
      "Private home, config and temp folders of running agents; default: session-chain in the system's temp folder",
    ),
  ...sandboxVariables,
  SESSION_CHAIN_SEARCH_ATTRIBUTES: z
    .enum(['auto', 'on', 'off'])
    .default('auto')
    .describe('Typed search attributes on chains: auto uses them where they are registered, on insists'),
  SESSION_CHAIN_HEARTBEAT_TIMEOUT_MS: milliseconds(defaultPolicy.heartbeatTimeoutMs).describe(
    'Silence after which a worker counts as lost',
  ),
  SESSION_CHAIN_HEARTBEAT_THROTTLE_MS: milliseconds(10_000).describe(
    'Heartbeats reach Temporal this often at most, and its cancellations the agent; at most a third of the timeout',
  ),
  SESSION_CHAIN_KILL_GRACE_MS: milliseconds(defaultPolicy.killGraceMs).describe(
    'Time an interrupted agent has to end before it is killed',
  ),
  SESSION_CHAIN_SHUTDOWN_GRACE_MS: milliseconds(20_000).describe(
    'Time a stopping worker gives its running steps, and a stopping server its requests',
  ),
  SESSION_CHAIN_COMPACT_THRESHOLD_TOKENS: z.coerce
    .number()
    .int()
    .min(0)
    .optional()
    .describe("Context size below which compaction is skipped; default: the definition's, 20000"),
  SESSION_CHAIN_RESET_AFTER_OPERATIONS: z.coerce
    .number()
    .int()
    .min(0)
    .optional()
    .describe(
      "A build starts a fresh session after so many operations in one; 0 for never; default: the definition's, 20",
    ),
  SESSION_CHAIN_RESET_AFTER_TOKENS: z.coerce
    .number()
    .int()
    .min(0)
    .optional()
    .describe(
      "A build starts a fresh session past this context size; 0 for never; default: the definition's, 150000",
    ),
  SESSION_CHAIN_RELEASE: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$/, 'must be letters, digits and . _ + -')
    .optional()
    .describe(
      "What a worker's release is called, to Temporal its build id; default: the package's version and a hash of its workflows",
    ),
  SESSION_CHAIN_DEPLOYMENT: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$/, 'must be letters, digits, _ and -')
    .optional()
    .describe(
      'Worker deployment of Temporal, in which each release is a version; default: none, a worker takes the tasks of every release',
    ),
  SESSION_CHAIN_VERSIONING: z
    .enum(['pinned', 'auto-upgrade'])
    .default('pinned')
    .describe(
      'In a deployment: whether open workflows stay with the release with which they began, or go on with the current one',
    ),
  SESSION_CHAIN_WORKER_HTTP: address().describe(
    'Address on which the worker answers /healthz, /readyz and /metrics, as host:port; default: it does not',
  ),
  SESSION_CHAIN_STATUS_SUCCEEDED: z
    .string()
    .default('deployed')
    .describe('project_versions.status after a good build; empty leaves the column alone'),
  SESSION_CHAIN_STATUS_FAILED: z
    .string()
    .default('failed')
    .describe('project_versions.status after a failed build; empty leaves the column alone'),
  SESSION_CHAIN_HTTP_HOST: z
    .string()
    .regex(/^[\w.:-]+$/, 'must be an address or a name of this machine')
    .default('127.0.0.1')
    .describe(
      'Address on which the HTTP server listens. Beyond loopback a proxy in front of it has to speak TLS',
    ),
  SESSION_CHAIN_HTTP_PORT: z.coerce
    .number()
    .int()
    .min(0)
    .max(65_535)
    .default(8420)
    .describe('Port of the HTTP server; 0 for any that is free, which it prints'),
  SESSION_CHAIN_HTTP_ORIGINS: listOf(
    /^https?:\/\/[\w.-]+(:\d+)?$/,
    'must be origins, as in https://app.example.com, separated by ","',
  ).describe('Origins whose pages may call the HTTP server, separated by ","; default: none'),
  SESSION_CHAIN_HTTP_HOSTS: listOf(/^[\w.-]+$/, 'must be host names, separated by ","').describe(
    'Names beside those of loopback that the header Host may have where the HTTP server listens on loopback, separated by ","',
  ),
  SESSION_CHAIN_HTTP_TRUSTED_PROXIES: listOf(
    /^[\da-fA-F.:]+(\/\d+)?$/,
    'must be addresses or networks, separated by ","',
  ).describe('Proxies whose X-Forwarded-For tells the address of a caller, separated by ","; default: none'),
  SESSION_CHAIN_HTTP_REQUESTS_PER_MINUTE: z.coerce
    .number()
    .int()
    .min(1)
    .default(1_200)
    .describe('Requests of one key that one HTTP server answers in a minute; a stream is one'),
  SESSION_CHAIN_HTTP_MAX_CONNECTIONS: z.coerce
    .number()
    .int()
    .min(1)
    .default(2_000)
    .describe('Connections that one HTTP server keeps at a time; one more is closed at once'),
  SESSION_CHAIN_TEMPORAL_UI: link()
    .optional()
    .describe("Address of Temporal's Web UI, to which the dashboard links"),
  SESSION_CHAIN_DASHBOARD_URL: link()
    .optional()
    .describe("Address of the dashboard, to which the page of a chain in Temporal's Web UI links"),
  SESSION_CHAIN_LOG_LEVEL: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'silent'])
    .default('info')
    .describe('Level of the log of worker and server'),
} as const;

/** Variables that say which model service is used and how it is paid; the agent itself gets no secret of them. */
export const modelVariables = [
  'ANTHROPIC_API_KEY',
  'ANTHROPIC_AUTH_TOKEN',
  'ANTHROPIC_BASE_URL',
  'ANTHROPIC_CUSTOM_HEADERS',
  'ANTHROPIC_MODEL',
  'CLAUDE_CODE_MAX_OUTPUT_TOKENS',
  'CLAUDE_CODE_OAUTH_TOKEN',
  'CLAUDE_CODE_USE_BEDROCK',
  'ANTHROPIC_BEDROCK_BASE_URL',
  'AWS_REGION',
  'AWS_PROFILE',
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  'AWS_SESSION_TOKEN',
  'AWS_BEARER_TOKEN_BEDROCK',
  'CLAUDE_CODE_USE_VERTEX',
  'ANTHROPIC_VERTEX_BASE_URL',
  'ANTHROPIC_VERTEX_PROJECT_ID',
  'CLOUD_ML_REGION',
  'GOOGLE_APPLICATION_CREDENTIALS',
  'CLAUDE_CODE_USE_FOUNDRY',
  'ANTHROPIC_FOUNDRY_API_KEY',
  'ANTHROPIC_FOUNDRY_RESOURCE',
  'ANTHROPIC_FOUNDRY_BASE_URL',
] as const;

const schema = z.object(variables);

export interface Config extends z.infer<typeof schema> {
  /** What the agent needs to reach its model. */
  modelEnvironment: Record<string, string>;
  hasModelCredentials: boolean;
  /** The whole environment, for the standard TEMPORAL_* variables, which Temporal's own library reads. */
  environment: Record<string, string>;
}

/** Reads and checks the environment. Throws INVALID_INPUT that names the variable. Empty variables count as unset. */
export function readConfig(environment: NodeJS.ProcessEnv): Config {
  const set = Object.fromEntries(Object.entries(environment).filter(([, value]) => value)) as Record<
    string,
    string
  >;
  // An empty status means 'leave the column alone', so it must be kept.
  for (const name of ['SESSION_CHAIN_STATUS_SUCCEEDED', 'SESSION_CHAIN_STATUS_FAILED']) {
    if (environment[name] === '') set[name] = '';
  }
  const parsed = schema.safeParse(set);
  if (!parsed.success) {
    const problems = parsed.error.issues
      .map((issue) => `${issue.path.join('.')}: ${issue.message}`)
      .join('; ');
    throw new SessionChainError(
      'INVALID_INPUT',
      `The environment is not usable: ${problems}.`,
      'Correct the named variables; docs/reference/environment.md says what each one takes.',
    );
  }
  const model = parsed.data.SESSION_CHAIN_MODEL ?? set['ANTHROPIC_MODEL'];
  return {
    ...parsed.data,
    ...(model === undefined ? {} : { SESSION_CHAIN_MODEL: model }),
    modelEnvironment: modelEnvironmentOf(set),
    hasModelCredentials: modelCredentials.some((name) => set[name] !== undefined),
    environment: set,
  };
}

/** The model's variables of an environment; empty ones count as unset. */
export function modelEnvironmentOf(
  environment: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  return Object.fromEntries(
    modelVariables.flatMap((name) => (environment[name] ? [[name, environment[name]]] : [])),
  );
}

/**
 * The environment of this process, filled up from the file that `npm start` leaves in `.session-chain/env`, so that the
 * command line finds the running stack. What is set in the environment wins.
 */
export function processEnvironment(folder = process.cwd()): NodeJS.ProcessEnv {
  const file = join(folder, '.session-chain', 'env');
  return existsSync(file) ? { ...parseEnv(readFileSync(file, 'utf8')), ...process.env } : process.env;
}

/** The text without the credentials that are set for this process, for everything that it prints. */
export function withoutOwnCredentials(text: string): string {
  return withoutValues(text, credentialsIn(processEnvironment()));
}

/** The value of a variable without which a command cannot work. Throws INVALID_INPUT. */
export function required<Value>(value: Value | undefined, name: string): Value {
  if (value !== undefined) return value;
  throw new SessionChainError(
    'INVALID_INPUT',
    `${name} is not set.`,
    `Set ${name}, or run npm start and call the command in the same folder, where .session-chain/env supplies it.`,
  );
}

/** Items separated by commas, each of this form. */
function listOf(form: RegExp, problem: string) {
  return z
    .string()
    .default('')
    .transform((value) =>
      value
        .split(',')
        .map((item) => item.trim())
        .filter(Boolean),
    )
    .refine((items) => items.every((item) => form.test(item)), problem);
}

/** An address that others are shown. */
function link() {
  return z
    .url({ protocol: /^https?$/, error: 'must be an address that begins with http:// or https://' })
    .refine(
      (url) => !/^https?:\/\/[^/?#]*@/.test(url),
      'must be without user and password: it is shown to others',
    )
    .transform((url) => url.replace(/\/+$/, ''));
}

/** `host:port`, an IPv6 address in brackets. */
function address() {
  return z
    .string()
    .transform((value, context) => {
      const [, host = '', digits = ''] = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})$/.exec(value) ?? [];
      const port = Number(digits);
      if (host !== '' && port <= 65_535) return { host: host.replace(/^\[|\]$/g, ''), port };
      context.addIssue('must be host:port, such as 127.0.0.1:9464, with an IPv6 address in brackets');
      return z.NEVER;
    })
    .optional();
}

function days(byDefault: number) {
  return z.coerce.number().int().min(1).max(maxEventsDays).default(byDefault);
}

function milliseconds(byDefault: number) {
  return z.coerce.number().int().min(100).default(byDefault);
}

/** Whether an unexpected error shows its stack; read without the rest, because the rest may be what is wrong. */
export function showsStackTraces(): boolean {
  return process.env['SESSION_CHAIN_LOG_LEVEL'] === 'debug';
}

/** Whether the person at the terminal wants text without colours (https://no-color.org). */
export function wantsNoColour(): boolean {
  return Boolean(process.env['NO_COLOR']);
}

/** The text width that the person at the terminal wants, if the terminal itself does not give one; null if not set. */
export function wantedColumns(): number | null {
  const columns = Number(process.env['COLUMNS']);
  return Number.isInteger(columns) && columns > 0 ? columns : null;
}
