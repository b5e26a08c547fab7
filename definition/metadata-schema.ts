import { z } from 'zod';
import { metadataLimits as limits, type Metadata } from './metadata.js';

/** The fields of {@link Metadata}, apart from the object, because a tool's input schema is given field by field. */
export const metadataFields = {
  name: z
    .string()
    .trim()
    .min(1)
    .max(limits.nameLength)
    .describe("The project's name, as a person would say it"),
  description: z
    .string()
    .trim()
    .min(1)
    .max(limits.descriptionLength)
    .describe('What the project is and does, in one to three sentences'),
  tags: z
    .array(z.string().trim().min(1).max(limits.tagLength))
    .min(1)
    .max(limits.tags)
    .describe('Short lower-case labels'),
  recommendations: z
    .array(z.string().trim().min(1).max(limits.recommendationLength))
    .min(1)
    .max(limits.recommendations)
    .describe('What to do next, one sentence each, the most useful first'),
};

export const metadataSchema = z.object(metadataFields) satisfies z.ZodType<Metadata>;
