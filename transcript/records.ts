import { isUtf8 } from 'node:buffer';
import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';

/** An entry of a transcript's file. */
export interface TranscriptRecord {
  /** The line on which it begins, from 1. */
  line: number;
  entry: SessionStoreEntry;
  /** Whether the file has it in the form in which we write it. */
  isVerbatim: boolean;
}

export interface TranscriptRecords {
  records: TranscriptRecord[];
  /** Lines that hold no entry. */
  leftOut: number[];
  /** Lines of which only the first entry was read. */
  overfull: number[];
  /** Lines with bytes that are not UTF-8, read as U+FFFD. */
  notUtf8: number[];
}

/**
 * Reads a transcript's file as Claude Code does (seen with 2.1.330): an entry begins a line and may continue on the
 * next ones; what follows it on its last line is not read, nor is a line that begins with no entry. So damage does
 * not hide intact entries: a run of NULs after a crash, a truncated record, two writers on one line.
 */
export function readRecords(bytes: Buffer): TranscriptRecords {
  const text = bytes.toString('utf8').replace(/^\ufeff/, '');
  const read: TranscriptRecords = { records: [], leftOut: [], overfull: [], notUtf8: linesNotUtf8(bytes) };
  let line = 1;
  for (let start = 0; start < text.length; line++) {
    const end = endOfLine(text, start);
    const content = text.slice(start, end);
    start = end + 1;
    if (isBlank(content)) continue;
    const whole = parseObject(content);
    const found = whole ? { value: whole, end } : firstValue(text, end - content.length);
    if (typeof found?.value.type !== 'string') {
      read.leftOut.push(line);
      continue;
    }
    const json = text.slice(end - content.length, found.end).trim();
    const entry = found.value as SessionStoreEntry;
    read.records.push({ line, entry, isVerbatim: JSON.stringify(entry) === json });
    // What follows on the entry's last line is not read.
    line += json.split('\n').length - 1;
    const lastEnd = endOfLine(text, found.end);
    if (!isBlank(text.slice(found.end, lastEnd))) read.overfull.push(line);
    start = lastEnd + 1;
  }
  return read;
}

/** Whether two entries are identical, byte for byte. */
export function isSameEntry(
  one: SessionStoreEntry | undefined,
  other: SessionStoreEntry | undefined,
): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** The size of an entry as JSON, in UTF-8. */
export function entryBytes(entry: SessionStoreEntry): number {
  return Buffer.byteLength(JSON.stringify(entry));
}

function endOfLine(text: string, start: number): number {
  const end = text.indexOf('\n', start);
  return end === -1 ? text.length : end;
}

function isBlank(text: string): boolean {
  return /^[ \t\r]*$/.test(text);
}

/** The JSON object at a position of a text, whatever follows it; null where there is none. */
function firstValue(text: string, start: number): { value: Record<string, unknown>; end: number } | null {
  let depth = 0;
  let isInString = false;
  for (let at = start; at < text.length; at++) {
    const character = text.charAt(at);
    if (isInString) {
      if (character === '\\') at++;
      else if (character === '"') isInString = false;
      else if (character < ' ') return null;
    } else if (character === '"') {
      if (depth === 0) return null;
      isInString = true;
    } else if (character === '{' || character === '[') depth++;
    else if (character === '}' || character === ']') {
      if (--depth > 0) continue;
      const value = parseObject(text.slice(start, at + 1));
      return value && { value, end: at + 1 };
    } else if (depth === 0 && !isBlank(character)) return null;
  }
  return null;
}

/** The object that a JSON text represents; null for anything else. */
export function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}

function linesNotUtf8(bytes: Buffer): number[] {
  const lines: number[] = [];
  if (isUtf8(bytes)) return lines;
  let line = 1;
  for (let start = 0; start < bytes.length; line++) {
    const newline = bytes.indexOf(0x0a, start);
    const end = newline === -1 ? bytes.length : newline;
    if (!isUtf8(bytes.subarray(start, end))) lines.push(line);
    start = end + 1;
  }
  return lines;
}
