import { Registry, collectDefaultMetrics } from 'prom-client';

/** Memory, processor time, open files and the event loop of this process, by the names that dashboards for Node expect. */
export function processMetrics(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 100 });
  // Gauges named like counters, which the linter of Prometheus rejects.
  for (const what of ['handles', 'requests', 'resources'])
    registry.removeSingleMetric(`nodejs_active_${what}_total`);
  return registry;
}
