import { statusText, toneOf } from './badge.js';
import styles from './step-dots.module.css';

export interface StepDot {
  step: string;
  status: string;
}

/** The steps of a chain as a row of dots, and how many of them are done; hovering names each. */
export function StepDots({ steps }: { steps: readonly StepDot[] }) {
  if (steps.length === 0) return <span class="muted">not opened</span>;
  const done = steps.filter(({ status }) => isDone(status)).length;
  return (
    <span class={styles.steps}>
      <span
        class={styles.dots}
        role="img"
        aria-label={steps.map(({ step, status }) => `${step}: ${statusText(status)}`).join(', ')}
      >
        {steps.map(({ step, status }) => (
          <span
            key={step}
            class={styles.dot}
            data-tone={toneOf(status)}
            data-status={status}
            title={`${step}: ${statusText(status)}`}
          />
        ))}
      </span>
      <span class="muted small" title="Steps that are committed, completed or skipped, of those of the plan">
        {done} of {steps.length}
      </span>
    </span>
  );
}

function isDone(status: string): boolean {
  return status === 'committed' || status === 'completed' || status === 'skipped';
}
