import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type SeccompProfile, filterOf, x64 } from '../support/seccomp.js';

/**
 * The profile for containers, without a container engine: the kernel runs the same rules on a process, as an engine would
 * have it, with no new privileges and, under root, as an ordinary user without capabilities.
 */

const profile = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../cli/templates/seccomp.json'), 'utf8'),
) as SeccompProfile;

/** What Docker's own profile refuses to a container without capabilities, as far as the sandbox needs it. */
const dockersDefault: Pick<SeccompProfile, 'syscalls'> = {
  syscalls: [
    { names: ['mount', 'umount2', 'pivot_root', 'unshare'], action: 'SCMP_ACT_ERRNO', errnoRet: 1 },
    {
      names: ['clone'],
      action: 'SCMP_ACT_ERRNO',
      errnoRet: 1,
      args: [{ index: 0, value: 0x1000_0000, op: 'any bit' }],
    },
    { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: 38 },
  ],
};

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'session-chain-seccomp-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const isRoot = process.getuid?.() === 0;
const asContainer = [
  'setpriv',
  '--no-new-privs',
  ...(isRoot
    ? ['--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all', '--bounding-set=-all']
    : []),
];
const sandbox = [
  ...['bwrap', '--unshare-user', '--unshare-all', '--disable-userns', '--die-with-parent', '--new-session'],
  ...['--cap-drop', 'ALL', '--ro-bind', '/', '/', '--size', '1048576', '--tmpfs', '/tmp'],
  ...['--proc', '/proc', '--dev', '/dev', '--'],
];

function under(rules: Pick<SeccompProfile, 'syscalls'>, command: readonly string[], engine: string[] = []) {
  const file = join(folder, 'filter');
  writeFileSync(file, filterOf(rules));
  const filter = openSync(file, 'r');
  const args = [
    ...(isRoot ? [] : ['--unshare-user']),
    '--dev-bind',
    '/',
    '/',
    ...engine,
    '--seccomp',
    '3',
    '--',
  ];
  try {
    return spawnSync('bwrap', [...args, ...asContainer, ...command], {
      stdio: ['ignore', 'pipe', 'pipe', filter],
      encoding: 'utf8',
    });
  } finally {
    closeSync(filter);
  }
}

describe('the seccomp profile for containers', () => {
  it('lets everything pass but what it names, once, with a reason', () => {
    expect(profile.defaultAction).toBe('SCMP_ACT_ALLOW');
    expect(profile.architectures).toEqual(expect.arrayContaining(['SCMP_ARCH_X86_64', 'SCMP_ARCH_AARCH64']));
    for (const rule of profile.syscalls) {
      expect(rule).toMatchObject({ action: 'SCMP_ACT_ERRNO', errnoRet: 1 });
      expect(rule.comment).toMatch(/\w\.$/);
      expect(rule.names).toEqual([...new Set(rule.names)].sort());
    }
    const whole = profile.syscalls.filter(({ args }) => args === undefined).flatMap(({ names }) => names);
    expect(new Set(whole).size).toBe(whole.length);
    for (const needed of ['mount', 'umount2', 'pivot_root', 'unshare', 'clone'])
      expect(whole).not.toContain(needed);
  });

  if (process.platform !== 'linux' || process.arch !== 'x64') return;

  it('lets the sandbox be made by a user without capabilities, which the default of Docker does not', () => {
    const made = under(profile, [...sandbox, 'sh', '-c', 'echo made by $$']);
    expect(made).toMatchObject({ status: 0, stdout: expect.stringMatching(/^made by \d\n$/) });
    const refused = under(dockersDefault, [...sandbox, 'true']);
    expect(refused.status).not.toBe(0);
    expect(refused.stderr).toMatch(/namespace/);
  });

  it('is not enough where the engine masks a part of /proc', () => {
    const masked = ['--ro-bind', '/dev/null', '/proc/kcore'];
    const refused = under(profile, [...sandbox, 'true'], masked);
    expect(refused.status).not.toBe(0);
    expect(refused.stderr).toContain('/proc');
  });

  it('lets Node work, and refuses what it names', () => {
    const node = [process.execPath, '--eval', 'console.log(require("fs").readdirSync("/").length > 0)'];
    expect(under(profile, node)).toMatchObject({ status: 0, stdout: 'true\n' });
    const named = profile.syscalls.flatMap(({ names, args }) =>
      names.flatMap((name) => (x64[name] === undefined ? [] : [[name, x64[name], args?.[0]?.value ?? -1]])),
    );
    // 1 is EPERM. A bad argument, not the profile, would be another number.
    const script = `use strict; while (@ARGV) { my ($name, $number, $arg) = splice @ARGV, 0, 3;
      my $result = syscall($number + 0, $arg + 0, -1, 0, 0, 0); print "$name ", ($! + 0), "\\n" unless $result == -1 && $! == 1; }`;
    expect(under(profile, ['perl', '-e', script, ...named.flat().map(String)])).toMatchObject({
      status: 0,
      stdout: '',
    });
  });
});
