import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { runInNewContext } from 'node:vm';
import ts from 'typescript';
import { describe, expect, it } from '@jest/globals';
import { exitCodeMeanings, exitCodeOf, exitCodes } from '../../cli/errors.js';
import { createProgram } from '../../cli/program.js';
import { modelVariables, readConfig, variables } from '../../config/environment.js';
import { failureCodes, remedyFor } from '../../contracts/failures.js';

/** The documents say what the code does: names, defaults, commands, links, examples. */

const root = resolve(import.meta.dirname, '../..');
const documents = ['.', 'docs'].flatMap((folder) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name)),
);
const textOf = (path: string) => readFileSync(join(root, path), 'utf8');
const readme = textOf('README.md');

/** Of a folder, or of one of its folders. */
const filesOf = (folder: string, ending: string) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => textOf(join(folder, name)));
const sql = filesOf('migrations', '.sql').join('\n');
/** What a document may name as ours: SQL and the code of the product. */
const sources = [
  sql,
  ...readdirSync(root, { withFileTypes: true })
    .filter(
      (entry) => entry.isDirectory() && !/^(\.|(node_modules|dist|coverage|test|bench)$)/.test(entry.name),
    )
    .flatMap(({ name }) => filesOf(name, '.ts')),
].join('\n');

/** The code blocks of a language; '' for those without one. */
function blocks(text: string, language: string): string[] {
  return [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].flatMap(([, name, code]) =>
    name === language ? [code ?? ''] : [],
  );
}

/** Names in documents that are not ours. */
const ofOthers = ['stop_grace_period', 'terminationGracePeriodSeconds'];

/** Everything in a document that is written as code. */
function codeOf(text: string): string[] {
  const lines = [...text.matchAll(/^```\w*\n([\s\S]*?)^```$/gm)].flatMap(([, code]) =>
    (code ?? '').split('\n'),
  );
  const prose = text.replace(/^```[\s\S]*?^```$/gm, '');
  return [...lines, ...[...prose.matchAll(/`([^`]+)`/g)].map(([, code]) => code ?? '')];
}

/** The tables of the README by the first cell of each row, with backticks left out. */
const rows = new Map(
  readme
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map((line) => line.replaceAll('`', '').split('|').slice(1, -1))
    .map((cells) => cells.map((cell) => cell.trim()))
    .map(([first = '', ...others]) => [first, others] as const),
);

describe('the README lists', () => {
  it('every command', () => {
    const { commands } = createProgram(() => undefined);
    expect(commands.map((command) => command.name()).filter((name) => !rows.has(name))).toEqual([]);
  });

  it('every variable with its default', () => {
    // These two depend on the machine.
    const computed = {
      SESSION_CHAIN_MAX_AGENTS: 'min(2 × cores, memory / 512 MB)',
      SESSION_CHAIN_SCRATCH_DIR: 'session-chain in the temp folder',
    };
    const defaults: Record<string, unknown> = { ...readConfig({}), ...computed };
    const names = Object.keys(variables);
    expect(names.map((name) => [name, rows.get(name)?.at(-1)])).toEqual(
      names.map((name) => {
        const value = defaults[name];
        const isConstant = typeof value === 'string' || typeof value === 'number';
        return [name, isConstant ? String(value) : expect.stringMatching(/^(none|the )/)];
      }),
    );
  });

  it('every variable that reaches the agent', () => {
    expect(modelVariables.filter((name) => !readme.includes(`\`${name}\``))).toEqual([]);
  });

  it('every failure with its exit code, its meaning and its remedy', () => {
    const listed = failureCodes.map((code) => [code, ...(rows.get(code) ?? [])]);
    expect(listed).toEqual(
      failureCodes.map((code) => [
        code,
        String(exitCodeOf(code)),
        expect.stringMatching(/\w/),
        remedyFor(code),
      ]),
    );
  });

  it('every exit code as the command line explains it', () => {
    const names = Object.keys(exitCodes) as (keyof typeof exitCodes)[];
    const listed = names.map((name) => rows.get(String(exitCodes[name])));
    expect(listed).toEqual(names.map((name) => [exitCodeMeanings[name]]));
  });

  it('every guarantee with the tests that prove it, or says that there is none yet', () => {
    const proofs = Array.from({ length: 10 }, (_, index) => rows.get(`G${index + 1}`)?.at(-1) ?? '');
    const withoutProof = proofs.filter((proof) => {
      const files = proof.match(/\btest\/[\w./-]+\.ts\b/g) ?? [];
      return (
        !files.every((file) => existsSync(join(root, file))) ||
        (files.length === 0 && !proof.includes('not yet'))
      );
    });
    expect(withoutProof).toEqual([]);
  });
});

describe('the README shows', () => {
  it('examples in TypeScript that compile against the sources', () => {
    const examples = blocks(readme, 'ts');
    expect(examples.length).toBeGreaterThan(0);
    expect(examples.flatMap(typeErrors)).toEqual([]);
  }, 60_000);

  it('queries that a test runs as they stand', () => {
    const flat = (text: string) => text.replace(/\s+/g, ' ').replace(/;\s*$/, '').trim();
    const tested = flat(textOf('test/integration/heads.test.ts'));
    const queries = blocks(readme, 'sql');
    expect(queries).toHaveLength(2);
    for (const query of queries) expect(tested).toContain(flat(query));
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
    const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link ?? '');
    const local = links.filter((link) => !/^[a-z]+:/.test(link));
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
    expect(inSchema.filter((name) => !new RegExp(`\\bsession_chain\\.${name}\\b`).test(sources))).toEqual([]);
    // A word with an underscore or a capital inside is a name: of a column, a function, a field.
    const names = spans.filter((span) => /^[a-z]+(?:_[a-z]+|[A-Z][a-z]+)+$/.test(span));
    expect(
      names.filter((name) => !ofOthers.includes(name) && !new RegExp(`\\b${name}\\b`).test(sources)),
    ).toEqual([]);
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
      const [, name, rest = ''] = /(?:\bsession-chain|--rm cli) ([a-z]+)\b([^|]*)/.exec(line) ?? [];
      if (name === undefined) continue;
      const command = program.commands.find((candidate) => candidate.name() === name);
      const known = command?.options.flatMap((option) => option.long ?? []) ?? [];
      const used = [...rest.matchAll(/(?<=\s)--[a-z-]+/g)].map(([flag]) => flag);
      expect([line, command !== undefined, used.filter((flag) => !known.includes(flag))]).toEqual([
        line,
        true,
        [],
      ]);
    }
  });

  it('names no place of the machine that it was written on', () => {
    const absolute = [...text.matchAll(/(?<![\w./:}\]-])\/([a-z]\w*)\/[\w.]/g)].map(([, top]) => top ?? '');
    const general = ['srv', 'proc', 'usr', 'var', 'workspaces'];
    expect(absolute.filter((top) => !general.includes(top))).toEqual([]);
  });
});

/** As GitHub makes them of headings. */
function anchorsOf(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    (heading ?? '')
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .trim()
      .replaceAll(' ', '-'),
  );
}

/** What the compiler says of a module that would lie in the project's folder. */
function typeErrors(source: string): string[] {
  const file = join(root, 'readme-example.ts');
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), (path) => ts.sys.readFile(path)) as {
    config: unknown;
  };
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  const disk = ts.createCompilerHost(options);
  const host: ts.CompilerHost = {
    ...disk,
    fileExists: (path) => path === file || disk.fileExists(path),
    readFile: (path) => (path === file ? source : disk.readFile(path)),
    getSourceFile: (path, target, ...rest) =>
      path === file ? ts.createSourceFile(path, source, target) : disk.getSourceFile(path, target, ...rest),
  };
  const program = ts.createProgram([file], options, host);
  return ts
    .getPreEmitDiagnostics(program, program.getSourceFile(file))
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
}
