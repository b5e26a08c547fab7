import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { InMemorySessionStore } from '@anthropic-ai/claude-agent-sdk';
import { createAgent } from '../../agent/agent.js';
import { type Lease, createLease, uptimeMs } from '../../agent/process/lease.js';
import type { SandboxSettings } from '../../contracts/sandbox.js';
import { shippedDefinition } from '../../definition/shipped.js';
import type { SessionId } from '../../contracts/ids.js';

/** A worker in small, for tests that kill one: `node agent-runner.js <JSON>` runs build steps. */
export interface RunnerInput {
  modelEnvironment: Record<string, string>;
  inheritedEnvironment: Record<string, string>;
  scratchRoot: string;
  workspace: string;
  /** One step each, every one a fork of the one before. */
  sessionIds: string[];
  /** Renewed again and again while the process runs. */
  leaseMs: number;
  sandbox: SandboxSettings;
}

/** A lease that is renewed as long as this process runs. */
export function renewedLease(leaseMs: number): Lease {
  const lease = createLease(uptimeMs() + leaseMs);
  setInterval(() => lease.extendTo(uptimeMs() + leaseMs), 200).unref();
  return lease;
}

/** The guards of the agents whose folders lie below a scratch folder. */
export function guardsOf(scratchRoot: string): number[] {
  const runs = existsSync(scratchRoot) ? readdirSync(scratchRoot) : [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1');
        return command.includes('\0guard\0') && runs.some((run) => command.includes(run));
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** Steps one after the other. */
async function main(input: RunnerInput): Promise<void> {
  const agent = createAgent({
    modelEnvironment: input.modelEnvironment,
    inheritedEnvironment: input.inheritedEnvironment,
    scratchRoot: input.scratchRoot,
    sandbox: input.sandbox,
    definition: shippedDefinition,
    log: (event) => console.log(JSON.stringify(event)),
  });
  const store = new InMemorySessionStore();
  const lease = renewedLease(input.leaseMs);
  lease.onExtended(() => console.log('The lease is renewed.'));
  let baseSessionId: SessionId | null = null;
  for (const sessionId of input.sessionIds as SessionId[]) {
    await agent.run(
      {
        task: { name: 'build', kind: 'work', role: 'build', allowedTools: shippedDefinition.tools },
        model: 'default',
        mode: 'initial',
        sessionId,
        baseSessionId,
        store,
        prompt: 'build',
        instructionKind: 'none',
        workspace: input.workspace,
        maxTurns: 10,
        timeoutMs: 600_000,
        killGraceMs: 500,
      },
      {
        signal: new AbortController().signal,
        lease,
        onProgress: () => undefined,
      },
    );
    baseSessionId = sessionId;
  }
}

if (process.argv[1]?.endsWith('agent-runner.js')) {
  await main(JSON.parse(process.argv[2] ?? '{}') as RunnerInput).catch(() => {
    // Its log has said how it ended.
    process.exitCode = 1;
  });
}
