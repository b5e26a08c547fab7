import swagger from '@fastify/swagger';
import fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyServerOptions } from 'fastify';
import { type ZodTypeProvider, validatorCompiler } from 'fastify-type-provider-zod';
import type { SessionChain } from '../client/session-chain.js';
import { type AuthOptions, auth } from './auth.js';
import { type HealthOptions, health } from './health.js';
import { type LimitsOptions, limits, serverOptions } from './limits.js';
import { methods } from './methods.js';
import { metrics } from './metrics.js';
import { openapiOptions } from './openapi.js';
import { pages } from './pages.js';
import { problemOf, problems, sendProblem } from './problems.js';
import type { ServerFacts } from './routes/common.js';
import { routes } from './routes/routes.js';
import { type StreamsOptions, streams } from './streams.js';

export interface AppOptions extends AuthOptions, Partial<HealthOptions> {
  /** What the routes call; the app does not close it. */
  sessionChain: SessionChain;
  /** Default: nothing is logged. */
  log?: FastifyBaseLogger;
  limits?: LimitsOptions;
  streams?: Omit<StreamsOptions, 'sessionChain'>;
  /** Where the checkpoints are that a sync report compares; default: none are compared. */
  redisUrl?: string | undefined;
  /** Default: of a server that nothing is known of. */
  about?: ServerFacts;
}

/** The HTTP server of a client, not listening yet. Every route names its scope, or the app is not made. */
export async function createApp({
  sessionChain,
  log,
  limits: bounds,
  streams: ofStreams,
  redisUrl,
  about = { version: '0.0.0', namespace: 'default', temporalUi: null },
  ready = async () => undefined,
  draining = new AbortController().signal,
  ...access
}: AppOptions) {
  const options = { ...fastifyOptions, ...serverOptions(bounds) };
  const app: FastifyInstance = log ? fastify({ ...options, loggerInstance: log }) : fastify(options);
  app.setValidatorCompiler(validatorCompiler);
  // What a route answers with is checked by its types and by the tests, and not again for each request.
  app.setSerializerCompiler(() => (value) => JSON.stringify(value));
  problems(app);
  await app.register(swagger, openapiOptions);
  const addMissingMethods = methods(app);
  await metrics(app, { sessionChain });
  const rates = await limits(app, bounds);
  await auth(app, access, rates);
  await health(app, { ready, draining });
  await routes(app.withTypeProvider<ZodTypeProvider>(), { sessionChain, redisUrl, about });
  await streams(app, { ...ofStreams, sessionChain });
  await pages(app);
  addMissingMethods();
  return app;
}

const fastifyOptions: FastifyServerOptions = {
  // An id may have as many characters as it likes; the client says which are too long.
  routerOptions: { maxParamLength: 5_000 },
  // An address that is not valid meets no route and no error handler.
  frameworkErrors: (error, _request, reply) => void sendProblem(reply, problemOf(error)),
};
