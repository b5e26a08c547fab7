import { z } from 'zod';
import { unstorable } from '../contracts/text.js';

/** A text of the caller, which is rejected if it could not be stored as it is. */
export const callerText = z.string().refine((text) => unstorable(text) === null, {
  error: ({ input }) => `holds ${unstorable(String(input))}, which cannot be stored; take it out`,
});
