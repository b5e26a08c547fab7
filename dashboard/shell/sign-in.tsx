import { useEffect, useState } from 'preact/hooks';
import { dataOf, http } from '../api/client.js';
import { queryClient } from '../api/query.js';
import { Button } from '../ui/button.js';
import { Failed } from '../ui/states.js';
import { Command } from '../ui/values.js';
import styles from './sign-in.module.css';

/** Exchanges a key for a cookie that no script can read. */
export function SignIn() {
  const [error, setError] = useState<unknown>(null);
  const [isBusy, setBusy] = useState(false);
  useEffect(() => {
    document.title = 'Sign in · Session Chain';
  }, []);
  const signIn = async (form: HTMLFormElement) => {
    setError(null);
    setBusy(true);
    try {
      const field = form.elements.namedItem('key') as HTMLInputElement;
      await dataOf(http.POST('/v1/login', { body: { key: field.value.trim() } }));
      await queryClient.resetQueries();
    } catch (failure) {
      setError(failure);
    } finally {
      setBusy(false);
    }
  };
  return (
    <main class={styles.page}>
      <form
        class={styles.form}
        onSubmit={(event) => {
          event.preventDefault();
          void signIn(event.currentTarget);
        }}
      >
        <header class={styles.head}>
          <img src="/icon.svg" alt="" width="32" height="32" />
          <h1>Session Chain</h1>
        </header>
        {isOfUsedLink() && (
          <p class={styles.notice} role="status">
            This link does not sign in any more: it was used already, is older than ten minutes, or the server
            has been started again. <code>npm start</code> and <code>session-chain keys create</code> make new
            ways in.
          </p>
        )}
        <label>
          Key
          <input
            name="key"
            type="password"
            autocomplete="current-password"
            required
            placeholder="sck_…"
            autofocus
          />
        </label>
        {error !== null && <Failed error={error} />}
        <Button type="submit" kind="primary" disabled={isBusy}>
          Sign in
        </Button>
        <footer class={styles.help}>
          <span>A key that may read everything is made by</span>
          <Command text="session-chain keys create --name me --scope read" />
          <span>The browser keeps a cookie in its place, for 12 hours.</span>
        </footer>
      </form>
    </main>
  );
}

/** The server answers a link whose code is not valid with this page. */
function isOfUsedLink(): boolean {
  return location.pathname === '/login' && new URLSearchParams(location.search).has('code');
}
