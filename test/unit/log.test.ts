import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { ApplicationFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger, type LogEntry } from '@temporalio/worker';
import {
  type LogSink,
  createEventLog,
  failureFields,
  forActivity,
  levelOf,
  levelOfPart,
  levelOfTry,
  logEvents,
} from '../../activities/log.js';
import type { Pool } from '../../storage/db/pool.js';
import { reportingFailures } from '../../activities/failures.js';
import type { Meter } from '../../activities/meter.js';
import { createOutage } from '../../activities/outage.js';
import { AgentRunError, QuotingError, type AgentSpend } from '../../agent/run.js';
import { SessionChainError, categoryOf, failureCodes } from '../../contracts/failures.js';
import { payloadVersion } from '../../contracts/plan.js';
import { temporalLogger, withoutTaskTokens } from '../../workers/temporal-log.js';

type Line = Record<string, unknown> & { level: string };

/** A log, and what it has written. */
function kept(hide: string[] = [], { hasError = true } = {}) {
  const lines: Line[] = [];
  const at = (level: string) => (fields: Record<string, unknown>, msg?: string) =>
    void lines.push({ level, ...fields, msg });
  const sink: LogSink = { info: at('info'), warn: at('warn'), ...(hasError ? { error: at('error') } : {}) };
  return { log: createEventLog(sink, hide), lines };
}

describe('a level', () => {
  it('pages for what is of Session Chain itself or of its set-up, whatever the code, and for nothing else', () => {
    const pages = failureCodes.filter((code) => levelOf(code) === 'error');
    expect(pages).toEqual(failureCodes.filter((code) => /^(internal|setup)$/.test(categoryOf(code))));
    expect(pages).toEqual(
      expect.arrayContaining(['INTERNAL', 'DATABASE_REFUSED', 'MODEL_UNAUTHORIZED', 'SANDBOX_UNAVAILABLE']),
    );
    for (const code of ['AGENT_FAILED', 'BUDGET_EXCEEDED', 'MODEL_UNAVAILABLE', 'STORE_REFUSED'] as const)
      expect([code, levelOf(code)]).toEqual([code, 'warn']);
    for (const code of ['CANCELLED', 'CHAIN_TERMINATED', 'FENCED', 'HOLDER_ENDING'] as const)
      expect([code, levelOf(code)]).toEqual([code, 'info']);
  });

  it('of a part is never that of the whole, so that one failure pages once', () => {
    expect(failureCodes.filter((code) => levelOfPart(code) === 'error')).toEqual([]);
    // It says itself, once, that it lasts.
    expect(levelOfPart('MODEL_UNAVAILABLE')).toBe('info');
    expect(levelOfPart('AGENT_FAILED')).toBe('warn');
  });

  it('of a try rises with the tries, and is the highest at once for an unexpected error alone', () => {
    expect(failureCodes.filter((code) => levelOfTry(code, 1) === 'error').map(categoryOf)).toEqual(
      failureCodes.map(categoryOf).filter((category) => category === 'internal'),
    );
    expect([1, 4, 8].map((tries) => levelOfTry('DATABASE_REFUSED', tries))).toEqual([
      'warn',
      'warn',
      'error',
    ]);
    expect([1, 4, 8].map((tries) => levelOfTry('DATABASE_UNAVAILABLE', tries))).toEqual([
      ...['info', 'info', 'warn'],
    ]);
    expect([1, 8].map((tries) => levelOfTry('HOLDER_ENDING', tries))).toEqual(['info', 'info']);
  });
});

describe('a line', () => {
  it('has its event, the ids of its log and a sentence', () => {
    const { log, lines } = kept();
    forActivity(log, { workflowId: 'chain/p/v/b', projectId: 'p' })
      .with({ attempt: 2 })
      .warn('agent.failed', { code: 'AGENT_FAILED' });
    expect(lines).toEqual([
      {
        ...{ level: 'warn', event: 'agent.failed', workflowId: 'chain/p/v/b', projectId: 'p', attempt: 2 },
        ...{ code: 'AGENT_FAILED', msg: logEvents['agent.failed'] },
      },
    ]);
  });

  it.each([
    ['a long text', { reason: 'x'.repeat(100_000) }],
    [
      'many texts',
      Object.fromEntries(Array.from({ length: 90 }, (_, index) => [`f${index}`, 'é'.repeat(90)])),
    ],
    ['a list', { steps: Array.from({ length: 1_000 }, (_, index) => `step-${index}`) }],
    ['the longest ids', { reason: 'é'.repeat(2_000) }],
    ['an error', { err: new Error('y'.repeat(5_000), { cause: new Error('z'.repeat(5_000)) }) }],
    ['a text of emoji', { reason: '🙂'.repeat(3_000) }],
  ])('is short with %s, and keeps its ids', (what, fields) => {
    const { log, lines } = kept();
    const id = 'p'.repeat(what === 'the longest ids' ? 255 : 10);
    const workflowId = `chain/${id}/${id}/${id}`;
    log
      .with({ projectId: id, versionId: id, buildId: id, workflowId })
      .error('step.failed', { code: 'INTERNAL', ...fields });
    const [line] = lines;
    expect(Buffer.byteLength(JSON.stringify(line))).toBeLessThan(2_000);
    expect(line).toMatchObject({ event: 'step.failed', projectId: id, buildId: id, code: 'INTERNAL' });
    // No half of a pair.
    expect(JSON.stringify(line)).not.toMatch(/\\ud[89a-f]/i);
  });

  it('has no credential, in whatever field and in whichever log of a host', () => {
    const { log, lines } = kept(['a-very-secret-password']);
    log.error('step.failed', {
      reason: 'postgres://shop:hunter2@db/app is away',
      deep: [{ said: 'the password is a-very-secret-password' }],
      err: new Error('Bearer abcdefgh12345678 and sk-ant-api03-xyz'),
    });
    expect(JSON.stringify(lines)).not.toMatch(/hunter2|a-very-secret|abcdefgh12345678|api03/);
  });

  it('of an error is a warning in a log of a host that has no error', () => {
    const { log, lines } = kept([], { hasError: false });
    log.error('chain.closed', { code: 'INTERNAL' });
    expect(lines).toMatchObject([{ level: 'warn', event: 'chain.closed' }]);
  });

  it('that cannot be written stops nothing', () => {
    const full = () => {
      throw new Error('ENOSPC');
    };
    const log = createEventLog({ info: full, warn: full, error: full });
    expect(() => log.error('chain.closed', { code: 'INTERNAL' })).not.toThrow();
    expect(() => log.info('chain.opened', { steps: 1n })).not.toThrow();
  });

  it('of a failure that quotes somebody has our own words', () => {
    const said = 'API Error: 400 {"messages":[{"content":"build a shop for cats"}]}';
    const spent = {} as AgentSpend;
    const quoting = new QuotingError('MODEL_REJECTED', said, 'The model service answered 400.');
    const errors = [
      quoting,
      new AgentRunError(quoting, spent),
      new AgentRunError(new SessionChainError('MODEL_REJECTED', said), spent),
      new SessionChainError('AGENT_FAILED', said),
      new SessionChainError('PROMPT_FAILED', said),
    ];
    expect(errors.map((error) => failureFields(error).reason).join()).not.toContain('cats');
    expect(failureFields(errors[1] as AgentRunError).reason).toBe('The model service answered 400.');
    const ours = new SessionChainError('WORKSPACE_NOT_ALLOWED', 'The workspace /srv/x does not exist.');
    expect(failureFields(ours).reason).toContain('/srv/x');
  });
});

describe('a try that another one follows', () => {
  it.each([
    ['step', 'warn step.retried'],
    ['question', 'warn question.retried'],
    ['part of a chain', 'error activity.retried'],
  ] as const)('of a %s pages only where nothing else would', async (subject, said) => {
    const { log, lines } = kept();
    const report = {
      ...{ log, subject, maxAttempts: 3, meter: { failed: () => undefined } as unknown as Meter },
      outages: { database: createOutage(log, { subject: 'database', pageAfterMs: null }) },
      pool: {} as Pool,
    };
    const failing = async () =>
      await reportingFailures({ version: payloadVersion }, report, () => Promise.reject(new Error('A bug.')));
    const environment = new MockActivityEnvironment(undefined, {
      logger: new DefaultLogger('ERROR', () => undefined),
    });
    await expect(environment.run(failing)).rejects.toThrow('unexpected');
    expect(lines.map(({ level, event }) => `${level} ${String(event)}`)).toEqual([said]);
  });
});

describe('an outage', () => {
  const minute = 60_000;
  function outageOf(pageAfterMs: number | null) {
    const { log, lines } = kept();
    const clock = { ms: 0 };
    const outage = createOutage(log, { subject: 'model', pageAfterMs, nowMs: () => clock.ms });
    const trouble = (atMs: number) => {
      clock.ms = atMs;
      outage.trouble(log, { code: 'MODEL_UNAVAILABLE' });
    };
    const over = (atMs: number) => {
      clock.ms = atMs;
      outage.over();
    };
    return { trouble, over, said: () => lines.map(({ level, event }) => `${level} ${String(event)}`), lines };
  }

  it('is told when it begins, at a slow rate, and when it is over, however many ask', () => {
    const { trouble, over, said, lines } = outageOf(null);
    over(0);
    for (let second = 1; second <= 11 * 60; second++) trouble(second * 1_000);
    over(11.5 * minute);
    over(12 * minute);
    expect(said()).toEqual([
      ...['warn model.unavailable', 'warn model.still_unavailable', 'warn model.still_unavailable'],
      'info model.available',
    ]);
    expect(lines.at(-1)).toMatchObject({ tries: 660, lastedMs: 11.5 * minute - 1_000 });
  });

  it('that comes and goes is told as seldom', () => {
    const { trouble, over, said } = outageOf(null);
    for (let second = 1; second <= 4 * 60; second += 2) {
      trouble(second * 1_000);
      over((second + 1) * 1_000);
    }
    expect(said()).toEqual(['warn model.unavailable', 'info model.available']);
    trouble(6 * minute);
    expect(said().at(-1)).toBe('warn model.unavailable');
  });

  it('pages once it has lasted too long', () => {
    const { trouble, said } = outageOf(30_000);
    for (const second of [1, 6, 11, 26, 31, 36, 41, 200, 340]) trouble(second * 1_000);
    expect(said()).toEqual([
      ...['warn model.unavailable', 'error model.still_unavailable', 'error model.still_unavailable'],
    ]);
  });
});

describe("what Temporal's library says", () => {
  const meta = { taskToken: 'CiQw'.repeat(80), workflowId: 'chain/p/v/b', attempt: 2, workflowType: 'chain' };

  it('is a line of ours without a task token, unless a line of ours has told it', () => {
    const { log, lines } = kept();
    const logger = temporalLogger(log);
    const ours = ApplicationFailure.create({ type: 'MODEL_REJECTED', message: 'x' });
    logger.warn('Activity failed', { ...meta, error: ours });
    logger.warn('Workflow failed', { ...meta, error: new Error('failed in build') });
    logger.warn('No workflows registered, not polling for workflow tasks', {});
    logger.info('Worker state changed', {});
    logger.error('Failed to process Workflow Activation', { ...meta, error: new Error('no determinism') });
    expect(lines).toEqual([]);
    logger.warn('Activity failed', { ...meta, error: new TypeError('not ours') });
    logger.error('Worker failed', { ...meta, error: new Error('no connection') });
    expect(lines).toMatchObject([
      {
        level: 'warn',
        event: 'temporal.sdk',
        said: 'Activity failed',
        workflowId: 'chain/p/v/b',
        attempt: 2,
      },
      { level: 'error', event: 'temporal.sdk', err: { message: 'no connection' } },
    ]);
    expect(JSON.stringify(lines)).not.toContain('CiQw');
  });

  it.each([true, false])('has no task token of ours in the logger of a host (ours: %s)', async (ours) => {
    const said: LogEntry[] = [];
    const environment = new MockActivityEnvironment(
      { activityType: ours ? 'open' : 'theirs' },
      {
        interceptors: [withoutTaskTokens((type) => type === 'open')],
        logger: new DefaultLogger('WARN', (entry) => void said.push(entry)),
      },
    );
    const failing = async () => {
      throw new Error('It failed.');
    };
    await expect(environment.run(failing)).rejects.toThrow('It failed.');
    expect(
      said.map(({ message, meta = {} }) => [message, 'taskToken' in meta, 'workflowId' in meta]),
    ).toEqual([['Activity failed', !ours, true]]);
  });
});

describe('docs/log.md', () => {
  it('has every event, and no other', () => {
    const page = readFileSync(join(import.meta.dirname, '../../docs/log.md'), 'utf8');
    const named = [...page.matchAll(/^\| `([a-z_]+\.[a-z_]+)` /gm)].map(([, name]) => name);
    expect([...named].sort()).toEqual(Object.keys(logEvents).sort());
  });
});
