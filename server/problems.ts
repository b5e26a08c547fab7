import { STATUS_CODES } from 'node:http';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod';
import { z } from 'zod';
import {
  type FailureCategory,
  type FailureCode,
  SessionChainError,
  failureCategories,
  failureCodes,
  failureOfCode,
  isRetryable,
  toSessionChainError,
} from '../contracts/failures.js';
import { startOf } from '../contracts/text.js';

/** An answer of the server itself that is no failure of a call: no key, a wrong method, too many requests. */
export class HttpProblem extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly remedy: string,
    readonly retryAfterMs?: number,
  ) {
    super(message);
  }
}

/** The codes of failures; a consumer takes one that it does not know as a failure of the category that stands beside it. */
export const failureCodeSchema = z
  .enum(failureCodes)
  .meta({ id: 'FailureCode', description: 'Which case it is' });

/** RFC 9457. */
export const problemSchema = z
  .object({
    type: z.string().describe('`about:blank`, or the address of what is documented of the failure'),
    title: z.string().describe('The name of the status'),
    status: z.int().describe('The HTTP status'),
    detail: z.string().describe('What happened, where'),
    remedy: z.string().describe('What to do'),
    retryable: z.boolean().describe('Whether the same call may succeed later'),
    retryAfterMs: z.int().optional().describe('When to try again, in ms, where it is known'),
    code: failureCodeSchema.optional().describe('Absent for an answer of HTTP alone'),
    category: z
      .enum(Object.keys(failureCategories) as FailureCategory[])
      .optional()
      .describe('What kind of failure it is'),
    errors: z
      .array(
        z.object({
          in: z.string().describe('`body`, `params`, `querystring` or `headers`'),
          at: z.string().describe('JSON pointer of the field'),
          message: z.string(),
        }),
      )
      .optional()
      .describe('Each field that is wrong'),
  })
  .meta({ id: 'Problem', description: 'Why a call was refused or failed (RFC 9457)' });

export type Problem = z.infer<typeof problemSchema>;

const statusOf: Record<FailureCategory, number> = {
  input: 400,
  not_found: 404,
  conflict: 409,
  budget: 409,
  ended: 409,
  setup: 503,
  unavailable: 503,
  model: 500,
  agent: 500,
  internal: 500,
};

/** Their messages quote what others say, with addresses and roles that are not a caller's to know; the log has them. */
const quoting: ReadonlySet<FailureCode> = new Set([
  'INTERNAL',
  'DATABASE_UNAVAILABLE',
  'DATABASE_REFUSED',
  'MIGRATIONS_BEHIND',
  'TEMPORAL_REFUSED',
]);

/** What the answer to an error says. */
export function problemOf(error: unknown): Problem {
  if (error instanceof HttpProblem) {
    const { status, message, remedy, retryAfterMs } = error;
    return problem(status, message, remedy, status === 429 || status === 503, { retryAfterMs });
  }
  if (hasZodFastifySchemaValidationErrors(error))
    return invalid(error.validation, error.validationContext ?? 'body');
  const status = statusOfFramework(error);
  if (status !== null) {
    const remedy = remedies[status] ?? 'Correct the request and call again.';
    return problem(status, (error as Error).message, remedy, status === 429, {});
  }
  const { code, category, message, remedy, retryAfterMs } = toSessionChainError(error);
  const detail = quoting.has(code) ? failureOfCode(code).message : message;
  return problem(statusOf[category], detail, remedy, isRetryable(code), { retryAfterMs, code, category });
}

/** Sends a problem. */
export function sendProblem(reply: FastifyReply, said: Problem): FastifyReply {
  if (said.status === 503 || said.status === 429)
    reply.header('retry-after', Math.max(1, Math.ceil((said.retryAfterMs ?? 1_000) / 1_000)));
  return reply.code(said.status).type('application/problem+json').send(JSON.stringify(said));
}

/** Every error of the app becomes a problem. */
export function problems(app: FastifyInstance): void {
  app.setErrorHandler((error, request, reply) => {
    const said = problemOf(error);
    if (said.status >= 500) request.log.error({ err: error }, said.detail);
    return sendProblem(reply, said);
  });
}

function problem(
  status: number,
  detail: string,
  remedy: string,
  retryable: boolean,
  more: Partial<Record<'retryAfterMs' | 'code' | 'category' | 'errors', unknown>>,
): Problem {
  const known = Object.fromEntries(Object.entries(more).filter(([, value]) => value !== undefined));
  const title = STATUS_CODES[status] ?? 'Error';
  return { type: 'about:blank', title, status, detail, remedy, retryable, ...known };
}

/** A body may be wrong in as many places as it has characters, and repeats what is wrong. */
const maxErrors = 20;
const maxErrorLength = 500;

function invalid(issues: readonly { instancePath: string; message?: string }[], where: string): Problem {
  const errors = issues.slice(0, maxErrors).map(({ instancePath, message = 'is not valid' }) => ({
    in: where,
    at: startOf(instancePath, maxErrorLength),
    message: startOf(message, maxErrorLength),
  }));
  const more = issues.length - errors.length;
  const said = errors
    .map(({ at, message }) => `${at === '/' || at === '' ? where : at}: ${message}`)
    .join('; ');
  return problem(
    400,
    `The ${where} is not valid: ${said}${more > 0 ? `; and ${more} more` : ''}.`,
    'Correct what `errors` names and call again.',
    false,
    {
      code: 'INVALID_INPUT',
      category: 'input',
      errors,
    },
  );
}

/** The status of an error of fastify itself: a body that is no JSON, too large, of another type. */
function statusOfFramework(error: unknown): number | null {
  if (error instanceof SessionChainError || !(error instanceof Error) || !('statusCode' in error))
    return null;
  const { statusCode } = error;
  return typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500 ? statusCode : null;
}

const remedies: Record<number, string> = {
  413: 'Send a smaller body.',
  415: 'Send JSON, with the header Content-Type: application/json.',
  429: 'Wait as long as Retry-After says, then call again.',
};
