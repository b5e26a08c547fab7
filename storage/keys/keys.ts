import type { ApiKey, KeyScope } from '../../contracts/keys.js';
import type { ProjectId } from '../../contracts/ids.js';
import { type Pool, queryOne, queryRows } from '../db/pool.js';

/** Keys of the HTTP server and logins with them as they are stored: the secret of none is known here. */

export interface NewKey {
  id: string;
  name: string;
  /** SHA-256 of the secret, in hex. */
  hash: string;
  scope: KeyScope;
  /** Null: every project. */
  projects: readonly ProjectId[] | null;
  /** Null: for good. */
  lifetimeMs: number | null;
}

export async function createKey(
  pool: Pool,
  { id, name, hash, scope, projects, lifetimeMs }: NewKey,
): Promise<void> {
  await queryRows(pool, {
    text: 'SELECT session_chain.create_api_key($1, $2, $3, $4, $5, $6)',
    values: [id, name, hash, scope, projects, lifetimeMs],
  });
}

/** The newest first, revoked and expired ones too. */
export async function listKeys(pool: Pool): Promise<ApiKey[]> {
  const rows = await queryRows<Record<keyof ApiKey, string | Date | string[] | null>>(pool, {
    text: `SELECT id, name, scope, projects, created_at AS "createdAt", expires_at AS "expiresAt",
             revoked_at AS "revokedAt", last_used_at AS "lastUsedAt"
           FROM session_chain.list_api_keys()`,
  });
  return rows.map(
    (row) =>
      Object.fromEntries(
        Object.entries(row).map(([name, value]) => [
          name,
          value instanceof Date ? value.toISOString() : value,
        ]),
      ) as unknown as ApiKey,
  );
}

/** Whether there was a key of this id. */
export async function revokeKey(pool: Pool, id: string): Promise<boolean> {
  const { revoked } = await queryOne<{ revoked: boolean }>(pool, {
    text: 'SELECT session_chain.revoke_api_key($1) AS revoked',
    values: [id],
  });
  return revoked;
}

/** A key that may be used by what shows the secret of this hash. */
export interface UsableKey {
  hash: string;
  scope: KeyScope;
  projects: ProjectId[] | null;
  expiresAt: Date | null;
  /** Whether its last use is noted to the minute. */
  isUseNoted: boolean;
}

/** Null where there is none, or it is revoked or has expired. */
export async function findKey(pool: Pool, id: string): Promise<UsableKey | null> {
  const [row] = await queryRows<UsableKey>(pool, {
    name: 'find_api_key',
    text: `SELECT hash, scope, projects, expires_at AS "expiresAt", is_use_noted AS "isUseNoted"
           FROM session_chain.find_api_key($1)`,
    values: [id],
  });
  return row ?? null;
}

export async function noteKeyUse(pool: Pool, id: string): Promise<void> {
  await queryRows(pool, { text: 'SELECT session_chain.note_api_key_use($1)', values: [id] });
}

/** A key by a login with it. */
export interface LoggedInKey extends Omit<UsableKey, 'hash'> {
  id: string;
}

/** Stores a login by the SHA-256 of its token, in hex; until when it counts. */
export async function createLogin(
  pool: Pool,
  { hash, keyId, lifetimeMs }: { hash: string; keyId: string; lifetimeMs: number },
): Promise<Date> {
  const { expiresAt } = await queryOne<{ expiresAt: Date }>(pool, {
    text: 'SELECT session_chain.create_login($1, $2, $3) AS "expiresAt"',
    values: [hash, keyId, lifetimeMs],
  });
  return expiresAt;
}

/** Null where there is none, or it or its key has ended. */
export async function findLogin(pool: Pool, hash: string): Promise<LoggedInKey | null> {
  const [row] = await queryRows<LoggedInKey>(pool, {
    name: 'find_login',
    text: `SELECT id, scope, projects, expires_at AS "expiresAt", is_use_noted AS "isUseNoted"
           FROM session_chain.find_login($1)`,
    values: [hash],
  });
  return row ?? null;
}

/** Whether there was such a login. */
export async function endLogin(pool: Pool, hash: string): Promise<boolean> {
  const { ended } = await queryOne<{ ended: boolean }>(pool, {
    text: 'SELECT session_chain.end_login($1) AS ended',
    values: [hash],
  });
  return ended;
}
