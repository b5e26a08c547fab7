import { Page } from '../../ui/page.js';

export default function Costs() {
  return <Page title="Costs">{null}</Page>;
}
