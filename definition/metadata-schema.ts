import { z } from 'zod';

/** Lengths in characters, and counts; the model gets them with the tool's schema. */
const limits = {
  nameLength: 80,
  descriptionLength: 600,
  tags: 10,
  tagLength: 40,
  recommendations: 10,
  recommendationLength: 300,
};

/** What the shipped step `metadata` learns of a project; stored in `project_versions.ai_metadata`. */
export const metadataSchema = z.object({
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
});
