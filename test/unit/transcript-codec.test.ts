import { describe, expect, it } from '@jest/globals';
import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { encodeBatch, entryDecoder } from '../../transcript/codec.js';
import { fc } from '../support/properties.js';

const parent = 'c75a033a-bfbb-49e2-a33f-a7c2a0a73038';
const child = '61240d01-f3f0-4fd5-8642-7ca4435fb852';

describe('a fork', () => {
  it('brings no new content, whatever process made the copy', () => {
    const own = entriesOf(parent, { promptId: 'p1', cwd: '/one', version: '2.1.330', gitBranch: 'HEAD' });
    const copy = entriesOf(
      child,
      { promptId: 'p2', cwd: '/two', version: '2.1.331', gitBranch: 'main' },
      parent,
    );
    expect(contents(child, copy)).toEqual(contents(parent, own));
  });

  it('brings no new content when a compaction stamps a slug on all entries', () => {
    const own = entriesOf(parent, { promptId: 'p1' });
    const firstCopy = entriesOf(child, { promptId: 'p2' }, parent).map((entry) => ({
      ...entry,
      slug: 'a-b-c',
    }));
    const secondCopy = firstCopy.map((entry) => {
      const { slug, requestSessionId, ...rest } = entry as SessionStoreEntry;
      return requestSessionId === undefined ? entry : { ...rest, slug, requestSessionId };
    });
    expect(contents(child, firstCopy)).toEqual(contents(parent, own));
    expect(contents(child, secondCopy)).toEqual(contents(parent, own));
    expectRoundTrip(child, [...firstCopy, ...own]);
    expectRoundTrip(child, [...own, ...secondCopy]);
  });

  it('keeps apart what differs in anything else', () => {
    const [user] = entriesOf(parent, { promptId: 'p1' });
    const changed = {
      ...user,
      message: { role: 'user', content: 'Build another app.' },
    } as SessionStoreEntry;
    expect(contents(parent, [changed])).not.toEqual(contents(parent, [user as SessionStoreEntry]));
  });
});

describe('the way back', () => {
  it('is exact for entries as the agent writes them', () => {
    expectRoundTrip(parent, entriesOf(parent, { promptId: 'p1' }));
    expectRoundTrip(child, entriesOf(child, { promptId: 'p2' }, parent));
  });

  it('is exact where a member has the place or the value of another', () => {
    expectRoundTrip(parent, [
      { type: 'assistant', requestSessionId: parent },
      { type: 'assistant', requestSessionId: parent, sessionId: parent },
      { type: 'assistant', message: { requestSessionId: parent } },
      { type: 'assistant', note: `,"requestSessionId":"${parent}"}` },
      { type: 'user', requestSessionId: parent },
      { type: 'assistant' },
      { sessionId: parent, type: 'x' },
      { type: 'x', sessionId: child, promptId: 'first', cwd: '/a', slug: 's' },
      { type: 'x', slug: 's', promptId: 'second', cwd: '/b' },
      { type: 'x', slug: 's', requestSessionId: parent },
      { type: 'x', slug: 't', requestSessionId: 3 },
      { type: 'x', promptId: null, cwd: 7, slug: { slug: 's' } },
    ]);
  });

  it('is exact for ids that mean something to a replacement', () => {
    expectRoundTrip('$&', [{ type: 'x', sessionId: '$&', promptId: '$`', slug: "$'" }]);
  });

  it('is exact for any JSON', () => {
    fc.assert(
      fc.property(sessionIds, fc.array(entries, { maxLength: 6 }), (sessionId, batch) =>
        expectRoundTrip(sessionId, batch),
      ),
      { numRuns: 2_000 },
    );
  });

  it('leaves no control character in a text that could be taken for the separator of texts', () => {
    fc.assert(
      fc.property(sessionIds, fc.array(entries, { minLength: 1, maxLength: 4 }), (sessionId, batch) => {
        const { contents: texts, patch } = encodeBatch(sessionId, batch);
        for (const { text } of patch ? [...texts, patch] : texts) expect(text).not.toMatch(/[\0\u0003]/);
      }),
    );
  });
});

describe('a batch', () => {
  it('counts its messages and its bytes as JSON', () => {
    const batch: SessionStoreEntry[] = [{ type: 'user', text: 'é' }, { type: 'mode' }, { type: 'assistant' }];
    const { messages, bytes } = encodeBatch(parent, batch);
    expect(messages).toBe(2);
    expect(bytes).toBe(batch.reduce((sum, entry) => sum + Buffer.byteLength(JSON.stringify(entry)), 0));
  });

  it('has no patch when its entries lack nothing', () => {
    expect(encodeBatch(parent, [{ type: 'mode', mode: 'normal', sessionId: parent }]).patch).toBeNull();
  });

  it('has the same patch as another one that the same process wrote', () => {
    const [user, answer] = entriesOf(parent, { promptId: 'p1' }) as [SessionStoreEntry, SessionStoreEntry];
    const other = { ...user, uuid: 'another', message: 'else' };
    expect(encodeBatch(parent, [other, answer]).patch).toEqual(encodeBatch(parent, [user]).patch);
  });
});

/** A prompt, an answer and a note as Claude Code writes them; with `copiedFrom`, as a fork of that session does. */
function entriesOf(
  sessionId: string,
  stamp: Record<string, string>,
  copiedFrom?: string,
): SessionStoreEntry[] {
  const { promptId, ...process } = stamp;
  const stamped = {
    userType: 'external',
    entrypoint: 'sdk-ts',
    cwd: process.cwd ?? '/one',
    sessionId,
    version: process.version ?? '2.1.330',
    gitBranch: process.gitBranch ?? 'HEAD',
  };
  return [
    {
      parentUuid: null,
      promptId,
      type: 'user',
      message: { role: 'user', content: 'Build an app.' },
      uuid: 'u1',
      ...stamped,
    },
    {
      parentUuid: 'u1',
      message: { id: 'm1', content: [{ type: 'text', text: 'Done.' }], usage: { output_tokens: 3 } },
      type: 'assistant',
      uuid: 'a1',
      ...stamped,
      ...(copiedFrom === undefined ? {} : { requestSessionId: copiedFrom }),
    },
    { type: 'attachment', attachment: { text: 'note' }, uuid: 't1', ...stamped },
  ];
}

function contents(sessionId: string, batch: SessionStoreEntry[]): string[] {
  return encodeBatch(sessionId, batch).contents.map(({ text }) => text);
}

function expectRoundTrip(sessionId: string, batch: SessionStoreEntry[]): void {
  const { contents: stored, patch } = encodeBatch(sessionId, batch);
  const decode = entryDecoder(sessionId, patch?.text ?? null);
  const back = stored.map(({ text }, index) => decode(text, index));
  expect(back.map((entry) => JSON.stringify(entry))).toEqual(batch.map((entry) => JSON.stringify(entry)));
}

// Values that look like what the codec itself writes, beside any other.
const oddStrings = fc.oneof(
  fc.constantFrom(
    parent,
    child,
    's',
    'slug',
    '$&',
    '$1',
    '\u0001',
    '"cwd":\u0002',
    '\u0000',
    '\ud800',
    '\udc00x',
    '',
  ),
  fc.constantFrom(`,"requestSessionId":"${parent}"}`, '"promptId":\u0002', '\\u0001', '\u2028', '\u007f'),
  fc.string({ unit: 'binary' }),
);
const sessionIds = fc.oneof(fc.constantFrom(parent, child, 'sess', '$&', '"quoted"'), fc.string());
const values = fc.oneof(
  oddStrings,
  fc.jsonValue({ maxDepth: 3 }),
  fc.constant(-0),
  fc.dictionary(oddStrings, oddStrings),
);
const keys = fc.oneof(
  fc.constantFrom('sessionId', 'promptId', 'requestSessionId', 'slug', 'cwd', 'gitBranch', 'version', 'uuid'),
  fc.constantFrom('__proto__', 'constructor', 'toString', '1', '0', 'patch', 'slugAt', ''),
  oddStrings,
);
const entries = fc
  .tuple(
    fc.uniqueArray(fc.tuple(keys, values), { selector: ([key]) => key, maxLength: 8 }),
    fc.constantFrom('user', 'assistant', 'system', 'mode', '\u0002'),
    fc.nat(8),
  )
  .map(([members, type, place]) => {
    const all = members.filter(([key]) => key !== 'type');
    all.splice(place, 0, ['type', type]);
    return Object.fromEntries(all) as SessionStoreEntry;
  });
