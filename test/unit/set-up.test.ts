import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
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

/** What `npm test` finds of the programs that only tests use, and why it could not set them up, with this cache. */
function ensureTestPrograms(cache: string) {
  const code = `const programs = await import(${JSON.stringify(join(root, 'scripts/test-programs.js'))});
    const refused = await programs.ensureTestPrograms().then(() => null, (error) => error.message);
    console.log(JSON.stringify({ refused, found: await programs.findTestPrograms() }));`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', code], {
    cwd: root,
    env: { PATH: `${bin}:/bin`, XDG_CACHE_HOME: cache },
    encoding: 'utf8',
  });
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout) as { refused: string | null; found: Record<string, string> };
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

describe('npm in a clone', () => {
  it('prints what it prints elsewhere, and nothing of its own where it is told to be silent', () => {
    const npm = (...args: string[]) =>
      spawnSync('npm', args, { cwd: root, env: process.env, encoding: 'utf8' }).stdout;
    expect(npm('pack', '--dry-run', '--ignore-scripts', '--loglevel=error')).toMatch(
      /^session-chain-[\d.]+\.tgz\n$/,
    );
    expect(npm('start', '--silent', '--', '--help')).toMatch(/^Usage: npm start/);
  });
});

describe('programs that only tests use', () => {
  const made = (cache: string) => readdirSync(join(cache, 'session-chain'));
  let cache: string;
  beforeAll(() => {
    cache = join(bin, 'cache');
    mkdirSync(cache);
    // In place of those of the machine.
    for (const name of ['apt-get', 'dpkg-deb', 'promtool', 'python3']) provide(name, 'exit 1');
    rmSync(join(bin, 'promtool'));
  });

  it('are refused with what to install where the network has none, and leave nothing half made', () => {
    const promtool = ensureTestPrograms(cache);
    expect(promtool.refused).toMatch(
      /promtool, which could not be fetched.*apt-get install prometheus, or dnf/,
    );
    provide('promtool', 'exit 0');
    const schemathesis = ensureTestPrograms(cache);
    expect(schemathesis.refused).toMatch(
      /Schemathesis, which could not be .*apt-get install python3 python3-venv,/,
    );
    expect(schemathesis.found).toEqual({
      promtool: join(bin, 'promtool'),
      // That of the machine, if it has one.
      ...(schemathesis.found['chromium'] ? { chromium: schemathesis.found['chromium'] } : {}),
    });
    expect(made(cache)).toEqual([]);
  });

  it('are taken from the package, made in a virtual environment, and made again where that is broken', () => {
    rmSync(join(bin, 'promtool'));
    const program = (file: string, text: string) =>
      `/bin/mkdir -p "$(/usr/bin/dirname ${file})"; printf '#!/bin/sh\\n${text}\\n' >${file}; /bin/chmod +x ${file}`;
    // Without lists of packages the first download fails.
    provide(
      'apt-get',
      `case "$*" in *update*) >${bin}/lists;; *) [ -e ${bin}/lists ] && >prometheus.deb;; esac`,
    );
    provide('dpkg-deb', program('usr/bin/promtool', 'exit 0'));
    const pip = ['schemathesis', 'moto_server'].map((name) =>
      program(`"$(/usr/bin/dirname "$0")/${name}"`, 'exit 0'),
    );
    writeFileSync(join(bin, 'pip'), `#!/bin/sh\n${pip.join('\n')}\n`);
    provide(
      'python3',
      `[ "$1" = -c ] || { /bin/mkdir "$3/bin"; /bin/cp ${bin}/pip "$3/bin/python"; /bin/chmod +x "$3/bin/python"; }`,
    );
    if (process.getuid?.() !== 0) return;
    const { refused, found } = ensureTestPrograms(cache);
    expect(refused).toBeNull();
    const folder = join(cache, 'session-chain');
    expect(found['promtool']).toBe(join(folder, `promtool-${process.platform}-${process.arch}`));
    expect(found['schemathesis']).toMatch(/schemathesis-[\d.]+-[0-9a-f]{8}\/bin\/schemathesis$/);
    expect(found['moto']).toMatch(/moto-[\d.]+-[0-9a-f]{8}\/bin\/moto_server$/);
    const names = made(cache);
    expect(names).toHaveLength(5);

    writeFileSync(found['schemathesis'] ?? '', '#!/bin/sh\nexit 127\n');
    expect(ensureTestPrograms(cache)).toEqual({ refused: null, found });
    expect(readFileSync(found['schemathesis'] ?? '', 'utf8')).toContain('exit 0');
    expect(made(cache)).toHaveLength(names.length);
    expect(existsSync(join(folder, names.find((name) => /^schemathesis.*\.\w{6}$/.test(name)) ?? ''))).toBe(
      false,
    );
  });
});
