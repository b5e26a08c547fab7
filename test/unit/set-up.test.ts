import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

/** What `npm start` and `npm test` do about programs that are missing, on a PATH that lacks them. */

const root = join(import.meta.dirname, '../..');
let bin: string;
beforeAll(() => {
  bin = mkdtempSync(join(tmpdir(), 'session-chain-set-up-'));
  symlinkSync(process.execPath, join(bin, 'node'));
});
afterAll(() => rmSync(bin, { recursive: true, force: true }));

function ensure(programs: string[]): { missing: string[]; advice: string } {
  const code = `const { ensurePrograms } = await import(${JSON.stringify(join(root, 'scripts/ensure-dependencies.js'))});
    console.log(JSON.stringify(await ensurePrograms(${JSON.stringify(programs)})));`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', code], {
    cwd: root,
    env: { PATH: bin },
    encoding: 'utf8',
  });
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout) as ReturnType<typeof ensure>;
}

function provide(name: string, script: string): void {
  writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`);
  chmodSync(join(bin, name), 0o755);
}

describe('programs that are missing', () => {
  const programs = ['bwrap', 'socat', 'setpriv', 'prlimit', 'redis-server'];

  it('are named with the packages of three distributions', () => {
    const { missing, advice } = ensure(programs);
    expect(missing).toEqual(programs);
    expect(advice).toContain('apt-get install bubblewrap socat util-linux redis-server,');
    expect(advice).toContain('dnf install bubblewrap socat util-linux redis,');
    expect(advice).toContain('apk add bubblewrap socat setpriv util-linux-misc redis.');
  });

  it('are installed by one call of apt-get as root on Debian, and only those', () => {
    const calls = join(bin, 'calls');
    provide('socat', 'exit 0');
    provide(
      'apt-get',
      `echo "$*" >>${calls}; [ "$1" = update ] && exit 100; >${bin}/bwrap; /bin/chmod +x ${bin}/bwrap`,
    );
    const { missing } = ensure(['bwrap', 'socat', 'setpriv', 'prlimit']);
    if (process.getuid?.() !== 0) return;
    expect(missing).toEqual(['setpriv', 'prlimit']);
    expect(readFileSync(calls, 'utf8')).toBe(
      'update\ninstall -y --no-install-recommends bubblewrap util-linux\n',
    );
  });

  it.each([
    [{}, /cannot be made\. Install what is missing \(bwrap.*SESSION_CHAIN_SANDBOX=none: .*root is refused/s],
    [{ SESSION_CHAIN_SANDBOX: 'none', REDIS_URL: 'redis://cache' }, /^error INVALID_INPUT: .*--nonsense/],
  ])('end npm start with the choice there is, unless it is made: %o', (environment, said) => {
    rmSync(join(bin, 'apt-get'), { force: true });
    rmSync(join(bin, 'bwrap'), { force: true });
    const ended = spawnSync(process.execPath, ['scripts/start.js', '--nonsense'], {
      cwd: root,
      env: { PATH: bin, ...environment },
      encoding: 'utf8',
    });
    expect(ended.status).toBeGreaterThan(0);
    expect(ended.stderr).toMatch(said);
  });
});
