import { SessionChainError } from '../../contracts/failures.js';
import { modelCredentials } from '../../contracts/model-credentials.js';

/** Names that pass from the worker's environment to the agent; everything else, above all DATABASE_URL, does not. */
const passedNames = new Set([
  'PATH',
  'LANG',
  'LANGUAGE',
  'TZ',
  'USER',
  'LOGNAME',
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

export interface EnvironmentParts {
  /** The worker's own environment, of which only allow-listed names pass. */
  inherited: Readonly<Record<string, string | undefined>>;
  /** How the model and other hosts are reached, through the worker's proxy. */
  egress: Readonly<Record<string, string>>;
  home: string;
  config: string;
  tmp: string;
  /** Marks the agent and, by inheritance, every process it starts. */
  marker: { name: string; value: string };
}

/** Throws CREDENTIALS_MISSING when nothing in the model's environment can authenticate. */
export function requireCredentials(model: Readonly<Record<string, string>>): void {
  if (modelCredentials.some((name) => model[name])) return;
  throw new SessionChainError('CREDENTIALS_MISSING', 'No model credential is configured.');
}

/** The whole environment of the agent; it replaces the worker's. Nothing in it is a secret. */
export function agentEnvironment(parts: EnvironmentParts): Record<string, string> {
  return {
    ...pick(parts.inherited),
    ...parts.egress,
    ...fixed,
    HOME: parts.home,
    CLAUDE_CONFIG_DIR: parts.config,
    TMPDIR: parts.tmp,
    [parts.marker.name]: parts.marker.value,
  };
}

function pick(inherited: EnvironmentParts['inherited']): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const [name, value] of Object.entries(inherited)) {
    const allowed = passedNames.has(name) || passedNames.has(name.toUpperCase()) || name.startsWith('LC_');
    if (allowed && value !== undefined) passed[name] = value;
  }
  return passed;
}
