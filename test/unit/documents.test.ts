import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from '@jest/globals';
import { parseAllDocuments } from 'yaml';
import { createProgram } from '../../cli/program.js';
import { sandboxVariables } from '../../config/sandbox.js';
import { defaultSandbox } from '../../contracts/sandbox.js';
import { anchorsOf, codeBlocksOf, linksOf } from '../support/markdown.js';

/** The documents say what the code does: names, defaults, commands, links, examples. */

const root = resolve(import.meta.dirname, '../..');
const documents = [
  ...readdirSync(root),
  ...['docs', 'examples'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)),
  ),
].filter((name) => name.endsWith('.md'));
const textOf = (path: string) => readFileSync(join(root, path), 'utf8');
const readme = textOf('README.md');

/** Of a folder, or of one of its folders. */
const filesOf = (folder: string, ending: string) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => textOf(join(folder, name)));
const sql = filesOf('migrations', '.sql').join('\n');
/** What a document may name as ours: SQL and the code of the product. */
const words = [
  sql,
  ...readdirSync(root, { withFileTypes: true })
    .filter(
      (entry) => entry.isDirectory() && !/^(\.|(node_modules|dist|coverage|test|bench)$)/.test(entry.name),
    )
    .flatMap(({ name }) => filesOf(name, '.ts')),
].flatMap((text) => text.match(/(?:\bsession_chain\.)?\w+/g) ?? []);
const namesInSources = new Set(words.flatMap((word) => [word, ...word.split('.')]));

/** The code blocks of a language. */
const blocks = (text: string, language: string) =>
  codeBlocksOf(text).flatMap((block) => (block.language === language ? [block.code] : []));

/** Names in documents that are not ours. */
const ofOthers = [
  ...['pg_dump', 'pg_restore', 'stop_grace_period', 'read_only', 'mem_limit', 'pids_limit', 'pivot_root'],
  ...['terminationGracePeriodSeconds', 'hostUsers', 'procMount', 'podPidsLimit'],
  ...['bytea_output', 'plan_cache_mode', 'row_security'],
];

/** Everything in a document that is written as code. */
function codeOf(text: string): string[] {
  const lines = [...text.matchAll(/^```\w*\n([\s\S]*?)^```$/gm)].flatMap(([, code]) =>
    (code ?? '').split('\n'),
  );
  const prose = text.replace(/^```[\s\S]*?^```$/gm, '');
  return [...lines, ...[...prose.matchAll(/`([^`]+)`/g)].map(([, code]) => code ?? '')];
}

describe('the README', () => {
  it('is short', () => {
    expect(Buffer.byteLength(readme)).toBeLessThan(10_000);
  });

  it('makes the ten promises, each with a link to its mechanism, its tests and its limits', () => {
    const linked = [...readme.matchAll(/^\| \[(G\d+)\]\(docs\/guarantees\.md#(g\d+)\)/gm)];
    const names = Array.from({ length: 10 }, (_, index) => `G${index + 1}`);
    expect(linked.map(([, name]) => name)).toEqual(names);
    expect(linked.map(([, , anchor]) => anchor)).toEqual(names.map((name) => name.toLowerCase()));
  });
});

describe('docs/guarantees.md', () => {
  it('names tests that are there', () => {
    const files = textOf('docs/guarantees.md').match(/\btest\/[\w./-]+\.ts\b/g) ?? [];
    expect(files.length).toBeGreaterThan(30);
    expect(files.filter((file) => !existsSync(join(root, file)))).toEqual([]);
  });
});

describe('docs/sandbox.md', () => {
  it('has a manifest for Kubernetes that is YAML', () => {
    const [manifest = ''] = blocks(textOf('docs/sandbox.md'), 'yaml');
    const parsed = parseAllDocuments(manifest);
    expect(parsed.flatMap(({ errors }) => errors)).toEqual([]);
    expect(parsed.map((one) => one.toJS() as { kind: string })).toMatchObject([
      { kind: 'Deployment' },
      { kind: 'NetworkPolicy' },
    ]);
  });

  it('says of every limit its variable and its default', () => {
    const rows = [
      ...textOf('docs/sandbox.md').matchAll(/^\| `(\w+)` +\| `(SESSION_CHAIN_SANDBOX_\w+)` +\| (\d+) /gm),
    ];
    expect(Object.fromEntries(rows.map(([, field, , value]) => [field, Number(value)]))).toEqual(
      defaultSandbox.limits,
    );
    expect(rows.filter(([, , variable = '']) => !(variable in sandboxVariables))).toEqual([]);
  });
});

describe('docs/threat-model.md', () => {
  const tables = textOf('docs/threat-model.md').match(/^\| attack .*(?:\n\|.*)+/gm) ?? [];
  const attacks = tables.flatMap((table) => table.split('\n').slice(2));

  it('names for each attack a test that is there, by its file and the beginning of its name', () => {
    expect(attacks.length).toBeGreaterThan(50);
    const named = attacks.map((attack) =>
      [...attack.matchAll(/`(test\/[^`]+)`((?:,? "[^"]+")+)/g)].flatMap(([, file = '', names = '']) =>
        [...names.matchAll(/"([^"]+)"/g)].map(([, name = '']) => ({ file, name })),
      ),
    );
    expect(attacks.filter((_, index) => named[index]?.length === 0)).toEqual([]);
    const texts = new Map(named.flat().map(({ file }) => [file, textOf(file)]));
    expect(named.flat().filter(({ file, name }) => !texts.get(file)?.includes(name))).toEqual([]);
  });
});

describe('docs/operations.md', () => {
  it('shows queries that a test runs as they stand', () => {
    const flat = (text: string) => text.replace(/\s+/g, ' ').replace(/;\s*$/, '').trim();
    const tested = flat(textOf('test/integration/heads.test.ts'));
    const queries = blocks(textOf('docs/operations.md'), 'sql');
    expect(queries).toHaveLength(2);
    for (const query of queries) expect(tested).toContain(flat(query));
  });
});

describe('docs/decisions', () => {
  const index = textOf('docs/decisions/README.md');
  const pages = readdirSync(join(root, 'docs/decisions'))
    .filter((name) => name !== 'README.md')
    .sort();

  it('has an index of all pages, numbered without a gap', () => {
    expect([...index.matchAll(/\]\((\d{4}-[\w-]+\.md)\)/g)].map(([, name]) => name)).toEqual(pages);
    expect(pages.map((name) => Number(name.slice(0, 4)))).toEqual(pages.map((_, position) => position + 1));
  });

  it('says of each its context, the decision and, where there was a choice, what was rejected', () => {
    const headings = (name: string) =>
      [...textOf(`docs/decisions/${name}`).matchAll(/^## (.*)$/gm)].map(([, heading]) => heading).join();
    const others = pages.filter((name) => !/^Context,Decision(,Rejected)?$/.test(headings(name)));
    expect(others).toEqual([]);
  });
});

describe('ARCHITECTURE.md lists', () => {
  it('every room with the rooms that it may import, as the lint has them', () => {
    const [, literal = ''] = /^const rooms = ({[\s\S]*?^});$/m.exec(textOf('eslint.config.js')) ?? [];
    const allowed = runInNewContext(`(${literal})`) as Record<string, string[]>;
    const listed = [...textOf('ARCHITECTURE.md').matchAll(/^- `(\w+)`: [^→]*→\s+(.*)$/gm)];
    expect(Object.fromEntries(listed.map(([, room, others = '']) => [room, others.split(', ')]))).toEqual(
      Object.fromEntries(
        Object.entries(allowed).map(([room, others]) => [
          room,
          others.length > 0 ? [...others] : ['no other room'],
        ]),
      ),
    );
  });

  it('every table of the schema session_chain', () => {
    const architecture = textOf('ARCHITECTURE.md');
    const tables = [...sql.matchAll(/^CREATE (?:UNLOGGED )?TABLE session_chain\.(\w+)/gm)].map(
      ([, name]) => name ?? '',
    );
    expect(tables.length).toBeGreaterThan(5);
    expect(tables.filter((name) => !architecture.includes(`.${name}\``))).toEqual([]);
  });
});

describe.each(documents)('%s', (path) => {
  const text = textOf(path);
  const code = codeOf(text);

  it('links to what is there', () => {
    const local = linksOf(text).filter((link) => !/^[a-z]+:/.test(link));
    const broken = local.filter((link) => {
      const [file = '', anchor] = link.split('#');
      const target = file === '' ? path : join(dirname(path), file);
      if (!existsSync(join(root, target))) return true;
      return anchor !== undefined && !anchorsOf(textOf(target)).includes(anchor);
    });
    expect(broken).toEqual([]);
  });

  it('names files and folders that are there', () => {
    const rooms = readdirSync(root, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
      .map((entry) => entry.name);
    const paths = code.filter(
      (part) => rooms.some((room) => part.startsWith(`${room}/`)) && /^[\w./-]+$/.test(part),
    );
    expect(paths.filter((part) => !existsSync(join(root, part)))).toEqual([]);
  });

  it('names of our schema, and of our code, what is there', () => {
    const spans = [...text.replace(/^```[\s\S]*?^```$/gm, '').matchAll(/`([^`]+)`/g)].map(
      ([, code]) => code ?? '',
    );
    const inSchema = spans.flatMap((span) =>
      [...span.matchAll(/\bsession_chain\.(\w+)/g)].map(([, name]) => name ?? ''),
    );
    expect(inSchema.filter((name) => !namesInSources.has(`session_chain.${name}`))).toEqual([]);
    // A word with an underscore or a capital inside is a name: of a column, a function, a field.
    const names = spans.filter((span) => /^[a-z]+(?:_[a-z]+|[A-Z][a-z]+)+$/.test(span));
    expect(names.filter((name) => !ofOthers.includes(name) && !namesInSources.has(name))).toEqual([]);
  });

  it('gives commands that exist', () => {
    const { scripts } = JSON.parse(textOf('package.json')) as { scripts: Record<string, string> };
    const names = code.flatMap((line) =>
      [...line.matchAll(/\bnpm (?:run ([\w:-]+)|(start|test)\b)/g)].map(
        ([, run, plain]) => run ?? plain ?? '',
      ),
    );
    expect(names.filter((name) => !(name in scripts))).toEqual([]);

    const program = createProgram(() => undefined);
    for (const line of code) {
      // Also `docker compose run --rm cli <command>`, whose program is ours.
      const [, name, rest = ''] = /(?:\bsession-chain|--rm cli) ([a-z]+)\b([^|)]*)/.exec(line) ?? [];
      if (name === undefined) continue;
      const command = program.commands.find((candidate) => candidate.name() === name);
      const known = [command, ...(command?.commands ?? [])].flatMap(
        (one) => one?.options.flatMap((option) => option.long ?? []) ?? [],
      );
      const used = [...rest.matchAll(/(?<=\s)--[a-z-]+/g)].map(([flag]) => flag);
      expect([line, command !== undefined, used.filter((flag) => !known.includes(flag))]).toEqual([
        line,
        true,
        [],
      ]);
    }
  });

  it('names the versions that package.json has', () => {
    const { version, peerDependencies } = JSON.parse(textOf('package.json')) as {
      version: string;
      peerDependencies: Record<string, string>;
    };
    const named = [...text.matchAll(/\bsession-chain-(\d[\w.-]*)\.tgz|(@anthropic-ai\/[\w-]+)@(\d[\w.-]*)/g)];
    expect(named.map(([, own, peer = '', other]) => own ?? `${peer} ${other}`)).toEqual(
      named.map(([, own, peer = '']) => (own ? version : `${peer} ${peerDependencies[peer]}`)),
    );
  });

  it('names no place of the machine that it was written on', () => {
    const absolute = [...text.matchAll(/(?<![\w./:}\]-])\/([a-z]\w*)\/[\w.]/g)].map(([, top]) => top ?? '');
    // The last is the API's.
    const general = ['srv', 'proc', 'usr', 'var', 'workspaces', 'etc', 'dev', 'opt', 'home', 'v1'];
    expect(absolute.filter((top) => !general.includes(top))).toEqual([]);
  });
});
