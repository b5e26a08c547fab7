import { links } from '../links.js';
import { Page } from '../ui/page.js';
import { Empty } from '../ui/states.js';

export function NotFound() {
  return (
    <Page title="There is no such page">
      <Empty title={location.pathname}>
        Go to the <a href={links.overview()}>overview</a> or search the{' '}
        <a href={links.projects()}>projects</a>.
      </Empty>
    </Page>
  );
}
