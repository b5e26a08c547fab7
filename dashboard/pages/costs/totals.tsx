import type { Schemas } from '../../api/client.js';
import { Stat, Stats } from '../../ui/card.js';
import { formatCompact, formatCount, formatShare, formatUsd } from '../../ui/format.js';

type Groups = Schemas['SpendGroups']['groups'];

/** What all groups together spent. */
export function sumOf(groups: Groups) {
  const sum = (of: (group: Groups[number]) => number) => groups.reduce((total, one) => total + of(one), 0);
  return {
    costUsd: sum((one) => one.costUsd),
    attempts: sum((one) => one.attempts),
    unknown: sum((one) => one.attemptsOfUnknownCost),
    turns: sum((one) => one.turns ?? 0),
    input: sum((one) => one.usage.inputTokens),
    output: sum((one) => one.usage.outputTokens),
    cacheRead: sum((one) => one.usage.cacheReadTokens),
    cacheWrite: sum((one) => one.usage.cacheWriteTokens),
  };
}

/** The figures on top, over all days. */
export function Totals({ groups }: { groups: Groups }) {
  const { costUsd, attempts, unknown, turns, input, output, cacheRead, cacheWrite } = sumOf(groups);
  const sent = input + cacheRead + cacheWrite;
  return (
    <Stats>
      <Stat
        label="Cost"
        value={formatUsd(costUsd, { unknown })}
        hint="US dollars by the price list of Claude Code, over the days shown, failed and interrupted attempts included."
        note={attempts > 0 ? `${formatUsd(costUsd / attempts)} per attempt` : undefined}
      />
      <Stat
        label="Attempts"
        value={formatCount(attempts)}
        hint="Attempts of steps, answers and recorded operations that ended in the days shown."
        note={`${formatCount(turns)} model turns`}
      />
      <Stat
        label="Unknown cost"
        value={formatCount(unknown)}
        {...(unknown > 0 ? { tone: 'waiting' as const } : {})}
        hint="Attempts whose cost is not known: the agent was killed before it could say, and no other run tells the prices. Their tokens are counted, their cost is not."
        note={unknown > 0 ? 'attempts; the cost is more than is shown' : 'attempts'}
      />
      <Stat
        label="From the cache"
        value={formatShare(cacheRead, sent) ?? '–'}
        hint="The share of the tokens sent to the model that were read from the prompt cache, which costs about a tenth."
        note={`${formatCompact(cacheRead)} of ${formatCompact(sent)} tokens`}
      />
      <Stat
        label="Tokens in"
        value={formatCompact(sent)}
        hint="Tokens sent to the model: new ones, those read from the prompt cache, and those written to it."
        note={`${formatCompact(input)} new, ${formatCompact(cacheWrite)} written to the cache`}
      />
      <Stat
        label="Tokens out"
        value={formatCompact(output)}
        hint="Tokens that the model wrote."
        note="written by the model"
      />
    </Stats>
  );
}
