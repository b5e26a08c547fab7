import type { JsonSchema } from '../messages.js';

/**
 * A value that fits a JSON schema of a tool, made from a known value where that fits its type. Covers what tools use:
 * objects, arrays, strings, numbers, booleans, enums, length limits. A text stands in for an object by filling its
 * string properties.
 */
export function fillSchema(schema: JsonSchema, known: unknown): unknown {
  if ('const' in schema) return schema.const;
  if (Array.isArray(schema.enum)) return schema.enum.includes(known) ? known : schema.enum[0];
  const alternative = [schema.anyOf, schema.oneOf].find(Array.isArray)?.[0] as JsonSchema | undefined;
  if (alternative) return fillSchema(alternative, known);
  switch (Array.isArray(schema.type) ? (schema.type[0] as unknown) : schema.type) {
    case 'object':
      return fillObject(schema, known);
    case 'array': {
      const values: unknown[] = Array.isArray(known) ? known : [known];
      const enough = Array.from(
        { length: Math.max(values.length, numberOr(schema.minItems, 0)) },
        (_, index) => fillSchema((schema.items ?? {}) as JsonSchema, values[index % values.length]),
      );
      return enough.slice(0, numberOr(schema.maxItems, Infinity));
    }
    case 'string': {
      const text = typeof known === 'string' ? known : '-';
      return text.slice(0, numberOr(schema.maxLength, Infinity)).padEnd(numberOr(schema.minLength, 0), '.');
    }
    case 'number':
    case 'integer':
      return typeof known === 'number' ? known : smallNumber(schema);
    case 'boolean':
      return known === true;
    default:
      // A required field without a value would be left out of the JSON.
      return known ?? '-';
  }
}

function fillObject(schema: JsonSchema, known: unknown): Record<string, unknown> {
  const properties = (schema.properties ?? {}) as Record<string, JsonSchema>;
  const required = Array.isArray(schema.required) ? (schema.required as string[]) : [];
  const values = typeof known === 'object' && known !== null ? (known as Record<string, unknown>) : undefined;
  const wanted = Object.entries(properties).filter(
    ([name]) => required.includes(name) || (values && name in values),
  );
  return Object.fromEntries(
    wanted.map(([name, property]) => [name, fillSchema(property, values ? values[name] : known)]),
  );
}

/** 1, or the nearest allowed value: the lowest allowed one may be the lowest number that exists. */
function smallNumber({ minimum, exclusiveMinimum, maximum }: JsonSchema): number {
  const lowest = Math.max(numberOr(minimum, 1), numberOr(exclusiveMinimum, 0) + 1, 1);
  return Math.min(lowest, numberOr(maximum, Infinity));
}

function numberOr(value: unknown, fallback: number): number {
  return typeof value === 'number' ? value : fallback;
}
