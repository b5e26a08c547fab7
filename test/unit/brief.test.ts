import { execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  type KnownState,
  briefOf,
  lostOperationsNote,
  rewoundNote,
  sideBranchesNote,
} from '../../agent/brief.js';
import type { SessionId } from '../../contracts/ids.js';
import { type ChainOrigin, describeOrigin, firstMoveOf } from '../../contracts/origin.js';
import { readDocuments } from '../../workspace/documents.js';

const summary = (text: string): SessionStoreEntry => ({
  type: 'user',
  uuid: randomUUID(),
  isCompactSummary: true,
  message: { role: 'user', content: text },
});
const reply = (text: string, stop_reason = 'end_turn'): SessionStoreEntry => ({
  type: 'assistant',
  uuid: randomUUID(),
  message: { role: 'assistant', stop_reason, content: [{ type: 'text', text }] },
});
const nothing: KnownState = { memory: null, metadata: null, requests: [], documents: [], operations: [] };
const at = new Date('2026-11-22T10:20:30Z');

describe('a brief', () => {
  it('tells what is known, in sections, and lists what went into it', () => {
    const { content, parts } = briefOf({
      memory: {
        sessionId: 's-1',
        entries: [summary('All of it'), reply('half', 'tool_use'), reply('Done.')],
      },
      metadata: { versionId: 'v2', value: { name: 'Boats' } },
      requests: [{ versionId: 'v1', instruction: 'Boats of paper' }],
      documents: [{ path: 'README.md', text: '# Boats\n' }],
      operations: [
        { seq: 3, source: 'build', versionId: 'v1', createdAt: at },
        { seq: 4, source: 'compact', versionId: null, createdAt: at },
      ],
    });
    expect(content).toContain('## Summary of the earlier work\n\nAll of it');
    expect(content).toContain('Done.');
    expect(content).not.toContain('half');
    expect(content).toContain('- v1: Boats of paper');
    expect(content).toContain('"name": "Boats"');
    expect(content).toContain('# Boats');
    expect(content).toContain(
      '- 3: build of version v1, 2026-11-22 10:20 UTC\n- 4: compact, 2026-11-22 10:20 UTC',
    );
    expect(parts.map(({ part, from }) => [part, from])).toEqual([
      ['summary', 's-1'],
      ['replies', 's-1'],
      ['requests', 'v1'],
      ['metadata', 'v2'],
      ['document', 'README.md'],
      ['operations', 'transitions 3 to 4'],
    ]);
    expect(parts.every(({ characters }) => characters > 0)).toBe(true);
  });

  it('takes the last summary, without what Claude Code says around it, and only what was said after it', () => {
    const { content } = briefOf({
      ...nothing,
      memory: {
        sessionId: 's',
        entries: [
          summary('Older one'),
          reply('Said long ago'),
          summary(
            'This session is being continued from a previous conversation that ran out of context.\n\nSummary:\nNew one\n\nIf you need specific details from before compaction, read it.\nPlease continue the conversation.',
          ),
          reply('after'),
        ],
      },
    });
    expect(content).toContain('## Summary of the earlier work\n\nNew one\n\n## ');
    expect(content).toContain('after');
    expect(content).not.toMatch(/Older one|Said long ago|being continued|Please continue/);
  });

  it('says no more than that the session is new where nothing is known', () => {
    const { content, parts } = briefOf(nothing);
    expect(content).toMatch(/^This session is new\./);
    expect(parts).toEqual([]);
  });

  it('stays within bounds, whatever it is made of', () => {
    const long = 'x'.repeat(1_000_000);
    const { content } = briefOf({
      memory: { sessionId: 's', entries: [summary(long), ...Array.from({ length: 50 }, () => reply(long))] },
      metadata: { versionId: 'v', value: long },
      requests: Array.from({ length: 10 }, () => ({ versionId: 'v', instruction: long })),
      documents: [],
      operations: [],
    });
    expect(content.length).toBeLessThan(50_000);
  });
});

describe('the other notes', () => {
  it('name the lost operations, and quote what was said beside the line', () => {
    expect(lostOperationsNote([{ seq: 7, source: 'docs', versionId: 'v', createdAt: at }])).toContain(
      '- 7: docs of version v, 2026-11-22 10:20 UTC',
    );
    const rewound = { seq: 7, source: 'docs', versionId: null, createdAt: at };
    expect(rewoundNote({ operations: [rewound], count: 1 })).toMatch(
      /not the files[^]*taken back were:\n\n- 7: docs, 2026-11-22 10:20 UTC$/i,
    );
    expect(rewoundNote({ operations: [rewound], count: 31 })).toContain(
      '\n\n- 30 earlier operations\n- 7: docs',
    );
    expect(sideBranchesNote([{ question: 'Red or blue?', reply: 'Blue.', answeredAt: at }])).toContain(
      'Question: Red or blue?\n\nAnswer: Blue.',
    );
  });
});

describe('the documents of a project', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'session-chain-documents-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));
  const read = async () => await readDocuments(folder, { maxFiles: 3, maxCharacters: 5 });

  it('are the README and what lies in docs/, each to its limit', async () => {
    mkdirSync(join(folder, 'docs'));
    writeFileSync(join(folder, 'README.md'), 'äöüßéxyz');
    for (const name of ['b.md', 'a.md', 'c.md', 'd.txt']) writeFileSync(join(folder, 'docs', name), name);
    expect(await read()).toEqual([
      { path: 'README.md', text: 'äöüßé' },
      { path: 'docs/a.md', text: 'a.md' },
      { path: 'docs/b.md', text: 'b.md' },
    ]);
  });

  it('are none where there are none, and never lie outside', async () => {
    expect(await read()).toEqual([]);
    symlinkSync('/etc/hostname', join(folder, 'README.md'));
    mkdirSync(join(folder, 'docs'));
    mkdirSync(join(folder, 'docs', 'folder.md'));
    symlinkSync(join(folder, 'nowhere'), join(folder, 'docs', 'gone.md'));
    expect(await read()).toEqual([]);
  });

  it('are never waited for, and stay inside while names change under the reader', async () => {
    const outside = `${folder}-outside`;
    writeFileSync(outside, 'out');
    writeFileSync(join(folder, 'in'), 'in');
    mkdirSync(join(folder, 'docs'));
    execFileSync('mkfifo', [join(folder, 'docs', 'pipe.md')]);
    const swapping = spawn(
      'perl',
      [
        '-e',
        'while (1) { for my $to ("in", $ARGV[0]) { symlink $to, "next"; rename "next", "README.md"; link "in", "next"; rename "next", "README.md" } }',
        outside,
      ],
      { cwd: folder },
    );
    try {
      const seen = new Set<string>();
      for (let round = 0; round < 3_000; round++) for (const { text } of await read()) seen.add(text);
      expect([...seen]).toEqual(['in']);
    } finally {
      swapping.kill('SIGKILL');
      await once(swapping, 'exit');
      rmSync(outside);
    }
  });
});

describe('where a chain comes from', () => {
  const head = { sessionId: 'h' as SessionId, seq: 3 };
  const origin = (kind: ChainOrigin['kind']): ChainOrigin => ({
    kind,
    headSessionId: head.sessionId,
    headSeq: head.seq,
  });

  it('names its first move, and no other', () => {
    expect(firstMoveOf(origin('recovery'), head)).toBe('recovery');
    expect(firstMoveOf(origin('context_reset'), head)).toBe('context_reset');
    expect(firstMoveOf(origin('context_reset'), { ...head, seq: 4 })).toBeNull();
    expect(firstMoveOf(origin('head'), head)).toBeNull();
    expect(firstMoveOf(null, head)).toBeNull();
  });

  it('is said in a sentence', () => {
    const sentences = (['head', 'fresh', 'recovery', 'context_reset'] as const).map((kind) =>
      describeOrigin(origin(kind), kind === 'recovery' ? ('a' as SessionId) : null),
    );
    expect(new Set(sentences).size).toBe(4);
    expect(sentences.every((sentence) => sentence.endsWith('.') && sentence.length < 300)).toBe(true);
  });
});
