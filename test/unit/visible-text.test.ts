import { describe, expect, it } from '@jest/globals';
import { visibleParts, visibleText } from '../../dashboard/ui/visible-text.js';
import { fc } from '../support/properties.js';

describe('text that a page shows', () => {
  it.each([
    ['a name that reads backwards', 'gpj.\u202eexe', 'gpj.⟨U+202E⟩exe'],
    ['isolates', '\u2066a\u2069', '⟨U+2066⟩a⟨U+2069⟩'],
    ['nothing between letters', 'pass\u200bword\ufeff', 'pass⟨U+200B⟩word⟨U+FEFF⟩'],
    ['letters of the block of tags', 'a\u{e0041}', 'a⟨U+E0041⟩'],
    ['a soft hyphen and a filler', 'a\u00adb\u3164', 'a⟨U+00AD⟩b⟨U+3164⟩'],
    ['controls', 'a\u0000b\u0007\u0008\u007f\u009b', 'a␀b␇␈␡⟨U+009B⟩'],
    ['what a terminal would do, without its colours', '\u001b[31mred\u001b[0m\u001b[2J', 'red␛[2J'],
    ['a line that would be written over', 'good\rbad', 'good␍bad'],
    ['lines of Windows', 'a\r\nb\r\n\u0000', 'a\nb\n␀'],
    ['other ends of lines', 'a\u2028b\u2029', 'a⟨U+2028⟩b⟨U+2029⟩'],
    ['half of a character', 'a\ud83d', 'a⟨U+D83D⟩'],
    ['choices of a look that carry bytes', 'a\ufe00\ufe01', 'a⟨U+FE00⟩⟨U+FE01⟩'],
    ['a joiner between letters', 'a\u200db', 'a⟨U+200D⟩b'],
  ])('shows %s', (_, text, shown) => {
    expect(visibleText(text)).toBe(shown);
  });

  it.each(['', 'Grüße, 你好,\tשלום\n  مرحبا', '👨‍👩‍👧 ❤️ 🏳️‍🌈 1️⃣ 👍🏽', 'e\u0301 – “quoted” … ⟨U+202E⟩'])(
    'leaves %j as it is',
    (text) => {
      expect(visibleText(text)).toBe(text);
    },
  );

  it('tells its marks from text that looks like one', () => {
    expect(visibleParts('⟨U+202E⟩\u202e')).toEqual([
      { text: '⟨U+202E⟩', isMark: false },
      { text: '⟨U+202E⟩', isMark: true },
    ]);
  });

  const hostile = fc.constantFrom(
    ...[
      '\u202e',
      '\u2066',
      '\u200b',
      '\u200d',
      '\ufe0f',
      '\u001b[31m',
      '\u001b[',
      '\u001b]8;;',
      '\u0007',
      '\r',
      '\ud83d',
    ],
    ...['\u{e0041}', '\u061c', '\u2028', '👩', '👍🏽', 'a', '1', '\n', '\t'],
  );
  const anything = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(hostile).map((parts) => parts.join('')),
  );

  it('has nothing that cannot be seen, whatever is written, and is the same when shown again', () => {
    fc.assert(
      fc.property(anything, (text) => {
        const shown = visibleText(text);
        expect(shown).not.toMatch(
          /(?![\t\n])\p{Cc}|\p{Bidi_Control}|\p{Zl}|\p{Zp}|\p{Cs}|[\u200b\u2060-\u206f\u{e0000}-\u{e0fff}]/u,
        );
        // Of what has no shape, only what emoji consist of.
        expect(shown).not.toMatch(
          /(?<![\p{Emoji}\u200d])[\ufe0e\ufe0f]|\u200d(?!\p{Extended_Pictographic})|[\ufe0e\ufe0f]{2}/u,
        );
        expect(visibleText(shown)).toBe(shown);
      }),
      { numRuns: 500 },
    );
  });

  it('keeps ordinary text, letter by letter', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'abc ÄßñЖ漢字\n\t.,;<>&"\'(){}') }), (text) => {
        expect(visibleText(text)).toBe(text);
      }),
    );
  });
});
