import { Command, InvalidArgumentError, Option } from 'commander';
import { type Config, processEnvironment, readConfig } from '../../config/environment.js';
import { startOf } from '../../contracts/text.js';
import type { AgentProbe } from '../../agent/probe/probe.js';
import { type CheckName, type Finding, checkNames, extraCheckNames } from '../finding.js';
import { type ExitCode, exitCodes } from '../errors.js';
import { type NamedFinding, examine } from '../examine.js';
import { formatStatus, wrapped } from '../format.js';
import { type OutputFormat, lookOfStdout, outputOption, print } from '../output.js';

interface DoctorOptions {
  only: readonly CheckName[];
  strict?: boolean;
  probeAgent?: boolean;
  output: OutputFormat;
}

const allNames: readonly CheckName[] = [...checkNames, ...extraCheckNames];

export function doctorCommand(exitWith: (code: ExitCode) => void): Command {
  return new Command('doctor')
    .description('Check everything that a chain needs, and say what to do about what is missing.')
    .addOption(
      new Option('--only <checks>', `some of the checks, by comma: ${allNames.join(', ')}`)
        .argParser(parseChecks)
        .default(checkNames, 'all but worker-here'),
    )
    .option('--strict', 'let a warning count as a problem, too')
    .option(
      '--probe-agent',
      'also let Claude Code play a short chain against a loopback model, and check what chains rely on; takes up to a minute',
    )
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nExample:\n  session-chain doctor\n  session-chain doctor --only worker --strict\n' +
        '  session-chain doctor --only agent --probe-agent\n',
    )
    .action(async ({ only, strict = false, probeAgent = false, output }: DoctorOptions) => {
      const config = readConfig(processEnvironment());
      const names = probeAgent && !only.includes('agent') ? (['agent', ...only] as const) : only;
      // Loaded for this command only: a check may need anything that a worker needs.
      const { checks } = await import('../doctor-checks.js');
      const findings = (await Promise.all(names.map((name) => examine(name, checks[name], config)))).flat();
      const isThere = findings.some(({ check, status }) => check === 'agent' && status !== 'fail');
      const probe = probeAgent && isThere ? await probed(config) : null;
      const look = lookOfStdout();
      print(
        output,
        { checks: findings, ...(probe ? { agentProbe: probe } : {}) },
        [
          ...findings.map((finding) => lines(finding, findings, look)),
          ...(probe ? ['', probeLines(probe, look)] : []),
        ].join('\n'),
      );
      const bad = ({ status }: Pick<Finding, 'status'>) => status === 'fail' || (strict && status === 'warn');
      if (findings.some(bad) || probe?.facts.some(bad)) exitWith(exitCodes.setUp);
    });
}

async function probed(config: Config): Promise<AgentProbe> {
  // Loaded for this option only, and with it the agent SDK.
  const { probeAgent } = await import('../../agent/probe/probe.js');
  const { configuredSandbox } = await import('../doctor-sandbox.js');
  const {
    SESSION_CHAIN_AGENT_PATH: binaryPath,
    SESSION_CHAIN_SCRATCH_DIR: scratchRoot,
    environment,
  } = config;
  return await probeAgent({
    ...(binaryPath === undefined ? {} : { binaryPath }),
    ...{ scratchRoot, path: environment['PATH'] ?? '' },
    sandbox: (await configuredSandbox(config)).sandbox,
  });
}

function probeLines({ claudeCode, sdk, path, facts }: AgentProbe, look: ScreenLook): string {
  const held = facts.filter(({ status }) => status === 'ok').length;
  return [
    wrapped(
      `Claude Code ${claudeCode} at ${path}, Agent SDK ${sdk}: ${held} of ${facts.length} facts that chains rely on hold.`,
      look.width,
    ),
    ...facts.map(({ name, status, expected, seen, breaks }) =>
      entry(
        status,
        name,
        [expected, ...(seen === null ? [] : [`Seen: ${startOf(seen, 1_000)}`, breaks])],
        look,
      ),
    ),
  ].join('\n');
}

type ScreenLook = ReturnType<typeof lookOfStdout>;

function lines(finding: NamedFinding, all: readonly NamedFinding[], look: ScreenLook): string {
  const { check, status, message, remedy } = finding;
  // What is out of reach fails several checks; it is told once.
  const same = all.find((other) => other.message === message);
  if (same && same !== finding) return entry(status, check, [`not known, see ${same.check}`], look);
  return entry(status, check, remedy === undefined ? [message] : [message, remedy], look);
}

/** A check or a fact with its state, and beside it what is said of it, at the width of the screen. */
export function entry(
  status: string,
  name: string,
  texts: readonly string[],
  { colour = false, width }: ScreenLook,
): string {
  const indent = ' '.repeat(26);
  const told = texts.map((text) => wrapped(text, width - indent.length)).join('\n');
  return `${formatStatus(status, { colour })}${' '.repeat(6 - status.length)}${name.padEnd(18)}  ${told.replaceAll('\n', `\n${indent}`)}`;
}

function parseChecks(value: string): CheckName[] {
  const names = value.split(',').map((name) => name.trim());
  const unknown = names.filter((name) => !(allNames as readonly string[]).includes(name));
  if (unknown.length > 0) {
    throw new InvalidArgumentError(
      `${unknown.map((name) => `"${name}"`).join(', ')} is not one of ${allNames.join(', ')}.`,
    );
  }
  return names as CheckName[];
}
