/** What documents hold besides prose. */

export interface CodeBlock {
  /** The HTML comment above the block: how it is proved, or the file that it is. */
  comment: string;
  /** '' for a block without one. */
  language: string;
  code: string;
}

export function codeBlocksOf(markdown: string): CodeBlock[] {
  return [...markdown.matchAll(/(?:^<!-- (.*?) -->\n\n)?^```(\w*)\n([\s\S]*?)^```$/gm)].map(
    ([, comment = '', language = '', code = '']) => ({ comment, language, code }),
  );
}

/** The targets of all links outside of code blocks. */
export function linksOf(markdown: string): string[] {
  return [...withoutCode(markdown).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link ?? '');
}

/** The anchors of the headings, as GitHub makes them. */
export function anchorsOf(markdown: string): string[] {
  return [...withoutCode(markdown).matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    (heading ?? '')
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .trim()
      .replaceAll(' ', '-'),
  );
}

function withoutCode(markdown: string): string {
  return markdown.replace(/^```[\s\S]*?^```$/gm, '');
}
