import { relative } from 'node:path';
import Sequencer from '@jest/test-sequencer';

/** Seconds of the longest test files where they have not run yet, as in a fresh clone; Jest knows the last times of others. */
const seconds = {
  'integration/dashboard': 250,
  'integration/steps-as-data': 140,
  'integration/docs-commands': 140,
  'integration/workspaces': 130,
  'integration/agent': 100,
  'fault/matrix': 90,
  'integration/cli': 90,
  'integration/package': 80,
  'integration/definition': 80,
  'concurrency/concurrency': 70,
  'integration/http': 65,
  'integration/chat-faults': 65,
  'security/temporal': 65,
  'fault/hand-over': 65,
  'integration/stream-faults': 60,
  'integration/recovery': 60,
  'integration/stop-reasons': 60,
};

/** The longest first: a long one that began last would run alone while other cores have nothing to do. */
export default class LongestFirst extends Sequencer {
  time(test) {
    const [, name = ''] =
      /^test\/(.*)\.test\.ts$/.exec(relative(test.context.config.rootDir, test.path)) ?? [];
    return super.time(test) ?? 1000 * (seconds[name] ?? (name.startsWith('unit/') ? 2 : 30));
  }
}
