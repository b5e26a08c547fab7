import { useLocation } from 'preact-iso';
import { links } from '../../links.js';
import { ButtonLink } from '../../ui/button.js';
import { useQueryState } from '../../ui/query-state.js';
import styles from './costs.module.css';
import { type Period, lastDays, presets } from './period.js';

/** The days and the project, which stand in the address. */
export function Filters({ period }: { period: Period }) {
  const { route } = useLocation();
  const [project, setProject] = useQueryState('project');
  const show = (change: Partial<Period>) => route(links.costs({ ...period, ...change, project }));
  return (
    <form class={styles.filters} onSubmit={(event) => event.preventDefault()}>
      <div class={styles.presets} role="group" aria-label="Days">
        {presets.map(({ days, label }) => {
          const preset = lastDays(days);
          const isShown = preset.since === period.since && preset.until === period.until;
          return (
            <a
              key={days}
              href={links.costs({ ...preset, project })}
              aria-current={isShown ? 'true' : undefined}
            >
              {label}
            </a>
          );
        })}
      </div>
      <label>
        <span>From</span>
        <input
          type="date"
          value={period.since}
          max={period.until}
          onChange={({ currentTarget: { value } }) => value !== '' && show({ since: value })}
        />
      </label>
      <label>
        <span>to</span>
        <input
          type="date"
          value={period.until}
          min={period.since}
          onChange={({ currentTarget: { value } }) => value !== '' && show({ until: value })}
        />
      </label>
      <label>
        <span>Project</span>
        <input
          type="search"
          value={project ?? ''}
          placeholder="all"
          size={14}
          spellcheck={false}
          onChange={({ currentTarget: { value } }) => setProject(value.trim())}
        />
      </label>
      {project !== null && <ButtonLink href={links.costs({ ...period })}>All projects</ButtonLink>}
    </form>
  );
}
