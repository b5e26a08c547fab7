import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { SessionChainError } from '../contracts/failures.js';
import { type ProjectId, parseProjectId } from '../contracts/ids.js';
import { type ApiKey, type KeyScope, keyScopes } from '../contracts/keys.js';
import type { Pool } from '../storage/db/pool.js';
import {
  createKey,
  createLogin,
  endLogin,
  findKey,
  findLogin,
  listKeys,
  noteKeyUse,
  revokeKey,
} from '../storage/keys/keys.js';
import { projectNotFound } from '../storage/heads/errors.js';
import { checked } from './input.js';
import { throwingOwnErrors } from './own-errors.js';

export interface CreateKeyRequest {
  /** What it is for; 1 to 100 characters. */
  name: string;
  scope: KeyScope;
  /** The only projects that it may see, as their ids are written in the database. Default: every project. */
  projects?: readonly string[];
  /** Default: it does not expire. */
  lifetimeMs?: number;
}

export interface CreatedKey {
  id: string;
  /** The key itself, which is kept nowhere. */
  key: string;
}

/** What a key that was shown allows. */
export interface KeyRights {
  id: string;
  scope: KeyScope;
  /** Null: every project. */
  projects: readonly ProjectId[] | null;
  expiresAt: Date | null;
}

/** A browser's login with a key. */
export interface Login {
  /** What its cookie holds; kept nowhere. */
  token: string;
  expiresAt: Date;
}

/** The keys of the HTTP server, for what makes them and for the server, which checks them. */
export interface Keys {
  /** Throws INVALID_INPUT. */
  create(request: CreateKeyRequest): Promise<CreatedKey>;
  /** The newest first, with those that were revoked or have expired. */
  list(): Promise<ApiKey[]>;
  /** From now on the key opens nothing. May be repeated. Throws INVALID_INPUT, KEY_NOT_FOUND. */
  revoke(id: string): Promise<void>;
  /** What a key allows; null for one that is malformed, unknown, revoked or expired. */
  check(key: string): Promise<KeyRights | null>;
  /** A token that stands for the key until one of the two ends; null for a key that `check` does not know. */
  logIn(key: string): Promise<Login | null>;
  /** What the key of a login allows; null where the token is malformed or unknown, or it or its key has ended. */
  checkLogin(token: string): Promise<KeyRights | null>;
  /** Ends a login; whether there was one. */
  logOut(token: string): Promise<boolean>;
}

const dayMs = 86_400_000;

/** Of a login: a working day. */
const loginMs = dayMs / 2;
const tokenPattern = /^[0-9a-f]{48}$/;

const createSchema = z.strictObject({
  name: z
    .string()
    .trim()
    .min(1)
    .max(100)
    .regex(/^[^\p{Cc}]*$/u, 'must be one line without control characters'),
  scope: z.enum(keyScopes),
  projects: z.array(z.string()).min(1, 'must name a project, or be left out').max(1_000).optional(),
  lifetimeMs: z
    .number()
    .int()
    .min(1_000)
    .max(3_650 * dayMs, 'must be ten years at most')
    .optional(),
});

/** A key as it is shown: what it is, its id, its secret. */
const keyPattern = /^sck_([0-9a-f]{12})_([0-9a-f]{48})$/;

export function createKeys(pool: Pool): Keys {
  return throwingOwnErrors(pool, {
    create: async (request) => {
      const {
        name,
        scope,
        projects = null,
        lifetimeMs = null,
      } = checked(createSchema, request, 'The key cannot be made so', 'request');
      const id = randomBytes(6).toString('hex');
      const secret = randomBytes(24).toString('hex');
      const ids = projects && [...new Set(projects.map(parseProjectId))];
      await createKey(pool, { id, name, hash: hashOf(secret), scope, projects: ids, lifetimeMs });
      return { id, key: `sck_${id}_${secret}` };
    },
    list: async () => await listKeys(pool),
    revoke: async (given) => {
      const id = requireId(given);
      if (await revokeKey(pool, id)) return;
      throw new SessionChainError('KEY_NOT_FOUND', `There is no key ${id}.`);
    },
    check: async (key) => await checkKey(pool, key),
    logIn: async (key) => {
      const rights = await checkKey(pool, key);
      if (rights === null) return null;
      const token = randomBytes(24).toString('hex');
      const expiresAt = await createLogin(pool, {
        hash: hashOf(token),
        keyId: rights.id,
        lifetimeMs: loginMs,
      });
      return { token, expiresAt };
    },
    checkLogin: async (token) => {
      const found = tokenPattern.test(token) ? await findLogin(pool, hashOf(token)) : null;
      if (found === null) return null;
      const { isUseNoted, ...rights } = found;
      if (!isUseNoted) await noteKeyUse(pool, rights.id);
      return rights;
    },
    logOut: async (token) => tokenPattern.test(token) && (await endLogin(pool, hashOf(token))),
  });
}

async function checkKey(pool: Pool, key: string): Promise<KeyRights | null> {
  const [, id, secret] = keyPattern.exec(key) ?? [];
  if (id === undefined || secret === undefined) return null;
  const found = await findKey(pool, id);
  if (found === null || !timingSafeEqual(Buffer.from(hashOf(secret)), Buffer.from(found.hash))) return null;
  if (!found.isUseNoted) await noteKeyUse(pool, id);
  return { id, scope: found.scope, projects: found.projects, expiresAt: found.expiresAt };
}

/** Throws PROJECT_NOT_FOUND for a project that is not of these, whether there is such a project or not. */
export function requireProject(projects: readonly ProjectId[], projectId: string): void {
  if (!projects.some((one) => one === projectId)) throw projectNotFound(projectId as ProjectId);
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

/** A whole key stands for its id: it is what its owner has at hand. Its secret is repeated nowhere. */
function requireId(given: string): string {
  const [, id] = /^(?:sck_)?([0-9a-f]{12})(?:_[0-9a-f]*)?$/.exec(given) ?? [];
  if (id !== undefined) return id;
  throw new SessionChainError(
    'INVALID_INPUT',
    'What is to be revoked is not the id of a key.',
    'Pass the id as the list of keys shows it: 12 characters of 0-9 and a-f.',
  );
}
