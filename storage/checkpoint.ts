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
  /** Paths of the files written so far. */
  filesCreated: string[];
}

/** The Redis copy `claude:session:{buildId}`: JSON, kept for one hour. Nothing here throws or delays a chain. */
export interface Checkpoint {
  /** A write that fails is lost. */
  write(value: CheckpointValue): Promise<void>;
  /** Null when there is none, when it is malformed, or when Redis does not answer in time. */
  read(buildId: BuildId): Promise<CheckpointValue | null>;
  /** Those of some builds that are there, with the session of each, null for a malformed one; null where Redis does not answer. */
  find(buildIds: readonly BuildId[]): Promise<Map<BuildId, SessionId | null> | null>;
  /** False where Redis does not answer. */
  delete(buildIds: readonly BuildId[]): Promise<boolean>;
  close(): void;
}

export interface CheckpointOptions {
  /** Called once per outage. */
  log: (message: string) => void;
}

const timeToLiveSeconds = 3600;
const answerWithinMs = 500;

/** A checkpoint in the Redis at `redisUrl`; without one, `read` finds nothing and `write` does nothing. */
export function createCheckpoint(redisUrl: string | null, { log }: CheckpointOptions): Checkpoint {
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
    lazyConnect: true,
    connectTimeout: answerWithinMs,
    commandTimeout: answerWithinMs,
    maxRetriesPerRequest: 0,
    // A command never waits for a connection: without one it fails at once, while the client reconnects by itself.
    enableOfflineQueue: false,
    retryStrategy: (tries) => Math.min(tries * 200, 5_000),
    disableClientInfo: true,
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

  return {
    async write(value) {
      await hint(() => redis.set(keyOf(value.buildId), JSON.stringify(value), 'EX', timeToLiveSeconds));
    },
    async read(buildId) {
      const json = await hint(() => redis.get(keyOf(buildId)));
      return json === null ? null : parse(json, buildId);
    },
    async find(buildIds) {
      if (buildIds.length === 0) return new Map();
      const values = await hint(() => redis.mget(buildIds.map(keyOf)));
      if (values === null) return null;
      return new Map(
        buildIds.flatMap((buildId, index): [BuildId, SessionId | null][] => {
          const json = values[index] ?? null;
          return json === null ? [] : [[buildId, parse(json, buildId)?.sessionId ?? null]];
        }),
      );
    },
    async delete(buildIds) {
      return buildIds.length === 0 || (await hint(() => redis.del(buildIds.map(keyOf)))) !== null;
    },
    close() {
      redis.disconnect();
    },
  };
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
