/** What a check found; `remedy` says what to do about it. */
export interface Finding {
  status: 'ok' | 'warn' | 'fail';
  message: string;
  remedy?: string;
}

export function ok(message: string): Finding {
  return { status: 'ok', message };
}

/** What `doctor` looks at. */
export const checkNames = [
  'node',
  'agent',
  'sandbox',
  'credentials',
  'definition',
  'limits',
  'workspaces',
  'database',
  'rights',
  'host-tables',
  'migrations',
  'temporal',
  'search-attributes',
  'worker',
  'activities',
  'workflow-tasks',
  'ends',
  'retention',
  'archive',
  'redis',
] as const;
/** Only on request, by name: the health of a worker's container. */
export const extraCheckNames = ['worker-here'] as const;
export type CheckName = (typeof checkNames)[number] | (typeof extraCheckNames)[number];
