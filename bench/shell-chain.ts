import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findAgentBinary } from '../agent/process/binary.js';
import { agentEnvironment } from '../agent/process/environment.js';
import { parseBuildId, parseProjectId, parseVersionId } from '../contracts/ids.js';
import { isAgentStep } from '../definition/definition.js';
import { promptFor } from '../definition/prompt.js';
import { shippedDefinition } from '../definition/shipped.js';
import { submissionServerName } from '../definition/submission.js';
import { startMetadataEndpoint } from './metadata-endpoint.js';

export interface ShellChain {
  /** Runs the four calls in a new folder with a new home; returns the session ids, in the order of the steps. */
  run(): Promise<string[]>;
  stop(): Promise<void>;
}

const steps = shippedDefinition.steps.filter(isAgentStep);

/** The bare shell script with the same binary, model, prompts, tools and options, as far as the command line has them. */
export async function prepareShellChain(folder: string, modelUrl: string): Promise<ShellChain> {
  const binary = await findAgentBinary();
  const endpoint = await startMetadataEndpoint();
  const mcp = {
    mcpServers: { [submissionServerName]: { type: 'http', url: endpoint.url, alwaysLoad: true } },
  };
  const script = join(import.meta.dirname, '../../bench/shell-chain.sh');
  return {
    async run() {
      const run = join(folder, `shell-${randomUUID()}`);
      const [prompts, workspace] = [join(run, 'prompts'), join(run, 'workspace')];
      const homes = { home: join(run, 'home'), config: join(run, 'config'), tmp: join(run, 'tmp') };
      for (const path of [prompts, workspace, ...Object.values(homes)]) mkdirSync(path, { recursive: true });
      for (const step of steps) {
        const prompt = await promptFor(shippedDefinition, step, {
          projectId: parseProjectId('bench'),
          versionId: parseVersionId('bench'),
          buildId: parseBuildId('bench'),
          mode: 'initial',
          instruction: null,
          workspace,
          values: {},
        });
        writeFileSync(join(prompts, step.name), prompt);
      }
      writeFileSync(join(run, 'mcp.json'), JSON.stringify(mcp));
      const env = agentEnvironment({
        inherited: process.env,
        egress: { ANTHROPIC_BASE_URL: modelUrl },
        ...homes,
        marker: { name: 'SESSION_CHAIN_BENCH', value: 'shell' },
      });
      const { stdout } = await promisify(execFile)(
        script,
        [binary, prompts, shippedDefinition.houseRules, join(run, 'mcp.json')],
        { cwd: workspace, env: { ...env, ANTHROPIC_API_KEY: 'offline' } },
      );
      for (const { name } of steps) requireSuccess(join(prompts, `${name}.json`));
      return stdout.trim().split('\n');
    },
    stop: () => endpoint.stop(),
  };
}

/** A failed call would look like a fast one. */
function requireSuccess(file: string): void {
  const result = JSON.parse(readFileSync(file, 'utf8')) as { is_error?: boolean; subtype?: string };
  if (result.is_error !== false || result.subtype !== 'success')
    throw new Error(`${file} is not the result of a call that did its work: ${JSON.stringify(result)}`);
}
