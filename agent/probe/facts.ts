import { isDeepStrictEqual } from 'node:util';
import type { ModelUsage } from '../../contracts/chain.js';
import { shippedDefinition } from '../../definition/shipped.js';
import { submissionTool } from '../../definition/submission.js';
import { contextTokensOf } from '../../transcript/context-size.js';
import { lastCounters, usageOfTurns, verifiedCompaction } from '../../transcript/entries.js';
import { findHole } from '../../transcript/hole.js';
import { type PricedUsage, deriveCost } from '../../transcript/prices.js';
import { type ProbeRun, type ProbeRuns, graceMs, submitted, summary } from './runs.js';
import { type ModelReply, type ModelRequest, toolResults } from './scripted-model.js';

/** A fact that the product relies on and that Claude Code does not document. */
export interface ProbedFact {
  name: string;
  /** `fail`: chains would lose or leak something. `warn`: they would cost more, or report less. */
  status: 'ok' | 'warn' | 'fail';
  expected: string;
  /** What was found instead; null if it is as expected. */
  seen: string | null;
  /** What goes wrong if it does not hold. */
  breaks: string;
}

interface FactDefinition extends Omit<ProbedFact, 'status' | 'seen'> {
  severity: 'warn' | 'fail';
  /** What was seen instead; null if it is as expected. */
  look: (runs: ProbeRuns) => string | null;
}

/** Judges the runs. Pure. */
export function judgeProbe(runs: ProbeRuns, announced: string): ProbedFact[] {
  return [...facts, versionFact(announced)].map(({ severity, look, ...fact }) => {
    const seen = look(runs);
    return { ...fact, status: seen === null ? 'ok' : severity, seen };
  });
}

const facts: readonly FactDefinition[] = [
  {
    name: 'runs',
    severity: 'fail',
    expected: 'build, submission, compaction, and what follows an interruption run to their end',
    breaks: 'No chain gets through.',
    look: ({ build, submission, compaction, goesOn }) =>
      said(
        Object.entries({ build, submission, compaction, goesOn }).flatMap(([name, { failure }]) =>
          failure ? [`${name}: ${failure.message}`] : [],
        ),
      ),
  },
  {
    name: 'session-id',
    severity: 'fail',
    expected: 'every entry is stored under the session id that was given in advance',
    breaks: 'What a killed worker left is not found, and no step can be committed.',
    look: (runs) =>
      said(
        chainOf(runs).flatMap(([name, { sessionId, appended }]) => {
          const others = new Set(
            appended
              .flatMap(({ sessionId: key, entry }) => [key, entry['sessionId']])
              .filter((id) => id !== undefined && id !== sessionId),
          );
          if (appended.length === 0) return [`${name}: nothing was stored`];
          return others.size === 0
            ? []
            : [`${name}: ${[...others].map(String).join(', ')} beside ${sessionId}`];
        }),
      ),
  },
  {
    name: 'fork-keeps',
    severity: 'fail',
    expected: 'a fork stores all entries of its base under their uuids; after a compaction those since then',
    breaks: 'The next step loses what the session knew, and evidence of attempts is judged wrongly.',
    look: ({ build, submission, interrupted, goesOn }) =>
      said([...lostByFork('submission', build, submission), ...lostByFork('go on', interrupted, goesOn)]),
  },
  {
    name: 'entry-order',
    severity: 'fail',
    expected: 'each entry comes after the one that its parentUuid names',
    breaks: 'A session has a hole and goes into quarantine.',
    look: (runs) =>
      said(
        chainOf(runs).flatMap(([name, { appended }]) => {
          const hole = findHole(appended.map(({ entry }) => entry));
          const known = new Set<unknown>();
          const early = appended.find(({ entry: { uuid, parentUuid } }) => {
            if (uuid !== undefined) known.add(uuid);
            return typeof parentUuid === 'string' && parentUuid !== '' && !known.has(parentUuid);
          });
          if (hole !== null) return [`${name}: nothing comes before the entry ${hole}`];
          return early ? [`${name}: the entry ${String(early.entry.uuid)} comes before its parent`] : [];
        }),
      ),
  },
  {
    name: 'stored-first',
    severity: 'fail',
    expected: 'with the result all entries are stored, so that the model is asked no further time',
    breaks: 'A finished step looks unfinished and is paid for again.',
    look: ({ build, submission, goesOn }) =>
      said(
        Object.entries({ build, submission, goesOn }).flatMap(([name, { requests, played }]) =>
          requests.length === played.length
            ? []
            : [`${name}: ${requests.length} requests instead of ${played.length}`],
        ),
      ),
  },
  {
    name: 'tools-wait',
    severity: 'fail',
    expected: 'a tool runs only once the entry with its call is stored',
    breaks: 'Files change of which no stored turn knows.',
    look: ({ build }) => (build.ranEarly ? 'a file was written before its call was stored' : null),
  },
  {
    name: 'only-listed',
    severity: 'fail',
    expected: 'a tool that the step does not list is refused by our hook',
    breaks: 'Steps and questions run commands that they may not run.',
    look: ({ submission }) => refusal(resultsOf(submission)[0], /not allowed here/),
  },
  {
    name: 'confined',
    severity: 'fail',
    expected: 'file tools are refused outside the workspace',
    breaks: 'An agent reads and writes files of others.',
    look: (runs) => {
      // Parallel calls are answered in the order in which they end.
      const refused = resultsOf(runs.build).filter((result) => outsideOfWorkspace.test(result));
      return said([
        ...(refused.length === 2 ? [] : [`${refused.length} of 2 calls were refused`]),
        ...(runs.wroteOutside ? ['a file was written'] : []),
        ...(wasTold(runs, runs.secrets.byTool) ? ['a file was read'] : []),
      ]);
    },
  },
  {
    name: 'mentions',
    severity: 'fail',
    expected: '@file in a message stays text',
    breaks: 'Anyone who may ask a question can read files of the worker.',
    look: (runs) => (wasTold(runs, runs.secrets.byMention) ? 'the file was sent to the model' : null),
  },
  {
    name: 'reopened-files',
    severity: 'fail',
    expected:
      'after a compaction no file outside the workspace is opened again, wherever its name leads by then',
    breaks: 'A link that a build made brings files of others to the model.',
    look: (runs) => (wasTold(runs, runs.secrets.byCompaction) ? 'the file was sent to the model' : null),
  },
  {
    name: 'workspace-settings',
    severity: 'fail',
    expected: 'no settings and no CLAUDE.md of the workspace have an effect',
    breaks: 'A build plants hooks, and where the credential goes, for the next step.',
    look: (runs) =>
      said([
        ...(runs.settingsObeyed ? ['a hook of .claude/settings.json ran'] : []),
        ...(wasTold(runs, runs.secrets.bySettings) ? ['CLAUDE.md was sent to the model'] : []),
      ]),
  },
  {
    name: 'credential',
    severity: 'fail',
    expected: 'the credential reaches the model service, and no shell command',
    breaks: 'An agent can show the credential of the worker.',
    look: ({ build, credential }) => {
      const [shown] = resultsOf(build);
      const sent = build.requests.every(({ headers }) => headers['x-api-key'] === credential);
      return said([
        ...(shown === undefined ? ['no shell command ran'] : []),
        ...(shown?.includes(credential) ? ['a shell command shows it'] : []),
        ...(sent ? [] : ['requests come without it']),
      ]);
    },
  },
  {
    name: 'history',
    severity: 'fail',
    expected: 'the first request of a fork repeats the messages of the last one before it',
    breaks: 'The next step does not know what the last one did.',
    look: ({ build, submission, interrupted, goesOn }) =>
      said([
        ...(isDeepStrictEqual(...forms(boundary(build, submission))) ? [] : ['submission: other messages']),
        // The request that hung was not answered, and its tool result is in the history.
        ...(JSON.stringify(goesOn.requests[0]?.messages ?? []).includes('kept-by-the-store')
          ? []
          : ['go on: what was done before the interruption is missing']),
        ...(interrupted.requests.length === 2 ? [] : ['interrupted: not two requests']),
      ]),
  },
  {
    name: 'cache-prefix',
    severity: 'warn',
    expected:
      'model, tools, system prompt and the messages before it are the same in the next step, byte by byte',
    breaks: 'The prompt cache is lost: every step pays for the whole context.',
    look: ({ build, submission, compaction, interrupted, goesOn }) => {
      const [first, ...others] = Object.entries({
        build,
        submission,
        compaction,
        interrupted,
        goesOn,
      }).flatMap(([name, { requests }]) =>
        requests.map((request) => ({ name, ...withoutBreakpoints(request) })),
      );
      if (!first) return 'no request was made';
      const [before, after] = boundary(build, submission);
      return said([
        ...new Set(
          others.flatMap((other) =>
            (['model', 'tools', 'system'] as const)
              .filter((part) => JSON.stringify(other[part]) !== JSON.stringify(first[part]))
              .map((part) => `${other.name}: other ${part}`),
          ),
        ),
        ...(JSON.stringify(before) === JSON.stringify(after) ? [] : ['submission: other messages']),
      ]);
    },
  },
  {
    name: 'tools',
    severity: 'fail',
    expected: 'the model is offered exactly the tools of the definition and of its submissions',
    breaks: 'Steps lack a tool, or have one that no rule was made for.',
    look: ({ build }) => {
      const wanted = [...shippedDefinition.tools, submissionTool('metadata')];
      return difference(wanted, toolsOf(build));
    },
  },
  {
    name: 'known-tools',
    severity: 'warn',
    expected: 'Claude Code has no tools beside those that are known',
    breaks:
      'Nothing, as long as the definition does not list a new one; which files it opens, the guard of the workspace does not know.',
    look: ({ unrestricted }) => {
      const offered = toolsOf(unrestricted).filter((name) => !name.startsWith('mcp__'));
      return offered.length === 0 ? 'they could not be listed' : difference(knownTools, offered);
    },
  },
  {
    name: 'submission',
    severity: 'fail',
    expected: 'a value that the model submits is accepted and stands in the transcript',
    breaks: 'Submissions fail.',
    look: ({ submission: { result } }) =>
      isDeepStrictEqual(result?.value, submitted)
        ? null
        : `the value is ${JSON.stringify(result?.value ?? null)}`,
  },
  {
    name: 'tokens',
    severity: 'warn',
    expected: "a run's counters hold the tokens of its own requests, after its base's are taken off",
    breaks: 'Costs and tokens of steps are wrong, and budgets with them.',
    look: (runs) =>
      said(
        accounted(runs).flatMap(([name, { spend, played }]) =>
          isDeepStrictEqual(spend?.usage, playedUsage(played))
            ? []
            : [`${name}: ${JSON.stringify(spend?.usage)} instead of ${JSON.stringify(playedUsage(played))}`],
        ),
      ),
  },
  {
    name: 'stored-tokens',
    severity: 'warn',
    expected: 'stored turns hold the tokens of each request',
    breaks: 'The tokens and the cost of a killed attempt are unknown, and so is the size of the context.',
    look: ({ build }) => {
      const entries = build.appended.map(({ entry }) => entry);
      const { usage, turns } = usageOfTurns(entries);
      const last = build.played.at(-1);
      const context =
        (last?.inputTokens ?? 0) +
        (last?.cacheReadTokens ?? 0) +
        (last?.cacheWriteTokens ?? 0) +
        (last?.outputTokens ?? 0);
      return said([
        ...(turns === build.played.length ? [] : [`${turns} turns instead of ${build.played.length}`]),
        ...(isDeepStrictEqual(usage, playedUsage(build.played)) ? [] : [JSON.stringify(usage)]),
        ...(contextTokensOf(entries) === context ? [] : [`a context of ${String(contextTokensOf(entries))}`]),
      ]);
    },
  },
  {
    name: 'cost-rule',
    severity: 'warn',
    expected: 'costs follow a price list of a known form, for each kind of token',
    breaks: 'The cost of a killed attempt stays unknown.',
    look: (runs) => {
      const priced = accounted(runs).map(([name, { spend }]) => ({
        name,
        models: pricedModels(spend?.byModel),
      }));
      return said(
        priced.flatMap(({ name, models }) =>
          models.length === 0
            ? [`${name}: no cost`]
            : models.flatMap(({ model, usage }) => {
                const others = priced
                  .filter((other) => other.name !== name)
                  .flatMap((other) => other.models)
                  .filter((other) => other.model === model)
                  .map((other) => other.usage);
                const derived = deriveCost(usage, others);
                return derived !== null && Math.abs(derived - usage.costUsd) < 1e-8
                  ? []
                  : [
                      `${name}: ${usage.costUsd} USD of ${model}, by the other runs ${derived ?? 'not known'}`,
                    ];
              }),
        ),
      );
    },
  },
  {
    name: 'counters',
    severity: 'warn',
    expected: 'running totals are stored at the end of a compaction, and of a run that was interrupted',
    breaks: 'What an attempt cost is known only where it came to its end.',
    look: ({ compaction, interrupted }) =>
      said(
        Object.entries({ compaction, interrupted }).flatMap(([name, { appended }]) =>
          lastCounters(appended.map(({ entry }) => entry)) === null ? [`${name}: none`] : [],
        ),
      ),
  },
  {
    name: 'compaction',
    severity: 'fail',
    expected:
      'a compaction stores a boundary, its sizes, and a summary that hangs on it; the next step begins with it',
    breaks: 'Compactions fail or cannot be proved.',
    look: ({ compaction, interrupted }) => {
      const told = JSON.stringify(interrupted.requests[0]?.messages ?? []);
      return said([
        ...(verifiedCompaction(compaction.appended.map(({ entry }) => entry))
          ? []
          : ['no boundary that proves it']),
        ...(told.includes(summary) ? [] : ['the next step is not told the summary']),
        ...(told.includes('Built.') ? ['the next step is told what was before the summary'] : []),
      ]);
    },
  },
  {
    name: 'interruption',
    severity: 'fail',
    expected: 'an interrupted agent stores what it has and ends by itself, within its grace',
    breaks: 'A cancelled or moved step loses what it did, and is killed each time.',
    look: ({ interrupted: { failure, endedAfterMs, appended } }) =>
      said([
        ...(failure?.code === 'CANCELLED'
          ? []
          : [failure ? failure.message : 'the run ended as if it had not been interrupted']),
        ...(endedAfterMs !== null && endedAfterMs < graceMs / 2
          ? []
          : [`it took ${Math.round(endedAfterMs ?? 0)} ms`]),
        ...(JSON.stringify(appended).includes('"tool_result"') ? [] : ['its tool result is not stored']),
      ]),
  },
  {
    name: 'overload',
    severity: 'fail',
    expected: 'an overloaded model service is reported as such',
    breaks: 'A chain fails where it should wait.',
    look: ({ overloaded: { failure } }) =>
      failure?.code === 'MODEL_UNAVAILABLE'
        ? null
        : `${failure?.code ?? 'no failure'}: ${failure?.message ?? ''}`,
  },
  {
    name: 'streaming',
    severity: 'warn',
    expected: 'what the model says is passed on while it speaks',
    breaks: 'Answers to questions come in one piece.',
    look: ({ goesOn: { streamed } }) => (streamed === 'Gone on.' ? null : JSON.stringify(streamed)),
  },
  {
    name: 'side-requests',
    severity: 'warn',
    expected: 'Claude Code makes no requests beside the conversation',
    breaks: 'Each step costs more than its turns.',
    look: (runs) => {
      const sum = chainOf(runs).reduce((total, [, { sideRequests }]) => total + sideRequests, 0);
      return sum === 0 ? null : `${sum} requests without tools`;
    },
  },
];

function versionFact(announced: string): FactDefinition {
  return {
    name: 'version',
    severity: 'warn',
    expected: 'a run names the version that `--version` prints',
    breaks: 'A chain cannot be kept on one version.',
    look: ({ build: { spend } }) =>
      spend?.agentVersion === announced ? null : `${spend?.agentVersion ?? 'none'} instead of ${announced}`,
  };
}

/** Claude Code's own tools, as 2.1.330 offers them where none are named. */
const knownTools: readonly string[] = [
  ...['Agent', 'Bash', 'CronCreate', 'CronDelete', 'CronList', 'Edit', 'EnterWorktree', 'ExitWorktree'],
  ...['ListAgents', 'Monitor', 'NotebookEdit', 'Read', 'ReportFindings', 'ScheduleWakeup', 'SendMessage'],
  ...['Skill', 'TaskStop', 'WebFetch', 'WebSearch', 'Workflow', 'Write'],
];

/** In the wording of our hook, or of Claude Code, which checks first. */
const outsideOfWorkspace = /outside the (project folder|working directories)/;

function said(troubles: readonly string[]): string | null {
  return troubles.length === 0 ? null : troubles.join('; ');
}

function chainOf(runs: ProbeRuns): [string, ProbeRun][] {
  const { build, submission, compaction, interrupted, goesOn } = runs;
  return Object.entries({ build, submission, compaction, interrupted, goesOn });
}

/** The completed runs, whose counters must be complete. */
function accounted({ build, submission, compaction, goesOn }: ProbeRuns): [string, ProbeRun][] {
  return Object.entries({ build, submission, compaction, goesOn });
}

function lostByFork(name: string, base: ProbeRun, fork: ProbeRun): string[] {
  const kept = new Set(fork.appended.map(({ entry }) => entry.uuid));
  const lost = base.appended.filter(({ entry: { uuid } }) => uuid !== undefined && !kept.has(uuid));
  return lost.length === 0 ? [] : [`${name}: ${lost.length} of ${base.appended.length} entries are missing`];
}

/** The messages of the last request of a session, and as many of the first request of the session that forked it. */
function boundary(base: ProbeRun, fork: ProbeRun): [ModelRequest['messages'], ModelRequest['messages']] {
  const [last, first] = [base.requests.at(-1), fork.requests[0]];
  const before = last ? withoutBreakpoints(last).messages : [];
  return [before, first ? withoutBreakpoints(first).messages.slice(0, before.length) : []];
}

function forms([before, after]: ReturnType<typeof boundary>) {
  return [before.map(asBlocks), after.map(asBlocks)] as const;
}

/** The same in one form: a text may be a string or a block. */
function asBlocks({ role, content }: ModelRequest['messages'][number]) {
  return { role, content: typeof content === 'string' ? [{ type: 'text', text: content }] : content };
}

/** Breakpoints of the prompt cache move from request to request and are not part of the prompt. */
function withoutBreakpoints({ model, tools, system, messages }: ModelRequest) {
  return JSON.parse(JSON.stringify({ model, tools, system, messages }), (key, value: unknown) =>
    key === 'cache_control' ? undefined : value,
  ) as Pick<ModelRequest, 'model' | 'tools' | 'system' | 'messages'>;
}

/** The results of the run's own tool calls, in order. */
function resultsOf({ requests }: ProbeRun): string[] {
  const [first, last] = [requests[0], requests.at(-1)];
  return first && last ? toolResults(last).slice(toolResults(first).length) : [];
}

function refusal(result: string | undefined, expected: RegExp): string | null {
  if (result === undefined) return 'the call was not answered';
  return expected.test(result) ? null : `the call was answered: ${result.slice(0, 200)}`;
}

function wasTold(runs: ProbeRuns, secret: string): boolean {
  return [...chainOf(runs).map(([, run]) => run), runs.overloaded, runs.unrestricted].some(({ requests }) =>
    requests.some((request) => JSON.stringify(request).includes(secret)),
  );
}

function toolsOf({ requests }: ProbeRun): string[] {
  // Of a deferred tool the model learns only the name, if it can search for tools.
  return (requests[0]?.tools ?? []).filter((tool) => tool.defer_loading !== true).map(({ name }) => name);
}

function difference(wanted: readonly string[], found: readonly string[]): string | null {
  const missing = wanted.filter((name) => !found.includes(name));
  const added = found.filter((name) => !wanted.includes(name));
  return said([
    ...(added.length > 0 ? [`new: ${added.join(', ')}`] : []),
    ...(missing.length > 0 ? [`missing: ${missing.join(', ')}`] : []),
  ]);
}

function playedUsage(played: readonly ModelReply[]) {
  const sum = (field: keyof ModelReply & `${string}Tokens`) =>
    played.reduce((total, reply) => total + (reply[field] ?? 0), 0);
  return {
    inputTokens: sum('inputTokens'),
    outputTokens: sum('outputTokens'),
    cacheReadTokens: sum('cacheReadTokens'),
    cacheWriteTokens: sum('cacheWriteTokens'),
  };
}

function pricedModels(byModel: Record<string, ModelUsage> = {}): { model: string; usage: PricedUsage }[] {
  return Object.entries(byModel).flatMap(([model, usage]) =>
    usage.costUsd === null ? [] : [{ model, usage: { ...usage, costUsd: usage.costUsd } }],
  );
}
