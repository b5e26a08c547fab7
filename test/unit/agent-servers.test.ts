import type { McpSdkServerConfigWithInstance } from '@anthropic-ai/claude-agent-sdk';
import { describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import { serversOf } from '../../agent/servers.js';
import { checkDefinition } from '../../definition/check.js';
import type { ChainDefinitionInput } from '../../definition/definition.js';
import { shippedDefinition } from '../../definition/shipped.js';

const serversFor = (input: object) => serversOf(checkDefinition(input).definition, () => ['mcp__chain']);

describe('the servers of a run', () => {
  it('are there before the first request, and the own one beside them', () => {
    expect(serversFor({ mcpServers: { search: { command: 'search' } } })).toEqual({
      search: { command: 'search', alwaysLoad: true },
      chain: expect.objectContaining({ type: 'sdk', name: 'chain' }),
    });
  });

  it('lack the own one where the chain has no submission', () => {
    expect(serversFor({ steps: ['build', 'docs'] })).toEqual({});
  });

  it('are made by functions, one for each run; one that throws is named', () => {
    let made = 0;
    const make = () => ({ type: 'sdk', name: 'db', instance: { number: ++made, connect: () => undefined } });
    const { definition } = checkDefinition({ mcpServers: { db: make } });
    expect([serversOf(definition, () => []).db, serversOf(definition, () => []).db]).toMatchObject([
      { instance: { number: 1 } },
      { instance: { number: 2 } },
    ]);
    const broken = () => {
      throw new Error('no socket');
    };
    const { definition: withBroken } = checkDefinition(
      { mcpServers: { db: broken } },
      { file: '/srv/my.config.ts' },
    );
    expect(() => serversOf(withBroken, () => [])).toThrow(
      expect.objectContaining({
        code: 'INVALID_CONFIG',
        message: '/srv/my.config.ts: mcpServers.db failed: no socket.',
      }),
    );
  });
});

describe('the tools of submission', () => {
  const review: ChainDefinitionInput = {
    steps: [
      'build',
      'metadata',
      {
        name: 'review',
        kind: 'submission',
        prompt: () => 'Review it.',
        schema: z
          .object({ from: z.number(), to: z.number() })
          .refine(({ from, to }) => from < to, 'from must be less than to'),
      },
    ],
  };

  it('are one for each submission, with the fields of its schema', async () => {
    const { tools } = (await asked(
      serversOf(shippedDefinition, () => []),
      'tools/list',
    )) as { tools: Tool[] };
    expect(tools).toMatchObject([
      {
        name: 'submit_metadata',
        description: 'Hands in the metadata of the project. Use it only in the step that asks for it.',
        inputSchema: { required: ['name', 'description', 'tags', 'recommendations'] },
      },
    ]);
    const own = (await asked(serversFor(review), 'tools/list')) as { tools: Tool[] };
    expect(own.tools.map(({ name }) => name)).toEqual(['submit_metadata', 'submit_review']);
    expect(Object.keys(own.tools[1]?.inputSchema.properties ?? {})).toEqual(['from', 'to']);
  });

  it('accept what fits, and tell what does not, also of several fields together', async () => {
    const submit = async (values: object) =>
      await asked(serversFor(review), 'tools/call', { name: 'submit_review', arguments: values });
    expect(await submit({ from: 1, to: 2 })).toEqual({ content: [{ type: 'text', text: 'Accepted.' }] });
    expect(await submit({ from: 2, to: 1 })).toMatchObject({
      isError: true,
      content: [{ text: expect.stringContaining('from must be less than to') }],
    });
    expect(await submit({ from: 'one' })).toMatchObject({ isError: true });
  });

  it.each([
    [['Bash'], false],
    [['mcp__chain__submit_metadata'], false],
    [['mcp__chain__submit_reviews'], false],
    [['mcp__chain__submit_review'], true],
    [['mcp__chain'], true],
  ])('answer in a step that allows %j: %j', async (allowedTools, answers) => {
    const servers = serversOf(checkDefinition(review).definition, () => allowedTools);
    const call = { name: 'submit_review', arguments: { from: 1, to: 2 } };
    expect(await asked(servers, 'tools/call', call)).toMatchObject(
      answers ? { content: [{ text: 'Accepted.' }] } : { message: expect.stringContaining('not allowed') },
    );
  });
});

interface Tool {
  name: string;
  inputSchema: { properties?: object };
}

/** The result of a request to the chain's own server, or its error, over a connection that stays in this process. */
async function asked(
  servers: ReturnType<typeof serversOf>,
  method: string,
  params: object = {},
): Promise<unknown> {
  const { instance } = servers['chain'] as McpSdkServerConfigWithInstance;
  type Transport = Parameters<typeof instance.connect>[0];
  type Message = Parameters<Transport['send']>[0];
  const waiting = new Map<unknown, (result: unknown) => void>();
  const transport: Transport = {
    start: async () => undefined,
    close: async () => undefined,
    send: async (message) => {
      if ('id' in message && 'result' in message) waiting.get(message.id)?.(message.result);
      if ('id' in message && 'error' in message) waiting.get(message.id)?.(message.error);
    },
  };
  await instance.connect(transport);
  const request = (id: number, call: object) =>
    new Promise((resolve) => {
      waiting.set(id, resolve);
      transport.onmessage?.({ jsonrpc: '2.0', id, ...call } as Message);
    });
  const clientInfo = { name: 'test', version: '1.0.0' };
  await request(1, {
    method: 'initialize',
    params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo },
  });
  return await request(2, { method, params });
}
