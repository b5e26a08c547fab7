import styles from './shell.module.css';

/** Icons of the shell, as lines of 16 by 16. */
const lines = {
  overview: 'M2 9h3l2-5 3 8 2-3h2',
  projects: 'M2 4.5h4.5l1.5 2h6v6.5h-12z',
  integrity: 'M8 2l5.5 2v4c0 3-2.2 5-5.5 6-3.3-1-5.5-3-5.5-6V4zM5.5 8l2 2 3.2-3.5',
  costs: 'M2.5 13.5v-5M6.2 13.5v-8M9.9 13.5v-4M13.5 13.5v-11',
  settings: 'M2 4.5h6M12 4.5h2M2 11.5h2M8 11.5h6M10 2.7v3.6M6 9.7v3.6',
  system: 'M2 3h12v8H2zM6 14h4M8 11v3',
  light:
    'M8 5.2a2.8 2.8 0 1 1 0 5.6a2.8 2.8 0 1 1 0-5.6zM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3.05 3.05l1.05 1.05M11.9 11.9l1.05 1.05M12.95 3.05l-1.05 1.05M4.1 11.9l-1.05 1.05',
  dark: 'M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7z',
  menu: 'M2 4h12M2 8h12M2 12h12',
  close: 'M3.5 3.5l9 9M12.5 3.5l-9 9',
  out: 'M9.5 5V2.5h-7v11h7V11M6 8h8.5M12 5.5L14.5 8 12 10.5',
} as const;

export type IconName = keyof typeof lines;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg
      viewBox="0 0 16 16"
      class={styles.icon}
      fill="none"
      stroke="currentColor"
      stroke-width="1.5"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      <path d={lines[name]} />
    </svg>
  );
}
