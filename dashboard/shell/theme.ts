import { effect, signal } from '@preact/signals';

export const themes = ['system', 'light', 'dark'] as const;
export type Theme = (typeof themes)[number];

const key = 'session-chain.theme';
const systemIsDark = matchMedia('(prefers-color-scheme: dark)');
const isDark = signal(systemIsDark.matches);
systemIsDark.addEventListener('change', ({ matches }) => (isDark.value = matches));

export const theme = signal<Theme>(themes.find((name) => name === stored()) ?? 'system');

effect(() => {
  const dark = theme.value === 'system' ? isDark.value : theme.value === 'dark';
  document.documentElement.dataset['theme'] = dark ? 'dark' : 'light';
});

export function chooseTheme(name: Theme): void {
  theme.value = name;
  try {
    localStorage.setItem(key, name);
  } catch {
    // A browser that keeps nothing forgets the theme.
  }
}

function stored(): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}
