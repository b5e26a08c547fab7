import { Page } from '../../ui/page.js';

export default function Transcript({ sessionId }: { projectId: string; sessionId: string }) {
  return <Page title={sessionId}>{null}</Page>;
}
