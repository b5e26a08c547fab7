import { readdirSync, readFileSync } from 'node:fs';
import { InMemorySessionStore } from '@anthropic-ai/claude-agent-sdk';
import { createAgent } from '../../agent/agent.js';
import type { SessionId } from '../../contracts/ids.js';

/**
 * A worker in small, for tests that kill one: `node agent-runner.js <JSON>` runs one build step and never returns by
 * itself where the model keeps it busy.
 */
export interface RunnerInput {
  modelEnvironment: Record<string, string>;
  inheritedEnvironment: Record<string, string>;
  scratchRoot: string;
  workspace: string;
  sessionId: string;
}

/** The processes whose environment names a folder; how a test finds the agent and all it started. */
export function processesNaming(folder: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(folder);
      } catch {
        return false;
      }
    })
    .map(Number)
    .filter((pid) => pid !== process.pid);
}

async function main(input: RunnerInput): Promise<void> {
  const agent = createAgent({
    modelEnvironment: input.modelEnvironment,
    inheritedEnvironment: input.inheritedEnvironment,
    scratchRoot: input.scratchRoot,
    log: (event) => console.log(JSON.stringify(event)),
  });
  await agent.run(
    {
      step: 'build',
      mode: 'initial',
      sessionId: input.sessionId as SessionId,
      baseSessionId: null,
      store: new InMemorySessionStore(),
      prompt: 'build',
      instructionKind: 'none',
      workspace: input.workspace,
      maxTurns: 10,
      timeoutMs: 600_000,
    },
    { signal: new AbortController().signal, onProgress: () => undefined },
  );
}

if (process.argv[1]?.endsWith('agent-runner.js')) {
  await main(JSON.parse(process.argv[2] ?? '{}') as RunnerInput);
}
