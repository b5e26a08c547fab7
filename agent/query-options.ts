import type { Options, SessionStore } from '@anthropic-ai/claude-agent-sdk';
import { subagentTool } from '../definition/definition.js';
import type { Run } from './run.js';
import { agentEnvironment } from './process/environment.js';
import { type AgentProcess, type SpawnAgentOptions, spawnAgent } from './process/process.js';
import { limitPrefix } from './sandbox/limits.js';
import { serversOf } from './servers.js';

export interface QueryParts {
  store: SessionStore;
  hooks: NonNullable<Options['hooks']>;
  abortController: AbortController;
  /** Gets the agent's process as soon as there is one. */
  onStarted: (agentProcess: AgentProcess) => void;
  guard: SpawnAgentOptions['guard'];
  onLimit: SpawnAgentOptions['onLimit'];
}

/** The options of the Agent SDK for one run. */
export async function queryOptions(run: Run, parts: QueryParts): Promise<Options> {
  const { request, dependencies, scratch } = run;
  const { definition } = dependencies;
  const env = agentEnvironment({
    inherited: dependencies.inheritedEnvironment,
    egress: run.egress.environment,
    ...scratch,
    ...(run.sandbox.hasOwnTmp ? { tmp: '/tmp' } : {}),
    task: request.task,
    mode: request.mode,
    instructionKind: request.instructionKind,
  });
  const inSandbox = await run.sandbox.prepare({
    workspace: request.workspace,
    scratch,
    scratchRoot: dependencies.scratchRoot,
    binary: run.binary,
  });
  // A program that makes the sandbox is told the limits.
  const insideLimits =
    run.sandbox.kind === 'command'
      ? []
      : limitPrefix(dependencies.sandbox.limits, run.sandbox.kind === 'bwrap');
  return {
    pathToClaudeCodeExecutable: run.binary,
    cwd: request.workspace,
    env,
    abortController: parts.abortController,
    spawnClaudeCodeProcess: (spawn) => {
      const config = spawn.env.CLAUDE_CONFIG_DIR;
      if (config !== undefined && config !== scratch.config) scratch.noteResumeFolder(config);
      const agentProcess = spawnAgent({
        hold: run.sandbox.hold,
        command: inSandbox({
          command: [...insideLimits, spawn.command, ...spawn.args],
          config: config ?? scratch.config,
        }),
        cwd: request.workspace,
        env: spawn.env,
        marker: `${scratch.marker.name}=${scratch.marker.value}`,
        guard: parts.guard,
        limits: dependencies.sandbox.limits,
        onLimit: parts.onLimit,
      });
      parts.onStarted(agentProcess);
      return agentProcess.spawned;
    },
    sessionId: request.sessionId,
    ...(request.baseSessionId === null ? {} : { resume: request.baseSessionId, forkSession: true }),
    sessionStore: parts.store,
    // Entry by entry, so that a killed worker has lost as little as possible.
    sessionStoreFlush: 'eager',
    maxTurns: request.maxTurns,
    // All messages of subagents, so that their turns are counted; the model does not get them.
    ...(definition.tools.includes(subagentTool) ? { forwardSubagentText: true } : {}),
    ...(run.context.onText === undefined ? {} : { includePartialMessages: true }),
    ...(request.maxCostUsd === undefined ? {} : { maxBudgetUsd: request.maxCostUsd }),
    model: request.model,
    // From here on the same in every step, except for what is allowed: anything else would lose the prompt cache.
    // A step could write the settings that apply to the next one: base URL, proxy, key helper, hooks. So none are read.
    settingSources: [],
    // Claude Code opens files without a tool and so bypasses every hook: after a compaction it reopens those that the
    // transcript knows, by their old paths.
    settings: { permissions: { blockFileToolReadsOutsideWorkingDirectories: true } },
    // Of a folder that is named here Claude Code reads CLAUDE.md, as agentEnvironment asks, and nothing else.
    ...(run.claudeMd.isRead ? { additionalDirectories: [request.workspace] } : {}),
    tools: [...definition.tools],
    strictMcpConfig: true,
    mcpServers: serversOf(definition, request.task.allowedTools),
    // Kept off the command line, where every user of the machine could read their secrets; an older binary cannot do
    // this.
    ...(Object.values(definition.mcpServers).every((server) => typeof server === 'function')
      ? {}
      : { mcpServersDelivery: 'initialize' as const }),
    systemPrompt: {
      type: 'preset',
      preset: 'claude_code',
      append: definition.houseRules,
      excludeDynamicSections: true,
    },
    permissionMode: 'dontAsk',
    allowedTools: [...request.task.allowedTools],
    hooks: parts.hooks,
  };
}
