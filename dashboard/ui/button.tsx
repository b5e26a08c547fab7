import type { ComponentChildren } from 'preact';
import styles from './button.module.css';

export interface ButtonProps {
  onClick?: () => void;
  /** `primary`: what the page is for; `danger`: what cannot be taken back. */
  kind?: 'plain' | 'primary' | 'danger';
  type?: 'button' | 'submit';
  disabled?: boolean;
  /** Of a button that is switched on or off. */
  pressed?: boolean;
  label?: string;
  children: ComponentChildren;
}

export function Button({ kind = 'plain', type = 'button', pressed, label, ...rest }: ButtonProps) {
  return (
    <button
      type={type}
      class={styles.button}
      data-kind={kind}
      aria-pressed={pressed}
      aria-label={label}
      {...rest}
    />
  );
}

/** A link that looks like a button. */
export function ButtonLink({
  href,
  children,
  external = false,
}: {
  href: string;
  children: ComponentChildren;
  external?: boolean;
}) {
  return (
    <a class={styles.button} href={href} {...(external ? { target: '_blank', rel: 'noreferrer' } : {})}>
      {children}
    </a>
  );
}
