import type { FastifyBaseLogger, FastifyInstance, FastifyRequest, RawServerDefault } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { z } from 'zod';
import type { Keys } from '../../client/keys.js';
import type { SessionChain } from '../../client/session-chain.js';
import type { Caller } from '../caller.js';
import type { Rates } from '../limits.js';
import type { Logins } from '../login.js';
import type { Dashboard } from '../pages.js';
import type { DoctorReport } from '../doctor.js';
import { HttpProblem, problemSchema } from '../problems.js';
import type { Json } from '../schemas.js';

/** The app as a file of routes gets it: schemas are zod's. */
export type Routes = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>;

/** What the server is, as `GET /v1/server` tells it. */
export interface ServerFacts {
  /** Of the package. */
  version: string;
  namespace: string;
  /** Address of Temporal's Web UI; null where it was not configured. */
  temporalUi: string | null;
}

export interface RouteOptions {
  about: ServerFacts;
  /** What the routes call. */
  sessionChain: SessionChain;
  /** Where the checkpoints are that a report compares; absent leaves them out. */
  redisUrl?: string | undefined;
  logins: Logins;
  rates: Rates;
  /** Null where none is served. */
  dashboard: Dashboard | null;
  /** Whether a link with a one-time code logs a browser in. */
  hasLinks: boolean;
  keys: Keys;
  /** The checks of what the server needs. */
  doctor: () => Promise<DoctorReport>;
}

/** A result of the client as a route's schema names it; sending makes JSON of it. */
export function json<Value>(value: Value): Json<Value> {
  return value as Json<Value>;
}

const problem = (description: string) => ({
  description,
  content: { 'application/problem+json': { schema: problemSchema } },
});

/** What any route may refuse. */
export const refusals = {
  400: problem('The request is not valid; `errors` names each field'),
  401: problem('No key, or one that is not valid'),
  403: problem("The key's scope does not allow this"),
  404: problem('It does not exist, or the key may not see it'),
  409: problem('It is in use, held, taken or over'),
  429: problem('Too many requests; Retry-After says when to go on'),
  500: problem('An unexpected error; the log of the server has it'),
  503: problem('Postgres or Temporal does not answer, or is not set up; Retry-After says when to try again'),
};

/** The responses of a route that reads. */
export function reads<Schema extends z.ZodType>(schema: Schema) {
  return { 200: schema, ...refusals };
}

/** The responses of a route that takes a body. */
export function takes<Schema extends z.ZodType>(schema: Schema) {
  return {
    200: schema,
    ...refusals,
    413: problem('The body is too large'),
    415: problem('The body is not JSON'),
  };
}

export const id = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,254}$/, {
  error: ({ input }) =>
    `${JSON.stringify(input).slice(0, 300)} is malformed: use 1 to 255 letters, digits, ".", "_", ":" and "-", starting with a letter or a digit`,
});
export const projectParams = z.strictObject({ projectId: id.meta({ examples: ['shop'] }) });
export const chainParams = z.strictObject({
  ...projectParams.shape,
  versionId: id.meta({ examples: ['shop-v2'] }),
  buildId: id.meta({
    examples: ['shop-v2'],
    description: "The caller's key of the chain; the version id by default",
  }),
});
export const chatParams = z.strictObject({
  ...projectParams.shape,
  chatId: id.meta({
    examples: ['shop'],
    description: 'The project id for the chat that `ask` uses by default',
  }),
});
export const sessionParams = z.strictObject({ ...projectParams.shape, sessionId: id });
export const entryParams = z.strictObject({
  ...sessionParams.shape,
  cursor: z
    .string()
    .max(500)
    .meta({ examples: ['1.0'], description: '`cursor` of an entry' }),
});
export const questionParams = z.strictObject({
  ...chatParams.shape,
  messageId: id.meta({ examples: ['m-1'] }),
});

/** A whole number of a query, as text; `01`, `1e3` and an empty one are none. */
export function whole(min: number, max: number, description: string) {
  return z
    .preprocess(
      (value) => (typeof value === 'string' && /^(0|[1-9]\d{0,14})$/.test(value) ? Number(value) : value),
      z.int(`must be a whole number, given once`).min(min).max(max),
    )
    .meta({ type: 'integer', minimum: min, maximum: max, description });
}

/** One value of a list, or several: repeated in a query. */
export function several<const Values extends readonly [string, ...string[]]>(
  values: Values,
  description: string,
) {
  return z
    .preprocess((value) => (typeof value === 'string' ? [value] : value), z.array(z.enum(values)).min(1))
    .meta({
      ...{ type: 'array', items: { type: 'string', enum: values }, minItems: 1 },
      description: `${description}; repeated for several`,
    })
    .optional();
}

/** The projects to which a caller is restricted. */
export function within({ projects }: Caller): { projectIds?: readonly string[] } {
  return projects === null ? {} : { projectIds: projects };
}

/** True or false in a query. */
export function flag(description: string) {
  return z
    .preprocess(
      (value) => (value === 'true' ? true : value === 'false' ? false : value),
      z.boolean('must be true or false, given once'),
    )
    .meta({ type: 'boolean', description });
}

export const limit = (byDefault: number) =>
  whole(1, 10_000, `Entries at most; default ${byDefault}`).optional();
export const cursor = z.string().max(500).describe('`nextCursor` of the page before').optional();

/** How long a call may wait for what it asks for. */
export const waitMs = whole(0, 60_000, 'Wait so many ms at most; default 0').optional();

/** What was given, without the fields that are absent. */
export function given<Value extends object>(
  value: Value,
): { [Key in keyof Value]: Exclude<Value[Key], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as never;
}

/** A strict schema with a description, and perhaps an example, of each of its fields. */
export function described<Shape extends z.core.$ZodLooseShape>(
  schema: z.ZodObject<Shape, z.core.$strict>,
  meta: { [Key in keyof Shape]: { description: string; examples?: unknown[] } },
): z.ZodObject<Shape, z.core.$strict> {
  const shape = Object.entries(schema.shape).map(([name, field]) => [
    name,
    (field as z.ZodType).meta(meta[name as keyof Shape]),
  ]);
  return z.strictObject(Object.fromEntries(shape));
}

/** A body that may be absent. */
export function optionalBody<Schema extends z.ZodObject>(schema: Schema) {
  return z.preprocess((value) => value ?? {}, schema);
}

/**
 * The caller's key of what it asks for: that of the body, or the header Idempotency-Key, which is another way to write it. Throws
 * a problem where both are given and differ.
 */
export function keyOf(
  request: FastifyRequest,
  field: string,
  ofBody: string | undefined,
): string | undefined {
  const header = request.headers['idempotency-key'];
  if (header === undefined) return ofBody;
  // As the draft has it, a quoted string; most callers send it bare.
  const key = String(header).replace(/^"(.*)"$/, '$1');
  if (ofBody === undefined || ofBody === key) return key;
  throw new HttpProblem(
    400,
    `The header Idempotency-Key (${JSON.stringify(key)}) differs from ${field} (${JSON.stringify(ofBody)}).`,
    `Give one of them, or both alike: the header is ${field}.`,
  );
}
