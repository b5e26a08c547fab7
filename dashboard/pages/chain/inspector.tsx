import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { Status } from '../../ui/badge.js';
import { Button } from '../../ui/button.js';
import { Card, Hint } from '../../ui/card.js';
import { formatCount, formatDuration } from '../../ui/format.js';
import { Text } from '../../ui/text.js';
import { Copy, Elapsed, Session, Usd } from '../../ui/values.js';
import { RewindHere } from './acts.js';
import { Attempts } from './attempts.js';
import { Changes } from './changes.js';
import type { ChainDetails } from './chain.js';
import styles from './inspector.module.css';
import type { Selection } from './lanes.js';
import { LiveText } from './live-text.js';
import type { Step, Timeline } from './rows.js';
import { Tokens } from './tokens.js';

export interface InspectorProps {
  chain: ChainDetails;
  step: Step;
  /** The attempt that is selected; null for the whole step. */
  attempt: string | null;
  timeline: Timeline | null;
  hrefOf: (selection: Selection) => string;
}

/** What is known of the selected step: what it said and wrote, what it took, and its attempts. */
export function Inspector({ chain, step, attempt, timeline, hrefOf }: InspectorProps) {
  const { projectId } = chain;
  const running = step.journal.find(({ state }) => state === 'running');
  const { saved } = step;
  const index = chain.steps.findIndex((one) => one.step === step.step);
  const [before, after] = [chain.steps[index - 1], chain.steps[index + 1]];
  return (
    <Card
      title={`Step ${step.step}`}
      actions={
        <>
          <Status status={step.status} />
          {before && <a href={hrefOf({ step: before.step, attempt: null })}>← {before.step}</a>}
          {after && <a href={hrefOf({ step: after.step, attempt: null })}>{after.step} →</a>}
          <RewindHere chain={chain} step={step} />
        </>
      }
    >
      <div class={styles.columns}>
        <div class={styles.main}>
          {step.failure && step.failure.message !== chain.failure?.message && (
            <div class={styles.failure}>
              <strong>
                <code>{step.failure.code}</code> <Text text={step.failure.message} />
              </strong>
              <p>
                <Text text={step.failure.remedy} />
              </p>
            </div>
          )}
          {step.reason !== undefined && (
            <p>
              {step.status === 'skipped' ? 'Skipped: ' : 'Waits: '}
              <Text text={step.reason} />
            </p>
          )}
          {running && <LiveText attemptId={running.attemptId} />}
          <Section title={step.status === 'committed' || !running ? 'Reply' : 'Reply so far'}>
            {step.reply === null ? (
              <p class="muted">{noReply(step)}</p>
            ) : (
              <Folded lines={12}>
                <p class={styles.text}>
                  <Text text={step.reply} />
                </p>
              </Folded>
            )}
          </Section>
          {step.value !== undefined && (
            <Section
              title="Submitted value"
              hint="What the step handed in; it fits the schema of the definition"
            >
              <Folded lines={14}>
                <pre class={styles.value}>
                  <Text text={JSON.stringify(step.value, null, 2)} />
                </pre>
              </Folded>
              <Copy text={JSON.stringify(step.value, null, 2)} what="submitted value" />
            </Section>
          )}
          {step.kind !== 'activity' && step.kind !== 'compaction' && (
            <Section
              title="Files"
              hint="What file tools wrote, all attempts and subagents included; shell commands are not known"
            >
              <Changes chain={chain} step={step} attempt={attempt} />
            </Section>
          )}
          {(step.journal.length > 0 || step.calls.length > 0) && (
            <Attempts
              projectId={projectId}
              step={step}
              attempt={attempt}
              timeline={timeline}
              hrefOf={hrefOf}
            />
          )}
        </div>
        <div class={styles.side}>
          <dl class={styles.facts}>
            <Fact label="Kind">{step.kind}</Fact>
            <Fact label="Took" hint="From the begin of its first attempt to the end of its last">
              <Elapsed from={step.startedAt} to={step.endedAt} />
            </Fact>
            {step.kind !== 'activity' && (
              <>
                <Fact label="Worked" hint="All attempts together, without the time between them">
                  {formatDuration(step.durationMs)}
                </Fact>
                <Fact label="Cost" hint="US dollars of all attempts, as far as they are known">
                  <Usd
                    value={step.costUsd}
                    unknown={
                      step.journal.filter((one) => one.endedAt !== null && one.costUsd === null).length
                    }
                  />
                </Fact>
                <Fact label="Turns" hint="Answers of the model, all attempts">
                  {formatCount(step.turns)}
                </Fact>
                <Fact label="Model">{modelsOf(chain, step) || <span class="muted">–</span>}</Fact>
                <Fact label="Session" hint="The session that the step left; the next one continues from it">
                  <Session projectId={projectId} id={step.newSessionId} />
                </Fact>
                <Fact label="Continues" hint="The session that it forked">
                  <Session projectId={projectId} id={step.oldSessionId} />
                </Fact>
              </>
            )}
          </dl>
          {step.kind !== 'activity' && (
            <Section title="Tokens" hint="All attempts together">
              <Tokens usage={step.usage} />
            </Section>
          )}
          {(saved.adopted > 0 || saved.continued > 0) && (
            <p class={styles.saved}>
              <strong>
                Saved <Usd value={saved.costUsd} unknown={saved.attemptsOfUnknownCost} />
              </strong>{' '}
              and {formatCount(saved.turns)} {saved.turns === 1 ? 'turn' : 'turns'}: {savedWords(saved)}, so
              that the model was not asked and paid for it again.
            </p>
          )}
        </div>
      </div>
    </Card>
  );
}

function noReply({ kind, status }: Step): string {
  if (kind === 'activity') return 'An activity of the host has no reply.';
  if (status === 'pending') return 'It has not begun.';
  return kind === 'compaction' ? 'A compaction has no reply: its summary is in the transcript.' : 'None yet.';
}

function savedWords({ adopted, continued }: Step['saved']): string {
  const said = (count: number, what: string) =>
    count === 0 ? [] : [`the work of ${count === 1 ? 'an attempt' : `${count} attempts`} was ${what}`];
  return [...said(adopted, 'committed as it was'), ...said(continued, 'continued')].join(', ');
}

function modelsOf({ spent }: ChainDetails, { step }: Step): string {
  const own = spent.steps.find((one) => one.step === step);
  return Object.keys(own?.byModel ?? {}).join(', ');
}

export function Section({
  title,
  hint,
  children,
}: {
  title: string;
  hint?: string;
  children: ComponentChildren;
}) {
  return (
    <section class={styles.section}>
      <h3>
        {title} {hint !== undefined && <Hint text={hint} />}
      </h3>
      {children}
    </section>
  );
}

function Fact({ label, hint, children }: { label: string; hint?: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>
        {label} {hint !== undefined && <Hint text={hint} />}
      </dt>
      <dd>{children}</dd>
    </div>
  );
}

/** Long text, folded after so many lines until it is asked for. */
export function Folded({ lines, children }: { lines: number; children: ComponentChildren }) {
  const [isWhole, setWhole] = useState(false);
  const [isLong, setLong] = useState(false);
  const measure = (box: HTMLDivElement | null) => {
    if (box && !isWhole) setLong(box.scrollHeight > box.clientHeight + 2);
  };
  return (
    <div class={styles.foldable}>
      <div ref={measure} class={styles.folded} data-whole={isWhole} style={{ '--lines': String(lines) }}>
        {children}
      </div>
      {isLong && <Button onClick={() => setWhole(!isWhole)}>{isWhole ? 'Show less' : 'Show all'}</Button>}
    </div>
  );
}
