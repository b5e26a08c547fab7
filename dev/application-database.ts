import pg from 'pg';
import type { Passwords } from './passwords.js';

export interface ApplicationDatabase {
  /** As the role that owns the database, and may do nothing elsewhere. */
  ownerUrl: string;
  /** As the role of the worker and the command line. */
  url: string;
  role: string;
}

const database = 'session_chain';
const owner = 'session_chain_owner';
const application = 'session_chain';

/** Makes the database and its two roles, neither a superuser, where they are missing. `url` is the superuser's. */
export async function ensureApplicationDatabase(
  url: string,
  passwords: Passwords,
): Promise<ApplicationDatabase> {
  const admin = new pg.Client({ connectionString: url });
  await admin.connect();
  try {
    const isThere = async (sql: string, name: string) => (await admin.query(sql, [name])).rowCount !== 0;
    for (const [role, password] of [
      [owner, passwords.owner],
      [application, passwords.application],
    ] as const) {
      if (await isThere('SELECT 1 FROM pg_roles WHERE rolname = $1', role)) continue;
      await admin.query(`CREATE ROLE ${role} LOGIN PASSWORD ${pg.escapeLiteral(password)}`);
    }
    if (!(await isThere('SELECT 1 FROM pg_database WHERE datname = $1', database)))
      await admin.query(`CREATE DATABASE ${database} OWNER ${owner}`);
    await admin.query(`REVOKE ALL ON DATABASE ${database}, postgres, template1 FROM PUBLIC`);
    await admin.query(`GRANT CONNECT ON DATABASE ${database} TO ${application}`);
  } finally {
    await admin.end();
  }
  return {
    ownerUrl: asRole(url, owner, passwords.owner),
    url: asRole(url, application, passwords.application),
    role: application,
  };
}

function asRole(url: string, role: string, password: string): string {
  const address = new URL(url);
  return Object.assign(address, { username: role, password, pathname: `/${database}` }).href;
}
