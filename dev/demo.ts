import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { showUntilEnded } from '../cli/follow.js';
import { facts, stepTable } from '../cli/format.js';
import type { SessionChain } from '../client/session-chain.js';
import type { ChainResult, StepState } from '../contracts/chain.js';
import { withoutCredentials } from '../contracts/secrets.js';
import { chainWorkflowId } from '../temporal/names.js';
import type { ChainMode } from '../contracts/steps.js';
import type { Stack } from './stack.js';

export interface DemoOptions {
  sessionChain: SessionChain;
  stack: Stack;
  stateDir: string;
  namespace: string;
  /** Which model is used: `offline`, or the name of the hosted one. */
  model: string;
  say: (line: string) => void;
}

/** What `npm start -- --once --json` prints. */
export interface DemoDocument {
  model: string;
  chains: {
    projectId: string;
    versionId: string;
    workflowId: string;
    status: ChainResult['status'];
    baseSessionId: string | null;
    finalSessionId: string | null;
    steps: Pick<
      StepState,
      'step' | 'status' | 'attempts' | 'oldSessionId' | 'newSessionId' | 'turns' | 'costUsd' | 'durationMs'
    >[];
  }[];
  head: { projectId: string; sessionId: string | null };
  databaseUrl: string;
  temporal: { address: string; ui: string | null };
  stateDir: string;
}

export interface DemoReport {
  document: DemoDocument;
  results: ChainResult[];
  /** The folder of the sample project. */
  workspace: string;
  links: { workflowId: string; url: string }[];
  /** Whether both chains completed; a warning does not spoil them. */
  endedWell: boolean;
}

/** Runs two chains of a new sample project: version 1 from nothing, version 2 from version 1's final session. */
export async function runDemo(options: DemoOptions): Promise<DemoReport> {
  const { sessionChain, stack, stateDir, say } = options;
  const projectId = `demo-${new Date().toISOString().slice(0, 19).replace(/\D/g, '')}`;
  const workspace = join(stateDir, 'workspaces', projectId);
  mkdirSync(workspace, { recursive: true });
  const results: ChainResult[] = [];
  for (const [version, mode] of [
    ['v1', 'initial'],
    ['v2', 'update'],
  ] as const satisfies [string, ChainMode][]) {
    const versionId = `${projectId}-${version}`;
    const started = await sessionChain.start({ projectId, versionId, workspace, mode, createRows: true });
    say(`\n${started.workflowId} (${mode})`);
    const result = await showUntilEnded(sessionChain, started);
    say(`${result.status}: the head is ${result.head.sessionId ?? 'none'}`);
    results.push(result);
  }
  const head = await sessionChain.head(projectId);
  return {
    document: {
      model: options.model,
      chains: results.map(chainDocument),
      head: { projectId, sessionId: head.sessionId },
      databaseUrl: withoutCredentials(stack.databaseUrl),
      temporal: stack.temporal,
      stateDir,
    },
    results,
    workspace,
    links: results.map((result) => {
      const workflowId = chainWorkflowId(result);
      const page = `${stack.temporal.ui ?? ''}/namespaces/${options.namespace}/workflows/${encodeURIComponent(workflowId)}`;
      return { workflowId, url: stack.temporal.ui ? page : '' };
    }),
    endedWell: results.every(({ status }) => status === 'completed' || status === 'completed_with_warnings'),
  };
}

function chainDocument(result: ChainResult): DemoDocument['chains'][number] {
  return {
    projectId: result.projectId,
    versionId: result.versionId,
    workflowId: chainWorkflowId(result),
    status: result.status,
    baseSessionId: result.baseSessionId,
    finalSessionId: result.head.sessionId,
    steps: result.steps.map(
      ({ step, status, attempts, oldSessionId, newSessionId, turns, costUsd, durationMs }) => {
        return { step, status, attempts, oldSessionId, newSessionId, turns, costUsd, durationMs };
      },
    ),
  };
}

/** What is printed after the demo: the chains, where to look at them, and how to run one on your own folder. */
export function summaryOf(
  { document, results, workspace, links }: DemoReport,
  { redisUrl, httpUrl, link }: { redisUrl: string | null; httpUrl: string; link: string | null },
): string {
  return [
    ...(link === null
      ? []
      : ['', `Dashboard: ${link}`, 'The link signs a browser in, once and within ten minutes.']),
    ...results.flatMap((result) => [
      '',
      `${chainWorkflowId(result)}: ${result.status}`,
      '',
      stepTable(result.steps),
    ]),
    '',
    facts([
      ...links.map(({ workflowId, url }) => [`Web UI, ${workflowId.split('/')[2]}`, url] as const),
      ['The app it built', join(workspace, 'index.html')],
      ['DATABASE_URL', document.databaseUrl],
      ['REDIS_URL', redisUrl === null ? null : withoutCredentials(redisUrl)],
      ['TEMPORAL_ADDRESS', document.temporal.address],
    ]),
    '',
    'With their passwords these are in .session-chain/env, where the command line finds them. SQL, the HTTP API, and a chain on a folder of your own:',
    '',
    '  PGSERVICEFILE=.session-chain/pg_service.conf psql service=session-chain',
    `  curl -H "Authorization: Bearer $(cat .session-chain/http-key)" ${httpUrl}/v1/projects`,
    '  mkdir -p ../my-app',
    '  npx session-chain start --project my-app --version v1 --create --workspace ../my-app --prompt "Add a dark mode" --wait',
    '',
  ].join('\n');
}
