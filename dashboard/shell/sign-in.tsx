import { useState } from 'preact/hooks';
import { isLoggedIn, logInWith } from '../api/client.js';
import { queryClient } from '../api/query.js';
import { Button } from '../ui/button.js';
import { Failed } from '../ui/states.js';
import { Command } from '../ui/values.js';
import styles from './sign-in.module.css';

/** Exchanges a key for a cookie that no script can read. */
export function SignIn() {
  const [error, setError] = useState<unknown>(null);
  const logIn = async (form: HTMLFormElement) => {
    setError(null);
    try {
      const field = form.elements.namedItem('key') as HTMLInputElement;
      await logInWith(field.value.trim());
      isLoggedIn.value = true;
      await queryClient.invalidateQueries();
    } catch (failure) {
      setError(failure);
    }
  };
  return (
    <main class={styles.page}>
      <form
        class={styles.form}
        onSubmit={(event) => {
          event.preventDefault();
          void logIn(event.currentTarget);
        }}
      >
        <img src="/icon.svg" alt="" width="40" height="40" />
        <h1>Session Chain</h1>
        <label>
          Key
          <input name="key" type="password" autocomplete="current-password" required placeholder="sck_…" />
        </label>
        {error !== null && <Failed error={error} />}
        <Button type="submit" kind="primary">
          Sign in
        </Button>
        <p class="muted small">
          A key to read everything is made by
          <Command text="session-chain keys create --name me --scope read" />
          <br />
          <code>npm start</code> prints a link that signs in by itself.
        </p>
      </form>
    </main>
  );
}
