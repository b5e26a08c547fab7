import { createCssVariablesTheme, createHighlighterCore } from 'shiki/core';
import { createJavaScriptRegexEngine } from 'shiki/engine/javascript';

/** Colours for code; loaded where code is shown. A token says what it is, the style sheet which colour that has. */

export interface Token {
  text: string;
  /** Such as `keyword`; undefined for plain text. */
  kind: string | undefined;
}

const grammars = {
  bash: () => import('shiki/langs/bash.mjs'),
  c: () => import('shiki/langs/c.mjs'),
  csharp: () => import('shiki/langs/csharp.mjs'),
  css: () => import('shiki/langs/css.mjs'),
  diff: () => import('shiki/langs/diff.mjs'),
  docker: () => import('shiki/langs/docker.mjs'),
  go: () => import('shiki/langs/go.mjs'),
  html: () => import('shiki/langs/html.mjs'),
  java: () => import('shiki/langs/java.mjs'),
  javascript: () => import('shiki/langs/javascript.mjs'),
  json: () => import('shiki/langs/json.mjs'),
  markdown: () => import('shiki/langs/markdown.mjs'),
  php: () => import('shiki/langs/php.mjs'),
  python: () => import('shiki/langs/python.mjs'),
  ruby: () => import('shiki/langs/ruby.mjs'),
  rust: () => import('shiki/langs/rust.mjs'),
  sql: () => import('shiki/langs/sql.mjs'),
  toml: () => import('shiki/langs/toml.mjs'),
  tsx: () => import('shiki/langs/tsx.mjs'),
  typescript: () => import('shiki/langs/typescript.mjs'),
  yaml: () => import('shiki/langs/yaml.mjs'),
};

const theme = createCssVariablesTheme({ name: 'css', variablePrefix: '' });
// The engine of the browser itself: another one is WebAssembly, which the policy of the pages refuses.
const highlighter = createHighlighterCore({
  themes: [theme],
  langs: [],
  engine: createJavaScriptRegexEngine({ forgiving: true }),
});
const isIdle = () =>
  new Promise<void>((resolve) => {
    if ('requestIdleCallback' in globalThis) requestIdleCallback(() => resolve(), { timeout: 500 });
    else setTimeout(resolve, 0);
  });

/** Of the last ones, so that a row that is scrolled back to has its colours at once. */
const remembered = new Map<string, Token[][]>();

/** The lines of a text as tokens; null for a language that is not known. */
export async function tokensOf(text: string, language: string): Promise<Token[][] | null> {
  const load = (grammars as Record<string, (typeof grammars)['bash'] | undefined>)[language];
  if (!load) return null;
  const key = `${language} ${text}`;
  const known = remembered.get(key);
  if (known) return known;
  const shiki = await highlighter;
  await shiki.loadLanguage(await load());
  await isIdle();
  const tokens = shiki.codeToTokensBase(text, { lang: language, theme: 'css', tokenizeMaxLineLength: 2_000 });
  const lines = tokens.map((line) =>
    line.map(({ content, color }) => ({
      text: content,
      kind: /^var\(-?-?-?token-([\w-]+)\)$/.exec(color ?? '')?.[1],
    })),
  );
  remembered.set(key, lines);
  if (remembered.size > 300) remembered.delete(remembered.keys().next().value ?? '');
  return lines;
}
