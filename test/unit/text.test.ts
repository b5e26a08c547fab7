import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import { printable } from '../../cli/output.js';
import { createChats } from '../../client/chats.js';
import { parseStartRequest } from '../../client/start-request.js';
import { endOf, startOf, storableText, unstorable } from '../../contracts/text.js';
import { checkDefinition } from '../../definition/check.js';
import { readDocuments } from '../../workspace/documents.js';
import { readTextFile } from '../../workspace/text-file.js';

describe('a text that Postgres cannot store', () => {
  it.each([
    ['ends\u0000', 'U+0000 in line 1, column 5', 'ends\ufffd'],
    ['first\nsecond \ud83d', 'half a character (U+D83D) in line 2, column 8', 'first\nsecond \ufffd'],
    [
      '😀\ude00 after a whole one',
      'half a character (U+DE00) in line 1, column 2',
      '😀\ufffd after a whole one',
    ],
  ])('%j is named, or made one that it can', (text, why, storable) => {
    expect(unstorable(text)).toBe(why);
    expect(storableText(text)).toBe(storable);
    expect(unstorable(storable)).toBeNull();
  });

  it.each(['', 'plain', 'tab\tand\nline\u0001', '😀', '\ufffd\ufeff'])('is not %j, which stays', (text) => {
    expect(unstorable(text)).toBeNull();
    expect(storableText(text)).toBe(text);
  });

  it('is refused from a caller, who is told where', async () => {
    const chain = { projectId: 'p', versionId: 'v', workspace: '/w' };
    const start = (more: object) => () => parseStartRequest({ ...chain, ...more });
    expect(start({ instruction: 'Add\u0000 it' })).toThrow(/instruction: .*U\+0000 in line 1, column 4/);
    expect(start({ workspace: '/w\u0000' })).toThrow(/workspace: .*U\+0000/);
    expect(start({ model: 'm\ud83d' })).toThrow(/model: .*U\+D83D/);
    const chats = createChats({
      pool: undefined as never,
      temporal: undefined as never,
      policy: undefined as never,
      hub: undefined as never,
    });
    await expect(chats.ask({ projectId: 'p', text: 'Why\n\u0000?' })).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringMatching(/text: .*U\+0000 in line 2, column 1/),
    });
    await expect(chats.ask({ projectId: 'p', text: 'Why?', workspace: '/\ud800' })).rejects.toMatchObject({
      code: 'INVALID_INPUT',
    });
  });

  it('is refused in a definition', () => {
    expect(() => checkDefinition({ houseRules: 'Be kind.\u0000' })).toThrow(/houseRules: .*U\+0000/);
    expect(() => checkDefinition({ model: '\ud83d' })).toThrow(/model: .*U\+D83D/);
    expect(() => checkDefinition({ mcpServers: { a: { command: 'a', args: ['\u0000'] } } })).toThrow(
      /U\+0000/,
    );
  });
});

describe('a text that is cut', () => {
  it('keeps whole characters, at most so long', () => {
    expect(startOf('a😀b', 2)).toBe('a');
    expect(startOf('a😀b', 3)).toBe('a😀');
    expect(startOf('a😀b', 9)).toBe('a😀b');
    expect(endOf('a😀b', 2)).toBe('b');
    expect(endOf('a😀b', 3)).toBe('😀b');
    expect(endOf('ab', 0)).toBe('');
    // Half a character that was there before is no one's to mend here.
    expect(startOf('\ud83d\ud83d', 1)).toBe('');
  });
});

describe("a model's words on a terminal", () => {
  it('move no cursor, name no window and erase nothing; our own colours stay', () => {
    expect(printable('a\tb\nc\r\nd')).toBe('a\tb\nc\nd');
    expect(printable('\u001b[31mred\u001b[39m')).toBe('\u001b[31mred\u001b[39m');
    expect(printable('\u001b]0;title\u0007\u001b[2J\u001b[8mhidden\u009b2K\rover\u0000\u007f')).toBe(
      '\ufffd]0;title\ufffd\ufffd[2J\ufffd[8mhidden\ufffd2K\ufffdover\ufffd\ufffd',
    );
  });
});

describe('a file for a prompt', () => {
  const folder = mkdtempSync(join(tmpdir(), 'session-chain-text-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const fileOf = (bytes: Buffer | string, name = 'prompt.txt') => {
    const file = join(folder, name);
    writeFileSync(file, bytes);
    return file;
  };

  it('is read as UTF-8, or as UTF-16 with its mark', async () => {
    const text = 'Ein Geschäft 😀\n';
    const utf16 = Buffer.from(`\ufeff${text}`, 'utf16le');
    for (const bytes of [text, `\ufeff${text}`, utf16, Buffer.from(utf16).swap16()]) {
      expect(await readTextFile(fileOf(bytes))).toBe(text);
    }
  });

  it.each([
    ['UTF-16 without its mark', Buffer.from('Shop', 'utf16le'), 'U+0000 in line 1, column 2'],
    ['Latin-1', Buffer.from('a\nGeschäft', 'latin1'), 'byte E4 in line 2, column 6'],
    ['UTF-8 that was cut', Buffer.from('ab😀').subarray(0, 4), 'byte F0 in line 1, column 3'],
    [
      'UTF-16 that was cut in the middle of a unit',
      Buffer.from('\ufeffa\nShop', 'utf16le').subarray(0, 11),
      'half a unit of UTF-16 (byte 6F) in line 2, column 3',
    ],
    [
      'big-endian UTF-16 that was cut after its mark',
      Buffer.from([0xfe, 0xff, 0x00]),
      'half a unit of UTF-16 (byte 00) in line 1, column 1',
    ],
    ['UTF-16 that was cut', Buffer.from('\ufeff😀', 'utf16le').subarray(0, 4), 'half a character (U+D83D)'],
  ])('is refused as %s', async (_what, bytes, where) => {
    await expect(readTextFile(fileOf(bytes))).rejects.toThrow(where);
  });

  it('is refused where it is too large, and where it never ends', async () => {
    for (const path of [fileOf('x'.repeat(1024 ** 2 + 1)), '/dev/zero'])
      await expect(readTextFile(path)).rejects.toThrow('more than 1 MB');
  });

  it('is no part of a brief where it is no text', async () => {
    fileOf('# Shop 😀', 'README.md');
    expect(await readDocuments(folder, { maxFiles: 1, maxCharacters: 8 })).toEqual([
      { path: 'README.md', text: '# Shop ' },
    ]);
    fileOf(Buffer.from('\ufeff# Shop', 'utf16le'), 'README.md');
    expect(await readDocuments(folder, { maxFiles: 1, maxCharacters: 100 })).toEqual([
      { path: 'README.md', text: '# Shop' },
    ]);
    fileOf(Buffer.from('# Shop', 'utf16le'), 'README.md');
    expect(await readDocuments(folder, { maxFiles: 1, maxCharacters: 100 })).toEqual([]);
  });
});
