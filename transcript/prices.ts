import type { ModelUsage, Usage } from '../contracts/chain.js';

/** What a run spent on one model by Claude Code's own counters, from which the prices that it uses can be derived. */
export type PricedUsage = ModelUsage & { costUsd: number };

/**
 * The cost of tokens for which Claude Code stored no cost because it was killed: from the prices that it used in other
 * runs of the same model. Its price list is not published, but such lists have a form: every kind of token costs a
 * fixed multiple of an input token, and a million input tokens cost a round sum. The form that fits all other runs to
 * the last digit gives the price. US dollars, to the nano-dollar; null where no form fits, or where several fit and
 * disagree.
 */
export function deriveCost(usage: Usage, others: readonly PricedUsage[]): number | null {
  if (tokensOf(usage, listForms[0]) === 0) return 0;
  const observed = others.filter((other) => other.costUsd > 0 && tokensOf(other, listForms[0]) > 0);
  if (observed.length === 0) return null;
  const costs = listForms.flatMap((form) => {
    const price = priceOf(form, observed);
    return price === null ? [] : [tokensOf(usage, form) * price];
  });
  const [cost] = costs;
  if (cost === undefined || costs.some((other) => !isSame(other, cost))) return null;
  return Math.round(cost * 1e9) / 1e9;
}

/** Prices of the kinds of tokens as multiples of the price of an input token. */
interface ListForm {
  output: number;
  cacheRead: number;
  cacheWrite: number;
}

/** Written to the cache for an hour or for five minutes; read from it at a tenth, or at a twentieth in newer lists. */
const listForms: readonly [ListForm, ...ListForm[]] = [
  { output: 5, cacheRead: 0.1, cacheWrite: 2 },
  { output: 5, cacheRead: 0.05, cacheWrite: 2 },
  { output: 5, cacheRead: 0.1, cacheWrite: 1.25 },
  { output: 5, cacheRead: 0.05, cacheWrite: 1.25 },
];

/** Costs are rounded to the nano-dollar, and the runs cost at least a thousandth of a dollar. */
const tolerance = 1e-5;
const roundUsdPerMillion = 0.05;

/** US dollars per input token; null where the form does not fit. */
function priceOf(form: ListForm, observed: readonly PricedUsage[]): number | null {
  const prices = observed.map((run) => run.costUsd / tokensOf(run, form));
  const [first = 0] = prices;
  const steps = Math.round((first * 1e6) / roundUsdPerMillion);
  const price = (steps * roundUsdPerMillion) / 1e6;
  return steps > 0 && prices.every((other) => isSame(other, price)) ? price : null;
}

/** The number of input tokens that would cost the same. */
function tokensOf(usage: Usage, form: ListForm): number {
  return (
    usage.inputTokens +
    usage.outputTokens * form.output +
    usage.cacheReadTokens * form.cacheRead +
    usage.cacheWriteTokens * form.cacheWrite
  );
}

function isSame(one: number, other: number): boolean {
  return Math.abs(one - other) <= tolerance * Math.max(one, other);
}

/** A model's name without its release date, which answers carry and counters may lack. */
export function undatedModel(model: string): string {
  return model.replace(/-\d{8}$/, '');
}
