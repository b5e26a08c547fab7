import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import ts from 'typescript';
import { createProgram } from '../../cli/program.js';
import {
  SessionChainError,
  categoryOf,
  failureCategories,
  failureCodes,
  failureOfCode,
  toSessionChainError,
} from '../../contracts/failures.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
/** What the library, workers, histories and the database show; the command line has words of its own. */
const rooms = [
  'contracts',
  'client',
  'storage',
  'activities',
  'agent',
  'workspace',
  'transcript',
  'workflows',
  'temporal',
];

describe('failures', () => {
  it('are of every category, and each says so', () => {
    expect(new Set(failureCodes.map(categoryOf))).toEqual(new Set(Object.keys(failureCategories)));
    for (const code of failureCodes) {
      expect(new SessionChainError(code, 'It failed.').category).toBe(categoryOf(code));
      expect(failureOfCode(code)).toEqual({
        code,
        message: expect.stringMatching(/^[A-Z].*\.$/),
        remedy: expect.stringMatching(/^[A-Z].*[.)]$/),
      });
    }
  });

  it.each([
    ['a TypeError', new TypeError('x is not a function'), 'TypeError: x is not a function'],
    ['an error', new Error('It broke.'), 'It broke.'],
    ['an error without a message', new RangeError(), 'RangeError: no message'],
    [
      'several errors',
      new AggregateError([new Error('one'), new TypeError('two')]),
      'AggregateError: one; TypeError: two',
    ],
    ['what is no error', 'broken', 'broken'],
    ['nothing', undefined, 'undefined'],
  ])('that are not known are INTERNAL, with their name and cause: %s', (_what, thrown, message) => {
    const error = toSessionChainError(thrown);
    expect(error).toMatchObject({ code: 'INTERNAL', category: 'internal', message, cause: thrown });
  });

  it('of the library name no command and no option of the command line', () => {
    // Other programs have the option --version as well.
    const options = createProgram(() => undefined)
      .commands.flatMap((command) => command.options.map(({ long }) => `${String(long)}\\b`))
      .filter((option) => !option.startsWith('--version'));
    const ofCommandLine = new RegExp(`\\bsession-chain [a-z]|${options.join('|')}`);
    const found = rooms
      .flatMap((room) => sources(join(root, room)))
      .flatMap((file) => spoken(file).map((text) => ({ file: file.slice(root.length), text })))
      .filter(({ text }) => ofCommandLine.test(text));
    expect(found).toEqual([]);
  });
});

function sources(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name));
}

/** The texts of a file that an error says: what SessionChainError is made of, and what is called a remedy. */
function spoken(file: string): string[] {
  const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true);
  const texts: string[] = [];
  const collect = (node: ts.Node): void => {
    if (
      ts.isStringLiteralLike(node) ||
      ts.isTemplateHead(node) ||
      ts.isTemplateMiddle(node) ||
      ts.isTemplateTail(node)
    )
      texts.push(node.text);
    ts.forEachChild(node, collect);
  };
  const visit = (node: ts.Node): void => {
    const isError = ts.isNewExpression(node) && node.expression.getText() === 'SessionChainError';
    const isRemedy = ts.isPropertyAssignment(node) && node.name.getText() === 'remedy';
    if (isError || isRemedy) collect(node);
    else ts.forEachChild(node, visit);
  };
  visit(source);
  return texts;
}
