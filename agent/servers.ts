import {
  createSdkMcpServer,
  tool,
  type McpSdkServerConfigWithInstance,
  type McpServerConfig,
} from '@anthropic-ai/claude-agent-sdk';
import { z } from 'zod';
import { SessionChainError } from '../contracts/failures.js';
import { type ChainDefinition, type SubmissionStep, submissionSteps } from '../definition/definition.js';
import { submissionServerName, submissionToolName } from '../definition/submission.js';
import { isAllowed } from './allowed-tools.js';

/**
 * The servers of every step, the chain's own among them, created for each process of Claude Code. Those in this process
 * answer calls only of the tools that are allowed then. Throws INVALID_CONFIG.
 */
export function serversOf(
  definition: ChainDefinition,
  allowedNow: () => readonly string[],
): Record<string, McpServerConfig> {
  const servers = allServers(definition);
  for (const [name, server] of Object.entries(servers)) {
    if (server.type === 'sdk') answerAllowed(name, server.instance, allowedNow);
  }
  return servers;
}

type Instance = McpSdkServerConfigWithInstance['instance'];

/** The hook is asked by Claude Code; what the agent started can write a call to its standard output itself. */
function answerAllowed(server: string, instance: Instance, allowedNow: () => readonly string[]): void {
  const connect = instance.connect.bind(instance);
  instance.connect = async (transport) => {
    await connect(transport);
    const receive = transport.onmessage;
    transport.onmessage = (message, extra) => {
      const { id, method, params } = message as {
        id?: number;
        method?: string;
        params?: { name?: unknown; arguments?: unknown };
      };
      const tool = `mcp__${server}__${String(params?.name)}`.replaceAll(/[^A-Za-z0-9_-]/g, '_');
      if (method !== 'tools/call' || isAllowed(allowedNow(), tool, params?.arguments))
        return receive?.(message, extra);
      const error = { code: -32602, message: `${tool} is not allowed in this step.` };
      if (id !== undefined) void transport.send({ jsonrpc: '2.0', id, error });
    };
  };
}

function allServers(definition: ChainDefinition): Record<string, McpServerConfig> {
  const { file, mcpServers } = definition;
  const given = Object.entries(mcpServers).map(([name, server]): [string, McpServerConfig] => {
    // Connected before the first request: a list of tools that grows later is a different prompt.
    if (typeof server !== 'function') return [name, { ...server, alwaysLoad: true }];
    try {
      return [name, server()];
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      const message = `${file ?? 'The definition'}: mcpServers.${name} failed: ${why}.`;
      throw new SessionChainError('INVALID_CONFIG', message, undefined, { cause });
    }
  });
  const submissions = submissionSteps(definition);
  return {
    ...Object.fromEntries(given),
    ...(submissions.length === 0 ? {} : { [submissionServerName]: submissionServer(submissions) }),
  };
}

/**
 * The in-process tools through which the model submits values. They are present in every step, because a different list
 * of tools would lose the prompt cache, and each is allowed in one. They keep no state: the accepted call is in the
 * transcript and is read from there. A call that does not fit the schema is answered with the reason.
 */
function submissionServer(steps: readonly SubmissionStep[]): McpSdkServerConfigWithInstance {
  const tools = steps.map(({ name, schema }) =>
    tool(
      submissionToolName(name),
      `Hands in the ${name} of the project. Use it only in the step that asks for it.`,
      schema.shape as z.ZodRawShape,
      async (input) => {
        // The SDK has checked the fields; this checks what the schema says about them together.
        const parsed = await schema.safeParseAsync(input);
        return parsed.success
          ? { content: [{ type: 'text', text: 'Accepted.' }] }
          : { content: [{ type: 'text', text: z.prettifyError(parsed.error) }], isError: true };
      },
    ),
  );
  return createSdkMcpServer({ name: submissionServerName, alwaysLoad: true, tools });
}
