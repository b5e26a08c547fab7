import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ActivityDependencies } from '../../activities/dependencies.js';
import { findEarlierWork } from '../../activities/evidence.js';
import { createEventLog, forActivity } from '../../activities/log.js';
import { createSessionChain } from '../../client/session-chain.js';
import type { StartRequest } from '../../client/start-request.js';
import type { ChainResult } from '../../contracts/chain.js';
import { type SessionId, parseProjectId } from '../../contracts/ids.js';
import { metadataSchema } from '../../definition/metadata-schema.js';
import { createPool } from '../../storage/db/pool.js';
import { quarantineSession } from '../../storage/operations/operations.js';
import { checkSessionValidity } from '../../storage/heads/recovery.js';
import { createTranscriptStore } from '../../storage/transcripts/store.js';
import { createCommandLine } from '../support/cli.js';
import { type ChainStack, longHeartbeatTimeoutMs, startChainStack } from '../support/chain-stack.js';
import { flowed } from '../support/flowed.js';
import { requestsOf } from '../support/project-facts.js';

/** A head that cannot be gone on from: what the next chain does, and what it says. */

const silent = forActivity(createEventLog({ info: () => undefined, warn: () => undefined }), {
  workflowId: 'test',
});

let stack: ChainStack;
beforeAll(async () => {
  stack = await startChainStack('recovery', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  await stack.startWorker();
  // As on a host's database, where older writers may move a head.
  await sql('ALTER TABLE projects DROP CONSTRAINT projects_head_is_last_transition');
});
afterAll(async () => {
  await stack.stop();
});

const sql = async (text: string, ...values: unknown[]) =>
  (await stack.database.pool.query(text, values)).rows as Record<string, unknown>[];
const run = async (request: StartRequest): Promise<ChainResult> =>
  await stack.sessionChain.wait(await stack.sessionChain.start(request));
const buildOf = (projectId?: string): StartRequest => ({ ...stack.request(projectId), steps: ['build'] });
const sessionOf = ({ head }: ChainResult) => head.sessionId ?? '';

/** Three builds, one on the other. */
async function threeBuilds() {
  const first = await run(buildOf());
  const { projectId } = first;
  const second = await run(buildOf(projectId));
  const third = await run(buildOf(projectId));
  return { projectId, first, second, third };
}

/** Loses a stored transcript, with what was journalled of it still there. */
async function lose(projectId: string, sessionId: string) {
  await sql(
    `DELETE FROM session_chain.transcript_batches b USING session_chain.sessions s
     WHERE s.id = b.session AND s.project_id = $1 AND s.session_id = $2`,
    projectId,
    sessionId,
  );
}

const firstPromptOf = async (result: ChainResult) => {
  const own = (await requestsOf(stack, result.projectId)).filter(
    ({ sessionId }) => sessionId === result.steps[0]?.newSessionId,
  );
  return own[0]?.bodyText ?? '';
};

describe('a chain of a project that has a head', () => {
  it('goes on from it, and says so', async () => {
    const first = await run(buildOf());
    expect(first).toMatchObject({
      status: 'completed',
      origin: { kind: 'fresh', headSessionId: null },
      resumedFrom: 'It starts the first session of the project.',
    });
    const next = await run(buildOf(first.projectId));
    expect(next).toMatchObject({
      status: 'completed',
      baseSessionId: first.head.sessionId,
      origin: { kind: 'head', headSessionId: first.head.sessionId, headSeq: 1 },
      resumedFrom: `It goes on from the project's head ${sessionOf(first)}.`,
    });
  });
});

describe('a head whose transcript is lost', () => {
  it('is replaced by the nearest ancestor that is whole: the result warns, the transition says recovery', async () => {
    const { projectId, first, second, third } = await threeBuilds();
    await lose(projectId, sessionOf(third));
    await lose(projectId, sessionOf(second));
    const next = await run(buildOf(projectId));
    const warning = `The transcript of the session ${sessionOf(third)}, and 1 session before it is lost: the work goes on from ${sessionOf(first)}, the nearest that is whole.`;
    expect(next).toMatchObject({
      status: 'completed_with_warnings',
      warnings: [warning],
      baseSessionId: first.head.sessionId,
      origin: { kind: 'recovery', headSessionId: third.head.sessionId, headSeq: 3 },
      head: { seq: 4 },
    });
    const [transition] = await stack.sessionChain.transitions(projectId);
    expect(transition).toMatchObject({
      seq: 4,
      source: 'recovery',
      step: 'build',
      oldSessionId: third.head.sessionId,
      parentSessionId: first.head.sessionId,
      newSessionId: next.head.sessionId,
    });
    const prompt = await firstPromptOf(next);
    expect(prompt).toContain('the transcripts of later operations are lost');
    expect(prompt).toContain(`- 3: build of version ${third.versionId}`);

    // From there on the project is as any other.
    const after = await run(buildOf(projectId));
    expect(after).toMatchObject({ status: 'completed', baseSessionId: next.head.sessionId });
    expect((await stack.sessionChain.transitions(projectId))[0]).toMatchObject({ source: 'build', seq: 5 });
  });

  it('without any ancestor that is whole sends the build to a fresh session that is told what is known', async () => {
    const first = await run({ ...buildOf(), instruction: 'A shop for paper boats' });
    await lose(first.projectId, sessionOf(first));
    const next = await run(buildOf(first.projectId));
    expect(next).toMatchObject({
      status: 'completed_with_warnings',
      baseSessionId: null,
      warnings: [expect.stringContaining('a fresh session is started')],
      brief: { headSessionId: first.head.sessionId },
    });
    expect((await stack.sessionChain.transitions(first.projectId))[0]).toMatchObject({
      source: 'recovery',
      oldSessionId: first.head.sessionId,
      parentSessionId: null,
    });
    const prompt = await firstPromptOf(next);
    expect(prompt).toContain('This session is new. The project is not');
    expect(prompt).toContain(`- ${first.versionId}: A shop for paper boats`);
  });

  it.each([
    [
      'lacks an entry',
      async (projectId: string, sessionId: string) => {
        await sql(
          `UPDATE session_chain.transcript_batches b SET entry_ids = b.entry_ids[2:] FROM session_chain.sessions s
         WHERE s.id = b.session AND b.ordinal = 1 AND s.project_id = $1 AND s.session_id = $2`,
          projectId,
          sessionId,
        );
      },
    ],
    [
      'is in quarantine',
      async (projectId: string, sessionId: string) => {
        await quarantineSession(
          stack.database.pool,
          parseProjectId(projectId),
          sessionId as Parameters<typeof quarantineSession>[2],
          'A test said so.',
        );
      },
    ],
  ])('or %s, is gone past as well', async (_how, damage) => {
    const first = await run(buildOf());
    const second = await run(buildOf(first.projectId));
    await damage(first.projectId, sessionOf(second));
    expect(await run(buildOf(first.projectId))).toMatchObject({
      status: 'completed_with_warnings',
      baseSessionId: first.head.sessionId,
      origin: { kind: 'recovery' },
    });
  });

  it('in the middle of a chain ends it; the chain started again goes on from the ancestor and repeats nothing', async () => {
    const first = await run(buildOf());
    const request = { ...stack.request(first.projectId), steps: ['build' as const, 'metadata' as const] };
    const held = stack.model.holdNext(({ step }) => step === 'build');
    const started = await stack.sessionChain.start(request);
    const { sessionId = '' } = await held.reached;
    await sql(`CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        DELETE FROM session_chain.transcript_batches b USING session_chain.sessions s
          WHERE s.id = b.session AND s.session_id = NEW.new_session_id;
        RETURN NEW;
      END $$`);
    // Only the session of this build.
    await sql(`CREATE TRIGGER lose AFTER INSERT ON session_transitions FOR EACH ROW
      WHEN (NEW.new_session_id = '${sessionId}') EXECUTE FUNCTION lose()`);
    held.release();
    const failed = await stack.sessionChain.wait(started);
    await sql('DROP TRIGGER lose ON session_transitions');
    await sql('DROP FUNCTION lose');
    expect(failed).toMatchObject({
      status: 'failed',
      failure: { code: 'SESSION_NOT_IN_STORE' },
      steps: [
        { step: 'build', status: 'committed' },
        { step: 'metadata', status: 'failed' },
      ],
    });

    const asked = stack.model.requests.length;
    const again = await run(request);
    expect(again).toMatchObject({
      status: 'completed_with_warnings',
      origin: { kind: 'recovery', headSessionId: failed.head.sessionId },
      baseSessionId: first.head.sessionId,
      head: { seq: 3 },
    });
    expect(stack.model.requests.slice(asked).map(({ step }) => step)).not.toContain('build');
    expect((await stack.sessionChain.transitions(first.projectId))[0]).toMatchObject({
      source: 'recovery',
      step: 'metadata',
      oldSessionId: failed.head.sessionId,
      parentSessionId: first.head.sessionId,
    });
  });
});

describe('a head that somebody moved outside and that never was in the store', () => {
  async function movedOutside() {
    const first = await run(buildOf());
    await sql(`UPDATE projects SET last_ai_session_id = 'outside' WHERE project_id = $1`, first.projectId);
    return { projectId: first.projectId, first };
  }

  it('fails the chain, unless its start says that it may recover', async () => {
    const { projectId, first } = await movedOutside();
    const request = buildOf(projectId);
    expect(await run(request)).toMatchObject({ status: 'failed', failure: { code: 'SESSION_NOT_IN_STORE' } });
    expect(await run({ ...request, recover: true })).toMatchObject({
      status: 'completed_with_warnings',
      baseSessionId: first.head.sessionId,
      warnings: [expect.stringContaining('outside')],
    });
    expect((await stack.sessionChain.transitions(projectId)).map(({ source }) => source)).toEqual([
      'recovery',
      'import',
      'build',
    ]);
  });

  it('is given up by validateAndRecover, and the next chain goes on without being told', async () => {
    const { projectId, first } = await movedOutside();
    expect(await stack.sessionChain.validateAndRecover(projectId)).toMatchObject({
      askedSessionId: 'outside',
      // No transition leads to it before a chain has adopted it; the head before it is what is left.
      outcome: 'ancestor',
      sessionId: first.head.sessionId,
      problem: { reason: 'unknown' },
      givenUp: true,
      warning: expect.stringContaining('outside'),
    });
    expect(await run(buildOf(projectId))).toMatchObject({
      status: 'completed_with_warnings',
      origin: { kind: 'recovery', headSessionId: 'outside' },
      baseSessionId: first.head.sessionId,
    });
  });
});

describe('validateAndRecover', () => {
  it('returns a whole session as it is, and for one that is lost the nearest before it', async () => {
    const { projectId, first, second, third } = await threeBuilds();
    const recover = async (sessionId?: string) =>
      await stack.sessionChain.validateAndRecover(projectId, sessionId);
    expect(await recover()).toMatchObject({
      outcome: 'valid',
      sessionId: third.head.sessionId,
      warning: null,
    });
    expect(await recover(sessionOf(first))).toMatchObject({
      outcome: 'valid',
      sessionId: first.head.sessionId,
    });
    await lose(projectId, sessionOf(second));
    expect(await recover(sessionOf(second))).toMatchObject({
      outcome: 'ancestor',
      sessionId: first.head.sessionId,
      problem: { reason: 'hole' },
      givenUp: false,
    });
    // Whoever asks for a session that the project does not know is led to the head.
    expect(await recover('never-heard-of')).toMatchObject({ sessionId: third.head.sessionId });
    await expect(recover('not an id')).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    await expect(stack.sessionChain.validateAndRecover('nobody')).rejects.toMatchObject({
      code: 'PROJECT_NOT_FOUND',
    });
  });

  it('finds a hole that only a look at every entry shows, and quarantines it', async () => {
    const { projectId, first, second } = await threeBuilds();
    await sql(
      `WITH hole AS (
         SELECT b.session, b.ordinal, t.id FROM session_chain.sessions s
         JOIN session_chain.transcript_batches b ON b.session = s.id
         JOIN session_chain.transcript_texts t ON t.id = ANY (b.entry_ids)
         WHERE s.project_id = $1 AND t.content LIKE '%"tool_result"%'
           AND s.session_id = (SELECT last_ai_session_id FROM projects WHERE project_id = $1)
         ORDER BY t.id LIMIT 1)
       UPDATE session_chain.transcript_batches b SET entry_ids = array_replace(b.entry_ids, hole.id,
         (SELECT min(t.id) FROM session_chain.transcript_texts t WHERE t.content LIKE '%"type":"queue-operation"%'))
       FROM hole WHERE b.session = hole.session AND b.ordinal = hole.ordinal`,
      projectId,
    );
    // A dry run says the same on connections that write nothing.
    const url = new URL(stack.database.url);
    url.searchParams.set('options', '-c default_transaction_read_only=on');
    const readOnly = createPool(url.href, { applicationName: 'test', max: 2 });
    const client = createSessionChain({ pool: readOnly, temporal: stack.temporal });
    const told = await client.validateAndRecover(projectId, undefined, { dryRun: true });
    await expect(client.validateAndRecover(projectId)).rejects.toThrow(/write nothing/);
    await readOnly.end();
    const recovered = await stack.sessionChain.validateAndRecover(projectId);
    expect(told).toEqual(recovered);
    expect(recovered).toMatchObject({ outcome: 'ancestor', problem: { reason: 'hole' }, givenUp: true });
    expect([sessionOf(first), sessionOf(second)]).toContain(recovered.sessionId);
    const { head } = await stack.sessionChain.state({
      ...(await run(buildOf(projectId))),
    });
    expect(head.seq).toBe(4);
    expect((await stack.sessionChain.transitions(projectId))[0]).toMatchObject({
      source: 'recovery',
      parentSessionId: recovered.sessionId,
    });
  });

  it('says fresh for a project without a session', async () => {
    const { projectId } = stack.request();
    await sql('INSERT INTO projects (project_id) VALUES ($1)', projectId);
    expect(await stack.sessionChain.validateAndRecover(projectId)).toEqual({
      projectId,
      askedSessionId: null,
      sessionId: null,
      outcome: 'fresh',
      problem: null,
      warning: null,
      givenUp: false,
    });
  });
});

describe('checkSessionValidity', () => {
  it('tells what was never here from what is lost', async () => {
    const { projectId, head } = await run(buildOf());
    const check = async (sessionId: string) =>
      await checkSessionValidity(
        stack.database.pool,
        projectId,
        sessionId as Parameters<typeof checkSessionValidity>[2],
      );
    expect(await check(head.sessionId ?? '')).toEqual({ valid: true });
    expect(await check('nowhere')).toMatchObject({ valid: false, reason: 'unknown' });
    await sql(
      'UPDATE session_chain.sessions SET messages = 0, entries = 0 WHERE session_id = $1',
      head.sessionId,
    );
    expect(await check(head.sessionId ?? '')).toMatchObject({ valid: false, reason: 'lost' });
  });
});

describe('the checkpoint in Redis', () => {
  it('says which earlier attempt is looked at first, and changes nothing of what is found', async () => {
    const projectId = parseProjectId(stack.request().projectId);
    const store = createTranscriptStore({ pool: stack.database.pool, projectId });
    const looked: string[] = [];
    const deps = {
      pool: stack.database.pool,
      createTranscriptStore: () => ({
        ...store,
        load: async (key: Parameters<typeof store.load>[0]) => {
          looked.push(key.sessionId);
          return await store.load(key);
        },
      }),
      log: silent,
    } as unknown as ActivityDependencies;
    const attempt = async (stopReason: string) => {
      const sessionId = randomUUID() as SessionId;
      const message = {
        id: randomUUID(),
        model: 'm',
        role: 'assistant',
        stop_reason: stopReason,
        content: [],
      };
      await store.append({ projectKey: '', sessionId }, [
        { type: 'assistant', uuid: randomUUID(), sessionId, message },
      ]);
      return sessionId;
    };
    const [newest, older, oldest] = [
      await attempt('tool_use'),
      await attempt('tool_use'),
      await attempt('end_turn'),
    ];
    const find = async (earlier: SessionId[], hint: string | null) => {
      looked.length = 0;
      const found = await findEarlierWork(
        deps,
        { projectId, task: { name: 'build', kind: 'work', allowedTools: [] } },
        earlier.map((sessionId) => ({ sessionId, baseSessionId: null, parentSessionId: null })),
        hint,
      );
      return { found: found?.sessionId, kind: found?.evidence.kind, looked: [...looked] };
    };
    expect(await find([newest, older], null)).toMatchObject({ found: newest, looked: [newest, older] });
    expect(await find([newest, older], older)).toMatchObject({ found: newest, looked: [older, newest] });
    expect(await find([newest, older], 'of another build')).toMatchObject({ found: newest });
    expect(await find([newest, older, oldest], oldest)).toMatchObject({
      found: oldest,
      kind: 'finished',
      looked: [oldest],
    });
    expect(await find([newest, older, oldest], null)).toMatchObject({ found: oldest, kind: 'finished' });
  });
});

describe('an attempt that goes on from one whose context was compacted', () => {
  it('has what stands before the compaction by the attempt before it, though its own transcript has not', async () => {
    const projectId = parseProjectId(stack.request().projectId);
    const store = createTranscriptStore({ pool: stack.database.pool, projectId });
    const entry = (fields: Record<string, unknown> & { type: string }) => ({ uuid: randomUUID(), ...fields });
    const turn = (stopReason: string, content: object[]) =>
      entry({
        type: 'assistant',
        message: { id: randomUUID(), model: 'm', stop_reason: stopReason, content },
      });
    const metadata = { name: 'Shop', description: 'Sells.', tags: ['shop'], recommendations: ['Sell more.'] };
    const call = { type: 'tool_use', id: 'toolu_m', name: 'mcp__chain__submit_metadata', input: metadata };
    const before = [
      turn('tool_use', [call]),
      entry({ type: 'user', message: { content: [{ type: 'tool_result', tool_use_id: 'toolu_m' }] } }),
      turn('model_context_window_exceeded', []),
    ];
    const compactMetadata = { preTokens: 9000, postTokens: 900 };
    const after = [entry({ type: 'system', subtype: 'compact_boundary', parentUuid: null, compactMetadata })];
    const attempt = async (entries: object[]) => {
      const sessionId = randomUUID() as SessionId;
      await store.append({ projectKey: '', sessionId }, entries as never);
      return sessionId;
    };
    const first = await attempt([...before, ...after]);
    const second = await attempt([...after, turn('pause_turn', [])]);
    const third = await attempt([...after, turn('end_turn', [{ type: 'text', text: 'It is handed in.' }])]);
    const found = await findEarlierWork(
      {
        pool: stack.database.pool,
        createTranscriptStore: () => store,
        log: silent,
      },
      {
        projectId,
        task: { name: 'metadata', kind: 'submission', allowedTools: [], schema: metadataSchema },
      },
      [
        { sessionId: third, baseSessionId: null, parentSessionId: second },
        { sessionId: second, baseSessionId: null, parentSessionId: first },
        { sessionId: first, baseSessionId: null, parentSessionId: null },
      ],
    );
    expect(found).toMatchObject({ sessionId: third, evidence: { kind: 'finished', value: metadata } });
  });
});

describe('on the command line', () => {
  const commandLine = createCommandLine();
  afterAll(() => commandLine.stop());

  async function cli(...args: string[]) {
    const environment = { PATH: process.env['PATH'], DATABASE_URL: stack.database.url };
    const { code, ...said } = await commandLine.run(args, environment);
    expect(code).toBe(0);
    return said;
  }

  it('recover says what a project goes on from, start goes on from there, chain and tree show it', async () => {
    const { projectId, first, second, third } = await threeBuilds();
    expect((await cli('recover', '--project', projectId)).stdout).toMatch(/^is +valid$/m);
    await lose(projectId, sessionOf(third));
    const told = await cli('recover', '--project', projectId, '--dry-run');
    expect(told.stdout).toMatch(
      /^next chain +would go on from there, with the source recovery; nothing was written$/m,
    );
    const givenUp = `SELECT FROM session_chain.sessions WHERE project_id = $1 AND given_up_at IS NOT NULL`;
    expect((await stack.database.pool.query(givenUp, [projectId])).rows).toHaveLength(0);
    const said = await cli('recover', '--project', projectId);
    expect((await stack.database.pool.query(givenUp, [projectId])).rows).toHaveLength(1);
    expect(said.stdout).toMatch(new RegExp(`^goes on from +${sessionOf(second)}$`, 'm'));
    expect(said.stdout).toMatch(/^next chain +goes on from there, with the source recovery$/m);
    expect(said.stderr).toMatch(/^warning: The transcript of the session .* is lost/);
    const asked = await cli('recover', '--project', projectId, '--session', sessionOf(first), '-o', 'json');
    expect(JSON.parse(asked.stdout)).toMatchObject({ outcome: 'valid', sessionId: first.head.sessionId });

    const next = await run(buildOf(projectId));
    const chain = await cli('chain', '--project', projectId, '--version', next.versionId);
    expect(flowed(chain.stdout)).toMatch(/ from The transcript of the head \S+ is lost: it goes on from /);
    const tree = await cli('tree', '--project', projectId);
    expect(tree.stdout.trim().split('\n')).toEqual([
      first.versionId,
      expect.stringMatching(/^● 1 {2}build .* first$/),
      second.versionId,
      expect.stringMatching(/^● 2 {2}build /),
      third.versionId,
      expect.stringMatching(/^● 3 {2}build .* not stored$/),
      next.versionId,
      expect.stringMatching(/^● +4 {2}recovery \(build\) .* forked [0-9a-f]{8} {2}← head$/),
    ]);
    const { nodes } = JSON.parse((await cli('tree', '--project', projectId, '-o', 'json')).stdout) as {
      nodes: { parentSessionId: string | null }[];
    };
    expect(nodes.map(({ parentSessionId }) => parentSessionId)).toEqual([
      null,
      first.head.sessionId,
      second.head.sessionId,
      second.head.sessionId,
    ]);
  });
});

describe('an entry that Postgres does not take for a text', () => {
  it.each([
    ['a zero character', 'cut \\u0000'],
    ['half an emoji', 'cut \\ud83d'],
  ])('%s, in a head, does not keep a chain from opening', async (_what, text) => {
    const { projectId, head } = await run(buildOf());
    await sql('UPDATE session_chain.sessions SET sealed_at = NULL WHERE session_id = $1', head.sessionId);
    const usage = { input_tokens: 1, output_tokens: 1 };
    const uuid = randomUUID();
    const entry = JSON.stringify({ type: 'assistant', uuid, message: { content: 'TEXT', usage } });
    const store = createTranscriptStore({ pool: stack.database.pool, projectId });
    await store.append({ projectKey: '', sessionId: String(head.sessionId) }, [
      JSON.parse(entry.replace('TEXT', text)) as never,
    ]);
    const request = buildOf(projectId);
    expect(await run(request)).toMatchObject({ status: expect.stringContaining('completed') });
  });
});
