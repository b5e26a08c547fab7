import { Page } from '../../ui/page.js';

export default function Settings() {
  return <Page title="Settings">{null}</Page>;
}
