import { z } from 'zod';
import { unstorable } from '../contracts/text.js';

/** A text of the caller, which is rejected if it could not be stored as it is. */
export const callerText = z.string().refine((text) => unstorable(text) === null, {
  error: ({ input }) => `holds ${unstorable(String(input))}, which cannot be stored; take it out`,
});

/** Words of the caller: not empty, and at most so many characters. */
export const callerWords = (most: number) =>
  callerText.trim().min(1, 'must not be empty').max(most, `must not be longer than ${most} characters`);
