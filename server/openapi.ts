import { STATUS_CODES } from 'node:http';
import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import './scopes.js';

/** How the document that describes the routes is made: OpenAPI 3.1, from their zod schemas. */
export const openapiOptions: FastifyDynamicSwaggerOptions = {
  openapi: {
    openapi: '3.1.0',
    info: {
      title: 'Session Chain',
      description:
        'Durable chains of Claude Code sessions. Every refusal is a problem (RFC 9457) that says what happened and what to do. A consumer ignores fields and values that it does not know.',
      version: '1',
      license: { name: 'MIT', identifier: 'MIT' } as { name: string },
    },
    components: {
      securitySchemes: {
        key: { type: 'http', scheme: 'bearer', description: 'A key of `session-chain keys create`' },
      },
    },
    security: [{ key: [] }],
  },
  transform(given) {
    const { schema, url } = jsonSchemaTransform(given);
    const scope = given.route.config?.scope;
    const access = scope === 'open' ? { security: [] } : { 'x-scope': scope };
    return { schema: { ...schema, ...access }, url };
  },
  transformObject: (given) => tidied(jsonSchemaTransformObject(given) as Document),
};

interface Document {
  paths: Record<string, Record<string, Operation>>;
  components: Record<string, Record<string, unknown>>;
}
interface Operation {
  requestBody?: { required?: boolean; content: Record<string, { schema: { required?: string[] } }> };
  responses: Record<string, { description?: string; content?: Record<string, unknown>; $ref?: string }>;
}

/** The document without what its generators repeat. */
function tidied({ paths, components, ...rest }: Document): Document {
  const responses: Record<string, unknown> = {};
  for (const operation of Object.values(paths).flatMap((path) => Object.values(path))) {
    const body = operation.requestBody;
    // One in which nothing is required may be absent.
    if (body) body.required = Object.values(body.content).some(({ schema }) => schema.required?.length);
    for (const [status, response] of Object.entries(operation.responses)) {
      if (response.description === 'Default Response') response.description = STATUS_CODES[status] ?? status;
      if (!response.content?.['application/problem+json']) continue;
      const name = `Problem${status}`;
      responses[name] ??= response;
      operation.responses[status] = { $ref: `#/components/responses/${name}` };
    }
  }
  const used = JSON.stringify([paths, responses]);
  const all = components['schemas'] ?? {};
  const kept = new Set<string>();
  const keep = (text: string) => {
    for (const [, name = ''] of text.matchAll(/#\/components\/schemas\/(\w+)/g)) {
      if (kept.has(name)) continue;
      kept.add(name);
      keep(JSON.stringify(all[name]));
    }
  };
  keep(used);
  const schemas = Object.fromEntries(Object.entries(all).filter(([name]) => kept.has(name)));
  return withoutBounds({ ...rest, paths, components: { ...components, responses, schemas } });
}

/** Without the bounds that every whole number of JavaScript has, and formats that only zod knows. */
function withoutBounds<Value>(value: Value): Value {
  return JSON.parse(
    JSON.stringify(value, (key, one: unknown) => {
      if ((key === 'maximum' || key === 'minimum') && Math.abs(Number(one)) === Number.MAX_SAFE_INTEGER)
        return undefined;
      return key === 'format' && one === 'starts_with' ? undefined : one;
    }),
  ) as Value;
}
