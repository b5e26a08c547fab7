import { randomUUID } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { InMemorySessionStore } from '@anthropic-ai/claude-agent-sdk';
import { createAgent } from '../../agent/agent.js';
import { startScriptedModel, toolResults, type ScriptedModel } from '../../agent/probe/scripted-model.js';
import { checkSandbox } from '../../agent/sandbox/apart.js';
import { openSandbox } from '../../agent/sandbox/sandbox.js';
import { spawnAgent } from '../../agent/process/process.js';
import type { SessionId } from '../../contracts/ids.js';
import { defaultSandbox, type SandboxSettings } from '../../contracts/sandbox.js';
import { shippedDefinition } from '../../definition/shipped.js';
import { renewedLease } from '../support/agent-runner.js';
import { processesNaming } from '../support/processes.js';

/** The real Claude Code in the real sandbox; the shell commands are those of an attacker. */

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'sandbox-test-')));
const scratchRoot = join(folder, 'scratch');
const path = process.env.PATH ?? '';
const isRoot = process.geteuid?.() === 0;
let model: ScriptedModel;
let commands: string[] = [];
let server: Server;

beforeAll(async () => {
  model = await startScriptedModel((request) => {
    const done = toolResults(request).length;
    const command = commands[done];
    return command === undefined ? { text: 'Done.' } : { tools: [{ name: 'Bash', input: { command } }] };
  });
  server = createServer((socket) => socket.end('reached'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  server.close();
  await model.stop();
  rmSync(folder, { recursive: true, force: true });
});
afterEach(() => {
  expect(processesNaming(scratchRoot)).toEqual([]);
  expect(existsSync(scratchRoot) ? readdirSync(scratchRoot) : []).toEqual([]);
});

interface Played {
  workspace: string;
  /** One tool call each. */
  commands: string[];
  sandbox?: Partial<SandboxSettings>;
  base?: SessionId | null;
}

const store = new InMemorySessionStore();

/** What each command printed. */
async function play({
  workspace,
  sandbox,
  base = null,
  ...played
}: Played): Promise<{ shown: string[]; sessionId: SessionId }> {
  commands = played.commands;
  const before = base === null ? 0 : commands.length;
  const agent = createAgent({
    modelEnvironment: { ANTHROPIC_BASE_URL: model.url, ANTHROPIC_API_KEY: 'key' },
    inheritedEnvironment: { PATH: path },
    scratchRoot,
    sandbox: { ...defaultSandbox, ...sandbox },
    definition: shippedDefinition,
    log: () => undefined,
  });
  const sessionId = randomUUID() as SessionId;
  await agent.run(
    {
      task: { name: 'build', kind: 'work', role: 'build', allowedTools: shippedDefinition.tools },
      ...{ model: 'default', mode: 'initial', sessionId, baseSessionId: base, store, prompt: 'build' },
      ...{ instructionKind: 'none', workspace, maxTurns: 40, timeoutMs: 500_000, killGraceMs: 1_000 },
    },
    { signal: new AbortController().signal, lease: renewedLease(3_600_000), onProgress: () => undefined },
  );
  expect(before).toBe(0);
  return { shown: toolResults(model.requests.at(-1)!), sessionId };
}

function newWorkspace(name = `project-${randomUUID()}`): string {
  const workspace = join(folder, name);
  mkdirSync(join(workspace, '.session-chain'), { recursive: true });
  writeFileSync(join(workspace, '.session-chain', 'workspace'), 'marker');
  return workspace;
}

const refused =
  /Permission denied|Operation not permitted|No such file|Read-only file system|not permitted|No space left|failed|refused|cannot|unreachable/i;

/** What an attacker tries; all of it must fail. */
function attacks(): [string, string][] {
  const other = newWorkspace();
  writeFileSync(join(other, 'secret.txt'), 'canary-of-another-project');
  mkdirSync(join(folder, 'run-of-another'), { recursive: true });
  const { port } = server.address() as AddressInfo;
  return [
    ['another project', `cat ${other}/secret.txt`],
    ['other runs', `ls -d ${folder}/run-of-another`],
    ['the environment of the worker', `cat /proc/${process.pid}/environ`],
    ['a port of the machine', `bash -c '</dev/tcp/127.0.0.1/${port}'`],
    ['another host', `bash -c '</dev/tcp/1.1.1.1/80'`],
    ['write to /usr', 'touch /usr/x'],
    ['write to the root', 'touch /x'],
    ['write to /dev', 'touch /dev/x'],
    ['write to /etc', 'touch /etc/passwd'],
    ['the mode of a device', 'chmod 600 /dev/null'],
    ['a setting of the kernel', 'bash -c "echo x > /proc/sys/kernel/core_pattern"'],
    ['sysrq', 'bash -c "echo b > /proc/sysrq-trigger"'],
    ['/sys', 'ls /sys/fs'],
    ['a namespace of its own', 'unshare --user true'],
    ['a mount', 'mount -t tmpfs none /tmp'],
    ['undo a mount', 'umount /usr'],
    ['the shadow file', 'cat /etc/shadow'],
    ['private keys', 'ls /etc/ssl/private'],
    ['the marker of the workspace', 'rm .session-chain/workspace'],
    ['the marker folder', 'mv .session-chain gone'],
    ['a device', 'mknod disk b 254 0'],
    ['a process outside', `kill -0 ${process.pid}`],
  ];
}

function wallsOf(workspace: () => string): void {
  it('keeps everything else out, and the work goes on', async () => {
    const listed = attacks();
    const { shown } = await play({
      workspace: workspace(),
      commands: [
        listed.map(([name, command]) => `echo "<<${name}>>"; (${command}) 2>&1 || echo FAILED`).join('\n'),
        'grep -h Cap /proc/self/status; ls /proc | grep -c "^[0-9]"; echo ran > written; pwd',
        'env; for e in /proc/[0-9]*/environ; do tr "\\0" "\\n" < "$e"; done; df --output=size -B1M /tmp /dev/shm',
      ],
    });
    const results = shown[0]!
      .split('<<')
      .slice(1)
      .map((part) => part.split('>>'));
    expect(results.map(([name]) => name)).toEqual(listed.map(([name]) => name));
    for (const [name, said] of results) {
      expect(`${name}: ${said}`).toMatch(/FAILED/);
      expect(`${name}: ${said}`).toMatch(refused);
      expect(said).not.toContain('canary');
    }
    expect(shown[1]).toMatch(/CapBnd:\s*0+\n/);
    expect(shown[1]).toContain(workspace());
    expect(shown[2]).not.toMatch(/ANTHROPIC_API_KEY=key$/m);
    expect(shown[2]).toContain('512');
    expect(readFileSync(join(workspace(), 'written'), 'utf8')).toBe('ran\n');
    expect(statSync('/dev/null').mode & 0o777).toBe(0o666);
  });
}

describe('the sandbox, of the user of the worker', () => {
  const workspace = newWorkspace(`a folder, with 'signs' and\nlines`);
  wallsOf(() => workspace);

  it('resumes, and removes what a hostile agent leaves', async () => {
    const first = await play({
      workspace,
      commands: [
        'mkdir -p "$HOME/a/b" "$CLAUDE_CONFIG_DIR/x"; touch "$HOME/a/b/c"; chmod 000 "$HOME/a/b" "$HOME/a" "$CLAUDE_CONFIG_DIR/x"; mkfifo "$HOME/pipe"; ln -s / "$HOME/root"',
        'd=$(printf "d%.0s" {1..200}); cd "$HOME"; for i in {1..40}; do mkdir $d && cd $d; done; (setsid sleep 3600 &)',
      ],
    });
    const again = await play({ workspace, commands: [], base: first.sessionId });
    expect(again.sessionId).not.toBe(first.sessionId);
  });
});

const asRoot = isRoot ? describe : () => undefined;
asRoot('the sandbox of a worker that is root, in the folder of another user', () => {
  const workspace = newWorkspace();
  for (const one of [workspace, join(workspace, '.session-chain')]) chownSync(one, 12_345, 12_346);
  wallsOf(() => workspace);

  it('works as that user, also when it resumes', async () => {
    const first = await play({ workspace, commands: ['id -u; id -G; touch made'] });
    expect(first.shown[0]).toBe('12345\n12346');
    const { uid, gid } = statSync(join(workspace, 'made'));
    expect([uid, gid]).toEqual([12_345, 12_346]);
    await play({ workspace, commands: [], base: first.sessionId });
  });
});

describe('a folder that cannot be kept apart', () => {
  it.each([
    ['the folders of agents', () => folder],
    ['the root', () => '/'],
    ['the package', () => realpathSync('.')],
  ])('is refused: %s', async (_what, workspace) => {
    await expect(play({ workspace: workspace(), commands: [] })).rejects.toMatchObject({
      code: 'WORKSPACE_NOT_ALLOWED',
    });
  });
});

describe('a sandbox that does not work', () => {
  /** A PATH with links to these programs, and scripts under the names of others. */
  function pathWith(programs: string[], scripts: Record<string, string> = {}): string {
    const bin = mkdtempSync(join(folder, 'bin-'));
    for (const name of programs) {
      const found = path
        .split(':')
        .map((part) => join(part, name))
        .find((one) => existsSync(one));
      if (found) symlinkSync(found, join(bin, name));
    }
    for (const [name, text] of Object.entries(scripts)) {
      writeFileSync(join(bin, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    }
    return bin;
  }
  const others = ['setpriv', 'prlimit', 'choom', 'bash', 'sh', 'unshare', 'mount', 'true'];

  it.each([
    [
      'no bubblewrap and no socat',
      () => pathWith(others),
      /bwrap and socat/,
      /apt-get install bubblewrap socat/,
    ],
    [
      'user namespaces that are refused',
      () =>
        pathWith([...others, 'socat'], {
          bwrap: 'echo "bwrap: No permissions to create a new namespace" >&2; exit 1',
        }),
      /No permissions to create a new namespace/,
      /user namespaces|sysctl|seccomp/,
    ],
    [
      'a masked /proc',
      () =>
        pathWith([...others, 'socat'], {
          bwrap: `echo "bwrap: Can't mount proc on /newroot/proc: Operation not permitted" >&2; exit 1`,
        }),
      /Can't mount proc/,
      /systempaths=unconfined/,
    ],
  ])('is named with what to do: %s', async (_what, PATH, said, remedy) => {
    await expect(openSandbox(defaultSandbox, { PATH: PATH() })).rejects.toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      message: expect.stringMatching(said),
      remedy: expect.stringMatching(remedy),
    });
  });

  it('names a path to read that does not exist, and a program that is missing', async () => {
    await expect(openSandbox({ ...defaultSandbox, read: ['/no/tools'] }, { PATH: path })).rejects.toThrow(
      '/no/tools',
    );
    await expect(
      openSandbox({ ...defaultSandbox, kind: 'command', command: '/no/program' }, { PATH: path }),
    ).rejects.toThrow('/no/program');
  });

  it('does not fall back to none, which root may not use', async () => {
    const checked = checkSandbox({ ...defaultSandbox, kind: 'none' }, { workspaceRoots: [], scratchRoot });
    if (isRoot) await expect(checked).rejects.toMatchObject({ code: 'SANDBOX_UNAVAILABLE' });
    else await expect(checked).resolves.toMatchObject({ sandbox: { kind: 'none' } });
  });
});

describe('what agents can read besides', () => {
  const [roots, link] = [join(folder, 'roots'), join(folder, 'link')];
  const places = { workspaceRoots: [join(roots, 'a'), join(folder, 'later')], scratchRoot };
  const check = (read: string[]) => checkSandbox({ ...defaultSandbox, read }, places);
  beforeAll(() => {
    mkdirSync(join(roots, 'a', 'tools'), { recursive: true });
    symlinkSync(roots, link);
  });

  it.each([
    ['the root', '/', /names \/, which holds the workspace root/],
    ['a workspace root', join(roots, 'a'), /holds the workspace root \S+\/roots\/a:/],
    ['what holds one', `${roots}/`, /holds the workspace root \S+\/roots\/a:/],
    ['another name of it', `${link}/../roots/a/..`, /holds the workspace root/],
    ['a link to it', link, /link, which holds the workspace root/],
    ['what holds one that does not exist yet', folder, /holds the workspace root/],
    ['the folders of agents', scratchRoot, /holds the folders of running agents/],
    ['the temporary folder of the worker', tmpdir(), /temporary files of the worker|workspace root/],
  ])('is not %s', async (_what, path, said) => {
    mkdirSync(scratchRoot, { recursive: true });
    await expect(check([path])).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringMatching(said),
    });
  });

  it('may lie beside and below a workspace root, and what does not exist is left out and named', async () => {
    const read = [join(roots, 'a', 'tools'), '/no/tools', '/opt'];
    await expect(check(read)).resolves.toEqual({
      sandbox: { ...defaultSandbox, read: [read[0], '/opt'] },
      missing: ['/no/tools'],
    });
  });
});

describe('the output of an agent', () => {
  it('has no line so long that it would end the worker', async () => {
    const marker = `SESSION_CHAIN_AGENT=run-${randomUUID()}`;
    const agent = spawnAgent({
      ...{ hold: 'marker', cwd: folder, marker, env: { PATH: path, SESSION_CHAIN_AGENT: marker.slice(20) } },
      command: ['bash', '-c', 'echo before; head -c 1G /dev/zero | tr "\\0" x; sleep 3600'],
      guard: { lease: renewedLease(3_600_000), noticeMs: 1, onEnding: () => {}, onGone: () => {} },
      ...{ limits: defaultSandbox.limits, onLimit: () => undefined },
    });
    let bytes = 0;
    for await (const chunk of agent.spawned.stdout as AsyncIterable<Buffer>) bytes += chunk.length;
    expect(bytes).toBeGreaterThan(6);
    expect(bytes).toBeLessThan(80_000_000);
    expect(await agent.ended).toMatchObject({ signal: 'SIGKILL', byGuard: false });
    expect(agent.errorTail()).toMatch(/a line of more than 64 MB/);
  });
});

describe('a program of the host', () => {
  it('makes the sandbox from what it is told', async () => {
    const program = join(folder, 'wrap');
    writeFileSync(
      program,
      `#!${process.execPath}
const { readFileSync } = require('node:fs');
const { execFileSync, spawn } = require('node:child_process');
const [file, , ...command] = process.argv.slice(2);
const told = JSON.parse(readFileSync(file, 'utf8'));
const args = ['--unshare-all', '--die-with-parent', '--dev', '/dev', '--proc', '/proc', '--tmpfs', '/tmp'];
for (const path of ['/usr', '/bin', '/lib', '/lib64', '/etc', ...told.read]) args.push('--ro-bind-try', path, path);
for (const path of [...told.write, told.egressSocket]) args.push('--bind', path, path);
args.push('--ro-bind-try', told.workspace + '/.session-chain', told.workspace + '/.session-chain', '--chdir', told.workspace);
spawn('bwrap', [...args, '--', ...command], { stdio: 'inherit' }).on('exit', (code) => process.exit(code ?? 1));
`,
    );
    chmodSync(program, 0o755);
    const workspace = newWorkspace();
    const { shown } = await play({
      workspace,
      sandbox: { kind: 'command', command: program },
      commands: [`cat /proc/${process.pid}/environ; ls ${folder}; touch here`],
    });
    expect(shown[0]).toMatch(/No such file/);
    expect(shown[0]).not.toContain('run-of-another');
    expect(existsSync(join(workspace, 'here'))).toBe(true);
  });

  it.each([
    ['ends at once', 'exit 3', /it ended with 3$/],
    ['says why', 'echo "no gVisor here" >&2; exit 1', /no gVisor here$/],
    [
      'keeps nothing in',
      'shift 2; exec "$@"',
      /possible to read another workspace, read the environment of the worker/,
    ],
  ])('keeps a worker from starting where it %s', async (_what, script, said) => {
    const program = join(folder, 'wrong');
    writeFileSync(program, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const agent = createAgent({
      modelEnvironment: { ANTHROPIC_API_KEY: 'sk-test' },
      inheritedEnvironment: { PATH: path },
      scratchRoot,
      sandbox: { ...defaultSandbox, kind: 'command', command: program },
      definition: shippedDefinition,
      log: () => undefined,
    });
    await expect(agent.recover()).rejects.toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      message: expect.stringMatching(said),
    });
  });
});
