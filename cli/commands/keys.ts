import { Command, Option } from 'commander';
import { openMigratedDatabase } from '../../client/database.js';
import { type Keys, createKeys } from '../../client/keys.js';
import { required } from '../../config/environment.js';
import { type ApiKey, type KeyScope, keyScopes } from '../../contracts/keys.js';
import { withContext } from '../context.js';
import { facts, formatMinute, table } from '../format.js';
import {
  type OutputFormat,
  durationMs,
  lookOfStdout,
  note,
  outputOption,
  print,
  printKey,
} from '../output.js';

interface CreateOptions {
  name: string;
  scope: KeyScope;
  project?: string[];
  expires?: number;
  output: OutputFormat;
}

export function keysCommand(): Command {
  return new Command('keys')
    .description('Keys of the HTTP server: make one, list them, revoke one.')
    .addCommand(createCommand())
    .addCommand(listCommand())
    .addCommand(revokeCommand());
}

function createCommand(): Command {
  return new Command('create')
    .description('Make a key. It is shown once, and only its hash is kept.')
    .requiredOption('--name <name>', 'what it is for')
    .addOption(
      new Option(
        '--scope <scope>',
        'what it may do: read; start also starts, cancels and asks; admin everything',
      )
        .choices(keyScopes)
        .makeOptionMandatory(),
    )
    .option('-p, --project <id...>', 'the only projects that it may see (default: every project)')
    .option('--expires <time>', 'ends after so long, such as 90d (default: never)', durationMs)
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nExample:\n  session-chain keys create --name shop-web --scope start --project shop\n',
    )
    .action(async ({ name, scope, project, expires, output }: CreateOptions) => {
      await withKeys(async (keys) => {
        const { id, key } = await keys.create({
          name,
          scope,
          ...(project === undefined ? {} : { projects: project }),
          ...(expires === undefined ? {} : { lifetimeMs: expires }),
        });
        printKey(output, { id, key });
        if (output === 'text') note(`This is the only time that the key is shown. Its id is ${id}.`);
      });
    });
}

function listCommand(): Command {
  return new Command('list')
    .description('Keys, the newest first, with those that were revoked or have expired.')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  session-chain keys list\n')
    .action(async ({ output }: { output: OutputFormat }) => {
      await withKeys(async (keys) => {
        const found = await keys.list();
        print(output, { keys: found }, found.length === 0 ? 'There is no key.' : keyTable(found));
      });
    });
}

function revokeCommand(): Command {
  return new Command('revoke')
    .description('End a key: from now on it opens nothing.')
    .argument('<id>', 'its id, as `keys list` shows it')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  session-chain keys revoke 5d1c0a9be2f4\n')
    .action(async (id: string, { output }: { output: OutputFormat }) => {
      await withKeys(async (keys) => {
        await keys.revoke(id);
        print(output, { revoked: true }, facts([['revoked', 'the key opens nothing any more']]));
      });
    });
}

async function withKeys(work: (keys: Keys) => Promise<void>): Promise<void> {
  await withContext(async ({ config }) => {
    const pool = await openMigratedDatabase(
      required(config.DATABASE_URL, 'DATABASE_URL'),
      'session-chain cli',
    );
    try {
      await work(createKeys(pool));
    } finally {
      await pool.end();
    }
  });
}

function keyTable(keys: readonly ApiKey[]): string {
  const { width } = lookOfStdout();
  return table(
    ['id', 'name', 'scope', 'projects', 'state', 'last used'],
    keys.map((key) => [
      key.id,
      key.name,
      key.scope,
      key.projects?.join(' ') ?? '(all)',
      stateOf(key),
      key.lastUsedAt === null ? 'never' : formatMinute(new Date(key.lastUsedAt)),
    ]),
    { elastic: ['name', 'projects'], width },
  );
}

function stateOf({ revokedAt, expiresAt }: ApiKey): string {
  if (revokedAt !== null) return 'revoked';
  if (expiresAt === null) return 'valid';
  const until = new Date(expiresAt);
  return until.getTime() <= Date.now() ? 'expired' : `until ${formatMinute(until)}`;
}
