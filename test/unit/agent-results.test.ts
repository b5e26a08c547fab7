import type { SDKMessage, SDKResultMessage, SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { describe, expect, it } from '@jest/globals';
import { judgeRun, type JudgedRun, noObservations, observe } from '../../agent/results.js';
import { codeOfStatus } from '../../agent/service-errors.js';
import { defaultSandbox } from '../../contracts/sandbox.js';
import { SessionChainError } from '../../contracts/failures.js';

const usage = {
  input_tokens: 1,
  output_tokens: 1,
  cache_read_input_tokens: 0,
  cache_creation_input_tokens: 0,
};

function assistant(content: unknown[], stopReason = 'end_turn', extra: object = {}): SessionStoreEntry {
  const message = { id: 'msg_1', model: 'claude', stop_reason: stopReason, content, usage, ...extra };
  return { type: 'assistant', uuid: crypto.randomUUID(), message };
}
const finished = assistant([{ type: 'text', text: 'Done.' }]);

function result(over: object = {}): SDKResultMessage {
  return {
    type: 'result',
    subtype: 'success',
    is_error: false,
    result: 'Done.',
    stop_reason: 'end_turn',
    ...over,
  } as unknown as SDKResultMessage;
}

function judged(over: Partial<JudgedRun> = {}, messages: object[] = [result()]): JudgedRun {
  const seen = noObservations();
  for (const message of messages) observe(seen, message as SDKMessage);
  return {
    task: { name: 'build', kind: 'work', role: 'build', allowedTools: [] },
    seen,
    stopped: null,
    baseFailure: null,
    refusal: null,
    own: [finished],
    filesTouched: [],
    exit: { code: 0, signal: null, errorTail: '' },
    timeoutMs: 1000,
    sandboxLimits: defaultSandbox.limits,
    nowMs: 1_000_000,
    ...over,
  };
}

function failureOf(run: JudgedRun): SessionChainError {
  try {
    judgeRun(run);
  } catch (error) {
    if (error instanceof SessionChainError) return error;
    throw error;
  }
  throw new Error('The run was expected to be judged a failure.');
}
const codeOf = (run: JudgedRun) => failureOf(run).code;
const system = (subtype: string, over: object = {}) => ({ type: 'system', subtype, ...over });
const inPlaceOfModel = (error?: string) => ({ type: 'assistant', message: { model: '<synthetic>' }, error });
const apiError = (status: number | null) =>
  result({ is_error: true, api_error_status: status, result: 'no' });

describe('judgeRun', () => {
  it('takes a success that the stored transcript bears out', () => {
    expect(judgeRun(judged())).toEqual({ text: 'Done.', warnings: [] });
  });

  it('does not believe a success without a finished turn in the store', () => {
    expect(codeOf(judged({ own: [] }))).toBe('AGENT_FAILED');
    expect(codeOf(judged({ own: [assistant([], 'tool_use')] }))).toBe('AGENT_FAILED');
    expect(codeOf(judged({ own: [{ ...finished, isApiErrorMessage: true }] }))).toBe('AGENT_FAILED');
    expect(codeOf(judged({ own: [assistant([], 'end_turn', { model: '<synthetic>' })] }))).toBe(
      'AGENT_FAILED',
    );
  });

  it('does not believe a success whose transcript was not stored', () => {
    expect(codeOf(judged({}, [system('mirror_error', { error: 'late' }), result()]))).toBe('STORE_REFUSED');
    const lost = system('session_writes_lost', { error_code: 'ENOSPC', lost: ['transcript'] });
    expect(codeOf(judged({}, [lost, result()]))).toBe('STORE_REFUSED');
    const elsewhere = system('session_writes_lost', { error_code: 'ENOSPC', lost: ['global_config'] });
    expect(judgeRun(judged({}, [elsewhere, result()])).text).toBe('Done.');
    expect(codeOf(judged({ stopped: 'store_refused' }, []))).toBe('STORE_REFUSED');
  });

  it('tells a sealed session from a store that is ill', () => {
    const sealed = new SessionChainError('FENCED', 'Session s is sealed.');
    const refusal = new Error('The store refused an append', { cause: sealed });
    expect(codeOf(judged({ stopped: 'store_refused', refusal }, []))).toBe('FENCED');
    expect(codeOf(judged({ stopped: 'store_refused', refusal: new Error('disk full') }, []))).toBe(
      'STORE_REFUSED',
    );
    // What is refused while the agent is being stopped is no reason of its own.
    expect(codeOf(judged({ stopped: 'cancelled', refusal }, []))).toBe('CANCELLED');
  });

  it('tells a lease that was lost, whatever else the store says by then, and takes what was done before', () => {
    const refusal = new Error('refused', { cause: new SessionChainError('FENCED', 'Session s is sealed.') });
    const late = system('mirror_error', { error: 'late' });
    expect(codeOf(judged({ stopped: 'lease_lost', refusal }, [late]))).toBe('WORKER_LOST');
    expect(codeOf(judged({ stopped: 'lease_lost' }, []))).toBe('WORKER_LOST');
    expect(judgeRun(judged({ stopped: 'lease_lost' })).text).toBe('Done.');
  });

  it('waits as long as the service asks for, where the agent would have sat it out', () => {
    const retry = { error_status: 429, retry_delay_ms: 40_000, attempt: 1 };
    for (const message of [
      system('api_retry', retry),
      { type: 'tool_progress', tool_name: 'Agent', subagent_retry: retry },
    ]) {
      expect(failureOf(judged({ stopped: 'unavailable' }, [message]))).toMatchObject({
        code: 'MODEL_UNAVAILABLE',
        retryAfterMs: 40_000,
      });
    }
  });

  it('does not take what the model does for a service that is away', () => {
    const cut = (stopReason: string) => [assistant([{ type: 'text', text: 'I begin' }], stopReason)];
    const told = (error: string | undefined, stopReason: string) =>
      codeOf(judged({ own: cut(stopReason) }, [inPlaceOfModel(error), apiError(null)]));
    expect(told('max_output_tokens', 'max_tokens')).toBe('ANSWER_UNFINISHED');
    expect(told('max_output_tokens', 'model_context_window_exceeded')).toBe('CONTEXT_FULL');
    expect(told(undefined, 'tool_use')).toBe('AGENT_FAILED');
    // Full before, and then the service went away.
    expect(told('server_error', 'model_context_window_exceeded')).toBe('MODEL_UNAVAILABLE');
    const ended = (terminal_reason: string) =>
      codeOf(judged({}, [result({ is_error: true, api_error_status: 400, terminal_reason })]));
    expect(['prompt_too_long', 'blocking_limit', 'rapid_refill_breaker'].map(ended)).toEqual(
      Array(3).fill('CONTEXT_FULL'),
    );
    expect(ended('malformed_tool_use_exhausted')).toBe('ANSWER_UNFINISHED');
    expect(ended('api_error')).toBe('MODEL_REJECTED');
  });

  it('reads an API error out of a success', () => {
    expect(codeOf(judged({}, [apiError(400)]))).toBe('MODEL_REJECTED');
    expect(codeOf(judged({}, [apiError(401)]))).toBe('MODEL_UNAUTHORIZED');
    expect(codeOf(judged({}, [apiError(529)]))).toBe('MODEL_UNAVAILABLE');
    const withoutStatus = (error: string | undefined) =>
      codeOf(judged({}, [inPlaceOfModel(error), apiError(null)]));
    expect(['server_error', 'overloaded', 'rate_limit'].map(withoutStatus)).toEqual(
      Array(3).fill('MODEL_UNAVAILABLE'),
    );
    expect(['authentication_failed', 'billing_error'].map(withoutStatus)).toEqual(
      Array(2).fill('MODEL_UNAUTHORIZED'),
    );
    expect(codeOf(judged({}, [inPlaceOfModel('billing_error'), apiError(400)]))).toBe('MODEL_UNAUTHORIZED');
    expect(withoutStatus('model_not_found')).toBe('MODEL_REJECTED');
    // Nothing that is not known is waited for without end.
    expect([undefined, 'unknown'].map(withoutStatus)).toEqual(Array(2).fill('AGENT_FAILED'));
  });

  it('says when a rate limit ends', () => {
    const limit = { type: 'rate_limit_event', rate_limit_info: { status: 'rejected', resetsAt: 1060 } };
    expect(failureOf(judged({}, [limit, apiError(429)])).retryAfterMs).toBe(60_000);
    expect(failureOf(judged({}, [apiError(429)])).retryAfterMs).toBeUndefined();
  });

  it('names refusals, limits and missing logins', () => {
    expect(codeOf(judged({}, [result({ is_error: true, stop_reason: 'refusal' })]))).toBe('MODEL_REFUSED');
    expect(codeOf(judged({}, [system('model_refusal_no_fallback'), apiError(null)]))).toBe('MODEL_REFUSED');
    const ended = (subtype: string, error = 'why') => result({ subtype, is_error: true, errors: [error] });
    expect(codeOf(judged({}, [ended('error_max_turns')]))).toBe('BUDGET_EXCEEDED');
    expect(codeOf(judged({}, [ended('error_max_budget_usd')]))).toBe('BUDGET_EXCEEDED');
    expect(codeOf(judged({}, [ended('error_during_execution')]))).toBe('AGENT_FAILED');
    const limitsOf = { cost: 'chain', turns: 'step', time: 'question' } as const;
    const told = (over: Partial<JudgedRun>, messages: object[] = []) => {
      const { code, message, remedy } = failureOf(judged({ limitsOf, ...over }, messages));
      return `${code}: ${message} ${remedy}`;
    };
    expect(told({}, [ended('error_max_budget_usd', 'So.')])).toBe(
      'BUDGET_EXCEEDED: The build step has spent what it may: the cost limit of the chain is reached. So. Raise the cost limit of the chain (budget.maxCostUsd) and start the chain again.',
    );
    for (const turns of [told({}, [ended('error_max_turns')]), told({ stopped: 'turns_used' })]) {
      expect(turns).toMatch(/limit of model turns of the step is reached.* \(limits\.maxTurns\) and start/);
    }
    expect(told({ stopped: 'timed_out' })).toMatch(
      /^STEP_TIMED_OUT: .* within 1 s: the time limit of the question .* \(chat\.limits\.timeoutMs\) and ask again\.$/,
    );
    expect(told({ stopped: 'memoryMb' })).toMatch(
      /^SANDBOX_LIMIT: .* build step .* memory limit of the sandbox \(4096 MB\)\. .*\(sandbox\.limits\.memoryMb, SESSION_CHAIN_SANDBOX_MEMORY_MB\)/,
    );
    expect(
      codeOf(judged({}, [ended('error_during_execution', 'No conversation found with session ID: x')])),
    ).toBe('SESSION_NOT_IN_STORE');
    expect(codeOf(judged({ baseFailure: 'missing' }))).toBe('SESSION_NOT_IN_STORE');
    const down = new SessionChainError('DATABASE_UNAVAILABLE', 'The database is down.');
    expect(failureOf(judged({ baseFailure: down }, []))).toBe(down);
    expect(codeOf(judged({ baseFailure: new Error('odd'), stopped: 'cancelled' }, []))).toBe('CANCELLED');
    expect(
      codeOf(judged({}, [result({ is_error: true, result: 'Not logged in · Please run /login' })])),
    ).toBe('CREDENTIALS_MISSING');
  });

  it('names why it was stopped, unless it had finished all the same', () => {
    expect(codeOf(judged({ stopped: 'cancelled' }, []))).toBe('CANCELLED');
    expect(codeOf(judged({ stopped: 'timed_out' }, []))).toBe('STEP_TIMED_OUT');
    expect(codeOf(judged({ stopped: 'unauthorized' }, []))).toBe('MODEL_UNAUTHORIZED');
    expect(judgeRun(judged({ stopped: 'cancelled' })).text).toBe('Done.');
    // Claude Code calls what it was stopped in a success.
    expect(codeOf(judged({ stopped: 'cancelled', own: [] }))).toBe('CANCELLED');
    expect(codeOf(judged({ stopped: 'lease_lost', own: [assistant([], 'tool_use')] }))).toBe('WORKER_LOST');
    const compaction = { name: 'compact', kind: 'compaction', allowedTools: [] } as const;
    const aborted = system('status', {
      compact_result: 'failed',
      compact_error: 'API Error: Request was aborted.',
    });
    expect(codeOf(judged({ task: compaction, stopped: 'cancelled' }, [aborted, result()]))).toBe('CANCELLED');
  });

  it('tells how an agent without a result ended', () => {
    const exit = { code: null, signal: 'SIGKILL', errorTail: 'out of memory' };
    expect(failureOf(judged({ exit }, [])).message).toMatch(/by SIGKILL.*out of memory/);
  });

  it('keeps messages short', () => {
    const said = result({ is_error: true, api_error_status: 400, result: 'x'.repeat(50_000) });
    expect(failureOf(judged({}, [said])).message.length).toBeLessThanOrEqual(1000);
  });

  it('lets the kind of the task decide on what was stored, and warns of servers that were away besides', () => {
    const servers = [
      { name: 'search', status: 'failed' },
      { name: 'chain', status: 'connected' },
    ];
    const init = system('init', { claude_code_version: '2.1.330', model: 'claude', mcp_servers: servers });
    const docs = { name: 'docs', kind: 'work', allowedTools: [], writes: ['README.md'] } as const;
    expect(judgeRun(judged({ task: docs }, [init, result()])).warnings).toEqual([
      'The MCP server search (failed) was not there; its tools were missing.',
      'The docs step wrote none of README.md.',
    ]);
    expect(judgeRun(judged({ task: docs, filesTouched: ['README.md'] })).warnings).toEqual([]);
    const compaction = { name: 'compact', kind: 'compaction', allowedTools: [] } as const;
    const failed = system('status', { compact_result: 'failed', compact_error: 'empty response' });
    expect(failureOf(judged({ task: compaction }, [failed, result()]))).toMatchObject({
      code: 'COMPACTION_FAILED',
      message: 'empty response',
    });
  });
});

it('codeOfStatus tells what is worth another try', () => {
  expect([400, 404, 422].map(codeOfStatus)).toEqual(Array(3).fill('MODEL_REJECTED'));
  expect(codeOfStatus(413)).toBe('CONTEXT_FULL');
  expect([401, 402, 403].map(codeOfStatus)).toEqual(Array(3).fill('MODEL_UNAUTHORIZED'));
  expect([408, 429, 500, 503, 529].map(codeOfStatus)).toEqual(Array(5).fill('MODEL_UNAVAILABLE'));
});
