import type { ProjectId } from './ids.js';

/** What a key of the HTTP server may do; each scope includes those before it. */
export const keyScopes = ['read', 'start', 'admin'] as const;
export type KeyScope = (typeof keyScopes)[number];

/** A key as it is shown; its secret is shown once, when it is made. */
export interface ApiKey {
  /** The public part of the key, by which it is listed and revoked. */
  id: string;
  name: string;
  scope: KeyScope;
  /** Null: every project. */
  projects: ProjectId[] | null;
  /** ISO 8601, as all times of it. */
  createdAt: string;
  /** Null: it does not expire. */
  expiresAt: string | null;
  revokedAt: string | null;
  /** To the minute; null before its first use. */
  lastUsedAt: string | null;
}

/** Whether a key of this scope may do what takes that one. */
export function includesScope(scope: KeyScope, needed: KeyScope): boolean {
  return keyScopes.indexOf(scope) >= keyScopes.indexOf(needed);
}
