/** A database with what it has in Temporal. */
export interface Installation {
  /** A uuid, which a copy of the database has as well, until it is given another. */
  id: string;
  /** Raised each time that the database is said to have been restored, from 1. */
  incarnation: number;
  /** Name of the database. */
  database: string;
}

/** What every payload says of itself: a worker of another installation leaves it alone. Absent: it is not known. */
export interface OfInstallation {
  installation?: string;
}

/** The same for a payload that follows from another. */
export function sameInstallation({ installation }: OfInstallation): OfInstallation {
  return typeof installation === 'string' ? { installation } : {};
}

/** What the memo of each workflow says, so that lists and descriptions tell whose it is. */
export function installationMemo({ id, incarnation }: Installation): Record<string, unknown> {
  return { installation: id, incarnation };
}

/** Whether a memo is that of a workflow of another installation; one that does not say is not. */
export function isOfOther(memo: Record<string, unknown> | undefined, id: string): boolean {
  const said = memo?.['installation'];
  return typeof said === 'string' && said !== id;
}
