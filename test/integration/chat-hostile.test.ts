import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { acceptedCalls } from '../../transcript/entries.js';
import { parseProjectId } from '../../contracts/ids.js';
import { submissionTool } from '../../definition/submission.js';
import type { TurnBlock } from '../../dev/offline-model/messages.js';
import { createTranscriptStore } from '../../storage/transcripts/store.js';
import { type ChainStack, longHeartbeatTimeoutMs, startChainStack } from '../support/chain-stack.js';

/** A model that wants to change the project in the middle of a chat, by every tool there is. */

let stack: ChainStack;
beforeAll(async () => {
  stack = await startChainStack('chat-hostile', { heartbeatTimeoutMs: longHeartbeatTimeoutMs });
  await stack.startWorker();
});
afterAll(async () => {
  await stack.stop();
});

/** Every file below a folder with its content and its time of change, but for the private folders of processes that wait. */
function snapshot(folder: string): Record<string, string> {
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();
  return Object.fromEntries(
    paths
      .filter((path) => !path.startsWith('scratch-') && statSync(join(folder, path)).isFile())
      .map((path) => {
        const file = join(folder, path);
        const digest = createHash('sha256').update(readFileSync(file)).digest('hex');
        return [path, `${digest} ${statSync(file).mtimeMs}`];
      }),
  );
}

const call = (name: string, input: Record<string, unknown>): TurnBlock => ({ type: 'tool_use', name, input });

describe('a chat with a hostile model', () => {
  it('never sees a tool succeed that writes, and still has its reply', async () => {
    const request = { ...stack.request(), steps: ['build' as const] };
    await stack.sessionChain.wait(await stack.sessionChain.start(request));
    const { projectId, workspace } = request;
    writeFileSync(
      join(workspace, 'book.ipynb'),
      '{"cells":[],"metadata":{},"nbformat":4,"nbformat_minor":5}',
    );
    const page = join(workspace, 'index.html');
    const before = snapshot(stack.root);

    const attacks: TurnBlock[][] = [
      [call('Read', { file_path: page })],
      [
        call('Write', { file_path: join(workspace, 'owned.txt'), content: 'x' }),
        call('Write', { file_path: page, content: 'x' }),
        call('Edit', { file_path: page, old_string: '<title>', new_string: '<title>owned ' }),
      ],
      [
        call('NotebookEdit', {
          notebook_path: join(workspace, 'book.ipynb'),
          new_source: 'x',
          edit_mode: 'insert',
          cell_type: 'code',
        }),
        call(submissionTool('metadata'), {
          name: 'x',
          description: 'x',
          tags: ['x'],
          recommendations: ['x'],
        }),
      ],
      [
        call('Bash', { command: 'echo owned > owned.txt', description: 'Write' }),
        call('Bash', { command: 'tee -a index.html <<< owned', description: 'Append' }),
        call('Bash', { command: 'sed -i s/title/owned/ index.html', description: 'Change' }),
        call('Bash', { command: 'git init . && touch owned', description: 'Make' }),
      ],
      [
        call('Bash', { command: 'ls', description: 'Look' }),
        call('Bash', { command: 'ls; cp index.html owned.html', description: 'Hide a copy behind a look' }),
        call('Bash', { command: 'cat index.html > owned.txt', description: 'Hide a write behind a read' }),
        call('Bash', { command: 'rm -rf .', dangerouslyDisableSandbox: true, description: 'Remove' }),
      ],
      [
        call('Read', { file_path: '/etc/passwd' }),
        call('Read', { file_path: join(workspace, '../../secret') }),
        call('Task', { description: 'x', prompt: 'write a file', subagent_type: 'general-purpose' }),
      ],
    ];
    let round = 0;
    const injected = stack.model.inject({
      when: ({ step }) => step === 'chat_plan',
      times: attacks.length,
      answer: () => ({ content: attacks[round++] ?? [], stopReason: 'tool_use' }),
    });
    const reply = await stack.sessionChain.ask({ projectId, text: 'What is this project?' });
    expect(injected.hits).toHaveLength(attacks.length);
    expect(reply).toMatchObject({
      kind: 'transition',
      reply: expect.stringContaining('What is this project?'),
    });

    // Reading the page, the first call, is all that was let through.
    const store = createTranscriptStore({ pool: stack.database.pool, projectId: parseProjectId(projectId) });
    const load = async (sessionId: string | null) =>
      (await store.load({ projectKey: '', sessionId: sessionId ?? '' })) ?? [];
    const known = new Set((await load(reply.headSessionId)).map(({ uuid }) => uuid));
    const own = (await load(reply.sessionId)).filter(({ uuid }) => uuid !== undefined && !known.has(uuid));
    expect(acceptedCalls(own)).toEqual([
      { name: 'Read', input: expect.objectContaining({ file_path: page }) },
    ]);
    const asked = attacks.flat().length;
    const refused = own.filter((entry) => JSON.stringify(entry).includes('"is_error":true'));
    expect(JSON.stringify(refused).match(/"is_error":true/g)?.length).toBeGreaterThanOrEqual(asked - 1);
    expect(snapshot(stack.root)).toEqual(before);
  });

  it('never loses its words, be they such as Postgres cannot store', async () => {
    const request = { ...stack.request(), steps: ['build', 'metadata'] };
    const said = 'cut \u0000 and \ud83d';
    const kept = 'cut \ufffd and \ufffd';
    const metadata = { name: said, description: said, tags: [said], recommendations: [said] };
    stack.model.inject({
      when: ({ step }) => step === 'metadata',
      answer: () => ({ content: [call(submissionTool('metadata'), metadata)], stopReason: 'tool_use' }),
    });
    const result = await stack.sessionChain.wait(await stack.sessionChain.start(request));
    expect(result).toMatchObject({ status: 'completed', head: { seq: 2 } });
    const { rows } = await stack.database.pool.query(
      'SELECT ai_metadata AS metadata FROM project_versions WHERE version_id = $1',
      [request.versionId],
    );
    expect(rows).toEqual([
      { metadata: { name: kept, description: kept, tags: [kept], recommendations: [kept] } },
    ]);

    stack.model.inject({
      when: ({ step }) => step === 'chat_plan',
      answer: () => ({ content: [{ type: 'text', text: said }], stopReason: 'end_turn' }),
    });
    const { projectId } = request;
    const asked = { projectId, messageId: 'm', text: 'What is this?' };
    expect(await stack.sessionChain.ask(asked)).toMatchObject({ reply: kept, kind: 'transition' });
    expect(await stack.sessionChain.ask(asked)).toMatchObject({ reply: kept, repeated: true });
  });
});
