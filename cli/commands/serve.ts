import { Command } from 'commander';
import { openDatabase } from '../../client/database.js';
import { createKeys } from '../../client/keys.js';
import { createReadiness } from '../../client/readiness.js';
import { createSessionChain } from '../../client/session-chain.js';
import { type Config, processEnvironment, readConfig, required } from '../../config/environment.js';
import { createLog } from '../../config/log.js';
import { lazyClientOf } from '../../temporal/connect.js';
import type { DoctorFinding } from '../../server/doctor.js';
import { clientOptionsOf } from '../context.js';
import { type Check, examine } from '../examine.js';
import type { CheckName } from '../finding.js';
import { type OutputFormat, outputOption, print } from '../output.js';

/** The checks of `session-chain doctor` that concern a server. */
async function examineServer(config: Config): Promise<DoctorFinding[]> {
  const { serverChecks } = await import('../doctor-checks.js');
  const looks = Object.entries(serverChecks) as [CheckName, Check][];
  const findings = await Promise.all(looks.map(([name, look]) => examine(name, look, config)));
  return findings.flat().map((finding) => ({ remedy: null, ...finding }));
}

export function serveCommand(packageVersion: () => string): Command {
  return new Command('serve')
    .description(
      'Run the HTTP server until SIGTERM or Ctrl-C; its log goes to stderr. Any number may run on one database.',
    )
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nNeeds DATABASE_URL, TEMPORAL_ADDRESS and SESSION_CHAIN_WORKSPACE_ROOTS. Every\nrequest shows a key of session-chain keys create.\n\n' +
        'Example:\n  SESSION_CHAIN_HTTP_PORT=8420 session-chain serve\n',
    )
    .action(async ({ output }: { output: OutputFormat }) => {
      // The framework is loaded for this command only.
      const { serve } = await import('../../server/serve.js');
      const config = readConfig(processEnvironment());
      const log = createLog(config);
      const temporal = lazyClientOf(config);
      const pool = openDatabase(required(config.DATABASE_URL, 'DATABASE_URL'), {
        applicationName: 'session-chain server',
        log: (message) => log.warn({}, message),
      });
      const sessionChain = createSessionChain({ pool, temporal, ...clientOptionsOf(config) });
      try {
        await serve({
          config,
          sessionChain,
          keys: createKeys(pool),
          ready: createReadiness(pool),
          doctor: async () => await examineServer(config),
          version: packageVersion(),
          log,
        });
      } finally {
        await sessionChain.close();
        await Promise.allSettled([pool.end(), temporal.connection.close()]);
      }
      print(output, { status: 'stopped' }, '');
    });
}
