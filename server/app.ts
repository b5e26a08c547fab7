import swagger from '@fastify/swagger';
import fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyServerOptions } from 'fastify';
import { type ZodTypeProvider, validatorCompiler } from 'fastify-type-provider-zod';
import type { SessionChain } from '../client/session-chain.js';
import type { Keys } from '../client/keys.js';
import { auth } from './auth.js';
import { type DoctorFinding, sharedDoctor } from './doctor.js';
import { type HealthOptions, health } from './health.js';
import { type LimitsOptions, limits, serverOptions, setSecurityHeaders } from './limits.js';
import { createLogins } from './login.js';
import { methods } from './methods.js';
import { metrics } from './metrics.js';
import { openapiOptions } from './openapi.js';
import { pages, readDashboard } from './pages.js';
import { problemOf, problems, sendProblem } from './problems.js';
import type { ServerFacts } from './routes/common.js';
import { routes } from './routes/routes.js';
import { type StreamsOptions, streams } from './streams.js';

export interface AppOptions extends Partial<HealthOptions> {
  keys: Keys;
  /** On loopback alone: a link with a one-time code logs a browser in. Default: no. */
  hasLinks?: boolean;
  /** The folder of the built dashboard. Default: none is served. */
  dashboard?: string;
  /** What the routes call; the app does not close it. */
  sessionChain: SessionChain;
  /** Default: nothing is logged. */
  log?: FastifyBaseLogger;
  limits?: LimitsOptions;
  streams?: Omit<StreamsOptions, 'sessionChain'>;
  /** Where the checkpoints are that a sync report compares; default: none are compared. */
  redisUrl?: string | undefined;
  /** Checks what the server needs. Default: nothing is checked. */
  doctor?: () => Promise<DoctorFinding[]>;
  /** Default: of a server that nothing is known of. */
  about?: ServerFacts;
}

/** The HTTP server of a client, not listening yet. Every route names its scope, or the app is not made. */
export async function createApp({
  sessionChain,
  keys,
  hasLinks = false,
  dashboard,
  log,
  limits: bounds,
  streams: ofStreams,
  redisUrl,
  about = { version: '0.0.0', namespace: 'default', temporalUi: null },
  doctor = async () => [],
  ready = async () => undefined,
  draining = new AbortController().signal,
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
  const logins = createLogins(keys);
  await auth(app, { keys, logins, rates });
  await health(app, { ready, draining });
  const page = dashboard === undefined ? null : readDashboard(dashboard);
  if (page === null && dashboard !== undefined)
    app.log.warn(
      { folder: dashboard },
      'The dashboard is not there: it was not built. The API is served without it.',
    );
  await routes(app.withTypeProvider<ZodTypeProvider>(), {
    ...{ sessionChain, redisUrl, about, keys },
    doctor: sharedDoctor(doctor),
    ...{ logins, rates, hasLinks, dashboard: page },
  });
  await streams(app, { ...ofStreams, sessionChain });
  pages(app, page);
  addMissingMethods();
  return app;
}

const fastifyOptions: FastifyServerOptions = {
  // An id may have as many characters as it likes; the client says which are too long.
  routerOptions: { maxParamLength: 5_000 },
  // An address that is not valid meets no route, no hook and no error handler.
  frameworkErrors: (error, _request, reply) => {
    setSecurityHeaders(reply);
    void sendProblem(reply, problemOf(error));
  },
};
