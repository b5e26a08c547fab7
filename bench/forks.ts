import { parseProjectId } from '../contracts/ids.js';
import type { StepName } from '../contracts/steps.js';
import { transcriptBytes } from '../storage/transcripts/store.js';
import { type Row, row } from './report.js';
import type { BenchStack } from './stack.js';

const forks = 20;

/**
 * A project of twenty steps, each a fork of the one before and none a compaction. The agent appends the whole
 * transcript again at every fork; stored naively, that is what a database would hold.
 */
export async function measureForks(stack: BenchStack): Promise<Row[]> {
  const round: StepName[] = ['build', 'metadata', 'docs'];
  const projectId = parseProjectId('bench-forks');
  for (let left = forks; left > 0; left -= round.length) {
    await stack.runChain({ projectId, steps: round.slice(0, left) });
  }
  const { storedBytes, appendedBytes } = await transcriptBytes(stack.pool, projectId);
  return [
    row({
      part: 'forks',
      name: `transcripts of ${forks} forks, stored`,
      unit: 'kB',
      values: [storedBytes / 1000],
      peer: { name: 'stored naively', values: [appendedBytes / 1000] },
      // 360 kB of 3,640
      goal: { text: '<= 0.099', met: (ratio) => ratio <= 0.099 },
    }),
  ];
}
