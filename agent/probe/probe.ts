import { describeAgentBinary, installedSdk } from '../process/binary.js';
import { type ProbedFact, judgeProbe } from './facts.js';
import { type ProbeOptions, runProbe } from './runs.js';

/** What a Claude Code binary does, as far as the product relies on it. */
export interface AgentProbe {
  path: string;
  claudeCode: string;
  sdk: string;
  facts: ProbedFact[];
}

/**
 * Lets the binary play a short chain against a loopback model, by the same code as a step does, and judges what it did. It
 * takes some ten seconds, asks no model service and is given no credential. Throws AGENT_NOT_FOUND.
 */
export async function probeAgent(options: ProbeOptions): Promise<AgentProbe> {
  const { path, version } = await describeAgentBinary(options.binaryPath);
  const runs = await runProbe({ ...options, binaryPath: path });
  return { path, claudeCode: version, sdk: installedSdk().version, facts: judgeProbe(runs, version) };
}
