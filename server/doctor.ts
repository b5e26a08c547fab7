/** What one check of the doctor found. */
export interface DoctorFinding {
  check: string;
  status: 'ok' | 'warn' | 'fail';
  message: string;
  remedy: string | null;
}

export interface DoctorReport {
  checkedAt: Date;
  findings: DoctorFinding[];
}

const keptMs = 30_000;

/** The same checks, one run at a time; a result is kept for half a minute, because checks open connections of their own. */
export function sharedDoctor(run: () => Promise<DoctorFinding[]>): () => Promise<DoctorReport> {
  let made: { at: number; report: Promise<DoctorReport> } | undefined;
  return async () => {
    if (made === undefined || performance.now() - made.at > keptMs) {
      const started = {
        at: Infinity,
        report: run().then((findings) => ({ checkedAt: new Date(), findings })),
      };
      // While it runs it counts as new; one that could not be made is not kept.
      started.report.then(
        () => (started.at = performance.now()),
        () => made === started && (made = undefined),
      );
      made = started;
    }
    return await made.report;
  };
}
