import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { markerName } from '../../agent/process/scratch.js';
import type { OfflineModel } from '../../dev/offline-model/server.js';

/** Where the shells of agents write: a line each time, `<run> <ns since 1970>`. */
const file = 'writes.log';
const line = `echo "$${markerName} $(date +%s%N)" >> ${file}; sleep 0.05`;
const loops = `setsid sh -c 'while :; do ${line}; done' >/dev/null 2>&1 & for i in $(seq 30); do ${line}; done`;

/**
 * Lets every try of a build begin with a shell that writes to the folder for a while and leaves another behind, in a
 * session of its own, that would write for ever.
 */
export function writeFromBuilds(model: OfflineModel): void {
  model.inject({
    times: Infinity,
    when: ({ step, bodyText }) =>
      step === 'build' && !bodyText.slice(bodyText.lastIndexOf('Step: build')).includes(file),
    answer: (turn) =>
      turn.stopReason === 'tool_use'
        ? {
            ...turn,
            content: [{ type: 'tool_use', name: 'Bash', input: { command: loops, description: 'Write' } }],
          }
        : turn,
  });
}

/** A line that a shell of an agent's run wrote. */
export interface Write {
  run: string;
  atMs: number;
}

export function writesIn(workspace: string): Write[] {
  const path = join(workspace, file);
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .map((text) => {
      const [run = '', ns = ''] = text.split(' ');
      return { run, atMs: Number(ns) / 1e6 };
    });
}

/**
 * The runs that wrote once the attempt that followed their own had begun; `begunMs` is when the attempts of the folder's
 * project began, in order.
 */
export function lateWriters(writes: readonly Write[], begunMs: readonly number[]): string[] {
  const attemptAt = (atMs: number) => begunMs.findLastIndex((begun) => begun <= atMs);
  return [...new Set(writes.map(({ run }) => run))].flatMap((run) => {
    const own = writes.filter((write) => write.run === run);
    const attempt = Math.min(...own.map(({ atMs }) => attemptAt(atMs)));
    const late = own.filter(({ atMs }) => attemptAt(atMs) > attempt);
    const lastMs = Math.max(...late.map(({ atMs }) => atMs)) - (begunMs[attempt + 1] ?? 0);
    return late.length === 0
      ? []
      : [`${run} wrote ${late.length} times in ${lastMs.toFixed(0)} ms beside the attempt after its own`];
  });
}
