import { writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { reportError } from '../cli/errors.js';
import { SessionChainError } from '../contracts/failures.js';
import { measureChain } from './chain.js';
import { measureDashboard } from './dashboard.js';
import { measureEmptyChains } from './empty.js';
import { measureForks } from './forks.js';
import { measureHeads } from './heads.js';
import { measureLongLife } from './long-life.js';
import { measureQueue } from './queue.js';
import { type Row, reportTable } from './report.js';
import { measureRetention } from './retention.js';
import { measureSandbox } from './sandbox.js';
import { type BenchStack, startBenchStack } from './stack.js';
import { measureViewers } from './viewers.js';

const usage = `Usage: npm run bench [-- --only PART] [--runs N] [--chains N] [--json] [--out FILE] [--plot FILE]

Measures on a throw-away stack of its own, with the real Claude Code and the offline model, and prints a table as soon as
a part has ended.

  --only PART   chain  whole chains, alternating with a bare shell script that makes the same four calls
                forks  what the transcripts of twenty forks take in the database
                heads  commits, reads and openings beside the same bare statements; a large database
                queue  the wake-up of the next chain in the queue; what 1,000 waiting chains take
                viewers  500 viewers of streams on one server; 10,000 that ask for one
                dashboard  the first view of the dashboard on 5,000 projects and 1,000,000 transitions
                empty  chains of empty steps, alternating with the stock Temporal dev server
                sandbox  the proxy and the wall around a step, each alternating with the same without
                retention  a project of 1,000 sessions archived, dropped and restored; a large database
                long-life  200 operations on one project, with accidents; every guarantee is checked, a plot is drawn
                May be given several times; default: all but dashboard, retention and long-life, which take minutes.
  --runs N      counted runs of what is timed; default 5
  --chains N    chains in a batch of empty ones; default 40
  --json        one JSON document on stdout, at the end, instead of the tables
  --out FILE    the same document to a file, written anew after each part
  --plot FILE   where the plot of long-life goes; default docs/long-life.svg

Times depend on the machine and its load: compare ratios of one run.`;

const say = (line: string) => console.error(line);

interface Settings {
  runs: number;
  chains: number;
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
  forks: { title: 'Twenty forks', measure: (_settings, stack) => measureForks(stack) },
  heads: {
    title: 'Heads, in turns with bare statements',
    measure: ({ runs }, stack) => measureHeads(stack, runs),
  },
  queue: { title: 'Queued chains', measure: ({ runs }, stack) => measureQueue(stack, runs) },
  viewers: {
    title: 'Viewers of streams',
    measure: ({ runs }, stack) => measureViewers(stack, runs),
  },
  dashboard: {
    title: 'The first view of the dashboard',
    measure: ({ runs }, stack) => measureDashboard(stack, runs),
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
    measure: () => measureRetention(say),
  },
} satisfies Record<string, Measured<[]>>;

type Part = keyof typeof onStack | keyof typeof alone;
const parts = Object.keys({ ...onStack, ...alone }) as Part[];
/** Left out unless they are asked for. */
const slow: Part[] = ['dashboard', 'retention', 'long-life'];

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', multiple: true },
      runs: { type: 'string', default: '5' },
      chains: { type: 'string', default: '40' },
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
  const settings = {
    runs: parseCount('--runs', values.runs),
    chains: parseCount('--chains', values.chains),
    plot: values.plot,
  };
  const wanted = new Set(values.only?.map(parsePart) ?? parts.filter((part) => !slow.includes(part)));

  const startedAt = new Date();
  const loadBefore = loadavg()[0];
  const rows: Row[] = [];
  const document = () =>
    JSON.stringify(
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
  await measure(wanted, settings, (measured) => {
    rows.push(...measured);
    if (values.out !== undefined) writeFileSync(values.out, `${document()}\n`);
    if (!values.json) console.log(`${reportTable(measured)}\n`);
  });
  console.log(
    values.json
      ? document()
      : `${cpus().length} cores, load before the run ${loadBefore?.toFixed(1)}; medians (lowest–highest).`,
  );
}

/** Prints the rows of each part as soon as it has ended. */
async function measure(
  wanted: ReadonlySet<Part>,
  settings: Settings,
  tell: (rows: Row[]) => void,
): Promise<void> {
  const shared = Object.entries(onStack).filter(([part]) => wanted.has(part as Part));
  if (shared.length > 0) {
    say('Starting a stack …');
    const stack = await startBenchStack(say);
    try {
      for (const [, { title, measure }] of shared) {
        say(`${title} …`);
        tell(await measure(settings, stack));
      }
    } finally {
      await stack.stop();
    }
  }
  for (const [part, { title, measure }] of Object.entries(alone)) {
    if (!wanted.has(part as Part)) continue;
    say(`${title} …`);
    tell(await measure(settings));
  }
}

function parsePart(name: string): Part {
  const part = parts.find((known) => known === name);
  if (part) return part;
  throw new SessionChainError(
    'INVALID_INPUT',
    `--only takes ${parts.join(', ')}; ${JSON.stringify(name)} is none of them.`,
  );
}

function parseCount(option: string, given: string): number {
  const count = Number(given);
  if (Number.isInteger(count) && count >= 1) return count;
  throw new SessionChainError('INVALID_INPUT', `${option} takes a whole number of at least 1.`);
}

try {
  await main();
} catch (error) {
  process.exitCode = reportError(error, 'text', !(error instanceof SessionChainError));
}
// A client that still tries to reach a stopped server must not keep the process.
process.exit();
