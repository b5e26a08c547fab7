import type { ProjectId } from './ids.js';
import type { ProjectRetained } from './retention.js';

/** What takes space in the database. `chains` has their briefs, `questions` their answers. */
export const storedKinds = [
  'texts',
  'batches',
  'sessions',
  'transitions',
  'archivedTransitions',
  'attempts',
  'metrics',
  'chains',
  'questions',
  'events',
] as const;
export type StoredKind = (typeof storedKinds)[number];

export interface Stored {
  rows: number;
  bytes: number;
}

/** Figures that a project and all projects have. Bytes of transcripts are of what is stored, after sharing and compression. */
export interface StorageFigures {
  archive: { files: number; bytes: number };
  /** What transcripts grow by per day, about: from the sessions that began in the last days, dropped ones included. */
  growthPerDay: { last7Days: number; last30Days: number };
  /**
   * What retention frees of transcripts, about: in its next run, and later, once the period of what is archived is over. Zero for a
   * project that retention leaves alone; null where no living worker has an archive.
   */
  freeable: { now: number; later: number } | null;
}

/** What a project takes: its rows, without indexes and free space. */
export interface ProjectStorage extends StorageFigures {
  projectId: ProjectId;
  bytes: number;
  kinds: Record<StoredKind, Stored>;
  /** Why retention leaves it alone; null where it does not. */
  leftAlone: Extract<ProjectRetained['leftAlone'], 'hold' | 'restored' | 'being_erased'> | null;
}

/** What everything takes. */
export interface StorageOverview extends StorageFigures {
  /** The tables with their indexes and free space. */
  bytes: number;
  /** Rows are the estimate of Postgres, as of the last time that it looked. */
  kinds: Record<StoredKind, Stored>;
  /**
   * The projects that take most, by a sample of each table; the rows alone, so that the sum is less than `bytes`. Of a table of more
   * than some megabytes it is an estimate.
   */
  projects: { projectId: ProjectId; bytes: number }[];
  /** Whether `projects`, `growthPerDay` and `freeable` come from samples. */
  isEstimate: boolean;
}
