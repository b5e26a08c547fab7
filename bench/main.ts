import { closeSync, openSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { exitCodes, reportError } from '../cli/errors.js';
import { SessionChainError } from '../contracts/failures.js';
import { measureChain } from './chain.js';
import { measureDashboard } from './dashboard.js';
import { measureEmptyChains } from './empty.js';
import { measureForks } from './forks.js';
import { measureHeads } from './heads.js';
import type { Size } from './large-database.js';
import { measureLineage } from './lineage.js';
import { measureLongLife } from './long-life.js';
import { measureQueue } from './queue.js';
import { type Row, reportTable } from './report.js';
import { type Part, measureParts } from './parts.js';
import { measureRetention } from './retention.js';
import { measureSandbox } from './sandbox.js';
import { type BenchStack, startBenchStack } from './stack.js';
import { measureViewers } from './viewers.js';
import { measureWarm } from './warm.js';

const usage = `Usage: npm run bench [-- --only PART] [--runs N] [--rounds N] [--chains N] [--small] [--json] [--out FILE] [--plot FILE]

Measures on a throw-away stack of its own, with the real Claude Code and the offline model, and prints a table as soon as
a part has ended. A part that fails is reported, and the others are measured; the exit code then is 1.

  --only PART   chain  whole chains, alternating with a bare shell script that makes the same four calls
                warm   chains and questions warm and cold, alternating with the shell script, with an instant and a slow model
                forks  what the transcripts of twenty forks take in the database
                heads  commits, reads and openings beside the same bare statements; a large database
                lineage  what a session comes from, over 20 to 10,000 operations, beside a plain recursive query
                queue  the wake-up of the next chain in the queue; what 1,000 waiting chains take
                viewers  500 viewers of streams on one server; 10,000 that ask for one
                dashboard  the first view of the dashboard on 5,000 projects and 1,000,000 transitions
                empty  chains of empty steps, alternating with the stock Temporal dev server
                sandbox  the proxy and the wall around a step, each alternating with the same without
                retention  a project of 1,000 sessions archived, dropped and restored; a large database
                long-life  200 operations on one project, with accidents; every guarantee is checked, a plot is drawn
                May be given several times; default: all but dashboard, retention and long-life, which take minutes.
  --runs N      counted runs of what is timed; default 5
  --rounds N    counted rounds of warm: a warm chain, a cold one, the script; default: as many as --runs
  --chains N    chains in a batch of empty ones; default 40
  --small       a hundredth of the database of dashboard and retention, to see that they run
  --json        one JSON document on stdout, at the end, instead of the tables
  --out FILE    the same document to a file, written anew after each part
  --plot FILE   where the plot of long-life goes; default docs/long-life.svg

Times depend on the machine and its load: compare ratios of one run.`;

const say = (line: string) => console.error(line);

interface Settings {
  runs: number;
  rounds: number;
  chains: number;
  size: Size;
  plot: string;
}

interface Measured<Needs extends unknown[]> {
  title: string;
  measure: (settings: Settings, ...needs: Needs) => Promise<Row[]>;
}

/** The parts that share one stack, in the order in which they run. */
const onStack = {
  chain: {
    title: 'Whole chains, in turns with a shell script',
    measure: ({ runs }, stack) => measureChain(stack, runs),
  },
  warm: {
    title: 'Chains and questions, warm and cold, in turns with a shell script',
    measure: ({ rounds }, stack) => measureWarm(stack, rounds),
  },
  forks: { title: 'Twenty forks', measure: (_settings, stack) => measureForks(stack) },
  heads: {
    title: 'Heads, in turns with bare statements',
    measure: ({ runs }, stack) => measureHeads(stack, runs),
  },
  lineage: {
    title: 'Ancestors, in turns with a plain recursive query',
    measure: ({ runs }, stack) => measureLineage(stack, runs),
  },
  queue: { title: 'Queued chains', measure: ({ runs }, stack) => measureQueue(stack, runs) },
  viewers: {
    title: 'Viewers of streams',
    measure: ({ runs }, stack) => measureViewers(stack, runs),
  },
  dashboard: {
    title: 'The first view of the dashboard',
    measure: ({ runs, size }, stack) => measureDashboard(stack, runs, size),
  },
  'long-life': {
    title: 'A long life',
    measure: ({ plot }, stack) => measureLongLife(stack, plot, say),
  },
} satisfies Record<string, Measured<[BenchStack]>>;

/** The parts that start what they need, once the shared stack is stopped. */
const alone = {
  empty: {
    title: 'Chains of empty steps, in turns with the stock dev server',
    measure: ({ runs, chains }) => measureEmptyChains(3 * runs, chains),
  },
  sandbox: {
    title: 'What keeping an agent in costs',
    measure: ({ runs }) => measureSandbox(runs),
  },
  retention: {
    title: 'Retention',
    measure: ({ size }) => measureRetention(say, size),
  },
} satisfies Record<string, Measured<[]>>;

type PartName = keyof typeof onStack | keyof typeof alone;
const partNames = Object.keys({ ...onStack, ...alone }) as PartName[];
/** Left out unless they are asked for. */
const slow: PartName[] = ['dashboard', 'retention', 'long-life'];

async function main(): Promise<void> {
  const values = parseOptions();
  if (values.help) {
    console.log(usage);
    return;
  }
  const settings = {
    runs: parseCount('--runs', values.runs),
    rounds: parseCount('--rounds', values.rounds ?? values.runs),
    chains: parseCount('--chains', values.chains),
    size: values.small ? ('small' as const) : ('full' as const),
    plot: values.plot,
  };
  const wanted = new Set(values.only?.map(parsePart) ?? partNames.filter((part) => !slow.includes(part)));

  const startedAt = new Date();
  const loadBefore = loadavg()[0];
  const rows: Row[] = [];
  const failures: { part: string; message: string }[] = [];
  const document = () =>
    JSON.stringify(
      {
        startedAt: startedAt.toISOString(),
        durationMs: Date.now() - startedAt.getTime(),
        node: process.versions.node,
        cores: cpus().length,
        loadBefore,
        rows,
        failures,
      },
      null,
      2,
    );
  const save = () => {
    if (values.out !== undefined) writeFileSync(values.out, `${document()}\n`);
  };
  // What cannot be written is found before anything is measured.
  requireWritable('--out', save);
  if (wanted.has('long-life')) requireWritable('--plot', () => closeSync(openSync(values.plot, 'a')));

  await measureParts(partsOf(wanted, settings), startStack, {
    begin: (_part, title) => say(`${title} …`),
    measured(_part, measured) {
      rows.push(...measured);
      save();
      if (!values.json) console.log(`${reportTable(measured)}\n`);
    },
    failed(part, error) {
      const message = error instanceof Error ? error.message : String(error);
      failures.push({ part, message });
      save();
      say(`The part ${part} failed.`);
      process.exitCode = exitCodes.unexpected;
      reportError(error, 'text', !(error instanceof SessionChainError));
      if (!values.json) console.log(`${part}: failed. ${message}\n`);
    },
  });
  console.log(
    values.json
      ? document()
      : `${cpus().length} cores, load before the run ${loadBefore?.toFixed(1)}; medians (lowest–highest).`,
  );
}

async function startStack(): Promise<BenchStack> {
  say('Starting a stack …');
  return await startBenchStack(say);
}

/** Those on the shared stack first; it is stopped before the others begin. */
function partsOf(wanted: ReadonlySet<PartName>, settings: Settings): Part<BenchStack>[] {
  const isWanted = ([name]: [string, unknown]) => wanted.has(name as PartName);
  return [
    ...Object.entries(onStack)
      .filter(isWanted)
      .map(([name, { title, measure }]) => ({
        ...{ name, title },
        measureOn: async (stack: BenchStack) => await measure(settings, stack),
      })),
    ...Object.entries(alone)
      .filter(isWanted)
      .map(([name, { title, measure }]) => ({ name, title, measure: async () => await measure(settings) })),
  ];
}

function parseOptions() {
  try {
    return parseArgs({
      options: {
        only: { type: 'string', multiple: true },
        runs: { type: 'string', default: '5' },
        rounds: { type: 'string' },
        chains: { type: 'string', default: '40' },
        small: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        out: { type: 'string' },
        plot: { type: 'string', default: 'docs/long-life.svg' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }).values;
  } catch (error) {
    throw new SessionChainError(
      'INVALID_INPUT',
      (error as Error).message,
      'npm run bench -- --help lists what there is.',
    );
  }
}

function requireWritable(option: string, write: () => void): void {
  try {
    write();
  } catch (error) {
    throw new SessionChainError(
      'INVALID_INPUT',
      `The file of ${option} cannot be written: ${(error as Error).message}.`,
      'Name a file in a folder that exists and that you may write to.',
    );
  }
}

function parsePart(name: string): PartName {
  const part = partNames.find((known) => known === name);
  if (part) return part;
  throw new SessionChainError(
    'INVALID_INPUT',
    `--only takes ${partNames.join(', ')}; ${JSON.stringify(name)} is none of them.`,
  );
}

function parseCount(option: string, given: string): number {
  const count = Number(given);
  if (Number.isInteger(count) && count >= 1) return count;
  throw new SessionChainError(
    'INVALID_INPUT',
    `${option} takes a whole number of at least 1, not ${JSON.stringify(given)}.`,
  );
}

try {
  await main();
} catch (error) {
  process.exitCode = reportError(error, 'text', !(error instanceof SessionChainError));
}
// A client that still tries to reach a stopped server must not keep the process.
process.exit();
