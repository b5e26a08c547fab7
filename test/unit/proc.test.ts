import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { expect, it } from '@jest/globals';
import { textOf } from '../../agent/sandbox/proc.js';

it('reads all of a file of /proc, of which the kernel gives a page at a time', async () => {
  const program = spawn('cat');
  program.stdin.write('x');
  await once(program.stdout, 'data');
  const path = `/proc/${program.pid}/smaps`;
  const lines = readFileSync(path, 'latin1').split('\n').length;
  expect(lines).toBeGreaterThan(200);
  expect(textOf(path)?.split('\n')).toHaveLength(lines);
  program.stdin.end();
  await once(program, 'exit');
  expect(textOf(path)).toBeNull();
});
