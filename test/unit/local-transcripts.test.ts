import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { parseSessionId } from '../../contracts/ids.js';
import { readLocalTranscript, writeLocalTranscript } from '../../transcript/local-files.js';

/** What lies where a transcript belongs: of any size, and no file at all. */

let claudeDir: string;
let file: string;
const sessionId = parseSessionId(randomUUID());
const line = `${JSON.stringify({ type: 'user', uuid: randomUUID(), message: { role: 'user', content: 'Hello' } })}\n`;
beforeEach(() => {
  claudeDir = mkdtempSync(join(tmpdir(), 'transcripts-'));
  const folder = join(claudeDir, 'projects', '-work');
  mkdirSync(join(folder, sessionId, 'subagents'), { recursive: true });
  file = join(folder, `${sessionId}.jsonl`);
  writeFileSync(file, line);
});
afterEach(() => rmSync(claudeDir, { recursive: true }));

const beside = (name: string) => join(file.replace(/\.jsonl$/, ''), 'subagents', name);

describe('a local transcript', () => {
  it('is read in bounds', async () => {
    truncateSync(file, 500 * 1024 ** 2 + 1);
    await expect(readLocalTranscript(claudeDir, sessionId)).rejects.toThrow('more than 500 MB');
  });

  it.each([
    ['a device', (path: string) => symlinkSync('/dev/zero', path)],
    ['a pipe', (path: string) => void execFileSync('mkfifo', [path])],
  ])('of a subagent is refused where it is %s, and what describes it is left out', async (_what, make) => {
    writeFileSync(beside('agent-1.jsonl'), line);
    make(beside('agent-1.meta.json'));
    const { parts, warnings } = await readLocalTranscript(claudeDir, sessionId);
    expect(parts).toHaveLength(2);
    expect(warnings).toEqual([`${beside('agent-1.meta.json')} is not a JSON object and is left out.`]);
    make(beside('agent-2.jsonl'));
    await expect(readLocalTranscript(claudeDir, sessionId)).rejects.toMatchObject({
      code: 'TRANSCRIPT_UNREADABLE',
    });
  });

  it('is not written over one that is too large to be read', async () => {
    const bytes = 3 * 1024 ** 3;
    truncateSync(file, bytes);
    const transcript = { sessionId, parts: [{ subpath: '', entries: [{ type: 'user' }] }] };
    await expect(writeLocalTranscript(claudeDir, '/work', transcript)).rejects.toMatchObject({
      code: 'TRANSCRIPT_EXISTS',
    });
    expect(statSync(file).size).toBe(bytes);
  });
});
