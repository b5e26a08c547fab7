import { Command, InvalidArgumentError } from 'commander';
import { required } from '../../config/environment.js';
import { countDriftedHeads, enforceHead, readHeadKey } from '../../storage/heads/enforce-head.js';
import { type Grant, grantStatements, parts } from '../../storage/db/grants.js';
import {
  type MigrationPlan,
  type RehearsedMigration,
  migrate,
  planMigration,
  rehearseMigration,
  requireMigrations,
} from '../../storage/db/migrate.js';
import type { Expectations } from '../../storage/db/host-tables.js';
import type { Pool } from '../../storage/db/pool.js';
import { expectationsOf } from '../expectations.js';
import { withContext } from '../context.js';
import { openPool } from '../database.js';
import { type ExitCode, exitCodes } from '../errors.js';
import { type OutputFormat, outputOption, print } from '../output.js';

interface MigrateOptions {
  dryRun?: boolean;
  enforceHead?: boolean;
  grants?: Grant[];
  output: OutputFormat;
}

/** What is printed as JSON. */
type Facts = Partial<MigrationPlan> & Record<string, unknown>;

export function migrateCommand(exitWith: (code: ExitCode) => void): Command {
  return new Command('migrate')
    .description('Bring the database up to date. Safe to repeat, and safe for several at once.')
    .option(
      '--dry-run',
      'only print what would be done: migrations, what they add to your tables, and what stops them, with exit code 7; rehearses it and takes it back, which locks your tables for as long, at most 10 s',
    )
    .option(
      '--enforce-head',
      "on a host's database, once its old writers are gone: adopt every head that they moved, then let none move without a transition",
    )
    .option(
      '--grants <part=role,...>',
      `give roles of the database a part (${parts.join(', ')}) and its rights; later migrations give them again`,
      parseGrants,
    )
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nExample:\n  DATABASE_URL=postgres://localhost/app session-chain migrate --dry-run\n' +
        '  session-chain migrate --grants worker=app_worker,client=app_web,reader=bi,keys=ops\n',
    )
    .action(async (options: MigrateOptions) => await runMigrate(options, exitWith));
}

async function runMigrate(options: MigrateOptions, exitWith: (code: ExitCode) => void): Promise<void> {
  const { dryRun = false, output } = options;
  await withContext(async ({ config }) => {
    const expectations = await expectationsOf(config);
    const pool = openPool(config);
    try {
      const [facts, lines] = dryRun
        ? await plan(pool, options, expectations)
        : await run(pool, required(config.DATABASE_URL, 'DATABASE_URL'), options, expectations);
      print(output, facts, lines.length > 0 ? lines.join('\n') : 'The database is up to date.');
      if ((facts.obstacles ?? []).length > 0) exitWith(exitCodes.setUp);
    } finally {
      await pool.end();
    }
  });
}

async function plan(
  pool: Pool,
  options: MigrateOptions,
  expectations: Expectations,
): Promise<[Facts, string[]]> {
  const migration = await rehearsed(
    pool,
    await planMigration(pool, expectations, options.grants),
    options,
    expectations,
  );
  const grants = options.grants && (await grantStatements(pool, options.grants));
  const lines = [...linesOf(migration), ...(grants ?? [])];
  if (!options.enforceHead) return [{ ...migration, ...(grants ? { grants } : {}) }, lines];
  // The heads can be counted once the columns for it are there.
  const drifted = migration.pending.length === 0 ? await countDriftedHeads(pool) : null;
  const { status } = await readHeadKey(pool);
  return [
    { ...migration, headKey: { status, drifted } },
    [
      ...lines,
      status === 'valid'
        ? 'The key from projects to its last transition is there.'
        : `Would adopt ${drifted === null ? 'every head that was moved outside' : `${drifted} ${drifted === 1 ? 'head that was' : 'heads that were'} moved outside`}, then add the key from projects to its last transition.`,
    ],
  ];
}

/** What can be read comes first: a rehearsal locks tables. */
async function rehearsed(
  pool: Pool,
  plan: MigrationPlan,
  { grants }: MigrateOptions,
  expectations: Expectations,
): Promise<MigrationPlan & Pick<RehearsedMigration, 'notRehearsed'>> {
  if (plan.obstacles.length > 0) return { ...plan, notRehearsed: null };
  return { ...plan, ...(await rehearseMigration(pool, expectations, grants)) };
}

function linesOf({
  pending,
  additions,
  obstacles,
  notRehearsed,
}: MigrationPlan & Pick<RehearsedMigration, 'notRehearsed'>): string[] {
  return [
    ...pending.flatMap((name) => [
      name,
      ...additions
        .filter(({ migration }) => migration === name)
        .map(({ statement }) => `${statement.replace(/^/gm, '  ')};`),
    ]),
    ...obstacles.flatMap(({ problem, statement }) => [
      `stops: ${problem}`,
      `  what would help: ${statement}`,
    ]),
    ...(notRehearsed === null ? [] : [`not rehearsed: ${notRehearsed}`]),
  ];
}

async function run(
  pool: Pool,
  databaseUrl: string,
  options: MigrateOptions,
  expectations: Expectations,
): Promise<[Facts, string[]]> {
  const applied = await migrate(databaseUrl, expectations, options.grants);
  const lines = applied.map((name) => `applied ${name}`);
  if (!options.enforceHead) return [{ applied }, lines];
  await requireMigrations(pool);
  const headKey = await enforceHead(pool);
  return [
    { applied, headKey },
    [
      ...lines,
      headKey.added
        ? `Adopted ${headKey.adopted} ${headKey.adopted === 1 ? 'head' : 'heads'} and added the key from projects to its last transition.`
        : 'The key from projects to its last transition was there.',
    ],
  ];
}

function parseGrants(value: string): Grant[] {
  return value.split(',').map((pair) => {
    const [, name, role] = /^\s*(\w+)=(.+?)\s*$/.exec(pair) ?? [];
    const part = parts.find((one) => one === name);
    if (part === undefined || role === undefined) {
      throw new InvalidArgumentError(
        `"${pair}" is not a part and a role, as in worker=app_worker. Parts: ${parts.join(', ')}.`,
      );
    }
    return { part, role };
  });
}
