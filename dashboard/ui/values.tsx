import { signal } from '@preact/signals';
import { useState } from 'preact/hooks';
import { type ChainId, links } from '../links.js';
import styles from './values.module.css';
import { formatAgo, formatDuration, formatTime, formatUsd, shortId } from './format.js';

/** The time now, to the second, shared by all that counts up. */
export const now = signal(Date.now());
setInterval(() => (now.value = Date.now()), 1_000);

/** How long ago an instant is; hovering shows it exactly, local and UTC. */
export function Ago({ at }: { at: string | null }) {
  if (at === null) return <span class="muted">–</span>;
  const date = new Date(at);
  return (
    <time dateTime={at} title={`${formatTime(date)} here, ${at} UTC`} class="nowrap">
      {formatAgo(date.getTime(), now.value)}
    </time>
  );
}

/** An instant, exactly; hovering shows UTC. */
export function At({ at }: { at: string | null }) {
  if (at === null) return <span class="muted">–</span>;
  return (
    <time dateTime={at} title={`${at} UTC`} class="nowrap">
      {formatTime(new Date(at))}
    </time>
  );
}

/** From one instant to another, or to now. */
export function Elapsed({ from, to = null }: { from: string | null; to?: string | null }) {
  if (from === null) return <span class="muted">–</span>;
  const end = to === null ? now.value : Date.parse(to);
  return <span class="nowrap">{formatDuration(end - Date.parse(from))}</span>;
}

/** US dollars; hovering says how many attempts are of unknown cost. */
export function Usd({ value, unknown = 0 }: { value: number | null; unknown?: number }) {
  if (value === null)
    return (
      <span class="muted" title="The cost of this attempt is not known">
        unknown
      </span>
    );
  const said =
    unknown > 0
      ? `US dollars; ${unknown} ${unknown === 1 ? 'attempt is' : 'attempts are'} of unknown cost`
      : 'US dollars';
  return (
    <span class="nowrap" title={said}>
      {formatUsd(value, { unknown })}
    </span>
  );
}

/** A session: its short id, which leads to the transcript, and a button that copies the whole. */
export function Session({ projectId, id }: { projectId: string; id: string | null }) {
  if (id === null) return <span class="muted">none</span>;
  return (
    <span class={styles.session}>
      <a href={links.transcript(projectId, id)} title={id} class="mono">
        {shortId(id)}
      </a>
      <Copy text={id} what="session id" />
    </span>
  );
}

/** A chain, which leads to its page: its project, its version, and the build where it is not called as the version. */
export function ChainLink({ chain, withProject = true }: { chain: ChainId; withProject?: boolean }) {
  const { projectId, versionId, buildId } = chain;
  const label = [
    ...(withProject ? [projectId] : []),
    // Versions are often named after their project.
    versionId.startsWith(`${projectId}-`) ? versionId.slice(projectId.length + 1) : versionId,
    ...(buildId === versionId ? [] : [buildId]),
  ].join(' / ');
  return (
    <a href={links.chain(chain)} title={`${projectId} / ${versionId} / ${buildId}`}>
      {label}
    </a>
  );
}

/** A button that copies a text. */
export function Copy({ text, what }: { text: string; what: string }) {
  const [copied, setCopied] = useState(false);
  return (
    <button
      type="button"
      class={styles.copy}
      aria-label={copied ? 'Copied' : `Copy the ${what}`}
      title={copied ? 'Copied' : `Copy the ${what}`}
      onClick={() =>
        void navigator.clipboard.writeText(text).then(() => {
          setCopied(true);
          setTimeout(() => setCopied(false), 1_500);
        })
      }
    >
      <svg viewBox="0 0 16 16" aria-hidden="true">
        {copied ? <path d="M3 8.5l3.2 3L13 4.5" /> : <path d="M5.5 5.5V3h7.5v7.5h-2.5M3 5.5h7.5V13H3z" />}
      </svg>
    </button>
  );
}

/** A command for the terminal, with a button that copies it. */
export function Command({ text }: { text: string }) {
  return (
    <span class={styles.command}>
      <code>
        {text.split(/( )/).map((part, index) =>
          part === ' ' ? (
            part
          ) : (
            <span key={index} class={styles.word}>
              {part}
            </span>
          ),
        )}
      </code>
      <Copy text={text} what="command" />
    </span>
  );
}
