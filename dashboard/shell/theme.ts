import { effect, signal } from '@preact/signals';

const names = ['system', 'light', 'dark'] as const;
export type Theme = (typeof names)[number];

const key = 'session-chain.theme';
const systemIsDark = matchMedia('(prefers-color-scheme: dark)');
const isDark = signal(systemIsDark.matches);
systemIsDark.addEventListener('change', ({ matches }) => (isDark.value = matches));

export const theme = signal<Theme>(names.find((name) => name === stored()) ?? 'system');

effect(() => {
  const dark = theme.value === 'system' ? isDark.value : theme.value === 'dark';
  document.documentElement.dataset['theme'] = dark ? 'dark' : 'light';
});

export function nextTheme(): void {
  theme.value = names[(names.indexOf(theme.value) + 1) % names.length] ?? 'system';
  try {
    localStorage.setItem(key, theme.value);
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
