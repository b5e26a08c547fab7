/** The addresses of the pages. What a page shows is in its address, so that a link shows a colleague the same. */

type Query = Record<string, string | number | null | undefined>;

export interface ChainId {
  projectId: string;
  versionId: string;
  buildId: string;
}

export const links = {
  overview: () => '/',
  projects: (query?: Query) => withQuery('/projects', query),
  project: (projectId: string, query?: Query) =>
    withQuery(`/projects/${encodeURIComponent(projectId)}`, query),
  /** `step` and `attempt` (an attempt id) select what is shown beside the lanes. */
  chain: ({ projectId, versionId, buildId }: ChainId, query?: Query) =>
    withQuery(
      `/projects/${encodeURIComponent(projectId)}/chains/${encodeURIComponent(versionId)}/${encodeURIComponent(buildId)}`,
      query,
    ),
  /** `entry` (an entry's uuid) is scrolled to and marked. */
  transcript: (projectId: string, sessionId: string, query?: Query) =>
    withQuery(`/projects/${encodeURIComponent(projectId)}/sessions/${encodeURIComponent(sessionId)}`, query),
  integrity: (query?: Query) => withQuery('/integrity', query),
  costs: (query?: Query) => withQuery('/costs', query),
  settings: () => '/settings',
};

function withQuery(path: string, query: Query = {}): string {
  const given = Object.entries(query).filter(
    ([, value]) => value !== null && value !== undefined && value !== '',
  );
  const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return search === '' ? path : `${path}?${search}`;
}
