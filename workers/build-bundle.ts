import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bundleWorkflowCode } from '@temporalio/worker';

// Bundles workflows/ ahead of time, so that a worker starts without webpack. Part of `npm run build`.
const { code } = await bundleWorkflowCode({
  workflowsPath: join(import.meta.dirname, '../workflows/all.js'),
  payloadConverterPath: join(import.meta.dirname, '../workflows/payload-converter.js'),
  logger: {
    log: () => {},
    trace: () => {},
    debug: () => {},
    info: () => {},
    warn: console.warn,
    error: console.error,
  },
});
await writeFile(join(import.meta.dirname, 'workflow-bundle.js'), code);
