import {
  createSdkMcpServer,
  tool,
  type McpSdkServerConfigWithInstance,
} from '@anthropic-ai/claude-agent-sdk';
import { z } from 'zod';
import type { MetadataSchema } from '../definition/definition.js';
import { metadataServerName, metadataToolName } from '../definition/metadata.js';

/**
 * The in-process tool through which the model hands in metadata. It is there in every step, because another list of
 * tools would cost the prompt cache, and allowed in one. It keeps nothing: the accepted call stands in the
 * transcript and is read from there. A call that does not fit the schema is answered with the reason.
 */
export function createMetadataServer(schema: MetadataSchema): McpSdkServerConfigWithInstance {
  const submit = tool(
    metadataToolName,
    'Hands in the metadata of the project. Use it only in the step that asks for it.',
    schema.shape as z.ZodRawShape,
    async (input) => {
      // The SDK has checked the fields; what the schema says of them together is left.
      const parsed = await schema.safeParseAsync(input);
      return parsed.success
        ? { content: [{ type: 'text', text: 'Accepted.' }] }
        : { content: [{ type: 'text', text: z.prettifyError(parsed.error) }], isError: true };
    },
  );
  return createSdkMcpServer({ name: metadataServerName, alwaysLoad: true, tools: [submit] });
}
