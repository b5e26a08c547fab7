import { Command } from 'commander';
import { required } from '../../config/environment.js';
import { migrate, pendingMigrations } from '../../storage/migrate.js';
import { openPool, withContext } from '../context.js';
import { type OutputFormat, outputOption, print } from '../output.js';

interface MigrateOptions {
  dryRun?: boolean;
  output: OutputFormat;
}

export function migrateCommand(): Command {
  return new Command('migrate')
    .description('Bring the database up to date. Safe to repeat, and safe for several at once.')
    .option('--dry-run', 'only print the names of the migrations that would be applied')
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nExample:\n  DATABASE_URL=postgres://localhost/app session-chain migrate --dry-run\n',
    )
    .action(runMigrate);
}

async function runMigrate({ dryRun = false, output }: MigrateOptions): Promise<void> {
  await withContext(async ({ config }) => {
    const pool = openPool(config);
    try {
      const pending = await pendingMigrations(pool);
      if (dryRun) {
        print(output, { pending }, pending.length > 0 ? pending.join('\n') : 'The database is up to date.');
        return;
      }
      const applied = await migrate(required(config.DATABASE_URL, 'DATABASE_URL'));
      print(
        output,
        { applied },
        applied.length > 0
          ? applied.map((name) => `applied ${name}`).join('\n')
          : 'The database is up to date.',
      );
    } finally {
      await pool.end();
    }
  });
}
