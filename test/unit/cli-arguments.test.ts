import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { type Shell, completionScript, shells } from '../../cli/completion.js';
import { exitCodes } from '../../cli/errors.js';
import { createProgram, run } from '../../cli/program.js';

/** What the command line takes, and what it says of what it does not take. */

describe('a wrong command line', () => {
  let said: jest.SpiedFunction<typeof console.error>;
  beforeEach(() => {
    said = jest.spyOn(console, 'error').mockImplementation(() => undefined);
  });
  afterEach(() => {
    said.mockRestore();
  });

  it.each([
    [
      'an unknown option',
      'status -p shop --projet x',
      /^.*Unknown option '--projet' \(Did you mean --project\?\)/,
    ],
    [
      'an unknown option in place of a required one',
      'status --projet x',
      /option '--projet' \(Did you mean --project\?\)/,
    ],
    [
      'an unknown option with its value',
      'cancel --project=x --versoin=1',
      /option '--versoin=1' .*--version/,
    ],
    [
      'an unknown option in place of an argument',
      'export --projct x',
      /option '--projct' \(Did you mean --project\?\)/,
    ],
    ['an unknown letter', 'head -x', /option '-x'/],
    ['an unknown command', 'staart', /Unknown command 'staart' \(Did you mean start\?\)/],
    [
      'an option before the command',
      '--project shop status',
      /'--project' belongs after the name of the command/,
    ],
    ['a letter before the command', '-p shop status', /'-p' belongs after the name of the command/],
    ['an option without its command', '--dry-run', /'--dry-run' belongs after the name of the command/],
    ['an unknown option before the command', '--verison', /'--verison' \(Did you mean --version\?\)/],
    ['an option given twice', 'status -p a --project a', /'-p, --project <id>' is given twice/],
    [
      'an option given twice, with = and without',
      'head -p a --when now --when=now',
      /'--when <moment>' is given twice/,
    ],
    [
      'a value that is the next option',
      'status --project --limit 3',
      /'-p, --project <id>' argument missing/,
    ],
    ['a value that is missing', 'status -p', /'-p, --project <id>' argument missing/],
    ['a missing argument', 'export', /Missing required argument 'session'/],
    ['an argument too many', 'status -p a b', /Too many arguments for 'status'/],
    [
      'a moment in another spelling',
      'head -p a --when after-step',
      /Allowed choices are now, after_step, committed/,
    ],
    ['a time without its unit', 'head -p a --timeout 5', /It must be a time such as 90s, 10min, 2h or 1d/],
    [
      'a time in another spelling',
      'start -p a -v b -w c --max-time 45m',
      /'--max-time <time>' argument '45m' is invalid\. It must be a time such as 90s, 10min/,
    ],
    ['what is no amount', 'record -p a -s b --source c --cost-usd abc', /It must be an amount of at least 0/],
    ['a filter where there is no list', 'status -p a --stuck', /unknown option '--stuck'/i],
    ['a project to follow', 'status -p a --follow', /--follow needs --version/],
    ['the chains of no project', 'status', /'-p, --project <id>' not specified|is missing/],
    ['what no chain waits for', 'list --waiting godot', /Allowed choices are queue, worker, model, activity/],
    ['a time that is none', 'list --stuck soon', /It must be a time such as 90s/],
    ['a filter given twice', 'list --stuck --stuck 1h', /'--stuck \[time\]' is given twice/],
    ['a build without its version', 'status -p a -b c', /--build needs --version/],
    ['a watch of nothing', 'watch', /What is to be watched is missing/],
    ['a watch of all and of one', 'watch --all -p a', /--all takes no --project, --version or --build/],
    ['a watch of a build without its version', 'watch -p a -b c', /--build needs --version/],
    ['a code that there is not', 'list --failed NOPE', /NOPE is not the code of a failure/],
    ['a session beside all', 'import --all -s x', /--all takes no --project, --session or --version/],
    ['a session of no project', 'import -s x', /both --project and --session are needed/],
    ['a message beside the log', 'chat hello -p a --log', /Nothing was asked: --log takes no message/],
    ['a shell that there is not', 'completion tcsh', /Allowed choices are bash, zsh, fish/],
    ['no command', '', /A command is missing/],
    ['no command of a group', 'keys', /A command is missing/],
    ['an unknown command of a group', 'keys burn', /Unknown command 'burn'/],
    ['an option of a command before its name', 'keys --scope read create', /belongs after the name/],
    [
      'a scope that there is not',
      'keys create --name a --scope all',
      /Allowed choices are read, start, admin/,
    ],
    ['a key without a scope', 'keys create --name a', /Required option '--scope <scope>' not specified/],
    [
      'a lifetime without its unit',
      'keys create --name a --scope read --expires 90',
      /It must be a time such as/,
    ],
  ])('is told by name: %s', async (_what, line, message) => {
    jest.spyOn(process.stderr, 'write').mockImplementation(() => true);
    const words = line.split(' ').filter((word) => word !== '');
    expect(await run(['node', 'session-chain', ...words])).toBe(exitCodes.badInput);
    expect(String(said.mock.calls[0]?.[0])).toMatch(message);
    jest.restoreAllMocks();
  });

  it('leaves alone what is right: switches that are repeated, texts that begin with a dash', () => {
    const program = createProgram(() => undefined);
    for (const command of program.commands) command.action(() => undefined);
    program.parse(['node', 'x', 'status', '-p', 'a']);
    program.parse(['node', 'x', 'list', '--status', 'failed', 'queued', '--waiting', '--stuck', '-n', '3']);
    expect(program.commands.find((one) => one.name() === 'list')?.opts()).toMatchObject({
      ...{ status: ['failed', 'queued'], waiting: true, stuck: 1_800_000 },
    });
    program.parse([
      'node',
      'x',
      'start',
      '-p',
      'a',
      '-v',
      'b',
      '-w',
      'c',
      '--wait',
      '--wait',
      '--prompt',
      '--loud',
    ]);
  });

  it('has one spelling of an option and one letter in every command', () => {
    const byLong = new Map<string, Set<string>>();
    const byShort = new Map<string, Set<string>>();
    const add = (map: Map<string, Set<string>>, key: string, value: string) =>
      map.set(key, (map.get(key) ?? new Set()).add(value));
    // A value of one kind has one name, and is written in one way.
    for (const { options } of createProgram(() => undefined).commands) {
      for (const { flags } of options) expect(flags).not.toMatch(/<(duration|seconds|amount)>/);
      for (const { short = '', long = '', flags } of options) {
        add(byLong, long, flags);
        if (short !== '') add(byShort, short, long);
      }
    }
    for (const spellings of [...byLong.values(), ...byShort.values()]) expect([...spellings]).toHaveLength(1);
  });
});

describe('completion', () => {
  const scripts = mkdtempSync(join(tmpdir(), 'completion-'));
  const pathOf = (shell: Shell) => join(scripts, shell);
  beforeAll(() => {
    for (const shell of shells)
      writeFileSync(
        pathOf(shell),
        completionScript(
          shell,
          createProgram(() => undefined),
        ),
      );
    mkdirSync(join(scripts, 'a folder'));
    writeFileSync(join(scripts, 'a file'), '');
  });
  afterAll(() => {
    rmSync(scripts, { recursive: true });
  });

  /** What bash would show after these words, the last of which is being typed. */
  function completed(...words: string[]): string[] {
    const script = `source "$1"; COMP_WORDS=("\${@:2}"); COMP_CWORD=$(($# - 2)); _session_chain; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const out = execFileSync('bash', ['-c', script, 'bash', pathOf('bash'), 'session-chain', ...words], {
      cwd: scripts,
      encoding: 'utf8',
    });
    return out.split('\n').filter((line) => line !== '');
  }

  it('in bash knows the commands, their options and what these may be', () => {
    expect(completed('st')).toEqual(['start', 'status', 'storage']);
    expect(completed('--v')).toEqual(['--version']);
    expect(completed('start', '--max')).toEqual(['--max-cost-usd', '--max-turns', '--max-time']);
    expect(completed('recover', '--')).toEqual(
      expect.arrayContaining(['--project', '--session', '--dry-run', '--output', '--help']),
    );
    expect(completed('chat', 'Why?', '--project', 'shop', '--when', '')).toEqual([
      'now',
      'after_step',
      'committed',
    ]);
    expect(completed('start', '-m', 'u')).toEqual(['update']);
    expect(completed('status', '--output', '=', 'j')).toEqual(['json', 'jsonl']);
    expect(completed('head', '--output', '=')).toEqual(['text', 'json']);
    expect(completed('completion', 'z')).toEqual(['zsh']);
    expect(completed('start', '--workspace', 'a')).toEqual(['a folder']);
    expect(completed('start', '--prompt-file', 'a')).toEqual(expect.arrayContaining(['a folder', 'a file']));
    expect(completed('start', '--project', '')).toEqual([]);
    expect(completed('no-command', '')).toEqual([]);
  });

  it('offers every command and every option, and nothing that the shell would run', () => {
    const { commands } = createProgram(() => undefined);
    expect(completed('')).toEqual(expect.arrayContaining(commands.map((command) => command.name())));
    const scriptOf = (shell: Shell) =>
      completionScript(
        shell,
        createProgram(() => undefined),
      );
    for (const command of commands)
      for (const { long } of command.options)
        for (const shell of shells) expect(scriptOf(shell)).toContain(long?.slice(2));
    expect(scriptOf('bash')).not.toContain('`');
  });

  it.each(shells)('is a script that %s can read', (shell) => {
    const { error, status, stderr } = spawnSync(shell, ['-n', pathOf(shell)], { encoding: 'utf8' });
    // A shell that is not installed here has nothing to say.
    if ((error as { code?: string } | undefined)?.code === 'ENOENT') return;
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });

  it('by the command is the same script, with -o json as one document', async () => {
    const printed = jest.spyOn(console, 'log').mockImplementation(() => undefined);
    expect(await run(['node', 'x', 'completion', 'fish', '-o', 'json'])).toBe(0);
    expect(await run(['node', 'x', 'completion', 'fish'])).toBe(0);
    const [document, text] = printed.mock.calls.map(([line]) => String(line));
    printed.mockRestore();
    const script = completionScript(
      'fish',
      createProgram(() => undefined),
    );
    expect(JSON.parse(document ?? '')).toEqual({ shell: 'fish', script });
    expect(`${text}\n`).toBe(script);
  });
});
