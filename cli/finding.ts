/** What a check found; `remedy` says what to do about it. */
export interface Finding {
  status: 'ok' | 'warn' | 'fail';
  message: string;
  remedy?: string;
}

export function ok(message: string): Finding {
  return { status: 'ok', message };
}
