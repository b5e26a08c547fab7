import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Client, Connection } from '@temporalio/client';
import { createSessionChain } from '../../client/session-chain.js';
import type { SessionChain } from '../../client/session-chain.js';
import { beginActivityStep } from '../../storage/operations/activity-steps.js';
import { readAllEvents, readProjectEvents } from '../../storage/events/events.js';
import { installationMemo } from '../../contracts/installation.js';
import { createPool } from '../../storage/db/pool.js';
import { readInstallation } from '../../storage/db/installation.js';
import { openChain } from '../../storage/chains/chains.js';
import { chainWorkflowId, workflowTypes } from '../../temporal/names.js';
import { newKey, openNew, openerOf, register, runStep } from '../support/chains.js';
import { until } from '../support/chain-stack.js';
import { createCommandLine } from '../support/cli.js';
import { type TestDatabase, createTestDatabase } from '../support/database.js';

/** A database that was restored: no number comes back, and what Temporal knows beside it is told. */

let database: TestDatabase;
let client: SessionChain;
const connection = await Connection.connect({ address: process.env['TEST_TEMPORAL_ADDRESS'] ?? '' });
const temporal = new Client({ connection });
beforeEach(async () => {
  database = await createTestDatabase();
  await database.pool.query('UPDATE session_chain.installation SET id = gen_random_uuid()');
  client = createSessionChain({ pool: database.pool, temporal, searchAttributes: 'off' });
});
afterEach(async () => {
  await client.close();
  await database.drop();
});
afterAll(async () => {
  await connection.close();
});

const sql = async (text: string, ...values: unknown[]) =>
  (await database.pool.query<Record<string, unknown>>(text, values)).rows;

/** Where every sequence of the database stands. */
async function sequences(): Promise<Map<string, number>> {
  const rows = await sql(
    `SELECT seqrelid::regclass::text AS name, coalesce(pg_sequence_last_value(seqrelid), 0) AS last FROM pg_sequence`,
  );
  return new Map(rows.map(({ name, last }) => [String(name), Number(last)]));
}

const plan = [
  { name: 'build', kind: 'work', role: 'build', critical: true },
  { name: 'deploy', kind: 'activity' },
] as const;

async function openWithDeploy() {
  const key = newKey();
  const { chainId } = await register(database.pool, key);
  const runId = randomUUID();
  const open = async (ticket: number | null) => {
    const opened = await openChain(database.pool, { ...key, chainId }, openerOf(runId, ticket), null, {
      plan: [...plan],
    });
    if (opened.outcome !== 'opened') throw new Error(`Not opened: ${opened.outcome}.`);
    return { ...key, chainId, runId, ticket: opened.ticket, head: opened.head.sessionId };
  };
  const deploy = async (ticket: number) => {
    const begun = await beginActivityStep(database.pool, {
      ...{ ...key, chainId, ticket, step: 'deploy', round: 1, role: 'deploy', activity: 'deployShop' },
      ...{ taskQueue: 'host', sessionId: null, seq: null, scheduledAtMs: Date.now() },
    });
    return 'key' in begun ? begun.key : null;
  };
  return { chain: await open(null), open, deploy };
}

describe('after a restore', () => {
  it('what is lost and done again is deployed under another key, what is not lost under the same', async () => {
    const { chain, open, deploy } = await openWithDeploy();
    const goBack = await database.backUp();
    await runStep(database.pool, chain, 'build');
    const lost = await deploy(chain.ticket);
    await goBack();
    // As in a fail-over, of which nobody tells the database.
    const again = await open(null);
    await runStep(database.pool, again, 'build');
    const key = await deploy(again.ticket);
    expect(key).not.toBe(lost);

    const goBackAgain = await database.backUp();
    expect(await deploy(again.ticket)).toBe(key);
    await goBackAgain();
    expect(await deploy(again.ticket)).toBe(key);
  });

  it('every sequence has moved past what was drawn since the backup, and no event has an id of one that was lost', async () => {
    const atBackup = await sequences();
    const goBack = await database.backUp();
    const chain = await openNew(database.pool);
    await runStep(database.pool, chain, 'build');
    const lost = await readAllEvents(database.pool, 0, 1_000);
    const atLoss = await sequences();
    await goBack();
    expect(await sequences()).toEqual(atBackup);

    const before = await client.installation();
    const marked = await client.restored();
    expect(marked).toMatchObject({
      installationId: before.id,
      formerId: before.id,
      incarnation: before.incarnation + 1,
    });
    const moved = await sequences();
    expect([...moved].filter(([name, last]) => last <= (atLoss.get(name) ?? 0) + 900_000)).toEqual([]);
    expect([...moved.values()].every((last) => Number.isSafeInteger(last * 2 ** 20))).toBe(true);
    expect(marked.sequences).toBe(moved.size);

    const next = await openNew(database.pool);
    await runStep(database.pool, next, 'build');
    const { events } = await readAllEvents(database.pool, 0, 1_000);
    const newest = Math.max(...lost.events.map(({ id }) => id));
    expect(events.every(({ id }) => id > newest)).toBe(true);
    // A reader that has read what was lost gets a gap, over all projects and of one.
    expect((await readAllEvents(database.pool, newest, 10)).gap).toMatchObject({ reason: 'ahead' });
    expect((await readProjectEvents(database.pool, next, newest, 10)).gap).toMatchObject({ reason: 'ahead' });
    const [transition] = await sql('SELECT id FROM session_transitions');
    expect(Number(transition?.['id'])).toBeGreaterThan(900_000);
  });

  it("numbers of rows that come from a sequence of the host's do not come back, behind a view either", async () => {
    const owner = `owner_${randomUUID().slice(0, 8)}`;
    await sql(`CREATE ROLE ${owner}`);
    await sql('CREATE SEQUENCE ids AS integer');
    await sql(
      `ALTER TABLE session_transitions ALTER COLUMN id DROP IDENTITY, ALTER COLUMN id SET DEFAULT nextval('ids')`,
    );
    await sql('CREATE SEQUENCE other_ids');
    await sql('ALTER TABLE project_chat_log_minimal RENAME TO questions_of_host');
    await sql(`ALTER TABLE questions_of_host ADD COLUMN number integer DEFAULT nextval('other_ids')`);
    await sql('CREATE VIEW project_chat_log_minimal AS SELECT * FROM questions_of_host');
    await sql('ALTER TABLE chat_plan_sessions ADD COLUMN number serial');
    const before = await sequences();
    await client.restored();
    const after = await sequences();
    const moved = (name: string) => (after.get(name) ?? 0) - (before.get(name) ?? 0);
    expect([moved('ids') > 2_000_000, moved('other_ids') > 2_000_000]).toEqual([true, true]);

    // The functions run as the owner, who may lack the right.
    await sql(`ALTER FUNCTION session_chain.mark_restored OWNER TO ${owner}`);
    await sql(`GRANT ALL ON SCHEMA session_chain TO ${owner}`);
    await sql(`GRANT ALL ON ALL TABLES IN SCHEMA session_chain TO ${owner}`);
    await sql(`GRANT ALL ON ALL SEQUENCES IN SCHEMA session_chain, public TO ${owner}`);
    await sql(`REVOKE UPDATE ON SEQUENCE ids FROM ${owner}`);
    const { incarnation } = await client.installation();
    await expect(client.restored()).rejects.toMatchObject({
      code: 'DATABASE_REFUSED',
      message: expect.stringContaining(`GRANT UPDATE ON SEQUENCE ids TO ${owner}`),
    });
    expect(await client.installation()).toMatchObject({ incarnation });
    await sql(`GRANT UPDATE ON SEQUENCE ids TO ${owner}`);
    expect(await client.restored()).toMatchObject({ incarnation: incarnation + 1 });
    await sql(`DROP OWNED BY ${owner} CASCADE`);
    await sql(`DROP ROLE ${owner}`);
  });

  it('it is refused while a worker is there, without force, and may be said twice', async () => {
    await sql(
      `SELECT session_chain.renew_worker($1, $2, 0, 0, 0)`,
      randomUUID(),
      JSON.stringify({
        ...{ identity: '7@one', host: 'one', version: '0', sdk: '0', sandbox: 'none', namespace: 'default' },
        release: '0',
        ...{ taskQueue: 'q', limits: {}, definition: {}, definitionDigest: '0'.repeat(64) },
      }),
    );
    const { id, incarnation } = await client.installation();
    await expect(client.restored()).rejects.toMatchObject({
      code: 'INSTALLATION_IN_USE',
      message: expect.stringContaining('7@one'),
    });
    expect(await client.installation()).toMatchObject({ id, incarnation });
    await client.restored({ force: true });
    expect(await client.restored({ force: true })).toMatchObject({ incarnation: incarnation + 2 });
    const role = `worker_${randomUUID().slice(0, 8)}`;
    await sql(`CREATE ROLE ${role} LOGIN`);
    const url = new URL(database.url);
    const owner = url.username;
    url.username = role;
    const pool = createPool(url.href, { applicationName: 'test', max: 1 });
    const worker = createSessionChain({ pool, temporal, searchAttributes: 'off' });
    await expect(worker.restored()).rejects.toMatchObject({
      code: 'DATABASE_REFUSED',
      message: expect.stringContaining(role),
      remedy: expect.stringContaining(owner),
    });
    await worker.close();
    await pool.end();
    await sql(`DROP ROLE ${role}`);
    // A copy that lives beside its original.
    const copy = await client.restored({ force: true, newInstallation: true });
    expect(copy.formerId).toBe(id);
    expect(copy.installationId).not.toBe(id);
    expect((await client.installation()).id).toBe(copy.installationId);
  });
});

describe('reconcileAll', () => {
  const start = async (chain: ReturnType<typeof newKey> & { chainId: string }, other?: string) => {
    const own = await readInstallation(database.pool);
    return await temporal.workflow.start(workflowTypes.chain, {
      workflowId: chainWorkflowId(chain),
      taskQueue: `nobody-${randomUUID()}`,
      memo: { ...installationMemo({ ...own, id: other ?? own.id }), chain: chain.chainId },
    });
  };

  it('closes chains of all projects whose workflows are gone, and tells what the database does not know', async () => {
    const gone = await Promise.all(Array.from({ length: 12 }, async () => await openNew(database.pool)));
    const known = newKey();
    await start({ ...known, ...(await register(database.pool, known)) });
    const unknown = await start({ ...newKey(), chainId: '4711' });
    const ofOther = await start({ ...newKey(), chainId: '4711' }, randomUUID());
    // The helper gives its chains a home of their own; these are of this Temporal.
    await sql('UPDATE session_chain.chains SET home = NULL');
    const ids = gone.map((chain) => chainWorkflowId(chain)).sort();

    await until(async () => {
      const { unknownOpen, ofOthers } = await client.reconcileAll({ dryRun: true });
      return unknownOpen === 1 && ofOthers > 0;
    });
    const planned = await client.reconcileAll({ dryRun: true, terminateUnknown: true });
    expect(planned).toMatchObject({ projects: 12, releasedChains: 12, unknownOpen: 1, terminated: 0 });
    expect(planned.released.sort()).toEqual(ids);
    expect(planned.unknown).toMatchObject([{ workflowId: unknown.workflowId, status: 'RUNNING' }]);
    expect(planned.ofOthers).toBeGreaterThan(0);
    // Node warns on stderr where one signal has more than ten listeners.
    const cli = createCommandLine();
    const shown = await cli.run(['reconcile', '--all', '--dry-run'], {
      PATH: process.env['PATH'],
      DATABASE_URL: database.url,
      TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'],
    });
    cli.stop();
    expect(shown).toMatchObject({ code: 1, stderr: '' });
    expect(shown.stdout).toContain('12 chains whose workflows are gone would be closed.');

    expect(await client.reconcileAll({ projectId: gone[0]?.projectId ?? '' })).toMatchObject({
      projects: 1,
      releasedChains: 1,
      unknownOpen: 0,
    });
    const done = await client.reconcileAll();
    expect(done).toMatchObject({ projects: 11, releasedChains: 11, unknownOpen: 1, terminated: 0 });
    expect(await client.reconcileAll({ terminateUnknown: true })).toMatchObject({
      ...{ projects: 0, releasedChains: 0, unknownOpen: 1, terminated: 1 },
    });
    expect((await unknown.describe()).status.name).toBe('TERMINATED');
    expect((await ofOther.describe()).status.name).toBe('RUNNING');
    await ofOther.terminate();
  });

  it('closes in a copy, once it has an id of its own, what the original still works on', async () => {
    const key = newKey();
    const chain = await openNew(database.pool, key);
    await sql('UPDATE session_chain.chains SET home = NULL');
    const workflow = await start(chain);
    expect(await client.reconcileAll({ projectId: key.projectId })).toMatchObject({ releasedChains: 0 });
    await client.restored({ newInstallation: true });
    expect(await client.reconcileAll({ projectId: key.projectId })).toMatchObject({
      releasedChains: 1,
      unknownOpen: 0,
    });
    expect((await workflow.describe()).status.name).toBe('RUNNING');
    await workflow.terminate();
  });
});
