/**
 * The path of a program that only tests use. `npm test` sets them up, and Jest's global set-up finds them; a test that
 * needs one that is not there fails.
 */
export function testProgram(name: 'chromium' | 'promtool' | 'schemathesis' | 'moto'): string {
  const path = process.env[`TEST_${name.toUpperCase()}`];
  if (!path) throw new Error(`${name} is not set up on this machine; npm test does that, or says how.`);
  return path;
}
