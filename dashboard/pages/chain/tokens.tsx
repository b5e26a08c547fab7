import type { Schemas } from '../../api/client.js';
import { formatCount, formatShare } from '../../ui/format.js';
import styles from './tokens.module.css';

type Usage = Schemas['ChainSpend']['usage'];

const parts = [
  ['cacheReadTokens', 'Read from the cache', 'Input that the prompt cache had; the cheapest kind'],
  ['cacheWriteTokens', 'Written to the cache', 'Input that was put into the prompt cache for later turns'],
  ['inputTokens', 'Other input', 'Input that was neither read from nor written to the cache'],
  ['outputTokens', 'Output', 'What the model wrote; the dearest kind'],
] as const satisfies readonly (readonly [keyof Usage, string, string])[];

/** Tokens by kind as one bar, with the numbers beside. */
export function Tokens({ usage }: { usage: Usage }) {
  const total = parts.reduce((sum, [kind]) => sum + usage[kind], 0);
  if (total === 0) return <span class="muted">none</span>;
  const share = formatShare(usage.cacheReadTokens, total - usage.outputTokens);
  return (
    <div>
      <div class={styles.bar} aria-hidden="true">
        {parts.map(([kind]) => (
          <span key={kind} data-kind={kind} style={{ width: `${(100 * usage[kind]) / total}%` }} />
        ))}
      </div>
      <ul class={styles.parts}>
        {parts.map(([kind, label, meaning]) => (
          <li key={kind} title={meaning}>
            <span class={styles.swatch} data-kind={kind} aria-hidden="true" />
            <span>{label}</span>
            <span class={styles.count}>{formatCount(usage[kind])}</span>
          </li>
        ))}
      </ul>
      {share !== null && <p class="small muted">{share} of the input came from the cache.</p>}
    </div>
  );
}
