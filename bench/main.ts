import { writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { reportError } from '../cli/errors.js';
import { SessionChainError } from '../contracts/failures.js';
import { measureChain } from './chain.js';
import { measureEmptyChains } from './empty.js';
import { measureForks } from './forks.js';
import { measureHeads } from './heads.js';
import { measureLine } from './line.js';
import { measureLongLife } from './long-life.js';
import { type Row, reportTable } from './report.js';
import { startBenchStack } from './stack.js';

const parts = ['chain', 'forks', 'heads', 'line', 'empty', 'long-life'] as const;
type Part = (typeof parts)[number];

const usage = `Usage: npm run bench [-- --only PART] [--runs N] [--json] [--out FILE] [--plot FILE]

Measures on a throw-away stack of its own, with the real Claude Code and the offline model, and prints one table.

  --only PART   chain  whole chains, in turns with a bare shell script that makes the same four calls
                forks  what the transcripts of twenty forks take in the database
                heads  commits, reads and turns of heads beside the same bare statements; a large database
                line   the wake-up of the next chain in line; what 1,000 waiting chains take
                empty  chains of empty steps, in turns with the stock Temporal dev server
                long-life  200 operations on one project, with accidents; every guarantee is checked, a plot is drawn
                May be given several times; default: all but long-life, which takes ten minutes.
  --runs N      counted runs of what is timed; default 5
  --json        one JSON document on stdout instead of the table
  --out FILE    the same document to a file
  --plot FILE   where the plot of long-life goes; default docs/long-life.svg

Times depend on the machine and on what else it does: compare ratios of one run.`;

const say = (line: string) => console.error(line);

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', multiple: true },
      runs: { type: 'string', default: '5' },
      json: { type: 'boolean', default: false },
      out: { type: 'string' },
      plot: { type: 'string', default: 'docs/long-life.svg' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return;
  }
  const runs = Number(values.runs);
  if (!Number.isInteger(runs) || runs < 1)
    throw new SessionChainError('INVALID_INPUT', '--runs takes a whole number of at least 1.');
  const wanted = values.only?.map(parsePart) ?? parts.filter((part) => part !== 'long-life');

  const startedAt = new Date();
  const loadBefore = loadavg()[0];
  const rows = await measure(new Set(wanted), runs, values.plot);
  const document = JSON.stringify(
    {
      startedAt: startedAt.toISOString(),
      durationMs: Date.now() - startedAt.getTime(),
      node: process.versions.node,
      cores: cpus().length,
      loadBefore,
      rows,
    },
    null,
    2,
  );
  if (values.out !== undefined) writeFileSync(values.out, `${document}\n`);
  if (!values.json) {
    console.log(reportTable(rows));
    console.log(
      `\n${cpus().length} cores, load before the run ${loadBefore?.toFixed(1)}; medians (lowest–highest).`,
    );
  } else console.log(document);
}

async function measure(wanted: ReadonlySet<Part>, runs: number, plotFile: string): Promise<Row[]> {
  const rows: Row[] = [];
  if (['chain', 'forks', 'heads', 'line', 'long-life'].some((part) => wanted.has(part as Part))) {
    say('Starting a stack …');
    const stack = await startBenchStack(say);
    try {
      if (wanted.has('chain')) {
        say('Whole chains, in turns with a shell script …');
        rows.push(...(await measureChain(stack, runs)));
      }
      if (wanted.has('forks')) {
        say('Twenty forks …');
        rows.push(...(await measureForks(stack)));
      }
      if (wanted.has('heads')) {
        say('Heads, in turns with bare statements …');
        rows.push(...(await measureHeads(stack, runs)));
      }
      if (wanted.has('line')) {
        say('Chains in line …');
        rows.push(...(await measureLine(stack, runs)));
      }
      if (wanted.has('long-life')) {
        say('A long life …');
        rows.push(...(await measureLongLife(stack, plotFile, say)));
      }
    } finally {
      await stack.stop();
    }
  }
  if (wanted.has('empty')) {
    say('Chains of empty steps, in turns with the stock dev server …');
    rows.push(...(await measureEmptyChains(3 * runs)));
  }
  return rows;
}

function parsePart(name: string): Part {
  const part = parts.find((known) => known === name);
  if (part) return part;
  throw new SessionChainError(
    'INVALID_INPUT',
    `--only takes ${parts.join(', ')}; ${JSON.stringify(name)} is none of them.`,
  );
}

try {
  await main();
} catch (error) {
  process.exitCode = reportError(error, 'text', !(error instanceof SessionChainError));
}
// A client that still tries to reach a stopped server must not keep the process.
process.exit();
