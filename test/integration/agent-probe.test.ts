import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type ProbedFact, judgeProbe } from '../../agent/probe/facts.js';
import { defaultSandbox } from '../../contracts/sandbox.js';
import { type ProbeRuns, runProbe } from '../../agent/probe/runs.js';
import { describeAgentBinary, installedSdk } from '../../agent/process/binary.js';
import { differenceFromTested, testedAgent } from '../../agent/process/tested.js';
import { exitCodes } from '../../cli/errors.js';

/** What chains rely on of Claude Code, asked of the real binary, and of one that a wrapper makes behave otherwise. */

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'probe-test-')));
const scratchRoot = join(folder, 'scratch');
const path = process.env.PATH ?? '';
let binary: { path: string; version: string };
let runs: ProbeRuns;
beforeAll(async () => {
  binary = await describeAgentBinary();
  runs = await runProbe({ path, scratchRoot, sandbox: defaultSandbox });
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const broken = (facts: ProbedFact[]) => facts.filter(({ status }) => status !== 'ok');

/** Claude Code behind a script that has its arguments in `args` and may change them and the environment. */
function wrapper(name: string, body: string): string {
  const file = join(folder, name);
  const lines = ['#!/bin/bash', 'args=("$@")', body, `exec '${binary.path}' "\${args[@]}"`];
  writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o755 });
  return file;
}

describe('the tested agent', () => {
  it('is the one that is pinned and installed', () => {
    const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as {
      peerDependencies: Record<string, string>;
    };
    expect(manifest.peerDependencies).toEqual({ '@anthropic-ai/claude-agent-sdk': testedAgent.sdk });
    expect(differenceFromTested({ claudeCode: binary.version, sdk: installedSdk().version })).toBeNull();
  });

  it('is told from another one by either version', () => {
    const { sdk, claudeCode } = testedAgent;
    expect(differenceFromTested({ sdk: '9.9.9', claudeCode })).toBe(`Agent SDK 9.9.9 (tested: ${sdk})`);
    expect(differenceFromTested({ sdk, claudeCode: '9.9.9' })).toBe(
      `Claude Code 9.9.9 (tested: ${claudeCode})`,
    );
  });

  it('does all that chains rely on, and the probe leaves nothing behind', () => {
    expect(broken(judgeProbe(runs, binary.version))).toEqual([]);
    expect(readdirSync(scratchRoot)).toEqual([]);
  });
});

describe('a fact that does not hold is named', () => {
  const first = <Item>(items: readonly Item[]): Item => items[0] as Item;

  it.each<[string, (runs: ProbeRuns) => void]>([
    ['runs', ({ goesOn }) => (goesOn.failure = { code: 'AGENT_FAILED', message: 'It ended.' })],
    ['session-id', ({ submission }) => (first(submission.appended).sessionId = 'another')],
    ['session-id', ({ submission }) => (first(submission.appended).entry.sessionId = 'another')],
    [
      'fork-keeps',
      ({ build }) => build.appended.push({ ...first(build.appended), entry: { type: 'user', uuid: 'u' } }),
    ],
    ['entry-order', ({ submission }) => submission.appended.reverse()],
    ['stored-first', ({ goesOn }) => goesOn.requests.push(first(goesOn.requests))],
    ['tools-wait', ({ build }) => (build.ranEarly = true)],
    ['only-listed', ({ submission }) => submission.requests.splice(1, 9, first(submission.requests))],
    ['confined', (all) => (all.wroteOutside = true)],
    ['mentions', ({ build, secrets }) => (first(build.requests).system = secrets.byMention)],
    ['reopened-files', ({ goesOn, secrets }) => (first(goesOn.requests).system = secrets.byCompaction)],
    ['workspace-settings', (all) => (all.settingsObeyed = true)],
    ['credential', ({ build }) => (first(build.requests).headers['x-api-key'] = 'another')],
    ['history', ({ submission }) => first(submission.requests).messages.shift()],
    ['cache-prefix', ({ goesOn }) => (first(goesOn.requests).system = 'Another one.')],
    ['cache-prefix', ({ submission }) => first(submission.requests).tools.reverse()],
    ['tools', ({ build }) => first(build.requests).tools.push({ name: 'AskUserQuestion' })],
    [
      'known-tools',
      ({ unrestricted }) => first(unrestricted.requests).tools.push({ name: 'AskUserQuestion' }),
    ],
    ['submission', ({ submission }) => delete submission.result?.value],
    ['tokens', ({ submission }) => submission.spend && (submission.spend.usage.cacheReadTokens += 1)],
    ['stored-tokens', ({ build }) => first(build.played) && (build.played = build.played.slice(1))],
    [
      'cost-rule',
      ({ build }) => Object.values(build.spend?.byModel ?? {}).forEach((one) => (one.costUsd = 1)),
    ],
    ['counters', ({ interrupted }) => interrupted.appended.pop()],
    ['compaction', ({ compaction }) => compaction.appended.splice(0)],
    ['interruption', ({ interrupted }) => (interrupted.endedAfterMs = 60_000)],
    ['overload', ({ overloaded }) => (overloaded.failure = { code: 'AGENT_FAILED', message: 'It ended.' })],
    ['streaming', ({ goesOn }) => (goesOn.streamed = '')],
    ['side-requests', ({ build }) => (build.sideRequests = 1)],
    ['version', ({ build }) => build.spend && (build.spend.agentVersion = null)],
  ])('%s', (name, change) => {
    const changed = structuredClone(runs);
    change(changed);
    expect(broken(judgeProbe(changed, binary.version)).map((fact) => fact.name)).toContain(name);
  });
});

describe('another binary', () => {
  it('that has a version, settings and a session id of its own fails doctor --probe-agent, which says what breaks', async () => {
    const agent = wrapper(
      'another-one',
      `[[ $1 == --version ]] && { echo '9.9.9 (Claude Code)'; exit; }
       unset CLAUDE_CODE_DISABLE_FILE_MENTIONS
       args=("\${args[@]/#--setting-sources=/--setting-sources=project}")
       args=("\${args[@]/#\\{\\"permissions\\"*/\\{\\}}")
       export CLAUDE_CODE_ATTRIBUTION_HEADER=1
       # The run that goes on after the interruption is the fifth in this workspace.
       echo >> runs
       [[ $(wc -l < runs) == 5 ]] &&
         args=("\${args[@]/#--session-id=*/--session-id=$(< /proc/sys/kernel/random/uuid)}")`,
    );
    const main = join(process.cwd(), 'dist/cli/main.js');
    const { code, stdout } = await new Promise<{ code: unknown; stdout: string }>((resolve) => {
      execFile(
        process.execPath,
        [main, 'doctor', '--only', 'node', '--probe-agent', '-o', 'json'],
        {
          cwd: folder,
          env: {
            ...{ PATH: path, SESSION_CHAIN_SCRATCH_DIR: scratchRoot, SESSION_CHAIN_AGENT_PATH: agent },
            SESSION_CHAIN_SANDBOX_READ: binary.path,
          },
        },
        (error, stdout) => resolve({ code: error?.code ?? 0, stdout }),
      );
    });
    const { checks, agentProbe } = JSON.parse(stdout) as {
      checks: object[];
      agentProbe: { claudeCode: string; facts: ProbedFact[] };
    };
    expect(code).toBe(exitCodes.setUp);
    expect(checks).toContainEqual({
      check: 'agent',
      status: 'warn',
      message: expect.stringContaining(`Claude Code 9.9.9 (tested: ${testedAgent.claudeCode})`),
      remedy: expect.stringContaining('--probe-agent'),
    });
    expect(agentProbe.claudeCode).toBe('9.9.9');
    // Whether the run whose session is refused has asked the model by then, been answered, or ended well, is a race.
    const raced = ['stored-first', 'history', 'streaming', 'tokens', 'cost-rule'];
    const certain = broken(agentProbe.facts).filter(({ name }) => !raced.includes(name));
    expect(certain.map(({ name, status }) => [name, status])).toEqual([
      ['runs', 'fail'],
      ['session-id', 'fail'],
      // What shows only in a run whose session was refused.
      ['fork-keeps', 'fail'],
      ['mentions', 'fail'],
      ['reopened-files', 'fail'],
      ['workspace-settings', 'fail'],
      ['cache-prefix', 'warn'],
      ['version', 'warn'],
    ]);
    expect(readdirSync(scratchRoot)).toEqual([]);
  });
});
