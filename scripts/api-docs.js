// Writes what documents say of the sources: docs/api.md, every export of the package's entry points with its docstring
// and its type, and in docs/operations.md the table of failures, from the compiled sources.
// `node scripts/api-docs.js --check` only compares, for the test.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import prettier from 'prettier';
import ts from 'typescript';
import { root } from './ensure-dependencies.js';

const { exports: entries } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const check = process.argv.includes('--check');
await write('docs/api.md', await apiDocument());
await write('docs/operations.md', await withFailures(readFileSync(join(root, 'docs/operations.md'), 'utf8')));

async function write(name, lines) {
  const file = join(root, name);
  const options = await prettier.resolveConfig(file);
  const text = await prettier.format(lines, { ...options, parser: 'markdown' });
  if (!check) writeFileSync(file, text);
  else if (!existsSync(file) || readFileSync(file, 'utf8') !== text) {
    console.error(`${name} is not what the sources say. Write it anew: npm run build && npm run api-docs`);
    process.exitCode = 1;
  }
}

async function withFailures(text) {
  const { failureCodes, isRetryable, remedyFor } = await import('../dist/contracts/failures.js');
  const { exitCodeOf } = await import('../dist/cli/errors.js');
  const rows = failureCodes.map(
    (code) =>
      `| \`${code}\` | ${isRetryable(code) ? 'yes' : 'no'} | ${exitCodeOf(code)} | ${remedyFor(code)} |`,
  );
  const table = ['| code | tried again | exit | what to do |', '| --- | --- | --- | --- |', ...rows].join(
    '\n',
  );
  return text.replace(/(<!-- failures:[^\n]*-->)[\s\S]*(<!-- \/failures -->)/, `$1\n\n${table}\n\n$2`);
}

async function apiDocument() {
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
    'Made from the docstrings by `npm run api-docs`; a test fails when it is not up to date. ESM with types, for Node 20.20 or',
    "newer. A CommonJS module gets the same by `require()`, which Node's supported versions do with ES modules, or by `import()`.",
    'Every error that is thrown on purpose is a `SessionChainError` with a `code` and a `remedy`; [operations.md](operations.md)',
    'lists the codes. How a chain is defined is told in [configuration.md](configuration.md).',
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
        docOf(declaration),
        '',
        '```ts',
        codeOf(declaration, checker),
        '```',
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
