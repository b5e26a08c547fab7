/** Numbers, times and ids as the pages write them. Times are the browser's own zone; hovering shows UTC (`Time`). */

const en = 'en-US';
const count = new Intl.NumberFormat(en);
const compact = new Intl.NumberFormat(en, { notation: 'compact', maximumFractionDigits: 1 });

/** `12,345` */
export function formatCount(value: number): string {
  return count.format(value);
}

/** `12.3K`; below 10,000 the whole number. */
export function formatCompact(value: number): string {
  return Math.abs(value) < 10_000 ? count.format(value) : compact.format(value);
}

/** `$1.24`; below one cent as many digits as say something. `≥` where some cost is unknown. */
export function formatUsd(value: number, { unknown = 0 }: { unknown?: number } = {}): string {
  const digits = value === 0 || value >= 0.01 ? 2 : value >= 0.0001 ? 4 : 6;
  const text = new Intl.NumberFormat(en, {
    style: 'currency',
    currency: 'USD',
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  }).format(value);
  return unknown > 0 ? `≥ ${text}` : text;
}

/** `450 ms`, `3.2 s`, `4 min 05 s`, `2 h 10 min`, `3 d 4 h` */
export function formatDuration(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 60_000) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`;
  const [seconds, minutes, hours, days] = [ms / 1_000, ms / 60_000, ms / 3_600_000, ms / 86_400_000].map(
    Math.floor,
  ) as [number, number, number, number];
  if (hours < 1) return `${minutes} min ${String(seconds % 60).padStart(2, '0')} s`;
  if (days < 1) return `${hours} h ${String(minutes % 60).padStart(2, '0')} min`;
  return `${days} d ${hours % 24} h`;
}

/** `just now`, `40 s ago`, `5 min ago`, `3 h ago`, `2 d ago`; of what lies ahead `now`, `in 5 min`. */
export function formatAgo(at: number, now: number): string {
  const ms = now - at;
  const size = Math.abs(ms);
  if (size < 5_000) return ms < 0 ? 'now' : 'just now';
  const text =
    size < 60_000
      ? `${Math.floor(size / 1_000)} s`
      : size < 3_600_000
        ? `${Math.floor(size / 60_000)} min`
        : size < 86_400_000
          ? `${Math.floor(size / 3_600_000)} h`
          : `${Math.floor(size / 86_400_000)} d`;
  return ms < 0 ? `in ${text}` : `${text} ago`;
}

/** `24 Nov, 14:03:12`, with the year where it is not this one. */
export function formatTime(at: Date, now = new Date()): string {
  return at.toLocaleString('en-GB', {
    day: 'numeric',
    month: 'short',
    ...(at.getFullYear() === now.getFullYear() ? {} : { year: 'numeric' as const }),
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
  });
}

/** `97 %`; null where there is nothing to share. */
export function formatShare(part: number, whole: number): string | null {
  if (whole === 0) return null;
  const percent = (100 * part) / whole;
  // What is not all is not 100.
  const shown = part < whole ? Math.min(percent, 99.9) : percent;
  return `${shown >= 99 && shown < 100 ? (Math.floor(shown * 10) / 10).toFixed(1) : Math.round(shown)} %`;
}

/** `950 B`, `12.3 kB`, `4.56 GB`; of 1,000 bytes a kB. */
export function formatBytes(bytes: number): string {
  const place = bytes < 1_000 ? 0 : Math.min(4, Math.floor(Math.log10(bytes) / 3 + 1e-9));
  const unit = ['B', 'kB', 'MB', 'GB', 'TB'][place] ?? 'B';
  return place === 0 ? `${bytes} B` : `${(bytes / 1_000 ** place).toPrecision(3)} ${unit}`;
}

/** The first eight characters of a uuid; other ids whole. */
export function shortId(id: string): string {
  return /^[0-9a-f]{8}-[0-9a-f-]{27}$/i.test(id) ? id.slice(0, 8) : id;
}
