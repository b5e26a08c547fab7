import { parseArgs } from 'node:util';
import { runRandomKills } from './random-kills.js';

const usage = `npm run fault -- random [--chains 40] [--faults 200] [--workers 2] [--at-once 6] [--seed N]
  kills and freezes workers, agents, Temporal, Postgres and Redis at random while chains run, then judges what is left`;

const { values } = parseArgs({
  options: {
    chains: { type: 'string', default: '40' },
    faults: { type: 'string', default: '200' },
    workers: { type: 'string', default: '2' },
    'at-once': { type: 'string', default: '6' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(usage);
  process.exit(0);
}
const startedAt = performance.now();
console.log(`Seed ${values.seed}; preparing …`);
const result = await runRandomKills({
  chains: Number(values.chains),
  faults: Number(values.faults),
  workers: Number(values.workers),
  atOnce: Number(values['at-once']),
  seed: Number(values.seed),
  onProgress: (line) => console.log(`  … ${line}`),
});
const list = (counts: Record<string, number>) =>
  Object.entries(counts)
    .map(([name, count]) => `${count} × ${name}`)
    .join(', ');
console.log(`  chains: ${list(result.statuses)}`);
console.log(`  faults: ${list(result.faults)}`);
console.log(
  `  ${result.attempts} attempts, ${result.marked} of them with a turn in flight; ${result.lost} turns in flight lost; ${result.writes} lines written by shells`,
);
for (const { name, violations } of result.rules) {
  console.log(`  ${violations.length === 0 ? '✓' : '✗'} ${name}`);
  for (const violation of violations.slice(0, 20)) console.log(`      ${violation}`);
  if (violations.length > 20) console.log(`      … ${violations.length - 20} more`);
}
const failed = result.rules.filter(({ violations }) => violations.length > 0).length;
console.log(`  ${((performance.now() - startedAt) / 60_000).toFixed(1)} min`);
console.log(`${result.rules.length - failed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
