import { useContext, useState } from 'preact/hooks';
import { dataOf, http } from '../../api/client.js';
import { Button } from '../../ui/button.js';
import { formatCount } from '../../ui/format.js';
import { SessionContext } from './images.js';

/** Saves the whole transcript as Claude Code wrote it, an entry a line. */
export function Download() {
  const { projectId, sessionId } = useContext(SessionContext);
  const [read, setRead] = useState<number | null>(null);
  const [hasFailed, setFailed] = useState(false);
  const save = async () => {
    setFailed(false);
    const lines: string[] = [];
    try {
      for (let cursor: string | null | undefined; cursor !== null;) {
        setRead(lines.length);
        const query = { limit: 1_000, maxText: 1, ...(cursor === undefined ? {} : { cursor }) };
        const page = await dataOf(
          http.GET('/v1/projects/{projectId}/sessions/{sessionId}/entries', {
            params: { path: { projectId, sessionId }, query },
          }),
        );
        for (const { raw } of page.entries) lines.push(`${JSON.stringify(raw)}\n`);
        cursor = page.nextCursor;
      }
      const link = document.createElement('a');
      link.href = URL.createObjectURL(new Blob(lines, { type: 'application/jsonl' }));
      link.download = `${sessionId}.jsonl`;
      link.click();
      URL.revokeObjectURL(link.href);
    } catch {
      setFailed(true);
    } finally {
      setRead(null);
    }
  };
  return (
    <Button disabled={read !== null} onClick={() => void save()}>
      {read !== null
        ? `${formatCount(read)} entries read`
        : hasFailed
          ? 'Download failed, try again'
          : 'Download JSONL'}
    </Button>
  );
}
