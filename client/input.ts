import { z } from 'zod';
import { SessionChainError } from '../contracts/failures.js';

/** How many rows a list may have. */
export const limit = z.number().int().min(1).max(10_000);

/**
 * What a caller gave, as its schema leaves it; `name` stands for the whole of it. Throws INVALID_INPUT, whose message begins
 * with `refusal` and names every field that is wrong.
 */
export function checked<Value>(
  schema: z.ZodType<Value>,
  given: unknown,
  refusal: string,
  name = 'options',
): Value {
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.') || name}: ${message}`);
  throw new SessionChainError('INVALID_INPUT', `${refusal}: ${problems.join('; ')}.`);
}

/** The options of a method, none where they are left out. A misspelled one is refused: it would count as left out. */
export function checkedOptions<Shape extends z.ZodRawShape>(
  shape: Shape,
  given: unknown,
): z.infer<z.ZodObject<Shape>> {
  return checked(z.strictObject(shape), given ?? {}, 'The options are not usable');
}

/** Whether an object has a property of a type. One of another package may come from another copy of it: its class says nothing. */
export function has(value: unknown, name: string, type: 'function' | 'object'): boolean {
  return (
    typeof value === 'object' && value !== null && typeof (value as Record<string, unknown>)[name] === type
  );
}
