import type { Row } from './report.js';

/** A part of a run: one that works on what the parts share, or one that starts what it needs. */
export type Part<Shared> = { name: string; title: string } & (
  { measureOn: (shared: Shared) => Promise<Row[]> } | { measure: () => Promise<Row[]> }
);

/** What is told while parts are measured. */
export interface Teller {
  begin(part: string, title: string): void;
  measured(part: string, rows: Row[]): void;
  failed(part: string, error: unknown): void;
}

/**
 * Measures one part after the other and tells of each as it ends; one that fails does not keep the others from it. What
 * some share is started before them and stopped before the parts that need nothing of it.
 */
export async function measureParts<Shared extends { stop(): Promise<void> }>(
  parts: readonly Part<Shared>[],
  start: () => Promise<Shared>,
  teller: Teller,
): Promise<void> {
  const attempt = async (name: string, measure: () => Promise<void>) => {
    await measure().catch((error: unknown) => teller.failed(name, error));
  };
  const one = async ({ name, title }: Part<Shared>, measure: () => Promise<Row[]>) =>
    await attempt(name, async () => {
      teller.begin(name, title);
      teller.measured(name, await measure());
    });
  const sharing = parts.flatMap((part) => ('measureOn' in part ? [part] : []));
  if (sharing.length > 0) {
    await attempt(sharing.map(({ name }) => name).join(', '), async () => {
      const shared = await start();
      try {
        for (const part of sharing) await one(part, () => part.measureOn(shared));
      } finally {
        await shared.stop();
      }
    });
  }
  for (const part of parts) if ('measure' in part) await one(part, part.measure);
}
