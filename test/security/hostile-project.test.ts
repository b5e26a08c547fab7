import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { until } from '../support/chain-stack.js';
import { type Target, won } from './attacks.js';
import { type Battlefield, startBattlefield, users } from './battlefield.js';
import { attack, bash, call, toolResults } from './hostile-model.js';
import { leavings, mentioning, plantTraps } from './hostile-project.js';
import { searchEverywhere } from './search.js';

/** A stranger's repository and a hostile model, through every kind of step and a question. */

describe.each(users)('a hostile project of a worker that runs as %s', (user) => {
  let field: Battlefield;
  let workspace: string;
  /** What came out, by step. */
  const refused: Record<string, string[]> = {};
  const owned: Record<string, string[]> = {};
  let status: string;
  let again: string;
  let outliving: number[];
  const id = `${process.pid}-${user}`;
  beforeAll(async () => {
    field = await startBattlefield(user);
    const { stack, target } = field;
    const request = field.request();
    ({ workspace } = request);
    plantTraps(workspace, target);
    writeFileSync(join(workspace, 'leave.sh'), leavings(id));
    field.give(workspace);
    const look = (name: string) => {
      owned[name] = readdirSync(workspace).filter((file) => file.startsWith('owned-by'));
      for (const file of owned[name]) rmSync(join(workspace, file));
    };

    const build = attack(stack, ({ step }) => step === 'build', bash('git status; bash leave.sh'));
    const tried = ['metadata', 'docs', 'chat_plan'].map((name) => ({
      name,
      ...attack(stack, ({ step }) => step === name, ...forbidden(workspace, target)),
    }));
    const started = await stack.sessionChain.start({ ...request, instruction: mentioning(target) });
    expect(toolResults(await build.answered.reached).join('')).toContain('left');
    outliving = processesNamed(`outlives-${id}`);
    look('build');
    build.answered.release();
    const end = async () => {
      for (const { name, answered } of tried.splice(0, 2)) {
        refused[name] = toolResults(await answered.reached);
        look(name);
        answered.release();
      }
    };
    await end();
    ({ status } = await stack.sessionChain.wait(started));
    const answer = stack.sessionChain.ask({ projectId: request.projectId, text: mentioning(target) });
    await end();
    await answer;

    // A fresh session is told what the documents say.
    const next = { ...field.request(request.projectId), steps: ['build'], reset: { operations: 1 } };
    ({ status: again } = await stack.sessionChain.wait(await stack.sessionChain.start(next)));
  });
  afterAll(async () => {
    await field.stop();
  });

  it('is built and built again, whatever it leaves in its folders', async () => {
    expect([status, again]).toEqual(['completed', 'completed']);
    // The process of the answer waits a while for the next question.
    await until(() => readdirSync(join(field.target.root, 'scratch-0')).length === 0);
    expect(readdirSync(join(field.target.root, 'tmp'))).toEqual([]);
  });

  it('configures no program but those that it starts itself, and these run inside', () => {
    expect(owned).toEqual({ build: ['owned-by-git'], metadata: [], docs: [], chat_plan: [] });
    expect(readFileSync(join(workspace, 'loot.txt'), 'utf8')).toBe('');
  });

  it.each(['metadata', 'docs', 'chat_plan'])('is refused what is not listed in %s', (name) => {
    const answers = refused[name] ?? [];
    // The last call reads a file of its own, which is no attack.
    expect(answers.pop()).toContain('outlives');
    expect(answers).toHaveLength(forbidden(workspace, field.target).length - 1);
    for (const answer of answers) {
      expect(answer).toMatch(/not allowed|denied|outside|permission|does not read/i);
      expect(answer).not.toMatch(won);
      expect(answer).not.toMatch(/root:x:0|CLAUDE_CONFIG_DIR=/);
    }
  });

  it('lets no process live on', () => {
    expect(outliving).toHaveLength(5);
    expect(processesNamed(`outlives-${id}`)).toEqual([]);
  });

  it('leaves nothing outside of its folder', () => {
    for (const folder of ['/tmp', '/dev/shm', '/var/tmp']) {
      expect(existsSync(join(folder, `left-${id}`))).toBe(false);
    }
    expect(readdirSync(field.victim.workspace)).toEqual(['secret.txt']);
  });

  it('keeps its marker', () => {
    expect(existsSync(join(workspace, '.session-chain', 'workspace'))).toBe(true);
    expect(existsSync(join(workspace, 'elsewhere'))).toBe(false);
  });

  it('reaches nothing and leaves no secret anywhere', async () => {
    expect(field.reached()).toEqual([]);
    expect(await searchEverywhere(field)).toEqual([]);
    const sent = field.stack.model.requests.map(({ bodyText }) => bodyText).join('\n');
    expect(sent).toContain('@/etc/passwd');
    expect(sent).not.toContain('root:x:0');
  });
});

/** Calls that no step but the build may make, and that none may make on these files. */
function forbidden(workspace: string, { victim, root }: Target) {
  const inside = (path: string) => join(workspace, path);
  return [
    ...['git status', 'ps aux', 'cat link'].map(bash),
    call('Write', { file_path: join(victim.workspace, 'planted'), content: 'x' }),
    call('Write', { file_path: inside('neighbours/planted'), content: 'x' }),
    ...[victim.secret, inside('link'), inside('root/etc/passwd'), inside(`root${victim.secret}`)].map(
      (path) => call('Read', { file_path: path }),
    ),
    call('Read', { file_path: '/proc/self/environ' }),
    call('Grep', { pattern: 'canary-', path: root, output_mode: 'content' }),
    call('Grep', { pattern: 'canary-', path: inside('neighbours'), output_mode: 'content' }),
    call('Glob', { pattern: `${victim.workspace}/*` }),
    call('Read', { file_path: inside('leave.sh') }),
  ];
}

function processesNamed(name: string): number[] {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith(`${name}\0`);
      } catch {
        return false;
      }
    });
}
