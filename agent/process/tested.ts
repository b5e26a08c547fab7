/**
 * The tested versions: the Agent SDK that `package.json` pins, and the Claude Code that comes with it. Others may
 * differ in what the product relies on; `session-chain doctor --probe-agent` finds out.
 */
export const testedAgent = { sdk: '0.3.330', claudeCode: '2.1.330' } as const;

/** Which of the two differ here, as text; null if these are the tested versions. */
export function differenceFromTested(found: { sdk: string; claudeCode: string }): string | null {
  const differing = [
    ...(found.claudeCode === testedAgent.claudeCode
      ? []
      : [`Claude Code ${found.claudeCode} (tested: ${testedAgent.claudeCode})`]),
    ...(found.sdk === testedAgent.sdk ? [] : [`Agent SDK ${found.sdk} (tested: ${testedAgent.sdk})`]),
  ];
  return differing.length === 0 ? null : differing.join(', ');
}
