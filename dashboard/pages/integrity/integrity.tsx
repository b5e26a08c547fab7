import { Page } from '../../ui/page.js';

export default function Integrity() {
  return <Page title="Integrity">{null}</Page>;
}
