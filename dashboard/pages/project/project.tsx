import { Page } from '../../ui/page.js';

export default function Project({ projectId }: { projectId: string }) {
  return <Page title={projectId}>{null}</Page>;
}
