import { createReadStream } from 'node:fs';

/** The bytes of a file; null where there are more than `most`, of which no more is read: a device may have no end. */
export async function readAtMost(path: string, most: number): Promise<Buffer | null> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of createReadStream(path, { highWaterMark: 1024 ** 2 })) {
    bytes += (piece as Buffer).length;
    if (bytes > most) return null;
    pieces.push(piece as Buffer);
  }
  return Buffer.concat(pieces);
}
