/** What the tools of Claude Code are called with, in a line. */

/** A field of an input that is a text. */
export function field(input: unknown, name: string): string | null {
  if (typeof input !== 'object' || input === null) return null;
  const value = (input as Record<string, unknown>)[name];
  return typeof value === 'string' ? value : null;
}

/** The tool as a reader knows it: of a server, the server before it. */
export function toolName(name: string): string {
  const [, server, tool] = /^mcp__(.+?)__(.+)$/.exec(name) ?? [];
  return server !== undefined && tool !== undefined ? `${server}: ${tool}` : name;
}

const summaryFields: Record<string, string[]> = {
  Bash: ['command'],
  BashOutput: ['bash_id'],
  Read: ['file_path'],
  Write: ['file_path'],
  Edit: ['file_path'],
  MultiEdit: ['file_path'],
  NotebookEdit: ['notebook_path'],
  Glob: ['pattern', 'path'],
  Grep: ['pattern', 'path', 'glob'],
  WebFetch: ['url'],
  WebSearch: ['query'],
  Task: ['description'],
  Agent: ['description'],
  Skill: ['skill'],
};

/** What it was called with, in a line: the command, the file, the pattern; of another tool its fields. */
export function toolSummary(name: string, input: unknown): string {
  const known = (summaryFields[name] ?? []).flatMap((one) => field(input, one) ?? []);
  const said = known.length > 0 ? known.join('  ') : fieldsOf(input);
  const line = said.split('\n').find((one) => one.trim() !== '') ?? '';
  return line.length > 300 ? `${line.slice(0, 300)}…` : line;
}

function fieldsOf(input: unknown): string {
  if (input === null || input === undefined) return '';
  if (typeof input !== 'object') return JSON.stringify(input) ?? '';
  return Object.entries(input)
    .map(
      ([key, value]) => `${key}: ${typeof value === 'string' ? value.split('\n')[0] : JSON.stringify(value)}`,
    )
    .join(', ');
}

/** The texts that a call replaces in a file; none where it does not edit one. */
export function editsOf(name: string, input: unknown): { before: string; after: string }[] {
  if (name === 'Write') {
    const content = field(input, 'content');
    return content === null ? [] : [{ before: '', after: content }];
  }
  const one =
    name === 'Edit' ? [input] : name === 'MultiEdit' ? (input as { edits?: unknown } | null)?.edits : [];
  return (Array.isArray(one) ? one : []).flatMap((edit) => {
    const [before, after] = [field(edit, 'old_string'), field(edit, 'new_string')];
    return before === null || after === null ? [] : [{ before, after }];
  });
}

const languages: Record<string, string> = {
  ...{
    ts: 'typescript',
    mts: 'typescript',
    cts: 'typescript',
    typescript: 'typescript',
    tsx: 'tsx',
    jsx: 'tsx',
  },
  ...{
    js: 'javascript',
    mjs: 'javascript',
    cjs: 'javascript',
    javascript: 'javascript',
    json: 'json',
    jsonc: 'json',
  },
  ...{ py: 'python', python: 'python', sh: 'bash', bash: 'bash', zsh: 'bash', shell: 'bash', sql: 'sql' },
  ...{
    html: 'html',
    htm: 'html',
    svg: 'html',
    xml: 'html',
    vue: 'html',
    css: 'css',
    md: 'markdown',
    markdown: 'markdown',
  },
  ...{
    yml: 'yaml',
    yaml: 'yaml',
    toml: 'toml',
    go: 'go',
    rs: 'rust',
    rust: 'rust',
    java: 'java',
    rb: 'ruby',
    ruby: 'ruby',
  },
  ...{
    php: 'php',
    c: 'c',
    h: 'c',
    cpp: 'c',
    hpp: 'c',
    cs: 'csharp',
    diff: 'diff',
    patch: 'diff',
    dockerfile: 'docker',
  },
};

/** The language of a file or of a fenced block; null where it is not known. */
export function languageOf(nameOrPath: string): string | null {
  const name = nameOrPath.toLowerCase().split('/').at(-1) ?? '';
  return languages[name.split('.').at(-1) ?? ''] ?? null;
}
