import { randomBytes } from 'node:crypto';

const lifetimeMs = 10 * 60_000;
/** So many at a time; the oldest goes. */
const maxCodes = 100;

/** Codes that stand for a key once, within ten minutes, in this process: a link with one logs a browser in without the key in an address. */
export function createCodes() {
  const codes = new Map<string, { key: string; expiresAt: Date }>();
  return {
    add(key: string): { code: string; expiresAt: Date } {
      const code = randomBytes(24).toString('hex');
      const expiresAt = new Date(Date.now() + lifetimeMs);
      codes.set(code, { key, expiresAt });
      for (const oldest of codes.keys()) {
        if (codes.size <= maxCodes) break;
        codes.delete(oldest);
      }
      return { code, expiresAt };
    },
    /** The key; null where the code is unknown, was taken before or is too old. */
    take(code: string): string | null {
      const found = codes.get(code);
      codes.delete(code);
      return found !== undefined && found.expiresAt.getTime() > Date.now() ? found.key : null;
    },
  };
}
