import { SessionChainError } from '../../contracts/failures.js';
import { modelCredentials } from '../../contracts/model-credentials.js';
import type { ChainMode } from '../../contracts/steps.js';
import type { AgentTask } from '../kinds/kind.js';

/** Names that pass from the worker's environment to the agent; everything else, above all DATABASE_URL, does not. */
const passedNames = new Set([
  'PATH',
  'LANG',
  'LANGUAGE',
  'TZ',
  'USER',
  'LOGNAME',
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'ALL_PROXY',
  'NO_PROXY',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'NODE_EXTRA_CA_CERTS',
  'REQUESTS_CA_BUNDLE',
  'CURL_CA_BUNDLE',
  'GIT_SSL_CAINFO',
]);

/** What Claude Code is always told, the same in every step so that the prompt cache stays valid. */
const fixed = {
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
  DISABLE_TELEMETRY: '1',
  DISABLE_ERROR_REPORTING: '1',
  DISABLE_AUTOUPDATER: '1',
  // Both keep the first request after a compaction in the prompt cache.
  CLAUDE_CODE_ATTRIBUTION_HEADER: '0',
  ENABLE_PROMPT_CACHING_1H: '1',
  // A service that is overloaded for longer than a few seconds is waited for without a process, by the chain.
  CLAUDE_CODE_MAX_RETRIES: '3',
  // A command left running in the background would outlive its turn, and no stored turn would know how it ended. With it
  // subagents run in the foreground, whatever they are asked to.
  CLAUDE_CODE_DISABLE_BACKGROUND_TASKS: '1',
  // Memory files live below HOME, which is removed with the run: what a chain knows is in its transcript.
  CLAUDE_CODE_DISABLE_AUTO_MEMORY: '1',
  // A message may quote anyone: `@/etc/passwd` in it must stay text, because such a mention opens the file and bypasses
  // every hook.
  CLAUDE_CODE_DISABLE_FILE_MENTIONS: '1',
  // Has no effect by itself; see queryOptions.
  CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD: '1',
  CLAUDE_CODE_STARTUP_FAILURE_RESULTS: '1',
  CLAUDE_AGENT_SDK_CLIENT_APP: 'session-chain',
} as const;

/** Credentials that Claude Code also takes from a descriptor, so that no /proc/<pid>/environ shows them. */
const descriptorNames = [
  ['ANTHROPIC_API_KEY', 'CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR'],
  ['CLAUDE_CODE_OAUTH_TOKEN', 'CLAUDE_CODE_OAUTH_TOKEN_FILE_DESCRIPTOR'],
] as const;

/** Model variables that are not secret and may stay visible to the agent's shell. */
const openNames = new Set([
  'ANTHROPIC_BASE_URL',
  'ANTHROPIC_MODEL',
  'ANTHROPIC_VERTEX_PROJECT_ID',
  'AWS_REGION',
  'AWS_DEFAULT_REGION',
  'CLAUDE_CODE_MAX_OUTPUT_TOKENS',
  'CLOUD_ML_REGION',
]);

const firstDescriptor = 3;

export interface EnvironmentParts {
  /** The worker's own environment, of which only allow-listed names pass. */
  inherited: Readonly<Record<string, string | undefined>>;
  /** What reaches the model: credentials, base URL, provider switches. */
  model: Readonly<Record<string, string>>;
  home: string;
  config: string;
  tmp: string;
  /** Marks the agent and, by inheritance, every process it starts. */
  marker: { name: string; value: string };
  /** The program that the agent's shell commands run through; see {@link shellGuard}. */
  shellGuardPath: string;
  task: Pick<AgentTask, 'name' | 'kind' | 'role'>;
  mode: ChainMode;
  instructionKind: 'none' | 'free';
}

export interface AgentEnvironment {
  env: Record<string, string>;
  /** What is written to the descriptors 3, 4, … of the agent, in this order. */
  descriptors: string[];
  /**
   * Variables that stay in the agent's environment and must not reach its shell; if there are none, no shell guard is
   * needed.
   */
  hidden: string[];
}

/** Throws CREDENTIALS_MISSING when nothing in the model's environment can authenticate. */
export function requireCredentials(model: Readonly<Record<string, string>>): void {
  if (modelCredentials.some((name) => model[name])) return;
  throw new SessionChainError('CREDENTIALS_MISSING', 'No model credential is configured.');
}

/** The whole environment of the agent; it replaces the worker's. */
export function agentEnvironment(parts: EnvironmentParts): AgentEnvironment {
  const env: Record<string, string> = { ...pick(parts.inherited), ...parts.model };
  const descriptors: string[] = [];
  for (const [name, descriptorName] of descriptorNames) {
    const secret = env[name];
    if (!secret) continue;
    delete env[name];
    env[descriptorName] = String(firstDescriptor + descriptors.length);
    descriptors.push(secret);
  }
  const hidden = Object.keys(parts.model).filter((name) => name in env && !isOpen(name));
  Object.assign(env, fixed, {
    HOME: parts.home,
    CLAUDE_CONFIG_DIR: parts.config,
    TMPDIR: parts.tmp,
    ANTHROPIC_CUSTOM_HEADERS: customHeaders(parts),
    [parts.marker.name]: parts.marker.value,
  });
  if (hidden.length > 0) env.CLAUDE_CODE_SHELL_PREFIX = parts.shellGuardPath;
  return { env, descriptors, hidden };
}

/**
 * A program that runs a shell command without the hidden variables. It keeps them from `env` and from the commands'
 * children; /proc/<pid of the agent>/environ stays readable for the same user, which is why a credential travels by
 * descriptor wherever Claude Code allows it.
 */
export function shellGuard(hidden: string[]): string {
  const names = hidden.filter((name) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name));
  return `#!/bin/sh\nunset ${names.join(' ')} CLAUDE_CODE_SHELL_PREFIX\nexec "\${SHELL:-/bin/sh}" -c "$*"\n`;
}

/** The task travels by header, not by wording; a model service that does not know the names ignores them. */
function customHeaders({ model, task, mode, instructionKind }: EnvironmentParts): string {
  return [
    ...(model.ANTHROPIC_CUSTOM_HEADERS ? [model.ANTHROPIC_CUSTOM_HEADERS] : []),
    `x-session-chain-step: ${task.name}`,
    `x-session-chain-kind: ${task.kind}`,
    ...(task.role ? [`x-session-chain-role: ${task.role}`] : []),
    `x-session-chain-mode: ${mode}`,
    `x-session-chain-instruction: ${instructionKind}`,
  ].join('\n');
}

function pick(inherited: EnvironmentParts['inherited']): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const [name, value] of Object.entries(inherited)) {
    const allowed = passedNames.has(name) || passedNames.has(name.toUpperCase()) || name.startsWith('LC_');
    if (allowed && value !== undefined) passed[name] = value;
  }
  return passed;
}

function isOpen(name: string): boolean {
  return openNames.has(name) || name.startsWith('CLAUDE_CODE_USE_') || name.startsWith('ANTHROPIC_DEFAULT_');
}
