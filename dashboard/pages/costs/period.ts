import { dayOf } from '../../ui/bars.js';

/** Which days the costs are of: the first and the last, UTC, both included. */
export interface Period {
  since: string;
  until: string;
}

const dayMs = 86_400_000;

/** What one mostly asks for, by the number of days that end today. */
export const presets = [
  { days: 1, label: 'Today' },
  { days: 7, label: '7 days' },
  { days: 30, label: '30 days' },
  { days: 90, label: '90 days' },
] as const;
const byDefault = 30;

/** So many days, today included. */
export function lastDays(days: number, today = new Date()): Period {
  return { since: dayOf(new Date(today.getTime() - (days - 1) * dayMs)), until: dayOf(today) };
}

/** The days that the address names; what is no day, or ends before it begins, counts as left out. */
export function periodOf(since: string | null, until: string | null, today = new Date()): Period {
  const last = isDay(until) && until <= dayOf(today) ? until : dayOf(today);
  const first = isDay(since) && since <= last ? since : lastDays(byDefault, new Date(last)).since;
  return { since: first, until: last };
}

/** As the API asks for it: it takes the moment after the last. */
export function momentsOf({ since, until }: Period): { since: string; until: string } {
  return { since, until: dayOf(new Date(Date.parse(until) + dayMs)) };
}

function isDay(text: string | null): text is string {
  return text !== null && /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(Date.parse(text));
}
