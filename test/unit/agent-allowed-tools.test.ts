import { describe, expect, it } from '@jest/globals';
import { isAllowed } from '../../agent/allowed-tools.js';

const runs = (allowed: string, command: string) => isAllowed([allowed], 'Bash', { command });

describe('isAllowed', () => {
  it('lets the listed tools run, and no other', () => {
    expect(isAllowed(['Read', 'Glob'], 'Read', { file_path: '/srv/shop/a' })).toBe(true);
    expect(isAllowed(['Read', 'Glob'], 'Write', {})).toBe(false);
    expect(isAllowed(['Read'], 'ReadMore', {})).toBe(false);
    expect(isAllowed([], 'Read', {})).toBe(false);
  });

  it('lets one tool of a server run, or all of them', () => {
    expect(isAllowed(['mcp__search'], 'mcp__search__find', {})).toBe(true);
    expect(isAllowed(['mcp__search__find'], 'mcp__search__find', {})).toBe(true);
    expect(isAllowed(['mcp__search__find'], 'mcp__search__delete', {})).toBe(false);
    expect(isAllowed(['mcp__search'], 'mcp__searching__find', {})).toBe(false);
    expect(isAllowed(['Read'], 'mcp__search__find', {})).toBe(false);
  });

  it('lets nothing run by a pattern of a tool that has none', () => {
    for (const tool of ['Read', 'Edit', 'WebFetch']) {
      expect(isAllowed([`${tool}(docs/**)`], tool, { file_path: '/srv/shop/docs/a' })).toBe(false);
    }
  });

  it.each([
    ['Agent', { subagent_type: 'Explore' }, true],
    ['Agent(Explore)', { subagent_type: 'Explore' }, true],
    ['Agent(Explore)', { subagent_type: 'general-purpose' }, false],
    ['Agent(Explore)', {}, false],
    ['Agent(Explore)', null, false],
    ['Agent(general-purpose)', {}, true],
    ['Agent(general-purpose)', { subagent_type: 'fork' }, false],
  ])('%s with a subagent of %j: %s', (allowed, input, expected) => {
    expect(isAllowed([allowed], 'Agent', input)).toBe(expected);
  });

  it.each([
    ['Bash', 'rm -rf /', true],
    ['Bash(npm test)', 'npm test', true],
    ['Bash(npm test)', ' npm test\n', true],
    ['Bash(npm test)', 'npm test -- --watch', false],
    ['Bash(npm test)', 'npm test; rm -rf /', false],
    ['Bash(npm test)', 'ls', false],
    ['Bash(npm run:*)', 'npm run', true],
    ['Bash(npm run:*)', 'npm run build -- --fast', true],
    ['Bash(npm run *)', 'npm run build', true],
    ['Bash(npm run:*)', 'npm running', false],
    ['Bash(npm run:*)', 'npm run build && rm -rf /', false],
    ['Bash(npm run:*)', 'npm run $(cat secret)', false],
    ['Bash(npm run:*)', 'npm run build > /etc/passwd', false],
    ['Bash(npm run:*)', 'npm run a\nrm b', false],
    ['Bash(git log | head)', 'git log | head', true],
  ])('%s with the command %j: %s', (allowed, command, expected) => {
    expect(runs(allowed, command)).toBe(expected);
  });

  it('lets no shell command run by a pattern that says nothing of one', () => {
    for (const input of [null, {}, { command: 7 }]) {
      expect(isAllowed(['Bash(npm test)'], 'Bash', input)).toBe(false);
      expect(isAllowed(['Bash'], 'Bash', input)).toBe(true);
    }
  });
});
