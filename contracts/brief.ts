import type { SessionId } from './ids.js';

/** What a fresh session was told about the project's state, in place of the memory that it does not have. */
export interface Brief {
  /** The head whose memory it replaces. */
  headSessionId: SessionId;
  /** The text as it was in the prompt. */
  content: string;
  parts: BriefPart[];
  createdAt: Date;
}

/** A part of a brief, and its source. */
export interface BriefPart {
  part: 'summary' | 'replies' | 'requests' | 'metadata' | 'document' | 'operations';
  /** A session, a version, a path or a range of transitions. */
  from: string;
  characters: number;
}

/** A brief without its text. */
export interface BriefFacts extends Omit<Brief, 'content' | 'createdAt'> {
  /** ISO 8601. */
  createdAt: string;
}
