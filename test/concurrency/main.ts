import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runChains } from './chains.js';
import { type Rule, check } from './checker.js';
import { type LoadOptions, type LoadResult, catchMutant, runLoad, unexplained } from './load.js';
import { describeMutant, mutantNames } from './mutants.js';
import { countOperations, countUnknowns, verdictOf } from './report.js';

const parts = ['storage', 'chains', 'mutants'] as const;
const usage = `npm run concurrency -- [--only ${parts.join('|')}] [--operations 12000] [--chains 50]
  storage: operations by several processes while things break, then the verdict on their history
  chains: whole chains through the real agent, all on one project but a few, started at once
  mutants: the same check on storage functions that are wrong; it passes when each of them is caught`;

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    operations: { type: 'string', default: '12000' },
    chains: { type: 'string', default: '50' },
    help: { type: 'boolean', default: false },
  },
});
const unknown = (values.only ?? []).filter((name) => !(parts as readonly string[]).includes(name));
if (values.help || unknown.length > 0) {
  print(unknown.length > 0 ? `Unknown: ${unknown.join(', ')}\n${usage}` : usage);
  process.exit(values.help ? 0 : 2);
}
const compiled = (name: string) => join(import.meta.dirname, `${name}.js`);

const load: Omit<LoadOptions, 'operations' | 'guards'> = {
  writer: compiled('writer'),
  writers: 6,
  clientsPerWriter: 5,
  projects: 24,
  faultEveryMs: 100,
};
const total = { passed: 0, failed: 0 };
const startedAt = performance.now();

await run('storage', async () => {
  const operations = Number(values.operations);
  print(`storage: ${operations} operations on ${load.projects} projects …`);
  const result = await runLoad({ ...load, operations, guards: 'kept' });
  printLoad(result);
  const rules = check(result.history, result.final);
  judge(rules);
  printVerdict(rules);
  judge([
    {
      name: 'every operation without an answer was struck by a fault',
      violations: unexplained(result.history),
    },
    {
      name: `at least ${operations} operations`,
      violations: result.history.length < operations ? [`there are ${result.history.length}`] : [],
    },
  ]);
});

await run('chains', async () => {
  const chainsPerProject = [Number(values.chains), 2, 2];
  const count = chainsPerProject.reduce((sum, chains) => sum + chains, 0);
  print(
    `\nchains: ${count} through the real agent, ${chainsPerProject[0] ?? 0} of them on one project, started at once …`,
  );
  const result = await runChains({
    starter: compiled('starter'),
    starters: 3,
    workers: 2,
    chainsPerProject,
    onProgress: (done) => print(`  … ${done} of ${count} done`),
  });
  print(
    `  ${result.transitions} transitions, ${result.history.length} reads meanwhile, ${seconds(result.durationMs)}`,
  );
  judge(result.rules);
  printVerdict(result.rules);
});

await run('mutants', async () => {
  print('\nmutants: none may pass; without the constraints that would keep them from doing harm …');
  const control = await runLoad({ ...load, operations: 3_000, guards: 'dropped' });
  judge([
    {
      name: `no mutant, and without the constraints too: passes (${control.history.length} operations)`,
      violations: check(control.history, control.final).flatMap(({ violations }) => violations),
    },
  ]);
  for (const guards of mutantNames) {
    const { broken, operations } = await catchMutant({ ...load, operations: 3_000, guards }, 3);
    const found = broken.flatMap(({ violations }) => violations);
    const what = `${guards}: ${describeMutant(guards).what}`;
    judge([{ name: what, violations: found.length > 0 ? [] : ['it was not caught'] }]);
    print(`    caught ${found.length} times in ${operations} operations, as: ${found[0] ?? 'nothing'}`);
  }
});

print(`\n${((performance.now() - startedAt) / 60_000).toFixed(1)} min`);
print(`${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed > 0 ? 1 : 0;

/** A part that breaks off has failed, and the others go on. */
async function run(part: (typeof parts)[number], perform: () => Promise<void>): Promise<void> {
  if (values.only && !values.only.includes(part)) return;
  try {
    await perform();
  } catch (error) {
    total.failed += 1;
    print(
      `  ✗ ${part} broke off: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    );
  }
}

/** What the rules say of the heads. */
function printVerdict(rules: Rule[]): void {
  const isSound = rules.every(({ violations }) => violations.length === 0);
  print(
    `  verdict: the heads are ${isSound ? '' : 'NOT '}linearizable, with ${isSound ? 'a single predecessor each' : 'the violations above'}`,
  );
}

function judge(rules: Rule[]): void {
  for (const rule of rules) {
    total[rule.violations.length === 0 ? 'passed' : 'failed'] += 1;
    print(verdictOf(rule).join('\n'));
  }
}

function printLoad({ history, final, faults, processes, durationMs }: LoadResult): void {
  print(countOperations(history).join('\n'));
  print(
    `  ${history.length} operations by ${processes} processes in ${seconds(durationMs)}; ${final.transitions.length} transitions`,
  );
  print(countUnknowns(history));
  print(
    `  faults: ${Object.entries(faults)
      .map(([fault, count]) => `${count} × ${fault}`)
      .join(', ')}`,
  );
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
