import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import { http } from '../../api/client.js';
import { useRead } from '../../api/query.js';
import { Loaded } from '../../ui/states.js';
import styles from './blocks.module.css';

/** Whose entries are shown. */
export const SessionContext = createContext({ projectId: '', sessionId: '' });

/** One entry with what Claude Code wrote; read when it is shown. */
export function useEntry(cursor: string) {
  const { projectId, sessionId } = useContext(SessionContext);
  return useRead(
    ['entry', projectId, sessionId, cursor],
    (signal) =>
      http.GET('/v1/projects/{projectId}/sessions/{sessionId}/entries/{cursor}', {
        params: { path: { projectId, sessionId, cursor } },
        signal,
      }),
    { once: true },
  );
}

/** The images of an entry: only as data, and only of kinds that hold nothing but a picture. */
export function Images({ cursor }: { cursor: string }) {
  const entry = useEntry(cursor);
  return (
    <Loaded read={entry} rows={4}>
      {({ raw }) => {
        const images = imagesOf(raw);
        return (
          <div class={styles.images}>
            {images.map((image, index) =>
              image === null ? (
                <span key={index} class="muted">
                  An image of a kind that is not shown
                </span>
              ) : (
                <img key={index} src={image} alt={`Image ${index + 1} of ${images.length} in this entry`} />
              ),
            )}
          </div>
        );
      }}
    </Loaded>
  );
}

const kinds = ['image/png', 'image/jpeg', 'image/gif', 'image/webp'];

/** The addresses of the images in an entry; null for one that is not shown. */
export function imagesOf(value: unknown): (string | null)[] {
  if (typeof value !== 'object' || value === null) return [];
  if (Array.isArray(value)) return value.flatMap(imagesOf);
  const { type, source, message, content } = value as Record<string, unknown>;
  if (type === 'image') {
    const { media_type: kind, data } = (source ?? {}) as Record<string, unknown>;
    const isShown =
      kinds.includes(String(kind)) && typeof data === 'string' && /^[A-Za-z0-9+/=\s]+$/.test(data);
    return [isShown ? `data:${String(kind)};base64,${data}` : null];
  }
  return [message, content].flatMap(imagesOf);
}
