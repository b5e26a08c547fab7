/**
 * The time of the workflow task, by the sandbox's clock: the same at a replay. For what people read; what a workflow decides
 * knows no time.
 */
export function taskTime(): Date {
  // eslint-disable-next-line no-restricted-globals -- the one place where workflow code asks for it
  return new Date();
}
