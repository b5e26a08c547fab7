import type { ComponentChildren } from 'preact';
import type { Schemas } from '../../api/client.js';
import { links } from '../../links.js';
import { Badge, Status } from '../../ui/badge.js';
import { Hint } from '../../ui/card.js';
import { formatCompact, formatCount, formatShare } from '../../ui/format.js';
import { Text } from '../../ui/text.js';
import { Ago, Elapsed, Session, Usd } from '../../ui/values.js';
import styles from './facts.module.css';

type SessionFacts = Schemas['Session'];

const conditions = {
  whole: ['ok', 'The transcript is whole: a step can continue from it'],
  hole: ['failed', 'Entries of the transcript are missing: no step continues from it'],
  quarantined: ['failed', 'A step could not load the transcript: no step continues from it'],
  archived: ['quiet', 'The transcript is in the archive alone: a step that needs it restores it first'],
  lost: ['failed', 'The transcript was here and is no longer'],
  unknown: ['quiet', 'Its transcript was never stored here'],
} as const;

/** What wrote a session, what it came from and what came from it, and what that cost. */
export function Facts({ session }: { session: SessionFacts }) {
  const { projectId, parentSessionId, condition, attempt, adoptedBy, forks, transition } = session;
  const usage = attempt?.usage;
  const input = usage ? usage.inputTokens + usage.cacheReadTokens + usage.cacheWriteTokens : null;
  const [tone, said] = conditions[condition];
  return (
    <>
      {attempt?.failure && (
        <div class={styles.failure} role="note">
          <strong>
            <Text text={attempt.failure.message} /> <code>{attempt.failure.code}</code>
          </strong>
          <span>
            <Text text={attempt.failure.remedy} />
          </span>
        </div>
      )}
      {session.quarantineReason !== null && (
        <div class={styles.failure} role="note">
          <strong>
            <Text text={session.quarantineReason} />
          </strong>
          <span>
            <a href={links.integrity({ project: projectId })}>Integrity</a> has the remedy.
          </span>
        </div>
      )}
      <dl class={styles.facts}>
        <Fact label="Written by" hint="The attempt that wrote this session, and what it was part of">
          <Writer session={session} />
        </Fact>
        <Fact label="Continues" hint="The session that it forked: it begins with a copy of it">
          {parentSessionId === null ? (
            <span class="muted">nothing: a fresh session</span>
          ) : (
            <Session projectId={projectId} id={parentSessionId} />
          )}
        </Fact>
        <Fact label="Transcript" hint={`${said}. Entries are those of the main conversation.`}>
          <Badge tone={tone}>{condition}</Badge> {formatCount(session.entries)} entries
          {condition === 'archived' && (
            <code>{`session-chain restore --project ${projectId} --session ${session.sessionId}`}</code>
          )}
        </Fact>
        <Fact label="Context" hint="Tokens in the context of the model at the end of the session">
          {formatCompact(session.contextTokens)} tokens
        </Fact>
        {attempt && (
          <Fact label="Cost" hint="What the attempt itself spent, in US dollars; unknown while it runs">
            {attempt.state === 'running' ? (
              <span class="muted">not known yet</span>
            ) : (
              <Usd value={attempt.costUsd} />
            )}
          </Fact>
        )}
        {usage && input !== null && (
          <Fact
            label="Tokens"
            hint="What the attempt itself sent to the model, the share of it that came from the prompt cache, and what the model wrote"
          >
            {formatCompact(input)} in
            {formatShare(usage.cacheReadTokens, input) !== null &&
              ` (${formatShare(usage.cacheReadTokens, input)} cached)`}
            , {formatCompact(usage.outputTokens)} out
          </Fact>
        )}
        {attempt && (
          <Fact label="Took" hint="From the beginning of the attempt to its end">
            <span>
              <Elapsed from={attempt.startedAt} to={attempt.endedAt} />
              {attempt.turns !== null &&
                `, ${formatCount(attempt.turns)} ${attempt.turns === 1 ? 'turn' : 'turns'}`}
            </span>
          </Fact>
        )}
        {transition && (
          <Fact
            label="Became the head"
            hint="The last transition to this session: its number, and what moved the head"
          >
            <span>
              <a href={links.project(projectId, { seq: transition.seq })}>#{transition.seq}</a> by{' '}
              {transition.source}, <Ago at={transition.at} />
            </span>
          </Fact>
        )}
        {adoptedBy && (
          <Fact
            label="Committed by"
            hint="A later attempt found this session finished, and committed it in place of its own"
          >
            <Session projectId={projectId} id={adoptedBy.sessionId} />
          </Fact>
        )}
        {forks.length > 0 && (
          <Fact label="Continued by" hint="The sessions that forked this one, the newest first">
            <ul class={styles.forks}>
              {forks.slice(0, 5).map(({ sessionId, step }) => (
                <li key={sessionId}>
                  <Session projectId={projectId} id={sessionId} />
                  {step !== null && <span class="muted"> {step}</span>}
                </li>
              ))}
              {forks.length > 5 && (
                <li>
                  <a href={links.project(projectId)}>and {forks.length - 5} more</a>
                </li>
              )}
            </ul>
          </Fact>
        )}
      </dl>
    </>
  );
}

function Writer({ session: { projectId, attempt } }: { session: SessionFacts }) {
  if (!attempt) return <span class="muted">an operation outside the journal</span>;
  const { step, state, versionId, buildId, question, attemptId, attempt: number } = attempt;
  const tries = number > 1 ? `, attempt ${number}` : '';
  const href =
    versionId !== null && buildId !== null
      ? links.chain({ projectId, versionId, buildId }, { step, attempt: attemptId })
      : links.project(projectId, question ? { chat: question.chatId } : {});
  return (
    <>
      <a href={href}>
        {question ? `answer in the chat ${question.chatId}` : step}
        {buildId !== null && ` of ${buildId}`}
        {tries}
      </a>{' '}
      <Status status={state} />
    </>
  );
}

function Fact({ label, hint, children }: { label: string; hint: string; children: ComponentChildren }) {
  return (
    <div class={styles.fact}>
      <dt>
        {label} <Hint text={hint} />
      </dt>
      <dd>{children}</dd>
    </div>
  );
}
