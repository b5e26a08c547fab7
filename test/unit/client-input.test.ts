import { afterAll, describe, expect, it } from '@jest/globals';
import { Connection } from '@temporalio/client';
import pg from 'pg';
import { createSessionChain } from '../../client/session-chain.js';

/** What the client refuses before it asks Postgres or Temporal for anything: neither is there. */

const client = createSessionChain({
  databaseUrl: 'postgres://127.0.0.1:1/none',
  temporal: { address: '127.0.0.1:1' },
});
afterAll(async () => {
  await client.close();
});
/** As an application without types calls it. */
const untyped = client as unknown as Record<string, (...given: unknown[]) => unknown>;
const call = async (method: string, given: unknown[]): Promise<unknown> => {
  const returned: unknown = untyped[method]?.(...given);
  return await (returned instanceof Promise ? returned : (returned as AsyncGenerator<unknown>).next());
};
const key = { projectId: 'shop', versionId: 'shop-v2' };
const record = { ...key, sessionId: 's', source: 'build' };

describe('a call is refused by what is wrong in it', () => {
  it.each<[string, unknown[], string]>([
    // A misspelled option would count as left out, and this one would write.
    ['rewind', ['shop', { to: 1, dryrun: true }], 'options: Unrecognized key: "dryrun"'],
    ['rewind', ['shop', { to: 1, dryRun: 'yes' }], 'dryRun: '],
    ['rewind', ['shop', { to: '1' }], 'to: '],
    ['rewind', ['shop', { to: 1, key: 7 }], 'key: '],
    ['rewind', ['shop'], 'to: '],
    ['validateAndRecover', ['shop', undefined, { dryrun: true }], 'Unrecognized key: "dryrun"'],
    ['validateAndRecover', ['shop', undefined, { dryRun: 1 }], 'dryRun: '],
    ['cancel', [key, { force: 'no' }], 'force: '],
    ['cancel', [key, { forced: true }], 'Unrecognized key: "forced"'],
    ['recordSession', [], 'request: '],
    ['recordSession', [{ ...record, notinstore: true }], 'Unrecognized key: "notinstore"'],
    ['recordSession', [{ ...record, metrics: { cost: 1 } }], 'metrics: Unrecognized key: "cost"'],
    ['updateProjectSession', ['shop', 's', 'Build'], 'source: '],
    ['sessionFor', ['shop', 'committed', { timeoutMs: 'soon' }], 'timeoutMs: '],
    ['sessionFor', ['shop', 'committed', { timeoutMs: NaN }], 'timeoutMs: '],
    ['sessionFor', ['shop', 'later'], '"later"'],
    ['transitions', ['shop', { limt: 1 }], 'Unrecognized key: "limt"'],
    ['transitions', ['shop', { limit: 0 }], 'limit: '],
    ['tree', ['shop', { limit: '5' }], 'limit: '],
    ['questions', ['shop', { chat: 'c' }], 'Unrecognized key: "chat"'],
    ['questions', ['shop', { chatId: 'a/b' }], 'chat id "a/b"'],
    ['syncReport', [{ project: 'shop' }], 'Unrecognized key: "project"'],
    ['chains', [{ stuckForMs: Number.MAX_SAFE_INTEGER }], 'stuckForMs: '],
    ['chains', [{ since: new Date(-8.64e15) }], 'since: '],
    ['chains', [null], 'filter: '],
    ['importSession', [], 'request: '],
    ['importSession', [{ projectId: 'shop', sessionId: 's', claudedir: '/c' }], '"claudedir"'],
    ['importHeads', [{ claudedir: '/c' }], '"claudedir"'],
    ['exportSession', [{ sessionId: 's', project: 'shop' }], '"project"'],
    ['erase', ['shop'], 'by: is required'],
    ['erase', ['shop', { by: '' }], 'by: '],
    ['erase', ['shop', { by: 'Ada', dryrun: true }], 'Unrecognized key: "dryrun"'],
    ['start', [], 'request: '],
    ['ask', [], 'request: '],
    ...['state', 'progress', 'wait', 'cancel', 'chain', 'brief', 'chainSpend'].flatMap(
      (method): [string, unknown[], string][] => [
        [method, [], 'key: '],
        [method, [{ projectId: 'shop' }], 'versionId: '],
        [method, [{ ...key, buildId: 'chat:7' }], 'reserved'],
      ],
    ),
    ...[
      'head',
      'erase',
      'erasure',
      'reconcile',
      'spend',
      'lineage',
      'getProjectSession',
      'getSessionChain',
      'unbindWorkspace',
    ].map((method): [string, unknown[], string] => [method, [7], 'project id of type number']),
  ])('%s(...%j)', async (method, given, said) => {
    await expect(call(method, given)).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringContaining(said),
    });
  });
});

describe('a client is refused by what is wrong in its options', () => {
  const least = { databaseUrl: 'postgres://localhost/app', temporal: { address: 'localhost:7233' } };
  it.each<[string, object | undefined, string]>([
    ['nothing', undefined, 'options: '],
    ['no database', { ...least, databaseUrl: undefined }, 'databaseUrl, pool: give one of the two'],
    ['two databases', { ...least, pool: new pg.Pool() }, 'databaseUrl, pool: give one of the two'],
    ['one connection as a pool', { ...least, databaseUrl: undefined, pool: new pg.Client() }, 'pool: '],
    ['no Temporal', { ...least, temporal: undefined }, 'temporal: must be { address, namespace }'],
    ['a connection of Temporal', { ...least, temporal: Connection.lazy() }, 'or a Client'],
    ['an address without its field', { ...least, temporal: 'localhost:7233' }, 'temporal: '],
    ['a misspelled option', { ...least, taskqueue: 'builds' }, 'Unrecognized key: "taskqueue"'],
    ['a queue that is none', { ...least, taskQueue: '' }, 'taskQueue: '],
    ['a mode that is none', { ...least, searchAttributes: true }, 'searchAttributes: '],
  ])('%s', (_what, options, said) => {
    expect(() => createSessionChain(options as never)).toThrow(
      expect.objectContaining({ code: 'INVALID_INPUT', message: expect.stringContaining(said) }),
    );
  });

  it('and one that is closed may be closed again', async () => {
    const closed = createSessionChain({ pool: new pg.Pool(), temporal: { address: '127.0.0.1:1' } });
    await closed.close();
    await closed.close();
    const own = createSessionChain(least);
    await Promise.all([own.close(), own.close()]);
    await own.close();
  });
});
