/**
 * How the agent and everything it starts is held together, best first:
 * - `namespace`: in a process namespace of its own. The kernel kills all of it when the first process in it ends;
 *   `setpriv --pdeathsig` ends that one with the worker.
 * - `marker`: the agent dies with the worker by `setpriv`; what it started is found by a variable in its environment,
 *   at the step's end by us, after the worker's death by the guard. For sandboxes of the host, and where namespaces are
 *   refused.
 * - `group`: where there is no /proc (macOS): the process group is killed. A command that made its own session
 *   survives; best effort.
 * Beside each stands a guard (guard.ts), for a worker that is frozen or has lost its lease.
 */
export type Hold = 'namespace' | 'marker' | 'group';
