import {
  InMemorySessionStore,
  type SessionKey,
  type SessionStoreEntry,
} from '@anthropic-ai/claude-agent-sdk';
import type { SessionId } from '../../contracts/ids.js';

/** The store of a test; the key of the project, which comes from the folder, does not count. */
export class CopyingStore extends InMemorySessionStore {
  override async append(key: SessionKey, entries: SessionStoreEntry[]): Promise<void> {
    await super.append({ ...key, projectKey: '' }, entries);
  }
  override async load(key: SessionKey): Promise<SessionStoreEntry[] | null> {
    return await super.load({ ...key, projectKey: '' });
  }
  async appendToCopy(key: SessionKey, base: SessionId, entries: SessionStoreEntry[]): Promise<void> {
    const copied = (await this.load({ ...key, sessionId: base })) ?? [];
    const own = copied.map((entry) =>
      'sessionId' in entry ? { ...entry, sessionId: key.sessionId } : entry,
    );
    await this.append(key, [...own, ...entries]);
  }
}
