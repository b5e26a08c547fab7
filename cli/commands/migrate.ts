import { Command, InvalidArgumentError } from 'commander';
import { required } from '../../config/environment.js';
import { countDriftedHeads, enforceHead, readHeadKey } from '../../storage/heads/enforce-head.js';
import { type Grant, grantStatements, parts } from '../../storage/db/grants.js';
import { type MigrationPlan, migrate, planMigration, requireMigrations } from '../../storage/db/migrate.js';
import type { Expectations } from '../../storage/db/host-tables.js';
import type { Pool } from '../../storage/db/pool.js';
import { expectationsOf } from '../expectations.js';
import { withContext } from '../context.js';
import { openPool } from '../database.js';
import { type OutputFormat, outputOption, print } from '../output.js';

interface MigrateOptions {
  dryRun?: boolean;
  enforceHead?: boolean;
  grants?: Grant[];
  output: OutputFormat;
}

export function migrateCommand(): Command {
  return new Command('migrate')
    .description('Bring the database up to date. Safe to repeat, and safe for several at once.')
    .option(
      '--dry-run',
      'only print what would be done: migrations, what they add to your tables, what stops them',
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
    .action(runMigrate);
}

async function runMigrate(options: MigrateOptions): Promise<void> {
  const { dryRun = false, output } = options;
  await withContext(async ({ config }) => {
    const expectations = await expectationsOf(config);
    const pool = openPool(config);
    try {
      const [facts, lines] = dryRun
        ? await plan(pool, options, expectations)
        : await run(pool, required(config.DATABASE_URL, 'DATABASE_URL'), options, expectations);
      print(output, facts, lines.length > 0 ? lines.join('\n') : 'The database is up to date.');
    } finally {
      await pool.end();
    }
  });
}

async function plan(
  pool: Pool,
  options: MigrateOptions,
  expectations: Expectations,
): Promise<[object, string[]]> {
  const migration = await planMigration(pool, expectations);
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

function linesOf({ pending, additions, obstacles }: MigrationPlan): string[] {
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
  ];
}

async function run(
  pool: Pool,
  databaseUrl: string,
  options: MigrateOptions,
  expectations: Expectations,
): Promise<[object, string[]]> {
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
