import type { Config } from '../config/environment.js';
import { type RedisRefusal, tryCheckpoint } from '../storage/checkpoint.js';
import { type Finding, ok } from './finding.js';

/** Whether Redis takes a checkpoint, gives it back and deletes it, with the rights that this user has. */
export async function redisFinding({ REDIS_URL }: Config): Promise<Finding> {
  if (!REDIS_URL) return ok('not configured; it is optional');
  const refusal = await tryCheckpoint(REDIS_URL);
  if (refusal === null) return ok('takes, gives and deletes a checkpoint');
  return {
    status: 'warn',
    message: `Redis gives no checkpoints; chains go on without them. ${refusal.command}: ${refusal.why}`,
    remedy: `${remedyOf(refusal)} Or unset REDIS_URL: nothing depends on Redis.`,
  };
}

function remedyOf({ command, why }: RedisRefusal): string {
  const known = remedies.find(([answer]) => answer.test(why))?.[1];
  if (known !== undefined) return known;
  return command === 'connection'
    ? 'Check the address in REDIS_URL, and that it begins with rediss:// where the server speaks TLS, and only there.'
    : 'Check that REDIS_URL names a server that speaks the protocol of Redis, with TLS (rediss://) or without, as it does.';
}

/** By the words that an answer begins with. */
const remedies: readonly (readonly [RegExp, string])[] = [
  [/WRONGPASS|NOAUTH/, 'Correct user and password in REDIS_URL.'],
  [/NOPERM/, 'Let its user do what a worker does: ACL SETUSER <user> ~claude:session:* +set +getrange +del.'],
  [/READONLY/, 'This is a replica, which only reads: name the primary in REDIS_URL.'],
  [/OOM/, 'Its memory is full: raise maxmemory, or set maxmemory-policy to volatile-ttl.'],
  [/MISCONF/, 'It does not write because it cannot save to its disk: look at its log.'],
  [/DB index/, 'Correct the number of the database at the end of REDIS_URL.'],
  [/MOVED|CLUSTERDOWN/, 'Name a Redis that stands alone: a cluster is not supported.'],
];
