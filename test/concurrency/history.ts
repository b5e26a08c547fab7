import { closeSync, openSync, readFileSync, readdirSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Head } from '../../contracts/chain.js';

/**
 * What several processes asked of the database and what they were told, with the times of the machine's one monotonic
 * clock. An invocation is written down before it is sent, so that a killed process leaves it without an answer.
 */

/** A call as its caller made it. A run is what asks for the project; `chain` names the chain, or the operation outside one. */
export type Call =
  | { kind: 'read' }
  | { kind: 'open'; chain: string; runId: string; ticket: number | null; goneRunId: string | null }
  | { kind: 'begin'; chain: string; step: string; ticket: number }
  | { kind: 'close'; chain: string; runId: string; ticket: number | null }
  | { kind: 'release'; runId: string }
  | { kind: 'begin_outside'; chain: string }
  /** Begins and commits by one call; the session is the server's choice. */
  | { kind: 'rewind'; chain: string }
  | {
      kind: 'commit' | 'commit_outside';
      chain: string;
      attemptId: string;
      epoch: number | null;
      old: string | null;
      new: string;
    };

/** What an answer told, under the names of the storage functions' results. */
export interface Answer {
  /** The function's own outcome, `read`, or `refused` for a typed error. */
  outcome: string;
  /** The error's code. */
  code?: string;
  /** The head that the function saw. */
  head?: Head;
  ticket?: number | null;
  attemptId?: string;
  epoch?: number | null;
  /** A commit's transition, or that of a step that was committed before. */
  transition?: { seq: number; new: string };
}

export interface Operation {
  /** Who made the call, one call after the other. */
  client: string;
  project: string;
  call: Call;
  invokedAtUs: number;
  /** Infinity where no answer arrived: the call may have taken effect at any time since, or never. */
  respondedAtUs: number;
  /** Null for unknown. */
  answer: Answer | null;
  /** Why it is unknown, where the caller lived to see it. */
  error?: string;
}

export interface Recorder {
  /** Invocations so far. */
  count(): number;
  /** Writes down a call and its outcome; what `perform` throws stays unknown and is not thrown on. */
  record(client: string, project: string, call: Call, perform: () => Promise<Answer>): Promise<Answer | null>;
  close(): void;
}

type Line =
  | { id: number; client: string; project: string; call: Call; at: number }
  | { id: number; answer: Answer; at: number }
  | { id: number; error: string };

/** Appends to a file of its own below `folder`. */
export function createRecorder(folder: string, name: string): Recorder {
  const file = openSync(join(folder, `${name}.jsonl`), 'wx');
  const write = (line: Line) => writeSync(file, `${JSON.stringify(line)}\n`);
  let invocations = 0;
  return {
    count: () => invocations,
    async record(client, project, call, perform) {
      const id = invocations++;
      write({ id, client, project, call, at: nowUs() });
      let answer: Answer;
      try {
        answer = await perform();
      } catch (error) {
        write({ id, error: error instanceof Error ? error.message : String(error) });
        return null;
      }
      write({ id, answer, at: nowUs() });
      return answer;
    },
    close: () => closeSync(file),
  };
}

/** All operations that the processes wrote down below `folder`. */
export function readHistory(folder: string): Operation[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.jsonl'))
    .flatMap((name) => operationsOf(readFileSync(join(folder, name), 'utf8')));
}

function operationsOf(text: string): Operation[] {
  const operations: Operation[] = [];
  // What stands behind the last line break was cut off with its process.
  for (const line_ of text.split('\n').slice(0, -1)) {
    const line = JSON.parse(line_) as Line;
    if ('call' in line) {
      const { client, project, call, at } = line;
      operations.push({ client, project, call, invokedAtUs: at, respondedAtUs: Infinity, answer: null });
    } else {
      const operation = operations[line.id];
      if (!operation) continue;
      if ('error' in line) operation.error = line.error;
      else Object.assign(operation, { answer: line.answer, respondedAtUs: line.at });
    }
  }
  return operations;
}

/** Microseconds since the machine started: the same clock in every process. */
export function nowUs(): number {
  return Number(process.hrtime.bigint() / 1000n);
}
