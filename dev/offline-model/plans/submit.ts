import { basename } from 'node:path';
import { operationMark, type Conversation } from '../conversation.js';
import { callTools, say, type JsonSchema, type Turn } from '../messages.js';
import { lastCall } from './calls.js';
import { fillSchema } from './fill-schema.js';

/** Submits what is known of the project through the step's own submission tool, then ends. */
export function submit(conversation: Conversation, step = 'metadata'): Turn {
  const tool = [...conversation.tools].find(([name]) => name.endsWith(`submit_${step}`));
  if (!tool) return say(`There is no tool to submit ${step} with. ${operationMark(conversation.before)}`);
  const [name, schema] = tool;
  const last = lastCall(conversation, (call) => call.name === name);
  if (last?.ok) return say(`The ${step} is submitted. ${operationMark(conversation.before)}`);
  const text = last ? `The ${step} was not accepted; I correct it.` : 'I submit what I know of the project.';
  const known = metadataOf(conversation);
  const value = step === 'metadata' ? known : valueFor(schema, known);
  return callTools(text, { name, input: fillSchema(schema, value) as Record<string, unknown> });
}

interface KnownMetadata {
  name: string;
  description: string;
  tags: string[];
  recommendations: string[];
}

function metadataOf({ before, cwd }: Conversation): KnownMetadata {
  const { app } = before;
  return app
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
}

/** What is known, under names that schemas commonly use; a required field with another name gets the description. */
function valueFor(schema: JsonSchema, known: KnownMetadata): Record<string, unknown> {
  const { name, description } = known;
  const required = Array.isArray(schema.required) ? (schema.required as string[]) : [];
  return {
    ...Object.fromEntries(required.map((field) => [field, description])),
    ...known,
    title: name,
    summary: description,
  };
}
