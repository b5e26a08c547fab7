import type { ComponentChildren } from 'preact';
import type { Schemas } from '../../api/client.js';
import { Badge, type Tone } from '../../ui/badge.js';
import { Card } from '../../ui/card.js';
import { formatCount, formatShare } from '../../ui/format.js';
import styles from './integrity.module.css';

/** What was read of all parts. */
export interface Findings {
  sync: Schemas['SyncReport'];
  sessions: Schemas['BrokenSessions'];
  stuck: Schemas['ChainPage'];
  ends: Schemas['LateEnds'];
  fenced: Schemas['FencedAttempts'];
}

interface Check {
  /** Of the card below that has the details. */
  id: string;
  name: string;
  tone: Tone;
  verdict: string;
  text: ComponentChildren;
}

/** The verdict first, then each check with what it found. */
export function Checks(found: Findings) {
  const checks = checksOf(found);
  const bad = checks.filter(({ tone }) => tone === 'failed' || tone === 'waiting').length;
  return (
    <Card
      title={bad === 0 ? 'All is as it should be' : `${bad} of ${checks.length} checks found something`}
      hint="Each check compares what Postgres holds. No transcript is read for it."
      flush
    >
      <ul class={styles.checks}>
        {checks.map(({ id, name, tone, verdict, text }) => (
          <li key={id}>
            <Badge tone={tone}>{verdict}</Badge>
            <strong>{tone === 'ok' ? name : <a href={`#${id}`}>{name}</a>}</strong>
            <span class="muted">{text}</span>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function checksOf({ sync, sessions, stuck, ends, fenced }: Findings): Check[] {
  const heads = sessions.sessions.filter(({ isHead, givenUpAt }) => isHead && givenUpAt === null);
  const checkpoints =
    sync.checkpoints.status === 'compared'
      ? `${formatCount(sync.checkpoints.compared)} checkpoints in Redis compared`
      : sync.checkpoints.status === 'off'
        ? 'checkpoints not compared: the server has no REDIS_URL'
        : 'checkpoints not compared: Redis does not answer';
  return [
    {
      id: 'sessions',
      name: 'Sessions',
      tone: heads.length > 0 ? 'failed' : sessions.sessions.length > 0 ? 'quiet' : 'ok',
      verdict: heads.length > 0 ? counted(heads, sessions.nextCursor) : 'ok',
      text:
        heads.length > 0
          ? `${heads.length === 1 ? 'head' : 'heads'} from which no chain can go on`
          : sessions.sessions.length > 0
            ? `every head can be continued; ${counted(sessions.sessions, sessions.nextCursor)} broken sessions need no action`
            : 'every head can be continued, no session is in quarantine',
    },
    {
      id: 'stuck',
      name: 'Progress',
      tone: stuck.chains.length > 0 ? 'waiting' : 'ok',
      verdict: stuck.chains.length > 0 ? counted(stuck.chains, stuck.nextCursor) : 'ok',
      text: stuck.chains.length > 0 ? 'open chains without progress for 30 min' : 'every open chain moves',
    },
    {
      id: 'drifted',
      name: 'Sync',
      tone: sync.drifted.length > 0 ? 'waiting' : 'ok',
      verdict: formatShare(sync.inSync, sync.projects) ?? 'ok',
      text: `${formatCount(sync.inSync)} of ${formatCount(sync.projects)} projects name their head in the newest version${sync.withoutVersion > 0 ? `, ${formatCount(sync.withoutVersion)} with a head have no version` : ''}; ${checkpoints}`,
    },
    {
      id: 'ends',
      name: 'Ends',
      tone: ends.ends.length > 0 ? 'waiting' : 'ok',
      verdict: ends.ends.length > 0 ? counted(ends.ends, ends.nextCursor) : 'ok',
      text:
        ends.ends.length > 0
          ? 'ends of chains that the host has not been told of for more than a minute'
          : 'the host was told of every end',
    },
    {
      id: 'fenced',
      name: 'Fence',
      tone: fenced.attempts.length > 0 ? 'quiet' : 'ok',
      verdict: fenced.attempts.length > 0 ? counted(fenced.attempts, fenced.nextCursor) : 'ok',
      text:
        fenced.attempts.length > 0
          ? 'attempts that could not commit any more; no action needed'
          : 'no attempt lost its right to go on',
    },
  ];
}

function counted(list: readonly unknown[], nextCursor: string | null): string {
  return `${formatCount(list.length)}${nextCursor === null ? '' : '+'}`;
}
