import { randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Transcripts that try to run in the browser of whoever reads them, and very long ones. */

/** What every trick does where it works: a mark, a dialog, a request, another page. */
const canary = `window.canary=document.title='canary';alert('canary');fetch('//canary.invalid/fetch');location='//canary.invalid/go'`;

/** Each is shown as text, or left out. */
export const tricks = {
  script: `<script>${canary}</script>`,
  image: `<img src=x onerror="${canary}">`,
  remoteImage: '<img src="http://canary.invalid/pixel.png">',
  svg: `<svg onload="${canary}"><animate onbegin="${canary}" attributeName=x dur=1s></svg>`,
  mathml: `<math><mtext><table><mglyph><style><img src=x onerror="${canary}"></style></table></mtext></math>`,
  frame: `<iframe srcdoc="&lt;script&gt;top.canary=1&lt;/script&gt;" src="javascript:${canary}"></iframe>`,
  link: `<a href="javascript:${canary}" ping="http://canary.invalid/ping">a harmless link</a>`,
  form: '<form action="http://canary.invalid/form"><input autofocus onfocus="window.canary=1"><button>Sign in again</button></form>',
  base: '<base href="http://canary.invalid/"><meta http-equiv="refresh" content="0;url=http://canary.invalid/meta">',
  style:
    '<style>@import "http://canary.invalid/a.css"; body { display: none }</style><link rel=stylesheet href="http://canary.invalid/b.css">',
  object: `<object data="data:text/html,<script>${canary}</script>"></object><embed src="//canary.invalid/e">`,
  closing: `</code></pre></div></main><script>${canary}</script>`,
  clobbering: '<form id=app name=document><input name=getElementById id=main></form>',
  template: `{{constructor.constructor('window.canary=1')()}} \${window.canary=1}`,
} as const;

const markdown = [
  '# A heading of the model',
  `[a javascript link](javascript:window.canary=1) and [another](<JaVaScRiPt:window.canary=1>)`,
  `[with entities](&#106;avascript:window.canary=1) and [a tab](java&Tab;script:window.canary=1)`,
  `[a vbscript link](vbscript:msgbox) and [a data link](data:text/html,<script>window.canary=1</script>)`,
  '![a remote picture](http://canary.invalid/markdown.png) and ![one of data](data:image/svg+xml,<svg onload=window.canary=1>)',
  '<javascript:window.canary=1> and <http://canary.invalid/autolink>',
  '[by reference][1] and [a good one](https://example.com/docs "onmouseover=window.canary=1")',
  '[1]: javascript:window.canary=1',
  ...Object.values(tricks),
  '```html',
  tricks.script,
  '```',
  `| a table | ${tricks.image} |`,
  '| --- | --- |',
  `| ${tricks.svg} | \`${tricks.closing}\` |`,
].join('\n\n');

/** Characters that change how others are shown. */
export const controls = {
  ansi: '\u001b[31mred\u001b[0m \u001b]8;;http://canary.invalid/osc\u0007a terminal link\u001b]8;;\u0007 \u001b[2J\u001b]0;title\u0007',
  bidi: 'if (role == "user\u202e \u2066// admin\u2069 \u2066") { delete\u202d everything\u202c }',
  invisible:
    'pay\u200bpal\u2060.c\u00adom \ufeffzero\u200dwidth\u200e and \u3164 and \u00a0 and \u{e0041}\u{e007f}',
  low: 'a\u0000b\u0001c\u0002d\u0007e\u0008f\u000bg\u007fh\u0085i\u2028j\u2029k',
  combining: `z${'\u0336\u0489\u0315'.repeat(200)}`,
  surrogate: 'half a pair: \ud83d and \udc00',
} as const;

const deep = (levels: number): unknown =>
  levels === 0 ? tricks.image : { [`<b>${levels}`]: [deep(levels - 1)] };

interface Entry {
  type: string;
  [field: string]: unknown;
}

/** A transcript as Claude Code writes one: each entry follows the one before. */
function transcript(sessionId: string, cwd: string) {
  const entries: Entry[] = [];
  let parentUuid: string | null = null;
  let at = Date.now() - 3_600_000;
  const add = (type: 'user' | 'assistant', content: unknown, more: Record<string, unknown> = {}) => {
    const uuid = randomUUID();
    const common = {
      parentUuid,
      isSidechain: false,
      userType: 'external',
      cwd,
      sessionId,
      version: '2.1.330',
    };
    const message =
      type === 'user'
        ? { role: 'user', content }
        : {
            id: `msg_${uuid}`,
            ...{
              type: 'message',
              role: 'assistant',
              model: 'claude-sonnet-4-5',
              content,
              stop_reason: 'end_turn',
            },
            usage: {
              input_tokens: 12,
              cache_read_input_tokens: 9_000,
              cache_creation_input_tokens: 400,
              output_tokens: 90,
            },
          };
    entries.push({
      ...common,
      type,
      message,
      uuid,
      timestamp: new Date((at += 1_000)).toISOString(),
      ...more,
    });
    parentUuid = uuid;
  };
  let calls = 0;
  /** A tool call with its result, in two entries. */
  const call = (name: string, input: unknown, content: unknown, more: Record<string, unknown> = {}) => {
    const id = `toolu_${sessionId.slice(0, 8)}_${(calls += 1)}`;
    add('assistant', [{ type: 'tool_use', id, name, input }]);
    add('user', [{ type: 'tool_result', tool_use_id: id, content, ...more }]);
  };
  return { entries, add, call };
}

function hostileEntries(sessionId: string, cwd: string): Entry[] {
  const { entries, add, call } = transcript(sessionId, cwd);
  add('user', `Please do ${tricks.script} and ${tricks.image}\n\n${markdown}`);
  add('assistant', [
    {
      type: 'thinking',
      thinking: `I think ${tricks.svg} ${controls.bidi}\n\n${markdown}`,
      signature: 'c2lnbmVk',
    },
    { type: 'text', text: markdown },
  ]);
  for (const [name, text] of Object.entries(controls))
    add('assistant', [{ type: 'text', text: `${name}: ${text}` }]);
  const path = `${cwd}/${tricks.image}/\u202egnp.html`;
  call('Read', { file_path: path }, `1\t${tricks.script}\n2\t${controls.ansi}`);
  call('Write', { file_path: path, content: tricks.closing }, `File created at ${path}`);
  call(
    'Edit',
    { file_path: path, old_string: tricks.script, new_string: `${tricks.svg}\n${controls.bidi}` },
    'Done.',
  );
  call(
    'Bash',
    { command: `echo '${tricks.script}' # ${controls.bidi}`, description: tricks.image },
    controls.ansi,
    {
      is_error: true,
    },
  );
  call(`mcp__${tricks.image}__tool`, deep(150), [{ type: 'text', text: JSON.stringify(deep(150)) }]);
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" onload="${canary}"><script>${canary}</script></svg>`;
  const base64 = Buffer.from(svg).toString('base64');
  call('Read', { file_path: `${cwd}/picture.svg` }, [
    { type: 'image', source: { type: 'base64', media_type: 'image/svg+xml', data: base64 } },
    { type: 'image', source: { type: 'base64', media_type: 'text/html', data: base64 } },
    {
      type: 'image',
      source: { type: 'base64', media_type: 'image/png" onerror="window.canary=1', data: base64 },
    },
    {
      type: 'image',
      source: { type: 'base64', media_type: 'image/png', data: '"><script>window.canary=1</script>' },
    },
    { type: 'image', source: { type: 'url', url: 'http://canary.invalid/source.png' } },
    { type: 'image' },
    { type: `<i>${tricks.image}`, text: tricks.script },
  ]);
  call('Write', tricks.script, { toString: tricks.script });
  call('Edit', { file_path: 7, old_string: null, new_string: [tricks.image] }, null);
  add('assistant', tricks.script);
  add('assistant', [
    null,
    7,
    'text',
    { type: 'tool_use' },
    { type: 'text' },
    { type: 'text', text: { a: 1 } },
  ]);
  add('user', [{ type: 'tool_result', tool_use_id: 'toolu_of_no_call', content: tricks.script }]);
  add('assistant', [{ type: 'text', text: `A line of 1 MB: ${'<b>x</b>'.repeat(131_072)}` }]);
  entries.push({
    type: tricks.image,
    uuid: randomUUID(),
    sessionId,
    timestamp: tricks.script,
    payload: deep(20),
  });
  entries.push({ type: 'summary', summary: tricks.script, leafUuid: tricks.image });
  entries.push({ type: 'system', uuid: randomUUID(), sessionId, subtype: tricks.svg, content: markdown });
  add('assistant', [{ type: 'text', text: 'The end of the hostile transcript.' }], {
    timestamp: 'tomorrow <i>',
  });
  return entries;
}

/** So many entries of work, with edits and results. */
function longEntries(sessionId: string, cwd: string, count: number): Entry[] {
  const { entries, add, call } = transcript(sessionId, cwd);
  add('user', 'Go through all files and put them in order.');
  for (let n = 1; entries.length < count - 3; n++) {
    add('assistant', [
      { type: 'text', text: `File ${n}: I read it and **mend** what I find in \`module-${n}.ts\`.` },
    ]);
    const file = `${cwd}/module-${n}.ts`;
    call('Read', { file_path: file }, `1\texport const n = ${n};\n`);
    call(
      'Edit',
      { file_path: file, old_string: `n = ${n}`, new_string: `number = ${n}` },
      `The file ${file} has been updated.`,
    );
  }
  while (entries.length < count)
    add('assistant', [{ type: 'text', text: `All files are in order (${entries.length + 1}).` }]);
  return entries;
}

export interface LocalSession {
  sessionId: string;
  claudeDir: string;
}

function write(folder: string, make: (sessionId: string, cwd: string) => Entry[]): LocalSession {
  const sessionId = randomUUID();
  const project = join(folder, 'projects', 'work');
  mkdirSync(project, { recursive: true });
  const lines = make(sessionId, '/srv/projects/work').map((entry) => JSON.stringify(entry));
  writeFileSync(join(project, `${sessionId}.jsonl`), `${lines.join('\n')}\n`);
  return { sessionId, claudeDir: folder };
}

/** Writes the hostile transcript where a local Claude Code would keep it. */
export const writeHostileSession = (folder: string): LocalSession => write(folder, hostileEntries);

/** The same for one of so many entries. */
export const writeLongSession = (folder: string, count: number): LocalSession =>
  write(folder, (sessionId, cwd) => longEntries(sessionId, cwd, count));
