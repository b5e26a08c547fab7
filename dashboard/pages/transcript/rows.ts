import type { components } from '../../../http/client.js';

/** Groups the entries of a transcript as a reader thinks of them: by requests to the model, with the results of tools at their calls. */

export type Entry = components['schemas']['Entry'];
type Part = Entry['parts'][number];
type ToolCall = Extract<Part, { kind: 'tool_call' }>;
type ToolResult = Extract<Part, { kind: 'tool_result' }>;

export type Block =
  | { kind: 'text' | 'thinking'; key: string; text: string; entry: Entry }
  | {
      kind: 'tool';
      key: string;
      call: ToolCall;
      entry: Entry;
      result: ToolResult | null;
      resultEntry: Entry | null;
    };

interface RowBase {
  /** The cursor of its first entry: stays the same while entries are added. */
  key: string;
  at: string | null;
  /** Null in the main conversation. */
  subagent: string | null;
  isInherited: boolean;
  entries: Entry[];
}

export type Row = RowBase &
  (
    | { kind: 'request'; request: NonNullable<Entry['request']> | null; blocks: Block[] }
    | { kind: 'prompt'; blocks: Block[] }
    /** What Claude Code itself wrote: attachments, counters, commands. */
    | { kind: 'notes' }
    | { kind: 'error'; blocks: Block[] }
    | { kind: 'compaction'; before: number; after: number | null; summary: string | null; dropped: number }
    /** The head of a subagent's rows. */
    | { kind: 'subagent'; name: string; requests: number }
    /** Everything before it is copied from the session that was forked. */
    | { kind: 'fork'; copied: number }
  );

/** All rows in their order; those of a subagent follow its head. */
export function rowsOf(entries: readonly Entry[]): Row[] {
  const conversations = new Map<string | null, Conversation>();
  const order: Row[] = [];
  const heads = new Map<string, Extract<Row, { kind: 'subagent' }>>();
  for (const entry of entries) {
    const { subagent } = entry;
    let conversation = conversations.get(subagent);
    if (!conversation) {
      conversation = new Conversation();
      conversations.set(subagent, conversation);
      if (subagent !== null) {
        const head = { ...base(entry), kind: 'subagent' as const, name: subagent, requests: 0, entries: [] };
        heads.set(subagent, { ...head, key: `agent ${subagent}` });
        main(conversations).rows.push(heads.get(subagent) as Row);
      }
    }
    conversation.add(entry);
  }
  for (const row of main(conversations).rows) {
    order.push(row);
    if (row.kind !== 'subagent') continue;
    const own = conversations.get(row.name)?.rows ?? [];
    row.requests = own.filter(({ kind }) => kind === 'request').length;
    order.push(...own);
  }
  return withFork(order);
}

function main(conversations: Map<string | null, Conversation>): Conversation {
  const found = conversations.get(null) ?? new Conversation();
  conversations.set(null, found);
  return found;
}

function base(entry: Entry): RowBase {
  const { cursor, at, subagent, isInherited } = entry;
  return { key: cursor, at, subagent, isInherited, entries: [entry] };
}

class Conversation {
  readonly rows: Row[] = [];
  readonly #requests = new Map<string, Extract<Row, { kind: 'request' }>>();
  readonly #calls = new Map<string, { block: Extract<Block, { kind: 'tool' }>; row: Row }>();
  /** Requests since the last compaction. */
  #requestsInContext = 0;

  add(entry: Entry): void {
    if (entry.type === 'assistant/error') {
      this.rows.push({ ...base(entry), kind: 'error', blocks: this.#blocks(entry) });
    } else if (entry.role === 'assistant') this.#addAnswer(entry);
    else if (entry.compaction) {
      const { tokensBefore: before, tokensAfter: after } = entry.compaction;
      const dropped = this.#requestsInContext;
      this.#requestsInContext = 0;
      this.rows.push({ ...base(entry), kind: 'compaction', before, after, summary: null, dropped });
    } else if (entry.type === 'user/summary') this.#addSummary(entry);
    else if (entry.role === 'user' && entry.type === 'user') this.#addUser(entry);
    else this.#addNote(entry);
  }

  #addAnswer(entry: Entry): void {
    const id = entry.request?.id;
    const known = id === undefined ? undefined : this.#requests.get(id);
    if (known) {
      known.entries.push(entry);
      known.request = entry.request;
      known.blocks.push(...this.#blocks(entry, known));
      return;
    }
    const row = { ...base(entry), kind: 'request' as const, request: entry.request, blocks: [] as Block[] };
    row.blocks.push(...this.#blocks(entry, row));
    if (id !== undefined) this.#requests.set(id, row);
    this.#requestsInContext++;
    this.rows.push(row);
  }

  /** A result goes to its call; what else a user said is a row of its own. */
  #addUser(entry: Entry): void {
    const rest: Part[] = [];
    for (const part of entry.parts) {
      const call = part.kind === 'tool_result' ? this.#calls.get(part.id) : undefined;
      if (!call || part.kind !== 'tool_result') {
        rest.push(part);
        continue;
      }
      call.block.result = part;
      call.block.resultEntry = entry;
      if (call.row.entries.at(-1) !== entry) call.row.entries.push(entry);
    }
    if (rest.length === 0) return;
    this.rows.push({ ...base(entry), kind: 'prompt', blocks: this.#blocks({ ...entry, parts: rest }) });
  }

  #addSummary(entry: Entry): void {
    const last = this.rows.findLast(({ kind }) => kind === 'compaction');
    const summary = entry.parts.flatMap((part) => (part.kind === 'text' ? [part.text] : [])).join('\n');
    if (last?.kind !== 'compaction' || last.summary !== null) return this.#addNote(entry);
    last.summary = summary;
    last.entries.push(entry);
  }

  #addNote(entry: Entry): void {
    const last = this.rows.at(-1);
    if (last?.kind === 'notes' && last.isInherited === entry.isInherited) last.entries.push(entry);
    else this.rows.push({ ...base(entry), kind: 'notes' });
  }

  #blocks(entry: Entry, row?: Row): Block[] {
    return entry.parts.map((part, index): Block => {
      const key = `${entry.cursor} ${index}`;
      // A result whose call is not here is shown as what it is.
      if (part.kind === 'tool_result') {
        const call = { kind: 'tool_call' as const, id: part.id, name: 'unknown tool', input: null };
        return { kind: 'tool', key, call, entry, result: part, resultEntry: entry };
      }
      if (part.kind !== 'tool_call') return { kind: part.kind, key, text: part.text, entry };
      const block = { kind: 'tool' as const, key, call: part, entry, result: null, resultEntry: null };
      if (row) this.#calls.set(part.id, { block, row });
      return block;
    });
  }
}

/** With the place where the session's own part begins; none where nothing is copied. */
function withFork(rows: Row[]): Row[] {
  // Counters are written anew in the same words: they say nothing of where a session begins.
  const last = rows.findLastIndex((row) => row.isInherited && row.kind !== 'notes');
  const before = rows[last];
  if (!before) return rows;
  const copied = rows.slice(0, last + 1).reduce((sum, row) => sum + row.entries.length, 0);
  const fork: Row = { ...before, key: 'fork', kind: 'fork', copied, entries: [], subagent: null };
  return [...rows.slice(0, last + 1), fork, ...rows.slice(last + 1)];
}

export const filters = ['text', 'tools', 'errors', 'thinking'] as const;
export type Filter = (typeof filters)[number];

/** A row as a filter leaves it; null where nothing of it is left. */
export function filtered(row: Row, filter: Filter | null): Row | null {
  if (filter === null) return row;
  if (row.kind === 'error') return filter === 'errors' || filter === 'text' ? row : null;
  if (row.kind === 'compaction') return filter === 'text' ? row : null;
  if (row.kind !== 'request' && row.kind !== 'prompt') return null;
  const blocks = row.blocks.filter((block) =>
    block.kind === 'tool'
      ? filter === 'tools' || (filter === 'errors' && block.result?.isError === true)
      : block.kind === filter,
  );
  return blocks.length === 0 ? null : { ...row, blocks };
}

/** Whether something went wrong in it. */
export function hasError(row: Row): boolean {
  if (row.kind === 'error') return true;
  if (row.kind === 'notes') return row.entries.some(({ type }) => type.endsWith('error'));
  return (
    'blocks' in row && row.blocks.some((block) => block.kind === 'tool' && block.result?.isError === true)
  );
}

/** Everything that a reader can find in it, in lower case. */
export function searchTextOf(row: Row): string {
  if (row.kind === 'compaction') return (row.summary ?? '').toLowerCase();
  if (row.kind === 'subagent') return row.name.toLowerCase();
  if (!('blocks' in row)) return '';
  const texts = row.blocks.map((block) =>
    block.kind === 'tool'
      ? `${block.call.name}\n${stringsIn(block.call.input)}\n${block.result?.text ?? ''}`
      : block.text,
  );
  return texts.join('\n').toLowerCase();
}

function stringsIn(value: unknown): string {
  if (typeof value === 'object' && value !== null) return Object.values(value).map(stringsIn).join('\n');
  return String(value);
}
