import { SessionChainError } from '../contracts/failures.js';
import { storableText } from '../contracts/text.js';
import type { AgentStepDefinition, ChainDefinition, PromptContext } from './definition.js';

const promptWithinMs = 60_000;
const longestPrompt = 1_000_000;

/**
 * The user message that starts a step, from the definition's own function. Throws PROMPT_FAILED when that throws, gives no
 * usable text or does not return within a minute.
 */
export async function promptFor(
  { file }: Pick<ChainDefinition, 'file'>,
  step: AgentStepDefinition,
  context: Omit<PromptContext, 'step'>,
): Promise<string> {
  if (step.kind === 'compaction') return ['/compact', step.instructions].filter(Boolean).join(' ');
  const failed = (why: string, cause?: unknown) =>
    new SessionChainError(
      'PROMPT_FAILED',
      `${file ?? 'The definition'}: steps.${step.name}.prompt ${why}.`,
      undefined,
      { cause },
    );
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new Error(`it did not return within ${promptWithinMs / 1000} s`)),
      promptWithinMs,
    );
  });
  const prompt: unknown = await Promise.race([
    Promise.resolve({ ...context, step: step.name }).then((given) => step.prompt(given)),
    late,
  ])
    .catch((cause: unknown) => {
      throw failed(`failed: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
    })
    .finally(() => clearTimeout(timer));
  if (typeof prompt !== 'string')
    throw failed(`gave ${prompt === null ? 'null' : typeof prompt}, not a text`);
  if (prompt.trim() === '') throw failed('gave an empty text');
  if (prompt.length > longestPrompt) throw failed(`gave more than ${longestPrompt} characters`);
  // An instruction that a user typed must not become one.
  if (prompt.trimStart().startsWith('/'))
    throw failed('gave a text that starts with "/", a command of Claude Code');
  // It may quote a tool, a file or a submission; a model service rejects half a character.
  return storableText(prompt);
}
