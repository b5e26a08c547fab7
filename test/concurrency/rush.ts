import { nowUs } from './history.js';

/** By the clock that all processes share, one project after the other is where most of them go. */
const rushMs = 120;

/** Now, or so many rushes later. */
export function rushedProject(projects: readonly string[], later = 0): string {
  const project = projects[(Math.floor(nowUs() / 1000 / rushMs) + later) % projects.length];
  if (project === undefined) throw new Error('There is no project.');
  return project;
}

export function untilNextRushMs(): number {
  return rushMs - ((nowUs() / 1000) % rushMs);
}
