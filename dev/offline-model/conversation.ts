import { isAbsolute, join, relative } from 'node:path';
import { readAppState } from './app.js';
import { emptyMemory, readRememberLine, rememberFile, type Memory } from './memory.js';
import { blocksOf, textOf, type ContentBlock, type JsonSchema, type MessagesRequest } from './messages.js';

/** What the received messages say: everything that decides the next turn. */
export interface Conversation {
  /** The agent's working directory, undefined when no message names it. */
  cwd: string | undefined;
  /** The tools on offer, with their input schemas. */
  tools: ReadonlyMap<string, JsonSchema>;
  /** What was known when the current operation began. */
  before: Memory;
  /** The same, with the results of the current operation. */
  now: Memory;
  /** The prompt that began the current operation; a later 'go on' after an interruption does not replace it. */
  prompt: string;
  /** The tool calls of the current operation that have a result, in order. */
  calls: ToolCall[];
  /** The known present contents of files, by path relative to the working directory. */
  contents: ReadonlyMap<string, string>;
}

export interface ToolCall {
  name: string;
  input: Record<string, unknown>;
  /** The target of a file tool, relative to the working directory. */
  path: string | undefined;
  ok: boolean;
  /** The result as text, without the agent's own reminders. */
  result: string;
}

/** A final reply carries its number, which survives when a compaction keeps the reply beside the summary. */
export function operationMark(memory: Memory): string {
  return `(operation ${memory.operations + 1}; ${memory.operations} earlier remembered)`;
}

/** Reads a request. Pure: the same messages give the same conversation. */
export function readConversation(request: MessagesRequest): Conversation {
  const reader = new ConversationReader();
  for (const block of blocksOf(request.system)) reader.readEnvironment(textOf(block));
  for (const { role, content } of request.messages) {
    if (role === 'user') reader.readUser(blocksOf(content));
    else if (role === 'assistant') reader.readAssistant(blocksOf(content));
    else for (const block of blocksOf(content)) reader.readEnvironment(textOf(block));
  }
  return reader.conversation(
    new Map((request.tools ?? []).map((tool) => [tool.name, tool.input_schema ?? {}])),
  );
}

class ConversationReader {
  private cwd: string | undefined;
  private readonly formerCwds: string[] = [];
  private before: Memory = emptyMemory;
  private now: Memory = emptyMemory;
  private prompt = '';
  private calls: ToolCall[] = [];
  private readonly contents = new Map<string, string>();
  private readonly pending = new Map<unknown, Pick<ToolCall, 'name' | 'input'>>();
  /** Whether an operation has begun and has no final reply yet. */
  private open = false;
  /** As it was before the latest final reply, in case that reply turns out to have been cut off. */
  private beforeFinal: { before: Memory; now: Memory } | undefined;

  conversation(tools: Conversation['tools']): Conversation {
    const { cwd, before, now, prompt, calls, contents } = this;
    return { cwd, tools, before, now, prompt, calls, contents };
  }

  /** The system prompt, or a reminder, says where the agent works; the last one counts (a fork may have moved). */
  readEnvironment(text: string): void {
    for (const [, line] of text.matchAll(
      /^ ?- ?Primary working directory: (.+)$|^Working directory: (.+)$/gm,
    )) {
      const cwd = line?.replace(/ \(was .*\)$/, '').trim();
      if (!cwd) continue;
      this.cwd = cwd;
      this.formerCwds.unshift(cwd);
    }
  }

  readUser(blocks: ContentBlock[]): void {
    for (const block of blocks) {
      if (block.type === 'tool_result') this.readToolResult(block);
      else this.readUserText(textOf(block));
    }
  }

  readAssistant(blocks: ContentBlock[]): void {
    for (const block of blocks) {
      if (block.type !== 'tool_use') continue;
      const input = (block.input ?? {}) as Record<string, unknown>;
      this.pending.set(block.id, { name: String(block.name), input });
    }
    const text = blocks.map(textOf).join('').trim();
    const isFinal = !blocks.some(({ type }) => type === 'tool_use') && text !== '' && !isPlaceholder(text);
    if (isFinal) this.finishOperation(text);
  }

  private readUserText(text: string): void {
    for (const [reminder] of text.matchAll(reminders)) this.readEnvironment(reminder);
    if (/^\s*This session is being continued from a previous conversation/.test(text)) {
      const summary = readRememberLine(text);
      if (summary) this.now = this.before = { ...summary, compactions: summary.compactions + 1 };
      return;
    }
    const spoken = text.replace(reminders, '').trim();
    if (isContinuation(spoken) && this.beforeFinal && !this.open) {
      ({ before: this.before, now: this.now } = this.beforeFinal);
      this.open = true;
      return;
    }
    if (spoken === '' || /^<(local-command-|command-)/.test(spoken)) return;
    if (!this.open) {
      this.before = this.now;
      this.calls = [];
      this.prompt = spoken;
      this.open = true;
    }
  }

  private finishOperation(text: string): void {
    const mark = /\(operation (\d+);/.exec(text)?.[1];
    this.beforeFinal = { before: this.before, now: this.now };
    const counted = this.open ? this.now.operations + 1 : this.now.operations;
    // With the mark, what is both in a summary and in a reply kept beside it counts once.
    const operations = mark === undefined ? counted : Math.max(this.now.operations, Number(mark));
    this.now = {
      ...this.now,
      operations,
      lastRequest: questionOf(this.prompt).slice(0, 200) || this.now.lastRequest,
    };
    this.before = this.now;
    this.open = false;
  }

  private readToolResult(block: ContentBlock): void {
    const asked = this.pending.get(block.tool_use_id);
    if (!asked) return;
    const filePath = asked.input.file_path;
    const call: ToolCall = {
      ...asked,
      path: typeof filePath === 'string' ? this.relativePath(filePath) : undefined,
      ok: block.is_error !== true,
      result: blocksOf(block.content).map(textOf).join('\n').replace(reminders, '').trimEnd(),
    };
    // An interrupted call may have run or not, and one that waited for leave has not: as if it had not been made, so that it
    // is made again.
    if (interruptions.some((start) => call.result.startsWith(start))) return;
    this.calls.push(call);
    if (call.ok) this.learn(call);
  }

  private learn({ name, input, path, result }: ToolCall): void {
    if (name.endsWith('submit_metadata')) {
      this.now = {
        ...this.now,
        metadata: { name: String(input.name), description: String(input.description) },
      };
    }
    if (path === undefined) return;
    const known = this.contents.get(path);
    if (name === 'Write') this.contents.set(path, String(input.content));
    if (name === 'Edit' && known !== undefined) {
      this.contents.set(
        path,
        known.replace(String(input.old_string), () => String(input.new_string)),
      );
    }
    if (name === 'Read') {
      const text = withoutLineNumbers(result);
      if (text !== undefined) this.contents.set(path, text);
    }
    if (name === 'Write' || name === 'Edit') this.now = rememberFile(this.now, path);
    if (path === 'index.html') {
      const app = readAppState(this.contents.get(path) ?? '');
      if (app && name !== 'Read') this.now = { ...this.now, app };
    }
  }

  private relativePath(path: string): string {
    if (!isAbsolute(path)) return join(path);
    const inside = this.formerCwds.map((cwd) => relative(cwd, path)).find((short) => !short.startsWith('..'));
    return inside ?? path;
  }
}

/** What Claude Code answers a call in the tool's place when it is stopped. */
const interruptions = ['[Tool call interrupted', "The user doesn't want to proceed with this tool use."];

const reminders = /<system-reminder>[\s\S]*?<\/system-reminder>/g;

/**
 * The user's own text where the prompt of a chat marks it, else the whole prompt. Only what is quoted depends on this.
 */
export function questionOf(prompt: string): string {
  return (/^The question:\n\n([\s\S]*)/m.exec(prompt)?.[1] ?? prompt).trim();
}

/** What the agent itself writes in the assistant's place after an interruption or an API error. */
function isPlaceholder(text: string): boolean {
  return text === 'No response requested.' || text.startsWith('API Error');
}

/** A line of the Read tool; the tab of an empty last line is trimmed away. */
const numbered = /^ *\d+(?:[\t→]|$)/;

/** What the agent or the chain says after a reply that was cut off, paused or refused: the operation continues. */
function isContinuation(text: string): boolean {
  return /^(Output token limit hit\.|Your response above was |Step: [\w-]+, continued\.|Chat, continued\.)/.test(
    text,
  );
}

/** The text that the Read tool returned with numbered lines, undefined when it returned a notice instead. */
function withoutLineNumbers(result: string): string | undefined {
  const lines = result.split('\n');
  if (!lines.every((line) => numbered.test(line))) return undefined;
  return lines.map((line) => line.replace(numbered, '')).join('\n');
}
