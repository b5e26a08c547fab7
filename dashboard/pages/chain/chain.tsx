import type { ChainId } from '../../links.js';
import { Page } from '../../ui/page.js';

export default function Chain({ projectId, versionId, buildId }: ChainId) {
  return <Page title={`${projectId} ${versionId} ${buildId}`}>{null}</Page>;
}
