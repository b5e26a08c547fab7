import { isUtf8 } from 'node:buffer';
import { SessionChainError } from '../contracts/failures.js';
import { placeAt, unstorable } from '../contracts/text.js';
import { readAtMost } from './read-at-most.js';

/** More than the longest text that is taken has, in any encoding. */
const mostBytes = 1024 ** 2;

/**
 * A whole text file, in UTF-8 or in UTF-16 with a byte order mark. Throws INVALID_INPUT that says where it is not text, or that
 * it is too large.
 */
export async function readTextFile(path: string): Promise<string> {
  const bytes = await readAtMost(path, mostBytes).catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SessionChainError('INVALID_INPUT', `${path} cannot be read: ${why}.`, undefined, { cause });
  });
  if (bytes === null) throw new SessionChainError('INVALID_INPUT', `${path} has more than 1 MB.`);
  const text = textOf(bytes);
  const why = isUtf16(bytes)
    ? (unstorable(text) ?? halfUnit(bytes, text))
    : isUtf8(bytes)
      ? unstorable(text)
      : firstNotUtf8(bytes);
  if (why === null) return text;
  throw new SessionChainError('INVALID_INPUT', `${path} is not text: ${why}.`, 'Save it as text in UTF-8.');
}

/** The text that the beginning of a file holds, without its byte order mark. */
export function textOf(bytes: Buffer): string {
  const text = isUtf16(bytes) ? utf16Of(bytes) : bytes.toString('utf8');
  return text.replace(/^\ufeff/, '');
}

function isUtf16(bytes: Buffer): boolean {
  return isBigEndian(bytes) || (bytes[0] === 0xff && bytes[1] === 0xfe);
}

function isBigEndian(bytes: Buffer): boolean {
  return bytes[0] === 0xfe && bytes[1] === 0xff;
}

function utf16Of(bytes: Buffer): string {
  const whole = bytes.subarray(0, bytes.length - (bytes.length % 2));
  return (isBigEndian(bytes) ? Buffer.from(whole).swap16() : whole).toString('utf16le');
}

/** The end of a UTF-16 file that was cut in the middle of a unit. */
function halfUnit(bytes: Buffer, text: string): string | null {
  if (bytes.length % 2 === 0) return null;
  return `half a unit of UTF-16 (byte ${hexOf(bytes.at(-1))}) in ${placeAt(text, text.length)}`;
}

function hexOf(byte = 0): string {
  return byte.toString(16).toUpperCase().padStart(2, '0');
}

function firstNotUtf8(bytes: Buffer): string {
  const again = Buffer.from(bytes.toString('utf8'));
  const index = bytes.findIndex((byte, at) => byte !== again[at]);
  const before = bytes.toString('utf8', 0, index);
  return `byte ${hexOf(bytes[index])} in ${placeAt(before, before.length)} is not UTF-8`;
}
