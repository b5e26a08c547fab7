import { type FailureCode, SessionChainError } from '../../contracts/failures.js';
import { verifiedCompaction } from '../../transcript/entries.js';
import { codeOfWords } from '../service-errors.js';
import type { Kind } from './kind.js';

/**
 * The session's context is replaced by a summary. A half-written summary is in no entry, so no run can continue from
 * it.
 */
export const compaction: Kind = {
  continueMessage: () => null,
  judge({ own, result, compactionError }) {
    const verified = verifiedCompaction(own);
    if (verified) return { text: result.result, compaction: verified, warnings: [] };
    throw compactionFailure(
      compactionError ?? (result.result || 'The stored transcript holds no compaction that made it smaller.'),
      'COMPACTION_FAILED',
    );
  },
  evidence: (_task, own) =>
    verifiedCompaction(own)
      ? { kind: 'finished', rule: 'a boundary of its own whose summary made the context smaller' }
      : { kind: 'nothing', rule: 'no verified compaction' },
};

/**
 * Why a compaction failed: an unavailable model service is waited for, as elsewhere; `otherwise` is the code for the
 * rest.
 */
export function compactionFailure(said: string, otherwise: FailureCode): SessionChainError {
  return new SessionChainError(codeOfWords(said) ?? otherwise, said.slice(0, 1000));
}
