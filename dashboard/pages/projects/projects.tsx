import { Page } from '../../ui/page.js';

export default function Projects() {
  return <Page title="Projects">{null}</Page>;
}
