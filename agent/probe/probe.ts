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
 * Lets the binary run a short chain against a loopback model, with the same code as a step, and judges what it did. It
 * takes about ten seconds, calls no model service and gets no credential. Throws AGENT_NOT_FOUND.
 */
export async function probeAgent(options: ProbeOptions): Promise<AgentProbe> {
  const { path, version } = await describeAgentBinary(options.binaryPath);
  const runs = await runProbe({ ...options, binaryPath: path });
  return { path, claudeCode: version, sdk: installedSdk().version, facts: judgeProbe(runs, version) };
}
