import type { SDKAssistantMessageError } from '@anthropic-ai/claude-agent-sdk';
import type { FailureCode } from '../contracts/failures.js';

/** The failure code for an HTTP status of the model service. */
export function codeOfStatus(status: number): FailureCode {
  if (status === 401 || status === 402 || status === 403) return 'MODEL_UNAUTHORIZED';
  // Claude Code cannot make it smaller, and the run has tried.
  if (status === 413) return 'CONTEXT_FULL';
  if (status === 408 || status === 429 || status >= 500) return 'MODEL_UNAVAILABLE';
  return 'MODEL_REJECTED';
}

/** The failure code for an error that Claude Code reports without a status, such as a failed connection. */
export function codeOfError(error: SDKAssistantMessageError | null): FailureCode {
  switch (error) {
    case 'server_error':
    case 'overloaded':
    case 'rate_limit':
      return 'MODEL_UNAVAILABLE';
    case 'authentication_failed':
    case 'oauth_org_not_allowed':
    case 'cloud_credential_error':
    case 'account_on_hold':
    case 'verification_required':
    case 'billing_error':
      return 'MODEL_UNAUTHORIZED';
    case 'invalid_request':
    case 'model_not_found':
      return 'MODEL_REJECTED';
    case 'max_output_tokens':
      return 'ANSWER_UNFINISHED';
    case 'unknown':
    case null:
      return 'AGENT_FAILED';
  }
}

/** The failure code for an error of the model service that Claude Code reports only as text; null for other texts. */
export function codeOfWords(said: string): FailureCode | null {
  const [, status] = /API Error: (?:Repeated |Request rejected \()?([45]\d\d)\b/.exec(said) ?? [];
  if (status !== undefined) return codeOfStatus(Number(status));
  if (/credit balance is too low/i.test(said)) return 'MODEL_UNAUTHORIZED';
  return /API Error: (?:Connection|Server error|Request timed out)/.test(said) ? 'MODEL_UNAVAILABLE' : null;
}
