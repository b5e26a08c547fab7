import { Text } from '../../ui/text.js';
import { ChainLink } from '../../ui/values.js';
import styles from './overview.module.css';
import type { Chain } from './reads.js';

/** A chain, and below it the first line of what was asked for. */
export function Asked({ chain }: { chain: Chain }) {
  return (
    <>
      <ChainLink chain={chain} />
      {chain.firstLine && (
        <div class={styles.asked}>
          <Text text={chain.firstLine} />
        </div>
      )}
    </>
  );
}
