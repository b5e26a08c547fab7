import { Component, type ComponentChildren, type ComponentType } from 'preact';
import { lazy } from 'preact-iso';
import { isReachable } from '../api/client.js';
import { links } from '../links.js';
import { Button } from '../ui/button.js';
import { Page } from '../ui/page.js';
import { Empty } from '../ui/states.js';
import { visibleText } from '../ui/visible-text.js';
import styles from './failures.module.css';

/**
 * A page whose code is loaded when it is opened first. Its file has another name in another version of the dashboard: where it
 * cannot be had, the page says to load the new one.
 */
export function lazyPage<Props>(
  load: () => Promise<{ default: ComponentType<Props> }>,
): ComponentType<Props> {
  return lazy(() => load().catch((): { default: ComponentType<Props> } => ({ default: NotLoaded })));
}

function NotLoaded() {
  return isReachable.value ? (
    <Page title="There is a new version of the dashboard">
      <Empty title="The page that you open is of the version before, which the server has no more.">
        <p class={styles.what}>Load it again: what you look at stands in the address.</p>
        <Reload />
      </Empty>
    </Page>
  ) : (
    <Page title="This page could not be loaded">
      <Empty title="The server does not answer.">
        <p class={styles.what}>Load the page again once it is back.</p>
        <Reload />
      </Empty>
    </Page>
  );
}

function Reload() {
  return (
    <Button kind="primary" onClick={() => location.reload()}>
      Load again
    </Button>
  );
}

/** Keeps an unexpected error of a page to that page. `at`: its address; another one is tried afresh. */
export class Failures extends Component<
  { at: string; children: ComponentChildren },
  { error: unknown; at: string }
> {
  override state = { error: null as unknown, at: this.props.at };

  static override getDerivedStateFromProps(props: { at: string }, state: { at: string }) {
    return state.at === props.at ? null : { error: null, at: props.at };
  }

  static override getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override componentDidCatch(error: unknown) {
    reportError(error);
  }

  override render() {
    const { error } = this.state;
    if (error === null) return <>{this.props.children}</>;
    return (
      <Page title="This page met an unexpected error">
        <Empty title={error instanceof Error ? visibleText(error.message) : 'It is no error object.'}>
          <p class={styles.what}>
            The data is as it was. Load the page again, or go to the <a href={links.overview()}>overview</a>;
            the console of the browser has the details.
          </p>
          <Reload />
        </Empty>
      </Page>
    );
  }
}
