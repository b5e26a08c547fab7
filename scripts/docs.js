// Writes docs/reference from the compiled sources: the programming interface, the commands, the exit codes, the failures
// and the environment; docs/openapi.json as the HTTP server tells it; and from that http/schema.ts, the types of the HTTP client. `node scripts/docs.js --check` only compares, for the test.
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import openapiTS, { astToString } from 'openapi-typescript';
import prettier from 'prettier';
import ts from 'typescript';
import { exitCodeMeanings, exitCodeOf, exitCodes } from '../dist/cli/errors.js';
import { createProgram } from '../dist/cli/program.js';
import { modelVariables, readConfig, variables } from '../dist/config/environment.js';
import * as failures from '../dist/contracts/failures.js';
import { createApp } from '../dist/server/app.js';
import { root } from './ensure-dependencies.js';

const { exports: entries } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const check = process.argv.includes('--check');
const folder = 'docs/reference';
const pages = {
  'api.md': apiDocument,
  'cli.md': commandDocument,
  'environment.md': environmentDocument,
  'exit-codes.md': exitCodeDocument,
  'failures.md': failureDocument,
};
const openapi = await openapiDocument();
await write('docs/openapi.json', JSON.stringify(openapi), 'json');
await write('http/schema.ts', await httpSchema(openapi), 'typescript');
for (const [name, make] of Object.entries(pages)) await write(join(folder, name), make(), 'markdown');
const stale = readdirSync(join(root, folder)).filter((name) => !(name in pages));
if (stale.length > 0) fail(`${folder} holds pages that are not generated: ${stale.join(', ')}.`);

async function write(name, content, parser) {
  const file = join(root, name);
  const options = await prettier.resolveConfig(file);
  const text = await prettier.format(content, { ...options, parser });
  if (check) {
    if (existsSync(file) && readFileSync(file, 'utf8') === text) return;
    fail(`${name} is out of date. Generate it: npm run build && npm run docs`);
  } else {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
}

async function openapiDocument() {
  const app = await createApp({ sessionChain: {}, keys: {} });
  await app.ready();
  const document = app.swagger();
  await app.close();
  return document;
}

async function httpSchema(document) {
  const types = astToString(await openapiTS(document, { alphabetize: true }));
  const used = types.replaceAll(/^export type (webhooks|\$defs) = .*;\n/gm, '');
  return `/** Generated from docs/openapi.json by \`npm run docs\`. */\n\n${used}`;
}

function fail(message) {
  console.error(message);
  process.exitCode = 1;
}

function table(head, rows) {
  const line = (cells) => `| ${cells.map((cell) => String(cell).replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function code(text) {
  return `\`${text}\``;
}

function commandDocument() {
  const program = createProgram(() => undefined);
  const sections = program.commands.map((command) => commandSection(command, program.name()));
  return [
    '# Command line',
    '',
    'Generated from the program by `npm run docs`. `npx session-chain <command>` runs a command where the package is installed, and',
    'in a clone of the repository after a first `npm start` or `npm run build`. `--help` after a command prints what this page says of it.',
    '',
    'A command reads the [environment](environment.md), filled up from `.session-chain/env` in the current folder, which `npm start`',
    'writes. Results go to stdout, as text or with `-o json` as one document. Errors go to stderr, with a [code](failures.md) and a',
    'remedy, as `{"error":{"code","message","remedy"}}` with `-o json`; the [exit codes](exit-codes.md) are the same everywhere.',
    '',
    table(
      ['command', 'what it does'],
      program.commands.map((command) => [
        `[\`${command.name()}\`](#${anchorOf(command.name())})`,
        command.description(),
      ]),
    ),
    ...sections,
  ].join('\n');
}

function commandSection(command, parents, level = 2) {
  const help = command.createHelp();
  const name = `${parents} ${command.name()}`;
  const rows = (items, term, description) => items.map((item) => [code(term(item)), description(item)]);
  const terms = [
    ...rows(
      help.visibleArguments(command),
      (item) => help.argumentTerm(item),
      (item) => help.argumentDescription(item),
    ),
    ...help
      .visibleOptions(command)
      .filter(({ long }) => long !== '--help')
      .map((option) => [
        code(help.optionTerm(option)),
        `${help.optionDescription(option)}${option.mandatory ? ' (required)' : ''}`,
      ]),
  ];
  return [
    '',
    `${'#'.repeat(level)} ${level === 2 ? command.name() : name}`,
    '',
    command.description(),
    '',
    '```text',
    help.commandUsage(command),
    '```',
    ...(terms.length > 0 ? ['', table(['argument or option', 'meaning'], terms)] : []),
    ...textAfter(command),
    ...command.commands.flatMap((child) => commandSection(child, name, level + 1)),
  ].join('\n');
}

/** What a command's help says after its options: examples, and remarks. */
function textAfter(command) {
  let text = '';
  command.configureOutput({ writeOut: (part) => (text += part) }).outputHelp();
  const after = text.slice(text.indexOf(command.helpInformation()) + command.helpInformation().length).trim();
  return after === '' ? [] : ['', '```text', after, '```'];
}

function exitCodeDocument() {
  const codesOf = (exit) => failures.failureCodes.filter((one) => exitCodeOf(one) === exit);
  return [
    '# Exit codes',
    '',
    'Generated by `npm run docs`. Every command of the [command line](cli.md) ends with one of these; a failure with that of its [code](failures.md).',
    '',
    table(
      ['exit code', 'meaning', 'failures'],
      Object.entries(exitCodes).map(([name, exit]) => [
        exit,
        exitCodeMeanings[name],
        codesOf(exit).map(code).join(', '),
      ]),
    ),
  ].join('\n');
}

function failureDocument() {
  const { categoryOf, failureCategories, failureCodes, failureOfCode, isRetryable } = failures;
  return [
    '# Failures',
    '',
    'Generated by `npm run docs`. Every error that the client throws is a `SessionChainError` with one of these codes, a category, a message',
    "with the ids, and a remedy. Temporal's histories hold the code and its meaning only; the whole message stays in Postgres.",
    '',
    table(
      ['category', 'exit', 'meaning'],
      Object.entries(failureCategories).map(([category, meaning]) => [
        code(category),
        exitCodeOf(failureCodes.find((one) => categoryOf(one) === category)),
        meaning,
      ]),
    ),
    '',
    '_Tried again_: a step that fails so is tried again by itself, as often as its limit of attempts allows; the same call of the client',
    'may succeed later (`isRetryable(code)`). _Exit_: the [exit code](exit-codes.md) of the command line. A message may bring a remedy of',
    'its own, which knows more than the general one.',
    '',
    table(
      ['code', 'category', 'tried again', 'exit', 'what happened', 'what to do'],
      failureCodes.map((one) => {
        const { message, remedy } = failureOfCode(one);
        return [
          code(one),
          categoryOf(one),
          isRetryable(one) ? 'yes' : 'no',
          exitCodeOf(one),
          message,
          remedy,
        ];
      }),
    ),
  ].join('\n');
}

function environmentDocument() {
  const defaults = readConfig({});
  // What these come to depends on the machine; their descriptions say how.
  const computed = ['SESSION_CHAIN_MAX_AGENTS', 'SESSION_CHAIN_SCRATCH_DIR'];
  const defaultOf = (name) => {
    const value = defaults[name];
    const isConstant = ['string', 'number'].includes(typeof value) && !computed.includes(name);
    return isConstant && value !== '' ? code(value) : '';
  };
  return [
    '# Environment',
    '',
    'Generated from `config/environment.ts` by `npm run docs`. An empty variable counts as unset. The command line fills the environment',
    'up from `.session-chain/env` in the current folder, which `npm start` writes. An application passes options to `createSessionChain`',
    'instead.',
    '',
    table(
      ['variable', 'meaning', 'default'],
      Object.entries(variables).map(([name, shape]) => [code(name), shape.description, defaultOf(name)]),
    ),
    '',
    '## The model',
    '',
    'A worker passes these to Claude Code as they are, and does not start without a credential among them:',
    `${modelVariables.map(code).join(', ')}.`,
    '',
    'Beyond these an agent sees the path, locale, proxy and certificate variables of the worker and nothing else: neither database nor',
    'Temporal.',
    '',
    '## Temporal',
    '',
    "The standard variables of Temporal's own library: `TEMPORAL_ADDRESS` (default `localhost:7233`), `TEMPORAL_NAMESPACE`,",
    '`TEMPORAL_API_KEY`, `TEMPORAL_TLS_*`, `TEMPORAL_CONFIG_FILE` and `TEMPORAL_PROFILE`.',
    '',
    '## Development',
    '',
    '`npm start` and `npm test` also heed `TEMPORAL_CLI_PATH` (the Temporal CLI), `PG_BIN_DIR` (the folder of the Postgres binaries) and',
    "`XDG_CACHE_HOME`. The first is looked for there, on the PATH, in the project's cache, and is downloaded otherwise.",
  ].join('\n');
}

function apiDocument() {
  const modules = Object.entries(entries).filter(([, target]) => target.types !== undefined);
  const sourceOf = ({ types }) => join(root, types.replace(/^\.\/dist\//, '').replace(/\.d\.ts$/, '.ts'));
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  const program = ts.createProgram(
    modules.map(([, target]) => sourceOf(target)),
    options,
  );
  const checker = program.getTypeChecker();
  const lines = [
    '# API',
    '',
    'Generated from the docstrings by `npm run docs`. ESM with types, for Node 20.20 or newer. A CommonJS module gets the same by',
    "`require()`, which Node's supported versions do with ES modules, or by `import()`. Every error that is thrown on purpose is a",
    '`SessionChainError` with a `code` and a `remedy`: [failures](failures.md). How a chain is defined: [definition](../configuration.md).',
  ];
  const told = new Map();
  for (const [path, target] of modules) {
    const name = path.replace(/^\./, 'session-chain');
    const source = program.getSourceFile(sourceOf(target));
    const exported = checker.getExportsOfModule(checker.getSymbolAtLocation(source));
    const declared = exported.map((symbol) => {
      const original = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
      return [symbol.name, original.declarations[0]];
    });
    lines.push('', `## ${name}`, '');
    // What a caller calls first, then the types that it meets, each as the entry point lists them.
    const [values, types] = [declared.filter(isValue), declared.filter((one) => !isValue(one))];
    for (const [symbol, declaration] of [...values, ...types]) {
      const elsewhere = told.get(declaration);
      if (elsewhere !== undefined) {
        lines.push('', `### ${symbol}`, '', `As in [${elsewhere}](#${anchorOf(elsewhere)}).`);
        continue;
      }
      told.set(declaration, name);
      lines.push(
        '',
        `### ${symbol}`,
        '',
        ...(isGenerated(declaration)
          ? ['As [openapi.json](../openapi.json) has it.']
          : [docOf(declaration), '', '```ts', codeOf(declaration, checker), '```']),
      );
    }
  }
  const unnamed = [...told.keys()].flatMap((declaration) => unnamedTypes(declaration, told, checker));
  if (unnamed.length > 0)
    throw new Error(`Used by exports, but not exported: ${[...new Set(unnamed)].join(', ')}`);
  return lines.join('\n');
}

/** The types of ours that a declaration shows and that no entry point exports. */
function unnamedTypes(declaration, told, checker) {
  const names = [];
  if (isGenerated(declaration)) return names;
  const visit = (node) => {
    if (ts.isBlock(node)) return;
    const reference = ts.isTypeReferenceNode(node)
      ? node.typeName
      : ts.isExpressionWithTypeArguments(node)
        ? node.expression
        : undefined;
    const found = reference && checker.getSymbolAtLocation(reference);
    const symbol = found && found.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(found) : found;
    const [target] = symbol?.declarations ?? [];
    const isOurs =
      target &&
      !ts.isTypeParameterDeclaration(target) &&
      !/node_modules/.test(target.getSourceFile().fileName);
    // How ids are told apart is an internal matter.
    if (isOurs && !told.has(target) && symbol.name !== 'Branded') names.push(symbol.name);
    ts.forEachChild(node, visit);
  };
  ts.forEachChild(declaration, visit);
  return names;
}

/** Whether the declaration is made from docs/openapi.json, which shows it better. */
function isGenerated(declaration) {
  return declaration.getSourceFile().fileName.endsWith('/http/schema.ts');
}

function anchorOf(heading) {
  return heading.toLowerCase().replace(/[^\w-]/g, '');
}

function isValue([, declaration]) {
  return !ts.isInterfaceDeclaration(declaration) && !ts.isTypeAliasDeclaration(declaration);
}

/** The text of a docstring above a declaration, with its links as plain code. */
function docOf(declaration) {
  const owner = ts.isVariableDeclaration(declaration) ? declaration.parent.parent : declaration;
  const docs = owner.jsDoc ?? [];
  const comment = ts.getTextOfJSDocComment(docs.at(-1)?.comment) ?? '';
  return comment.replace(/\{@link ([^}]+)\}/g, '`$1`').trim();
}

/** A declaration as a reader needs it: signatures and fields with their docstrings, no bodies. */
function codeOf(declaration, checker) {
  const source = declaration.getSourceFile();
  if (ts.isFunctionDeclaration(declaration)) {
    const { body } = declaration;
    const end = body ? body.getStart(source) : declaration.getEnd();
    return `${dedent(source.text.slice(declaration.getStart(source), end)).trim()};`;
  }
  if (ts.isVariableDeclaration(declaration)) {
    return `const ${declaration.name.text}: ${typeText(declaration, checker)};`;
  }
  // A type that is computed from what is not exported says nothing; what it comes to does.
  if (ts.isTypeAliasDeclaration(declaration) && /\btypeof\b/.test(declaration.type.getText(source))) {
    return `type ${declaration.name.text} = ${typeText(declaration, checker)};`;
  }
  if (ts.isClassDeclaration(declaration)) {
    const members = declaration.members.map((member) => memberOf(member, source)).filter(Boolean);
    const head = source.text.slice(declaration.getStart(source), declaration.members.pos);
    return `${dedent(head.trim())}\n${members.join('\n')}\n}`;
  }
  return dedent(declaration.getText(source));
}

function typeText(declaration, checker) {
  const flags = ts.TypeFormatFlags.NoTruncation | ts.TypeFormatFlags.InTypeAlias;
  return checker.typeToString(checker.getTypeAtLocation(declaration), undefined, flags);
}

function memberOf(member, source) {
  const comment = source.text.slice(member.getFullStart(), member.getStart(source)).trim();
  const end = member.body ? member.body.getStart(source) : member.getEnd();
  const text = source.text.slice(member.getStart(source), end).trim().replace(/;?$/, ';');
  return [comment, text].filter(Boolean).join('\n').replace(/^/gm, '  ');
}

/** Without `export`, which every one of them is. */
function dedent(code) {
  return code.replace(/^export /, '');
}
