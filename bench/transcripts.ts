import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';

/** Entries as an agent that works on a project leaves them: calls of tools and what these said, with little text between. */

/** What tools say is cut from these files of the project. */
const sources = ['README.md', 'ARCHITECTURE.md', 'package-lock.json', 'migrations/0001_tables.sql'];
let material: string | undefined;

function cut(characters: number): string {
  material ??= sources
    .map((file) => readFileSync(join(import.meta.dirname, '../..', file), 'utf8'))
    .join('\n');
  const start = Math.floor(Math.random() * (material.length - characters));
  return material.slice(start, start + characters);
}

/** New entries of a session, in pairs: an answer that calls a tool, and what the tool said. */
export function newEntries(sessionId: string, count: number): SessionStoreEntry[] {
  const promptId = randomUUID();
  return Array.from({ length: count }, (_, index) => {
    const isAnswer = index % 2 === 0;
    const content = isAnswer
      ? [
          { type: 'text', text: cut(120) },
          {
            type: 'tool_use',
            id: `toolu_${randomUUID()}`,
            name: 'Edit',
            input: { file_path: '/srv/shop/page.ts', old_string: cut(150), new_string: cut(250) },
          },
        ]
      : [
          {
            type: 'tool_result',
            tool_use_id: `toolu_${randomUUID()}`,
            content: cut(Math.floor(200 + Math.random() ** 3 * 6_000)),
          },
        ];
    return {
      parentUuid: randomUUID(),
      isSidechain: false,
      ...{
        promptId,
        userType: 'external',
        entrypoint: 'sdk-ts',
        cwd: '/srv/shop',
        sessionId,
        version: '2.1.330',
        gitBranch: '',
      },
      type: isAnswer ? 'assistant' : 'user',
      uuid: randomUUID(),
      timestamp: new Date().toISOString(),
      message: isAnswer
        ? {
            id: `msg_${randomUUID()}`,
            ...{
              type: 'message',
              role: 'assistant',
              model: 'claude-sonnet-4-5',
              content,
              stop_reason: 'tool_use',
              stop_sequence: null,
            },
            usage: {
              input_tokens: 10,
              output_tokens: 200,
              cache_creation_input_tokens: 900,
              cache_read_input_tokens: 40_000,
            },
          }
        : { role: 'user', content },
    };
  });
}

/** What a fork appends first: all of its parent's entries, stamped anew. */
export function copied(entries: readonly SessionStoreEntry[], sessionId: string): SessionStoreEntry[] {
  const promptId = randomUUID();
  return entries.map((entry) => ({
    ...entry,
    ...{ promptId, sessionId },
    ...(entry.type === 'assistant'
      ? { requestSessionId: entry['requestSessionId'] ?? entry['sessionId'] }
      : {}),
  }));
}
