import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { type CellResult, runCell } from './cell.js';
import { type MatrixStep, stepNames } from './definition.js';
import { prepareBase, startLane } from './lane.js';
import {
  type Cell,
  type FaultName,
  type Mode,
  type MomentName,
  allCells,
  faultNames,
  faults,
  modeNames,
  modes,
  momentNames,
  moments,
  nameOf,
  notApplicable,
} from './matrix.js';
import { type Loss, lossNames, losses, runTakeover } from './takeover.js';

const usage = `npm run fault -- [--mode <mode>] [--step <step>] [--fault <fault>] [--moment <moment>] [--lanes 6] [--stall-ms 60000]
  npm run fault -- --takeovers <n> [--busy <processes that make load meanwhile>] [--lanes 6]
  modes: ${modeNames.join(', ')}
  steps: ${stepNames.join(', ')}
  faults: ${faultNames.join(', ')}
  moments: ${momentNames.join(', ')}`;

const { values } = parseArgs({
  options: {
    mode: { type: 'string', multiple: true },
    step: { type: 'string', multiple: true },
    fault: { type: 'string', multiple: true },
    moment: { type: 'string', multiple: true },
    lanes: { type: 'string', default: '6' },
    takeovers: { type: 'string' },
    busy: { type: 'string', default: '0' },
    'stall-ms': { type: 'string', default: '60000' },
    help: { type: 'boolean', default: false },
  },
});

const chosen = <Name extends string>(all: readonly Name[], given: string[] | undefined): readonly Name[] => {
  const unknown = (given ?? []).filter((name) => !(all as readonly string[]).includes(name));
  if (unknown.length > 0 || values.help) {
    console.log(unknown.length > 0 ? `Unknown: ${unknown.join(', ')}\n${usage}` : usage);
    process.exit(values.help ? 0 : 2);
  }
  return given ? all.filter((name) => given.includes(name)) : all;
};
const [someModes, steps, someFaults, someMoments] = [
  chosen<Mode>(modeNames, values.mode),
  chosen<MatrixStep>(stepNames, values.step),
  chosen<FaultName>(faultNames, values.fault),
  chosen<MomentName>(momentNames, values.moment),
];
const cells = allCells().filter(
  ({ mode, step, fault, moment }) =>
    someModes.includes(mode) &&
    steps.includes(step) &&
    someFaults.includes(fault) &&
    someMoments.includes(moment),
);

const results = new Map<Cell, CellResult>();
const startedAt = performance.now();
// Cells that take long come first, so that no lane ends with one alone.
const queue = cells
  .filter((cell) => notApplicable(cell) === null)
  .sort((a, b) => Number(b.fault === 'stall-postgres') - Number(a.fault === 'stall-postgres'));
const total = queue.length;
console.log(`${values.takeovers ? `${values.takeovers} takeovers` : `${total} cells`}; preparing …`);
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    console.log('Interrupted: no further cell is begun.');
    queue.length = 0;
  });
}
const watch = noteStandstills();
const base = await prepareBase();
try {
  await (values.takeovers === undefined
    ? Promise.all(Array.from({ length: Math.min(Number(values.lanes), total) }, runLane))
    : runTakeovers(Number(values.takeovers)));
} finally {
  clearInterval(watch);
  base.remove();
}
if (values.takeovers === undefined) {
  someModes.forEach(printTable);
  printEnd();
}

/** Takes workers' leases while their agents write, and says how long before the next attempt the last line was written. */
async function runTakeovers(count: number): Promise<void> {
  const margins = new Map<Loss, number[]>(lossNames.map((loss) => [loss, []]));
  const todo = Array.from({ length: count }, (_, index) => index);
  let failed = 0;
  const run = async () => {
    const lane = await startLane(base);
    for (let index = todo.shift(); index !== undefined; index = todo.shift()) {
      const loss = lossNames[index % lossNames.length] as Loss;
      const { problems, marginMs } = await runTakeover(lane, `takeover_${index}`, loss, {
        busy: Number(values.busy),
      });
      if (!Number.isNaN(marginMs)) margins.get(loss)?.push(marginMs);
      if (problems.length > 0) failed += 1;
      const load = loadavg()[0]?.toFixed(0);
      const mark = problems.length === 0 ? '✓' : '✗';
      console.log(
        `${mark} ${index + 1}/${count} the worker ${losses[loss]}: ${marginMs.toFixed(0)} ms (load ${load})`,
      );
      for (const problem of problems) console.log(`    ${problem.trim().replaceAll('\n', '\n    ')}`);
    }
    await lane.stop();
  };
  await Promise.all(Array.from({ length: Math.min(Number(values.lanes), count) }, run));
  console.log('\nFrom the last line of the former agent to the beginning of the next attempt, in ms:');
  for (const [loss, all] of margins) {
    const sorted = all.sort((a, b) => a - b).map((ms) => ms.toFixed(0));
    const median = sorted[Math.floor(sorted.length / 2)];
    console.log(`  the worker ${losses[loss]}: least ${sorted[0]}, median ${median}, most ${sorted.at(-1)}`);
  }
  console.log(`${count - failed} passed, ${failed} failed`);
  process.exitCode = failed > 0 ? 1 : 0;
}

async function runLane(): Promise<void> {
  let lane = await startLane(base);
  for (let cell = queue.shift(); cell; cell = queue.shift()) {
    const result = await runCell(lane, cell, { stallMs: Number(values['stall-ms']) }).catch(brokenLane);
    results.set(cell, result);
    const mark = result.problems.length === 0 ? '✓' : '✗';
    const seconds = (result.durationMs / 1000).toFixed(1);
    console.log(`${mark} ${String(results.size).padStart(3)}/${total} ${nameOf(cell)} (${seconds} s)`);
    for (const problem of result.problems) console.log(`    ${problem.trim().replaceAll('\n', '\n    ')}`);
    if (result.problems.length > 0) {
      // Whatever broke may have broken the servers, too.
      await lane.stop().catch((error: unknown) => console.log(error));
      lane = await startLane(base);
    }
  }
  await lane.stop();
}

/** A machine that is paused for a minute makes every deadline pass; the reader of the failures must know. */
function noteStandstills(): NodeJS.Timeout {
  let last = performance.now();
  return setInterval(() => {
    const lateMs = performance.now() - last - 1_000;
    last += lateMs + 1_000;
    if (lateMs > 5_000)
      console.log(`  … the machine or this process stood still for ${(lateMs / 1000).toFixed(0)} s`);
  }, 1_000);
}

function brokenLane(error: unknown): CellResult {
  const problem = `The cell could not be cleaned up: ${error instanceof Error ? error.message : String(error)}`;
  return { problems: [problem], attempts: 0, paidTwice: 0, lost: 0, warm: false, durationMs: 0 };
}

/** One row per fault and step, one column per moment: the mark, attempts, stored turns that were paid again. */
function printTable(mode: Mode): void {
  const isPossible = (cell: Cell) => cell.mode === mode && notApplicable(cell) === null;
  const columns = someMoments.filter((moment) =>
    cells.some((cell) => cell.moment === moment && isPossible(cell)),
  );
  const ofMode = cells.filter((cell) => cell.mode === mode && columns.includes(cell.moment));
  console.log(`\n${mode}: ${modes[mode]}`);
  console.log('✓ attempts / stored turns paid twice; – = n/a\n');
  columns.forEach((moment, index) => console.log(`  ${index + 1}  ${moments[moment]}`));
  const width = 9;
  const head = columns.map((_, index) => String(index + 1).padEnd(width)).join('');
  console.log(`\n  ${''.padEnd(18)}${'step'.padEnd(10)}${head}`);
  for (const fault of someFaults) {
    for (const step of steps) {
      const row = columns.map((moment) => {
        const cell = ofMode.find((one) => one.fault === fault && one.step === step && one.moment === moment);
        const result = cell && results.get(cell);
        if (!result) return '–'.padEnd(width);
        const mark = result.problems.length === 0 ? '✓' : '✗';
        return `${mark} ${result.attempts}/${result.paidTwice}`.padEnd(width);
      });
      console.log(`  ${fault.padEnd(18)}${step.padEnd(10)}${row.join('')}`);
    }
  }
  const reasons = new Map(ofMode.map((cell) => [cell, notApplicable(cell)] as const));
  const grouped = new Set(
    [...reasons].flatMap(([{ moment, step, fault }, reason]) =>
      reason === null
        ? []
        : [`  n/a: ${moments[moment]}, ${reason.includes('agent') ? faults[fault] : step}: ${reason}`],
    ),
  );
  console.log(['', ...grouped].join('\n'));
  const done = ofMode.flatMap((cell) => results.get(cell) ?? []);
  const lost = done.reduce((sum, result) => sum + result.lost, 0);
  const paidTwice = done.reduce((sum, result) => sum + result.paidTwice, 0);
  const warm = done.filter((result) => result.warm).length;
  console.log(
    `\n  ${done.length} cells; turns paid twice: ${paidTwice}; turns in flight that were lost: ${lost}; steps that went on in a process that waited: ${warm}`,
  );
}

function printEnd(): void {
  const failed = [...results.values()].filter(({ problems }) => problems.length > 0).length;
  console.log(`\n  ${((performance.now() - startedAt) / 60_000).toFixed(1)} min`);
  console.log(`${results.size - failed} passed, ${failed} failed`);
  process.exitCode = failed > 0 ? 1 : 0;
}
