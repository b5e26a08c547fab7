import {
  createSdkMcpServer,
  tool,
  type McpSdkServerConfigWithInstance,
} from '@anthropic-ai/claude-agent-sdk';
import { metadataFields } from '../contracts/schemas.js';
import { metadataServerName, metadataToolName } from './steps.js';

/**
 * The in-process tool through which the model hands in metadata. It is there in every step, because another list of
 * tools would cost the prompt cache, and allowed in one. It keeps nothing: the accepted call stands in the
 * transcript and is read from there. The SDK answers a call that does not fit the schema with the reason.
 */
export function createMetadataServer(): McpSdkServerConfigWithInstance {
  const submit = tool(
    metadataToolName,
    'Hands in the metadata of the project. Use it only in the step that asks for it.',
    metadataFields,
    async () => ({ content: [{ type: 'text', text: 'Accepted.' }] }),
  );
  return createSdkMcpServer({ name: metadataServerName, alwaysLoad: true, tools: [submit] });
}
