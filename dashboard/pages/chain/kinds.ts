import type { Schemas } from '../../api/client.js';

export type SpanKind = Schemas['Timeline']['spans'][number]['kind'];

/** What a span is called, and what that means, in the order in which they are listed. */
export const kinds: Record<SpanKind, { name: string; meaning: string }> = {
  queued: { name: 'Queue', meaning: 'The chain waited until it held the project' },
  opening: { name: 'Opening', meaning: 'From holding the project until its first step was scheduled' },
  worker: {
    name: 'Wait for a worker',
    meaning: 'A step was scheduled: until a worker was free, or the attempt before had ended for certain',
  },
  retry: { name: 'Pause', meaning: 'From a failed attempt until the next one was scheduled' },
  waiting: { name: 'Wait', meaning: 'For the model service or a fitting worker, by a timer' },
  start: { name: 'Agent start', meaning: 'Earlier work was judged and Claude Code started' },
  model: { name: 'Model', meaning: 'The model answered, from the request to the end of its message' },
  tool: { name: 'Tools', meaning: 'Tools ran, those of one answer together' },
  compaction: { name: 'Compaction', meaning: 'The conversation was summarised' },
  end: { name: 'Commit', meaning: 'From the last entry until the end of the attempt was recorded' },
  lost: { name: 'Lost', meaning: "No sign of life of the worker, until the attempt's lease had expired" },
  call: { name: 'Host activity', meaning: 'An activity of the host application ran' },
  closing: { name: 'Closing', meaning: 'From the end of the last step until the chain was closed' },
};
export const kindOrder = Object.keys(kinds) as SpanKind[];
