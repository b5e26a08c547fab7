/** The server and its tool through which the model hands in metadata. */
export const metadataServerName = 'chain';
export const metadataToolName = 'submit_metadata';
/** The tool as the model knows it. */
export const metadataTool = `mcp__${metadataServerName}__${metadataToolName}`;

/** What the metadata step learns of a project by the shipped schema; stored in `project_versions.ai_metadata`. */
export interface Metadata {
  /** The project's name as a person would say it. */
  name: string;
  /** One to three sentences. */
  description: string;
  /** Short, lower case. */
  tags: string[];
  /** What to do next, one sentence each, the most useful first. */
  recommendations: string[];
}

/** Lengths in characters and counts; the model is told them with the tool's schema. */
export const metadataLimits = {
  nameLength: 80,
  descriptionLength: 600,
  tags: 10,
  tagLength: 40,
  recommendations: 10,
  recommendationLength: 300,
} as const;
