import { existsSync } from 'node:fs';
import { copyFile, mkdir } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { Command } from 'commander';
import { SessionChainError } from '../../contracts/failures.js';
import { shellWord } from '../format.js';
import { type OutputFormat, outputOption, print } from '../output.js';

/** What is written, by the name that the template has. */
const files = {
  'docker-compose.yml': 'docker-compose.yml',
  'env.example': '.env.example',
  'session-chain.config.ts': 'session-chain.config.ts',
};

const nextCommands = [
  ['cp .env.example .env', 'then fill it in: passwords, the folder of your projects, a model credential'],
  ['docker compose up --detach --wait', 'Temporal and the databases'],
  ['set -a; . ./.env; set +a', 'the environment of the commands below'],
  [
    'DATABASE_URL=$OWNER_DATABASE_URL npx session-chain migrate --grants worker=session_chain,client=session_chain',
    'the tables, and what workers and commands may do with them',
  ],
  ['npx session-chain worker', 'a worker'],
] as const;

interface InitOptions {
  dir: string;
  force?: boolean;
  output: OutputFormat;
}

export function initCommand(): Command {
  return new Command('init')
    .description(
      'Write a compose file with the servers, an example of the environment, and session-chain.config.ts.',
    )
    .option('-d, --dir <folder>', 'where to', '.')
    .option('--force', 'replace files that are there')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  npx session-chain init\n')
    .action(async ({ dir, force = false, output }: InitOptions) => {
      const folder = resolve(dir);
      const written = await writeTemplates(folder, force);
      const next = [
        ...(folder === process.cwd() ? [] : [[`cd ${shellWord(dir)}`, 'the folder of these files'] as const]),
        ...nextCommands,
      ];
      print(
        output,
        { written, next: next.map(([command]) => command) },
        [
          ...written.map((path) => `wrote ${relative(process.cwd(), path)}`),
          '',
          'Next:',
          ...next.map(([command, why], index) => `  ${index + 1}. ${command}\n     ${why}`),
        ].join('\n'),
      );
    });
}

/** All files or none. Throws INVALID_INPUT that names the existing ones. */
async function writeTemplates(folder: string, force: boolean): Promise<string[]> {
  const targets = Object.entries(files).map(([template, name]) => [template, join(folder, name)] as const);
  const existing = targets.map(([, target]) => target).filter((target) => existsSync(target));
  if (existing.length > 0 && !force) {
    throw new SessionChainError(
      'INVALID_INPUT',
      `Nothing was written, for there is already: ${existing.join(', ')}.`,
      'Move it away, name another folder with --dir, or replace it with --force.',
    );
  }
  await mkdir(folder, { recursive: true });
  const templates = templatesFolder();
  for (const [template, target] of targets) await copyFile(join(templates, template), target);
  return targets.map(([, target]) => target);
}

/** cli/templates/ at the root of the package: beside commands/ in the sources, further up from dist/. */
function templatesFolder(): string {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, 'cli/templates'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error(`No folder cli/templates/ above ${import.meta.dirname}.`);
    folder = parent;
  }
  return join(folder, 'cli/templates');
}
