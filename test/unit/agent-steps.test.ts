import { describe, expect, it } from '@jest/globals';
import { agentTools, allowedTools, metadataTool, promptFor } from '../../agent/steps.js';
import { stepNames } from '../../contracts/steps.js';

describe('steps', () => {
  it('allow only tools that every step has', () => {
    const known = new Set<string>([...agentTools, metadataTool]);
    for (const step of stepNames) expect(allowedTools(step).filter((tool) => !known.has(tool))).toEqual([]);
  });

  it('submit metadata in the metadata step alone, which writes nothing', () => {
    expect(stepNames.filter((step) => allowedTools(step).includes(metadataTool))).toEqual(['metadata']);
    for (const tool of ['Bash', 'Edit', 'Write']) expect(allowedTools('metadata')).not.toContain(tool);
  });

  it('carry the instruction in the build and nowhere else', () => {
    expect(promptFor('build', 'initial', ' A shop. ')).toContain('What is wanted:\n\nA shop.\n');
    for (const step of ['metadata', 'docs', 'compact'] as const) {
      expect(promptFor(step, 'update', 'A shop.')).not.toContain('A shop.');
    }
  });

  it('differ by mode, and a blank instruction is none', () => {
    expect(promptFor('build', 'initial')).not.toBe(promptFor('build', 'update'));
    expect(promptFor('build', 'update', '  \n')).toBe(promptFor('build', 'update'));
  });

  it('never start a build with a slash, which Claude Code would take for a command', () => {
    expect(promptFor('build', 'initial', '/compact')).toMatch(/^Step: build\./);
    expect(promptFor('compact', 'update')).toBe('/compact');
  });
});
