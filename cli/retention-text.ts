import type {
  ProjectRetained,
  RetentionPolicy,
  RetentionRun,
  RetentionRunState,
  RetentionSchedule,
  RetentionStatus,
} from '../client/main.js';
import { facts, formatBytes, formatMinute, tableWithNotes, wrapped } from './format.js';

/** What a run did, or would do, project by project, and by which policy. */
export function runText(run: RetentionRun, width: number): string {
  const { dryRun, policy, projects, total, failure } = run;
  const rest = total.projects - projects.length;
  const figures = dryRun
    ? ['move', 'archive', 'drop', 'frees', 'details']
    : ['moved', 'archived', 'dropped', 'freed', 'details'];
  return [
    total.projects === 0
      ? `Nothing ${dryRun ? 'is' : 'was'} due.`
      : tableWithNotes(
          ['project', ...figures],
          [
            ...projects.map((one) => ({ cells: cellsOf(one.projectId, one), notes: notesOf(one, dryRun) })),
            ...(projects.length === 1 && rest === 0 ? [] : [{ cells: cellsOf('(all)', total), notes: [] }]),
          ],
          { elastic: ['project'], rightAligned: figures, width },
        ),
    ...(rest > 0 ? [`${rest} more projects are only in the sum.`] : []),
    ...(failure ? ['', wrapped(`The run stopped early: ${failure.message} ${failure.remedy}`, width)] : []),
    ...(dryRun ? ['', wrapped(whyText(policy), width)] : []),
  ].join('\n');
}

type Figures = Omit<ProjectRetained, 'projectId' | 'leftAlone' | 'failure'>;

function cellsOf(name: string, figures: Figures): string[] {
  const { transitions, archivedSessions, droppedSessions, freedBytes, details } = figures;
  return [
    name,
    ...[transitions, archivedSessions, droppedSessions].map(String),
    formatBytes(freedBytes),
    String(details),
  ];
}

/** Why retention leaves a project alone. */
export const reasons: Record<NonNullable<ProjectRetained['leftAlone']>, string> = {
  hold: 'on legal hold: all of it stays',
  restored: 'restored a short while ago: all of it stays',
  being_erased: 'being erased',
  host_tables: 'the tables are yours: their rows stay until SESSION_CHAIN_RETENTION_HOST_TABLES=1',
  no_archive: 'no archive is configured (SESSION_CHAIN_ARCHIVE): only transitions move',
};

function notesOf({ leftAlone, failure }: ProjectRetained, dryRun: boolean): string[] {
  return [
    ...(leftAlone === null ? [] : [reasons[leftAlone]]),
    ...(failure ? [`${dryRun ? 'not known' : 'given up'} (${failure.code}): ${failure.message}`] : []),
  ];
}

function whyText(policy: RetentionPolicy): string {
  const { transitionsDays, transcriptsDays, dropDays, detailsDays, archive } = policy;
  return [
    `move: transitions older than ${transitionsDays} days, to session_chain.session_transitions_archive; the newest of a project stays.`,
    ...(archive === null
      ? ['No archive is configured (SESSION_CHAIN_ARCHIVE), so nothing else goes.']
      : [
          `archive: sessions without an entry for ${transcriptsDays} days that no head, version, open chain, chat or attempt needs, to ${archive}.`,
          `drop: sessions that were archived ${dropDays} days ago and that nothing needs.`,
          `details: failed attempts, metrics (rolled up per day) and briefs of chains that ended ${detailsDays} days ago.`,
        ]),
  ].join('\n');
}

export function statusText(
  { schedule, running, lastRun, policies, parts }: RetentionStatus,
  width: number,
): string {
  const { verified, planned, bytes, lastVerifiedAt } = parts;
  return facts(
    [
      ...scheduleFacts(schedule),
      ...running.map((run) => ['running', runningText(run)] as const),
      ['last run', lastRun ? lastText(lastRun) : 'none that Temporal still knows', 'prose'],
      ...(policies.length === 0
        ? ([['policy', 'not known: no worker is there']] as const)
        : policies.map(
            ({ policy, workers }) =>
              [
                'policy',
                `${policyText(policy)}${policies.length > 1 ? ` (${workers.join(', ')})` : ''}`,
                'prose',
              ] as const,
          )),
      [
        'archive',
        `${verified} file${verified === 1 ? '' : 's'}, ${formatBytes(bytes)}${lastVerifiedAt ? `, the last of ${formatMinute(lastVerifiedAt)}` : ''}${planned > 0 ? `; ${planned} begun and not read back yet` : ''}`,
        'prose',
      ],
    ],
    { width },
  );
}

type Facts = Parameters<typeof facts>[0];

export function scheduleFacts(schedule: RetentionSchedule | null): Facts {
  if (!schedule) return [['schedule', 'none; install one: session-chain retention install']];
  const { every, paused, nextAt, missed } = schedule;
  return [
    ['schedule', `${every}${paused ? '; paused' : ''}`],
    ['next run', nextAt ? formatMinute(nextAt) : null],
    ['missed', missed > 0 ? `${missed} times, because Temporal was away for too long` : null],
  ];
}

function runningText({ dryRun, projectId, startedAt }: RetentionRunState): string {
  return `since ${formatMinute(startedAt)}${projectId === null ? '' : `, of ${projectId}`}${dryRun ? ', a dry run' : ''}`;
}

export function lastText({ endedAt, result, failure }: RetentionRunState): string {
  const when = endedAt ? `${formatMinute(endedAt)}: ` : '';
  if (!result) return `${when}failed (${failure?.code ?? 'INTERNAL'}): ${failure?.message ?? ''}`;
  const { projects, failed, transitions, archivedSessions, droppedSessions, freedBytes, details } =
    result.total;
  return `${when}${projects} project${projects === 1 ? '' : 's'}; moved ${transitions} transitions, archived ${archivedSessions} sessions, dropped ${droppedSessions} (${formatBytes(freedBytes)}), ${details} details${failed > 0 ? `; gave up on ${failed} of them` : ''}${failure ? `; stopped early (${failure.code}): ${failure.message}` : ''}`;
}

/** A policy in one line. */
export function policyText(policy: RetentionPolicy): string {
  const { transitionsDays, transcriptsDays, dropDays, detailsDays, hostTables, archive } = policy;
  const hot = `transitions stay ${transitionsDays} days in the hot table`;
  return archive === null
    ? `${hot}; no archive, so nothing else goes${hostTables ? '; host tables included' : ''}`
    : `${hot}; transcripts are archived after ${transcriptsDays} days and dropped ${dropDays} days later, details after ${detailsDays} days; to ${archive}${hostTables ? '; host tables included' : ''}`;
}
