import MarkdownIt, { type Token } from 'markdown-it';
import { type ComponentChild, type ComponentChildren, h } from 'preact';
import { useMemo } from 'preact/hooks';
import { Text } from '../../ui/text.js';
import { visibleText } from '../../ui/visible-text.js';
import { Code } from './code.js';
import styles from './markdown.module.css';
import { languageOf } from './tools.js';

/**
 * Markdown as elements, made from its tokens: no HTML is ever made or read, so that what a model writes can be nothing but the
 * elements below, without attributes. Images are not loaded: they are links.
 */
export function Markdown({ text }: { text: string }) {
  const tokens = useMemo(() => markdown.parse(text, {}), [text]);
  return (
    <div class={styles.markdown} dir="auto">
      {elementsOf(tokens)}
    </div>
  );
}

const markdown = new MarkdownIt({ html: false, linkify: true }).disable('image');
markdown.linkify.set({ fuzzyLink: false, fuzzyEmail: false });
markdown.validateLink = (url) => addressOf(url) !== null;

/** The whole of an address that a reader may follow; null for any other, which stays text. */
export function addressOf(url: string): URL | null {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  return parsed && ['http:', 'https:', 'mailto:'].includes(parsed.protocol) ? parsed : null;
}

const elements: Record<string, string> = {
  ...{ p: 'p', em: 'em', strong: 'strong', s: 's', ul: 'ul', ol: 'ol', li: 'li', blockquote: 'blockquote' },
  ...{ table: 'table', thead: 'thead', tbody: 'tbody', tr: 'tr', th: 'th', td: 'td' },
};

function elementsOf(tokens: readonly Token[]): ComponentChildren {
  // The children of each element that is open; the last one is written to.
  const open: { token: Token | null; children: ComponentChild[] }[] = [{ token: null, children: [] }];
  for (const token of tokens) {
    const top = open.at(-1);
    if (!top) break;
    if (token.nesting === 1) open.push({ token, children: [] });
    else if (token.nesting === 0) top.children.push(leafOf(token));
    else if (top.token) {
      open.pop();
      open.at(-1)?.children.push(elementOf(top.token, top.children));
    }
  }
  return open[0]?.children;
}

function elementOf(token: Token, children: ComponentChild[]): ComponentChild {
  if (token.tag === 'a') return <Link href={String(token.attrGet('href') ?? '')}>{children}</Link>;
  // In a tight list a paragraph is none.
  if (token.tag === 'p' && token.hidden) return <>{children}</>;
  // A heading of a model is none of the page.
  if (/^h[1-6]$/.test(token.tag)) {
    return (
      <p class={styles.heading} data-level={token.tag}>
        {children}
      </p>
    );
  }
  const name = elements[token.tag];
  if (name === undefined) return <>{children}</>;
  if (name === 'table') return <div class={styles.wide}>{h('table', null, children)}</div>;
  const start = name === 'ol' ? Number(token.attrGet('start') ?? 1) : 1;
  return h(name, start === 1 ? null : { start }, children);
}

function leafOf(token: Token): ComponentChild {
  switch (token.type) {
    case 'inline':
      return <>{elementsOf(token.children ?? [])}</>;
    case 'code_inline':
      return (
        <code>
          <Text text={token.content} />
        </code>
      );
    case 'fence':
    case 'code_block':
      return (
        <Code
          text={token.content.replace(/\n$/, '')}
          language={languageOf(token.info.trim().split(/\s/)[0] ?? '')}
        />
      );
    case 'softbreak':
      return '\n';
    case 'hardbreak':
      return <br />;
    case 'hr':
      return <hr />;
    default:
      return <Text text={token.content} />;
  }
}

/** A link that says where it leads, whatever its text says. */
function Link({ href, children }: { href: string; children: ComponentChildren }) {
  const address = addressOf(href);
  if (!address) return <>{children}</>;
  const where = address.protocol === 'mailto:' ? address.pathname : address.host;
  return (
    <>
      <a href={address.href} target="_blank" rel="noopener noreferrer" title={visibleText(address.href)}>
        {children}
      </a>{' '}
      <span class={styles.host}>({visibleText(where)})</span>
    </>
  );
}
