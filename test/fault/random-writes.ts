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
 * What a run wrote after the attempt that followed its own had begun; `begunMs` is when the attempts of the folder's
 * project began, in order.
 */
export function lateWrites(writes: readonly Write[], begunMs: readonly number[]): string[] {
  const attemptAt = (atMs: number) => begunMs.findLastIndex((begun) => begun <= atMs) + 1;
  const own = new Map<string, number>();
  return writes.flatMap(({ run, atMs }) => {
    const attempt = attemptAt(atMs);
    const first = own.get(run) ?? attempt;
    own.set(run, first);
    const late = atMs - (begunMs[first] ?? 0);
    return attempt === first
      ? []
      : [`${run} wrote ${late.toFixed(0)} ms after the attempt that followed its own had begun`];
  });
}
