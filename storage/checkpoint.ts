import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { z } from 'zod';
import type { BuildId, SessionId } from '../contracts/ids.js';

/** The state of a build, for a live view; never an authority. */
export interface CheckpointValue {
  buildId: BuildId;
  /** The session of the running or last step. */
  sessionId: SessionId;
  /** Absolute path of the workspace. */
  projectPath: string;
  /** Paths of the files written so far; of more than fit, the newest. */
  filesCreated: string[];
}

/** The Redis copy `claude:session:{buildId}`: JSON, kept for one hour. Nothing here throws or delays a chain. */
export interface Checkpoint {
  /** A write that fails is lost. */
  write(value: CheckpointValue): Promise<void>;
  /** Null when there is none, when it is malformed, or when Redis does not answer in time. */
  read(buildId: BuildId): Promise<CheckpointValue | null>;
  /**
   * Those of some builds that are there, with the session of each, null for a malformed one; null where Redis does not answer.
   * What is read at a time is bounded, whatever the keys hold.
   */
  find(buildIds: readonly BuildId[]): Promise<Map<BuildId, SessionId | null> | null>;
  /** False where Redis does not answer. */
  delete(buildIds: readonly BuildId[]): Promise<boolean>;
  close(): void;
}

export interface CheckpointOptions {
  /** Called once per outage. */
  log: (message: string) => void;
  /** How long Redis may take, for a connection and for each command. Default: 500. */
  answerWithinMs?: number;
}

const timeToLiveSeconds = 3600;
/** Of one value. A larger one is none of ours, and no more of it is read. */
const maxBytes = 256 * 1024;
const readAtOnce = 50;

const options = {
  lazyConnect: true,
  connectTimeout: 500,
  commandTimeout: 500,
  maxRetriesPerRequest: 0,
  // A command never waits for a connection: without one it fails at once, while the client reconnects by itself.
  enableOfflineQueue: false,
  // It would ask for the right to INFO, and say on the console where that is missing.
  enableReadyCheck: false,
  disableClientInfo: true,
} as const;

/** A checkpoint in the Redis at `redisUrl`; without one, `read` finds nothing and `write` does nothing. */
export function createCheckpoint(
  redisUrl: string | null,
  { log, answerWithinMs = options.commandTimeout }: CheckpointOptions,
): Checkpoint {
  if (redisUrl === null) {
    return {
      write: async () => undefined,
      read: async () => null,
      find: async () => null,
      delete: async () => false,
      close: () => undefined,
    };
  }
  const redis = new Redis(redisUrl, {
    ...{ ...options, connectTimeout: answerWithinMs, commandTimeout: answerWithinMs },
    retryStrategy: (tries) => Math.min(tries * 200, 5_000),
  });
  let connected: Promise<void> | undefined;
  let inTrouble = false;
  const trouble = (error: unknown) => {
    if (inTrouble) return;
    inTrouble = true;
    log(`Redis gives no checkpoints (${describe(error)}); chains go on without them.`);
  };
  // Without a listener an error event would end the process.
  redis.on('error', trouble);

  async function hint<T>(command: () => Promise<T>): Promise<T | null> {
    try {
      await (connected ??= redis.connect().catch(trouble));
      const answer = await command();
      inTrouble = false;
      return answer;
    } catch (error) {
      trouble(error);
      return null;
    }
  }

  async function stored(buildId: BuildId): Promise<CheckpointValue | 'malformed' | 'none'> {
    const bytes = await redis.getrangeBuffer(keyOf(buildId), 0, maxBytes).catch((error: unknown) => {
      if (describe(error).startsWith('WRONGTYPE')) return null;
      throw error;
    });
    if (bytes?.length === 0) return 'none';
    if (bytes === null || bytes.length > maxBytes) return 'malformed';
    return parse(bytes.toString(), buildId) ?? 'malformed';
  }

  return {
    async write(value) {
      await hint(() => redis.set(keyOf(value.buildId), textOf(value), 'EX', timeToLiveSeconds));
    },
    async read(buildId) {
      const found = await hint(() => stored(buildId));
      return typeof found === 'string' ? null : found;
    },
    async find(buildIds) {
      const sessions = new Map<BuildId, SessionId | null>();
      for (let from = 0; from < buildIds.length; from += readAtOnce) {
        const asked = buildIds.slice(from, from + readAtOnce);
        const page = await Promise.all(asked.map((buildId) => hint(() => stored(buildId))));
        for (const [index, buildId] of asked.entries()) {
          const found = page[index] ?? null;
          if (found === null) return null;
          if (found !== 'none') sessions.set(buildId, found === 'malformed' ? null : found.sessionId);
        }
      }
      return sessions;
    },
    async delete(buildIds) {
      return buildIds.length === 0 || (await hint(() => redis.del(buildIds.map(keyOf)))) !== null;
    },
    close() {
      redis.disconnect();
    },
  };
}

/** What Redis did not do, in its words. */
export interface RedisRefusal {
  command: 'connection' | 'SET' | 'GETRANGE' | 'DEL';
  why: string;
}

/** Whether the Redis at `redisUrl` takes, gives and deletes checkpoints: tried with a key of its own. Null where it does. */
export async function tryCheckpoint(redisUrl: string): Promise<RedisRefusal | null> {
  const redis = new Redis(redisUrl, { ...options, retryStrategy: () => null });
  const key = `claude:session:doctor:${randomUUID()}`;
  const value = randomUUID();
  // It says why there is no connection; a command only says that there is none.
  let reason: unknown;
  redis.on('error', (error) => (reason ??= error));
  const steps: [RedisRefusal['command'], () => Promise<unknown>][] = [
    ['connection', () => redis.connect()],
    ['SET', () => redis.set(key, value, 'EX', 60)],
    [
      'GETRANGE',
      async () => {
        if ((await redis.getrange(key, 0, maxBytes)) !== value)
          throw new Error('it does not give what was written just now');
      },
    ],
    ['DEL', () => redis.del(key)],
  ];
  try {
    for (const [command, attempt] of steps) {
      try {
        await attempt();
      } catch (error) {
        return { command, why: describe(reason ?? error) };
      }
    }
    // Such as a database that it does not have: another one would be used.
    return reason === undefined ? null : { command: 'connection', why: describe(reason) };
  } finally {
    redis.disconnect();
  }
}

/** The value as it is stored, without the oldest files where it would be too large. */
function textOf(value: CheckpointValue): string {
  let { filesCreated } = value;
  for (;;) {
    const text = JSON.stringify({ ...value, filesCreated });
    if (filesCreated.length === 0 || Buffer.byteLength(text) <= maxBytes) return text;
    filesCreated = filesCreated.slice(Math.ceil(filesCreated.length / 2));
  }
}

const checkpointSchema = z.object({
  buildId: z.string(),
  sessionId: z.string().min(1),
  projectPath: z.string(),
  filesCreated: z.array(z.string()),
});

function parse(json: string, buildId: BuildId): CheckpointValue | null {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return null;
  }
  const { success, data } = checkpointSchema.safeParse(value);
  return success && data.buildId === buildId ? (data as CheckpointValue) : null;
}

function keyOf(buildId: BuildId): string {
  return `claude:session:${buildId}`;
}

function describe(error: unknown): string {
  return error instanceof Error && error.message !== '' ? error.message : String(error);
}
