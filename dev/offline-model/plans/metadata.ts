import { basename } from 'node:path';
import { operationMark, type Conversation } from '../conversation.js';
import { callTools, say, type JsonSchema, type Turn } from '../messages.js';
import { lastCall } from './calls.js';
import { fillSchema } from './fill-schema.js';

/** Submits name, description, tags and recommendations through the agent's metadata tool, then closes. */
export function submitMetadata(conversation: Conversation): Turn {
  const tool = [...conversation.tools].find(([name]) => name.endsWith('submit_metadata'));
  if (!tool) return say(`There is no tool to submit metadata with. ${operationMark(conversation.before)}`);
  const [name, schema] = tool;
  const last = lastCall(conversation, (call) => call.name === name);
  if (last?.ok) return say(`The metadata is submitted. ${operationMark(conversation.before)}`);
  const text = last ? 'The metadata was not accepted; I correct it.' : 'I submit what I know of the project.';
  return callTools(text, { name, input: metadataInput(conversation, schema) });
}

function metadataInput({ before, cwd }: Conversation, schema: JsonSchema): Record<string, unknown> {
  const { app } = before;
  const known = app
    ? {
        name: app.title,
        description: `${app.title} is a to-do list that runs in the browser without a server, at Version ${app.version}.`,
        tags: ['todo', 'productivity', 'static-site'],
        recommendations: [
          'Let tasks be reordered by dragging',
          'Give tasks a due date and sort by it',
          `Add an export of all tasks to Version ${app.version + 1}`,
        ],
      }
    : {
        name: basename(cwd ?? '') || 'project',
        description: 'Nothing is remembered of this project; the name is that of its folder.',
        tags: ['unknown'],
        recommendations: ['Describe what the project is for'],
      };
  return fillSchema(schema, known) as Record<string, unknown>;
}
