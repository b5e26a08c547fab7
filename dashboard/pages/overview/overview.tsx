import { Page } from '../../ui/page.js';

export default function Overview() {
  return <Page title="Overview">{null}</Page>;
}
