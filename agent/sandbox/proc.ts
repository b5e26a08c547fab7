import { closeSync, openSync, readSync, readdirSync } from 'node:fs';

/**
 * Files of /proc, read at once: these reads wait for no disk, and a thread for each would cost ten times as much. Where
 * there is no /proc, nothing is found.
 */

const buffer = Buffer.alloc(64 * 1024);

/** All of a file, of which one read may bring a page only, in half the time of readFileSync, which asks for its size first. */
export function textOf(path: string): string | null {
  return orNull(() => {
    const file = openSync(path, 'r');
    try {
      let text = '';
      for (let length = -1; length !== 0; text += buffer.toString('latin1', 0, length))
        length = readSync(file, buffer);
      return text;
    } finally {
      closeSync(file);
    }
  });
}

export function namesIn(path: string): string[] | null {
  return orNull(() => readdirSync(path));
}

/** Null where a process has ended or does not let itself be read. */
export function orNull<Value>(read: () => Value): Value | null {
  try {
    return read();
  } catch {
    return null;
  }
}

/** What follows `Name:` in a line of a status. */
export function fieldOf(status: string, name: string): string {
  const at = status.indexOf(`\n${name}:`);
  if (at === -1) return '';
  const start = at + name.length + 2;
  const end = status.indexOf('\n', start);
  return status.slice(start, end === -1 ? undefined : end).trim();
}

/** By files that every user can read, whatever the process does to hide. */
export function childrenOf(pid: number, threads: number): number[] {
  // A child is listed with the thread that started it.
  const tasks = threads === 1 ? [pid] : (namesIn(`/proc/${pid}/task`) ?? []);
  return tasks.flatMap((task) =>
    (textOf(`/proc/${pid}/task/${task}/children`) ?? '').split(' ').filter(Boolean).map(Number),
  );
}
