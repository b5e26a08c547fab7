import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BundleOptions, WorkerOptions } from '@temporalio/worker';
import { SessionChainError } from '../contracts/failures.js';
import { workflowTypes } from '../temporal/names.js';

const workflowsPath = join(import.meta.dirname, '../workflows/all.js');
const payloadConverterPath = join(import.meta.dirname, '../workflows/payload-converter.js');

/** The bundle that `npm run build` made of workflows/, beside the compiled workers. */
export function workflowBundle(): { codePath: string } {
  const codePath = join(import.meta.dirname, 'workflow-bundle.js');
  readFileSync(codePath); // a missing bundle is a build error, to be reported at start
  return { codePath };
}

/** Present in every bundle that has the workflows of the chains. */
const marker = 'session-chain/workflows';

type WebpackConfiguration = Parameters<NonNullable<BundleOptions['webpackConfigHook']>>[0];

/**
 * Adds the workflows of the chains to a bundle of the host. Both must use one payload converter, so a host with its own
 * is rejected. Throws INVALID_INPUT.
 */
export function withChainWorkflows(options: BundleOptions): BundleOptions {
  const { payloadConverterPath: theirs, webpackConfigHook = (config: WebpackConfiguration) => config } =
    options;
  if (theirs !== undefined && theirs !== payloadConverterPath)
    throw convertersCollide('payloadConverterPath');
  if (options.failureConverterPath !== undefined) throw convertersCollide('failureConverterPath');
  return {
    ...options,
    payloadConverterPath,
    webpackConfigHook: (config) => withChecks(withEntry(webpackConfigHook(config)), options.workflowsPath),
  };
}

export function convertersCollide(name: string): SessionChainError {
  return new SessionChainError(
    'INVALID_INPUT',
    `The host's worker has a converter of its own (${name}), and the workflows of the chains need the default one.`,
    'Run the chains on another worker, by createWorker; payload codecs may stay, where the clients have the same.',
  );
}

/** Throws INVALID_INPUT for a bundle that was made without the plugin. */
export function requireChainWorkflows(bundle: NonNullable<WorkerOptions['workflowBundle']>): void {
  const code = 'code' in bundle ? bundle.code : readFileSync(bundle.codePath, 'utf8');
  if (code.includes(marker)) return;
  throw new SessionChainError(
    'INVALID_INPUT',
    "The workflow bundle of the host's worker lacks the workflows of the chains.",
    'Pass the plugin to bundleWorkflowCode as well, or give the worker workflowsPath in place of a bundle.',
  );
}

// The SDK's entry exports what a worker calls in the sandbox; the one in front of it adds to `importWorkflows`.
function withEntry(config: WebpackConfiguration): WebpackConfiguration {
  const entry = Array.isArray(config.entry) ? config.entry.at(-1) : config.entry;
  const code = `
    const host = require(${JSON.stringify(entry)});
    module.exports = {
      ...host,
      chainWorkflows: ${JSON.stringify(marker)},
      importWorkflows() {
        const [theirs, ours] = [host.importWorkflows(), require(${JSON.stringify(workflowsPath)})];
        for (const name of ${JSON.stringify(Object.values(workflowTypes))}) {
          if (name in theirs && theirs[name] !== ours[name])
            throw new Error('The host and session-chain both have a workflow named ' + name + '.');
        }
        return { ...theirs, ...ours };
      },
    };`;
  return {
    ...config,
    entry: [`data:text/javascript,${encodeURIComponent(code)}`],
    module: {
      ...config.module,
      // By default an inline module may only `import`, and workflows must not be loaded before they are requested.
      rules: [...(config.module?.rules ?? []), { mimetype: 'text/javascript', type: 'javascript/auto' }],
    },
  };
}

/** If webpack can tell what the host's module exports, a duplicate name fails the bundle, not its workflows. */
function withChecks(config: WebpackConfiguration, workflowsPath: string): WebpackConfiguration {
  const check: WebpackPlugin = ({ hooks }) => {
    hooks.afterCompile.tap('session-chain', ({ modules, moduleGraph }) => {
      const theirs = [...modules].find((one) => 'rawRequest' in one && one.rawRequest === workflowsPath);
      if (!theirs) return;
      const exported = moduleGraph.getExportsInfo(theirs);
      const twice = Object.values(workflowTypes).filter((name) => exported.isExportProvided(name) === true);
      if (twice.length > 0) throw namesCollide('workflows', twice);
    });
  };
  return { ...config, plugins: [...(config.plugins ?? []), check] };
}

type WebpackPlugin = Extract<
  NonNullable<WebpackConfiguration['plugins']>[number],
  (...given: never[]) => unknown
>;

export function namesCollide(what: 'workflows' | 'activities', names: readonly string[]): SessionChainError {
  return new SessionChainError(
    'INVALID_INPUT',
    `The host's worker has ${what} that are named like those of the chains: ${names.join(', ')}.`,
    'Rename them, or run the chains on another worker, by createWorker.',
  );
}
