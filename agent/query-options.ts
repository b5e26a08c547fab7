import type { Options, SessionStore } from '@anthropic-ai/claude-agent-sdk';
import { subagentTool } from '../definition/definition.js';
import type { OpenEgress } from './egress/egress.js';
import type { Scratch } from './process/scratch.js';
import type { Run } from './run.js';
import type { Sandbox } from './sandbox/sandbox.js';
import { agentEnvironment } from './process/environment.js';
import { type AgentProcess, type SpawnAgentOptions, spawnAgent } from './process/process.js';
import { limitPrefix } from './sandbox/limits.js';
import { serversOf } from './servers.js';

export interface QueryParts extends Pick<SpawnAgentOptions['guard'], 'lease' | 'onEnding' | 'onGone'> {
  store: SessionStore;
  hooks: NonNullable<Options['hooks']>;
  /** The tools that the present task may use. */
  allowedNow: () => readonly string[];
  abortController: AbortController;
  /** Gets the agent's process as soon as there is one, and the folder with its configuration. */
  onStarted: (agentProcess: AgentProcess, config: string) => void;
  onLimit: SpawnAgentOptions['onLimit'];
}

/** Where the process of a run is started. */
export interface ProcessPlace {
  binary: string;
  sandbox: Sandbox;
  scratch: Scratch;
  egress: OpenEgress;
  /** The tools that any of its tasks may use. */
  allowedTools: readonly string[];
  killGraceMs: number;
}

/** The options of the Agent SDK for a process that begins with one run. */
export async function queryOptions(run: Run, place: ProcessPlace, parts: QueryParts): Promise<Options> {
  const { request, dependencies } = run;
  const { scratch, sandbox, binary } = place;
  const { definition } = dependencies;
  const env = agentEnvironment({
    inherited: dependencies.inheritedEnvironment,
    egress: place.egress.environment,
    ...scratch,
    ...(sandbox.hasOwnTmp ? { tmp: '/tmp' } : {}),
  });
  const inSandbox = await sandbox.prepare({
    workspace: request.workspace,
    scratch,
    scratchRoot: dependencies.scratchRoot,
    binary,
  });
  // A program that makes the sandbox is told the limits.
  const insideLimits =
    sandbox.kind === 'command' ? [] : limitPrefix(dependencies.sandbox.limits, sandbox.kind === 'bwrap');
  return {
    pathToClaudeCodeExecutable: binary,
    cwd: request.workspace,
    env,
    abortController: parts.abortController,
    spawnClaudeCodeProcess: (spawn) => {
      const config = spawn.env.CLAUDE_CONFIG_DIR ?? scratch.config;
      if (config !== scratch.config) scratch.noteResumeFolder(config);
      const agentProcess = spawnAgent({
        hold: sandbox.hold,
        command: inSandbox({
          command: [...insideLimits, spawn.command, ...spawn.args],
          config,
        }),
        cwd: request.workspace,
        env: spawn.env,
        marker: `${scratch.marker.name}=${scratch.marker.value}`,
        guard: {
          lease: parts.lease,
          noticeMs: place.killGraceMs,
          onEnding: parts.onEnding,
          onGone: parts.onGone,
        },
        limits: dependencies.sandbox.limits,
        onLimit: parts.onLimit,
      });
      parts.onStarted(agentProcess, config);
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
    // From here on the same in every step: anything else would lose the prompt cache.
    // A step could write the settings that apply to the next one: base URL, proxy, key helper, hooks. So none are read.
    settingSources: [],
    // Claude Code opens files without a tool and so bypasses every hook: after a compaction it reopens those that the
    // transcript knows, by their old paths.
    // Its commands know the socket on which it would take messages of other sessions, as the word of the system.
    settings: {
      permissions: { blockFileToolReadsOutsideWorkingDirectories: true },
      crossSessionInbound: 'refuse',
    },
    // Of a folder that is named here Claude Code reads CLAUDE.md, as agentEnvironment asks, and nothing else.
    ...(run.claudeMd.isRead ? { additionalDirectories: [request.workspace] } : {}),
    tools: [...definition.tools],
    strictMcpConfig: true,
    mcpServers: serversOf(definition, parts.allowedNow),
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
    // What the present task may not use is refused by its hooks.
    allowedTools: [...place.allowedTools],
    hooks: parts.hooks,
  };
}
