/** Axes of time, from milliseconds to days. */

/** A stretch of time that an axis shows; between two of them it is cut. */
export interface Section {
  from: number;
  to: number;
}

const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;
const steps = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 15, 30].map((count) => count * second),
  ...[1, 2, 5, 10, 15, 30].map((count) => count * minute),
  ...[1, 2, 3, 6, 12].map((count) => count * hour),
  ...[1, 2, 7, 14, 30, 90, 365].map((count) => count * day),
];

/** The least round step by which a stretch of time has at most so many ticks. */
export function tickStep(durationMs: number, most: number): number {
  const step = steps.find((one) => durationMs / one <= most);
  return step ?? Math.ceil(durationMs / most / (365 * day)) * 365 * day;
}

/** Round moments within a section, counted from `origin`: the begin of what is shown, or a midnight. */
export function ticksOf({ from, to }: Section, most: number, origin = from): { at: number; step: number }[] {
  const step = tickStep(Math.max(1, to - from), Math.max(1, most));
  const first = Math.ceil((from - origin) / step);
  const last = Math.floor((to - origin) / step);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, place) => ({
    at: origin + (first + place) * step,
    step,
  }));
}

/** A tick that counts from the begin: `0`, `250 ms`, `2.5 s`, `1:30 min`, `2:05 h`, `3 d`. */
export function elapsedLabel(ms: number, step: number): string {
  if (ms === 0) return '0';
  const two = (value: number) => String(Math.floor(value)).padStart(2, '0');
  if (ms < second) return `${ms} ms`;
  if (ms < minute)
    return `${step < 100 ? (ms / second).toFixed(2) : step < second ? (ms / second).toFixed(1) : ms / second} s`;
  if (ms < hour) {
    const rest = step < minute ? `:${two((ms % minute) / second)}` : '';
    return `${Math.floor(ms / minute)}${rest} min`;
  }
  if (ms < day || step < day) {
    const rest = step < hour ? `:${two((ms % hour) / minute)}` : '';
    return `${Math.floor(ms / hour)}${rest} h`;
  }
  return `${Math.round(ms / day)} d`;
}

/** A tick of the clock, in the browser's zone: as much of day and time as its step tells apart. */
export function clockLabel(at: number, step: number): string {
  const date = new Date(at);
  if (step >= day) return date.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' });
  return date.toLocaleTimeString('en-GB', {
    hour: '2-digit',
    minute: '2-digit',
    ...(step < minute ? { second: '2-digit' as const } : {}),
  });
}

/** Where moments lie on an axis of sections, as a share of its width from 0 to 1. */
export interface TimeScale {
  /** A moment in a cut lies at the begin of the section after it; one before or after all at the edge. */
  share: (at: number) => number;
  sections: readonly (Section & { start: number; end: number })[];
}

/** `cut` is the share of the width that each cut takes. */
export function timeScale(sections: readonly Section[], cut = 0.03): TimeScale {
  const total = sections.reduce((sum, { from, to }) => sum + Math.max(1, to - from), 0);
  const room = Math.max(0.1, 1 - cut * Math.max(0, sections.length - 1));
  let start = 0;
  const placed = sections.map((section) => {
    const end = start + (room * Math.max(1, section.to - section.from)) / Math.max(1, total);
    const one = { ...section, start, end };
    start = end + cut;
    return one;
  });
  return {
    sections: placed,
    share: (at) => {
      const section = placed.find(({ to }) => at <= to) ?? placed.at(-1);
      if (!section) return 0;
      const { from, to, start: begin, end } = section;
      const part = Math.min(1, Math.max(0, (at - from) / Math.max(1, to - from)));
      return begin + part * (end - begin);
    },
  };
}
