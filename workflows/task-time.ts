/**
 * The time of the workflow task, by the sandbox's clock: the same at a replay. Only for what people read; a workflow's
 * decisions do not depend on time.
 */
export function taskTime(): Date {
  // eslint-disable-next-line no-restricted-globals -- the one place where workflow code asks for it
  return new Date();
}
