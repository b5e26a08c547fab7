import type { Schemas } from '../../api/client.js';
import { Badge } from '../../ui/badge.js';
import { Card } from '../../ui/card.js';
import { formatCompact, formatCount, formatUsd } from '../../ui/format.js';
import { Empty, Loaded } from '../../ui/states.js';
import { Table } from '../../ui/table.js';
import { Facts, formatLimit } from './facts.js';
import styles from './settings.module.css';

type InUse = Schemas['DefinitionInUse'];
type Step = Schemas['DefinedStep'];
type Read = Parameters<typeof Loaded<Schemas['Definitions']>>[0]['read'];

const hint =
  'The steps of a chain, as living workers have loaded them. A chain keeps the definition with which it was opened.';

/** One card per definition in use; more than one is a rollout. */
export function DefinitionCards({ read }: { read: Read }) {
  const definitions = read.data?.definitions;
  if (definitions === undefined || definitions.length === 0) {
    return (
      <Card title="Definition" hint={hint} flush>
        <Loaded read={read} rows={5}>
          {() => (
            <Empty title="No living worker has told its definition">It is shown once a worker runs.</Empty>
          )}
        </Loaded>
      </Card>
    );
  }
  return (
    <>
      {definitions.map((one, index) => (
        <DefinitionCard key={one.digest} one={one} first={index === 0 ? null : (definitions[0] ?? null)} />
      ))}
    </>
  );
}

function DefinitionCard({ one, first }: { one: InUse; first: InUse | null }) {
  const { digest, files, workers, definition } = one;
  return (
    <Card
      title={`Definition ${digest.slice(0, 8)}`}
      hint={hint}
      actions={
        <span class="muted small">{`on ${workers.length} ${workers.length === 1 ? 'worker' : 'workers'}`}</span>
      }
      flush
    >
      {first && (
        <p class={styles.notice}>
          <Badge tone="waiting">rollout</Badge> Differs from {first.digest.slice(0, 8)} in{' '}
          {differences(definition, first.definition)}. A step waits for a worker that has the definition with
          which its chain was planned.
        </p>
      )}
      <Table
        caption={`Steps of the definition ${digest.slice(0, 8)}, in order`}
        rows={definition.steps.map((step, index) => ({ step, number: index + 1 }))}
        keyOf={({ step }) => step.name}
        columns={[
          {
            label: 'Step',
            cell: ({ step, number }) => (
              <>
                {number}. {step.name} {step.role && <Badge tone="accent">{step.role}</Badge>}
                {step.purpose && <div class="muted small">{step.purpose}</div>}
              </>
            ),
          },
          { label: 'Kind', cell: ({ step }) => <Kind step={step} /> },
          {
            label: 'A failure',
            hint: 'Whether a failure of the step fails the chain, or is a warning of it',
            cell: ({ step }) => (step.critical ? 'fails the chain' : 'is a warning'),
          },
          {
            label: 'Model',
            cell: ({ step }) =>
              step.model === null ? (
                <span class="muted">–</span>
              ) : step.model === 'default' ? (
                'default of Claude Code'
              ) : (
                step.model
              ),
          },
          {
            label: 'Time',
            hint: 'Of one attempt, at most',
            align: 'right',
            cell: ({ step }) => <span class="nowrap">{formatLimit(step.timeoutMs)}</span>,
          },
          {
            label: 'Turns',
            hint: 'Model turns of all attempts of the step together, at most',
            align: 'right',
            cell: ({ step }) =>
              step.maxTurns === null ? <span class="muted">–</span> : formatCount(step.maxTurns),
          },
          {
            label: 'Cost',
            hint: 'US dollars of all attempts of the step together, at most',
            align: 'right',
            cell: ({ step }) =>
              step.maxCostUsd === null ? (
                <span class="muted nowrap">no limit</span>
              ) : (
                formatUsd(step.maxCostUsd)
              ),
          },
          {
            label: 'Attempts',
            hint: 'Attempts after which the step has failed',
            align: 'right',
            cell: ({ step }) => formatCount(step.maxAttempts),
          },
          { label: 'Tools', cell: ({ step }) => <Tools step={step} /> },
        ]}
      />
      <div class={styles.below}>
        <Facts
          facts={[
            {
              label: 'Loaded from',
              value: files.length === 0 ? 'the shipped definition' : <Lines of={files} />,
            },
            { label: 'On', value: <Lines of={workers} /> },
            {
              label: 'House rules',
              hint: 'Appended to the system prompt of Claude Code; only their size is told',
              value: `${formatCount(definition.houseRulesCharacters)} characters`,
            },
            { label: 'CLAUDE.md of the workspace', value: definition.claudeMd ? 'is read' : 'is not read' },
            {
              label: 'MCP servers',
              value: definition.mcpServers.length === 0 ? 'none' : definition.mcpServers.join(', '),
            },
            {
              label: 'Fresh session',
              hint: 'When a build starts a fresh session with a brief, rather than continue from the head',
              value: resetIn(definition.reset),
            },
            {
              label: 'At the end of a chain',
              hint: 'The activity of the host that is called at every end (onEnd)',
              value: definition.onEnd
                ? `${definition.onEnd.activity} on ${definition.onEnd.taskQueue}`
                : 'nothing is called',
            },
          ]}
        />
      </div>
    </Card>
  );
}

function Kind({ step }: { step: Step }) {
  const more =
    step.kind === 'activity'
      ? `${step.activity ?? ''} on ${step.taskQueue ?? ''}`
      : step.thresholdTokens !== null
        ? `from ${formatCompact(step.thresholdTokens)} tokens of context`
        : step.column !== null
          ? `into ${step.column}`
          : step.writes.length > 0
            ? `writes ${step.writes.join(', ')}`
            : null;
  return (
    <>
      {step.kind}
      {more && <div class="muted small">{more}</div>}
    </>
  );
}

function Tools({ step }: { step: Step }) {
  if (step.allowedTools.length === 0) return <span class="muted">none</span>;
  return (
    <ul class={styles.tools}>
      {step.allowedTools.map((tool) => (
        <li key={tool}>
          <code>{tool}</code>
        </li>
      ))}
    </ul>
  );
}

function Lines({ of }: { of: readonly string[] }) {
  return (
    <>
      {of.map((line) => (
        <div key={line} class="mono">
          {line}
        </div>
      ))}
    </>
  );
}

function resetIn({ operations, contextTokens }: InUse['definition']['reset']): string {
  const cases = [
    ...(operations > 0 ? [`after ${formatCount(operations)} operations`] : []),
    ...(contextTokens > 0 ? [`above ${formatCompact(contextTokens)} tokens of context`] : []),
  ];
  return cases.length === 0 ? 'never' : cases.join(', or ');
}

/** In which steps and fields two definitions differ, in words. */
function differences(one: InUse['definition'], other: InUse['definition']): string {
  const names = [...new Set([...one.steps, ...other.steps].map(({ name }) => name))];
  const steps = names.filter(
    (name) =>
      JSON.stringify(one.steps.find((step) => step.name === name)) !==
      JSON.stringify(other.steps.find((step) => step.name === name)),
  );
  const order = steps.length === 0 && one.steps.some(({ name }, index) => other.steps[index]?.name !== name);
  const shared = (Object.keys(one) as (keyof typeof one)[]).filter(
    (field) => field !== 'steps' && JSON.stringify(one[field]) !== JSON.stringify(other[field]),
  );
  const all = [
    ...(steps.length === 0 ? [] : [`the steps ${steps.join(', ')}`]),
    ...(order ? ['the order of the steps'] : []),
    ...shared,
  ];
  return all.length === 0 ? 'a prompt, a schema or the house rules' : all.join(', ');
}
