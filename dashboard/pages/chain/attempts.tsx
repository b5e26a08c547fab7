import { Status } from '../../ui/badge.js';
import { formatCount, formatDuration } from '../../ui/format.js';
import { Text } from '../../ui/text.js';
import { At, Elapsed, Session, Usd, now } from '../../ui/values.js';
import { Hint } from '../../ui/card.js';
import { type SpanKind, kindOrder, kinds } from './kinds.js';
import styles from './inspector.module.css';
import type { Selection } from './lanes.js';
import { type Step, type Timeline, nameOf } from './rows.js';

type Attempt = Step['journal'][number];

/** The attempts of a step, with how each ended and the rule by which its transcript was judged; calls of a host activity. */
export function Attempts({
  projectId,
  step,
  attempt: selected,
  timeline,
  hrefOf,
}: {
  projectId: string;
  step: Step;
  attempt: string | null;
  timeline: Timeline | null;
  hrefOf: (selection: Selection) => string;
}) {
  return (
    <section class={styles.attempts}>
      <h3>
        {step.kind === 'activity' ? 'Calls' : 'Attempts'}{' '}
        <Hint
          text={
            step.kind === 'activity'
              ? 'Times that the chain decided to call the activity; retries of Temporal are not counted'
              : 'Each is a session of its own. What an attempt had done when it ended is judged by its transcript alone'
          }
        />
      </h3>
      <ol class={styles.list}>
        {step.journal.toReversed().map((attempt) => {
          const isSelected = attempt.attemptId === selected;
          const { step: name } = step;
          return (
            <li key={attempt.attemptId} class={styles.attempt} data-selected={isSelected}>
              <div>
                <a
                  href={hrefOf({ step: name, attempt: isSelected ? null : attempt.attemptId })}
                  aria-current={isSelected ? 'true' : undefined}
                >
                  Attempt {nameOf(attempt)}
                </a>
                <Status status={attempt.state} />
              </div>
              <Told
                projectId={projectId}
                attempt={attempt}
                journal={step.journal}
                timeline={timeline}
                told={step.failure?.message}
              />
            </li>
          );
        })}
        {step.calls.toReversed().map((call) => (
          <li key={call.round} class={styles.attempt}>
            <div>
              Call {call.round} <Status status={call.state} />
            </div>
            <div class={styles.told}>
              <div class={styles.line}>
                <code>{call.activity}</code> on <code>{call.taskQueue}</code>
                <Elapsed from={call.startedAt} to={call.endedAt} />
                <span class="muted">
                  from <At at={call.startedAt} />
                </span>
              </div>
            </div>
          </li>
        ))}
      </ol>
    </section>
  );
}

function Told({
  projectId,
  attempt,
  journal,
  timeline,
  told,
}: {
  projectId: string;
  attempt: Attempt;
  journal: readonly Attempt[];
  timeline: Timeline | null;
  /** The failure of the step, whose remedy is shown above. */
  told: string | undefined;
}) {
  const { failure, evidence, adopts, costUsd, turns, endedAt, startedAt } = attempt;
  const spans = timeline?.attempts.find(({ attemptId }) => attemptId === attempt.attemptId);
  // One that waits for the next is ended by that.
  const worked = spans?.spans.at(-1)?.endedAt ?? endedAt;
  const continued = journal.find(
    ({ sessionId }) => sessionId === (adopts ?? attempt.parentSessionId) && sessionId !== attempt.sessionId,
  );
  return (
    <div class={styles.told}>
      <div class={styles.line}>
        <span>
          <Elapsed from={startedAt} to={worked} /> <span class="muted">from</span> <At at={startedAt} />
        </span>
        {(endedAt !== null || costUsd !== null) && <Usd value={costUsd} />}
        {turns !== null && (
          <span>
            {formatCount(turns)} {turns === 1 ? 'turn' : 'turns'}
          </span>
        )}
        <span class="nowrap">
          <span class="muted">session</span> <Session projectId={projectId} id={attempt.sessionId} />
        </span>
        <span class="muted" title="The process that ran it, as pid@host">
          {attempt.worker}
        </span>
      </div>
      {spans && (
        <div class="small muted">
          {kindOrder
            .flatMap((kind: SpanKind) => {
              const ms = spans.totalsMs[kind];
              return ms === undefined ? [] : [`${kinds[kind].name.toLowerCase()} ${formatDuration(ms)}`];
            })
            .join(' · ')}
        </div>
      )}
      {continued && (
        <p>
          {adopts === null
            ? 'It continued attempt '
            : 'It committed, as it was, the finished session of attempt '}
          {nameOf(continued)}.
        </p>
      )}
      {failure && (
        <p>
          <code>{failure.code}</code> <Text text={failure.message} />{' '}
          {failure.message !== told && (
            <span class="muted">
              <Text text={failure.remedy} />
            </span>
          )}
        </p>
      )}
      {evidence && (
        <p>
          <span class="muted">Judged by its transcript:</span> <strong>{verdicts[evidence.kind]}</strong>, by
          the rule “
          <Text text={evidence.rule} />
          ”.
        </p>
      )}
      {attempt.state === 'running' && Date.parse(attempt.leaseUntil) < now.value && (
        <p>
          No sign of life since <At at={attempt.seenAt} />: its lease has expired, and the next attempt may
          begin.
        </p>
      )}
    </div>
  );
}

const verdicts: Record<NonNullable<Attempt['evidence']>['kind'], string> = {
  finished: 'its work was finished, and was committed as it was',
  partial: 'its work was begun, and could be continued',
  nothing: 'nothing to continue from; the step started over',
};
