import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Of the servers of one state folder, made at its first start. Letters and digits only. */
export interface Passwords {
  superuser: string;
  /** Owns the database and migrates it. */
  owner: string;
  /** Of the worker and the command line. */
  application: string;
  redis: string;
}

/** The file's passwords, or new ones, which are in the file before any server is given them. */
export function passwordsOf(stateDir: string): Passwords {
  const file = join(stateDir, 'passwords.json');
  if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')) as Passwords;
  const password = () => randomBytes(24).toString('hex');
  const passwords = { superuser: password(), owner: password(), application: password(), redis: password() };
  writeFileSync(`${file}.tmp`, JSON.stringify(passwords), { mode: 0o600 });
  renameSync(`${file}.tmp`, file);
  return passwords;
}
