import { QueryClient, keepPreviousData, useInfiniteQuery, useQuery } from '@tanstack/preact-query';
import { ProblemError, dataOf } from './client.js';

/** What was read, shared by all pages. A page is refreshed by events (`live.ts`), and by reading again when one looks at it again. */
export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 2_000,
      gcTime: 5 * 60_000,
      retry: (failures, error) =>
        failures < 3 && (!(error instanceof ProblemError) || error.problem.retryable),
      // The banner says that the server does not answer; asking goes on.
      networkMode: 'always',
    },
  },
});

export interface ReadOptions {
  /** Reads again after so many ms; default: only on events and when the window is looked at again. */
  everyMs?: number;
  /** Whether events refresh it; default: yes. Without them `everyMs` does. */
  onEvents?: boolean;
  enabled?: boolean;
  /** What is read never changes: no event and no look reads it again. */
  once?: boolean;
}

/**
 * Reads from the API. The key begins with a name; what belongs to a project has the project's id as its second part, so that
 * an event of the project refreshes it. While a new key is read, the data of the former stays.
 * @example
 * const project = useRead(['project', id], (signal) =>
 *   http.GET('/v1/projects/{projectId}', { params: { path: { projectId: id } }, signal }));
 */
export function useRead<Data>(
  key: readonly [name: string, ...unknown[]],
  call: (signal: AbortSignal) => Promise<{ data?: Data; error?: unknown; response: Response }>,
  { everyMs, onEvents = true, enabled = true, once = false }: ReadOptions = {},
) {
  return useQuery<Data>({
    queryKey: key,
    queryFn: ({ signal }) => dataOf(call(signal)),
    placeholderData: keepPreviousData,
    meta: { onEvents },
    enabled,
    ...(once ? { staleTime: 'static' as const } : {}),
    ...(everyMs === undefined ? {} : { refetchInterval: everyMs }),
  });
}

/**
 * Reads a list page by page: `more` reads the next one, and is null once there is none. What happens meanwhile reads again all
 * pages that are shown.
 * @example
 * const chains = usePages(['chains', projectId], (cursor, signal) =>
 *   http.GET('/v1/chains', { params: { query: { projectId, ...cursor } }, signal }));
 * <Loaded read={chains}>{(pages) => pages.flatMap(({ chains }) => chains)…}</Loaded>
 */
export function usePages<Page extends { nextCursor: string | null }>(
  key: readonly [name: string, ...unknown[]],
  call: (
    cursor: { cursor?: string },
    signal: AbortSignal,
  ) => Promise<{ data?: Page; error?: unknown; response: Response }>,
) {
  const { data, error, isPending, refetch, hasNextPage, isFetchingNextPage, fetchNextPage } =
    useInfiniteQuery({
      queryKey: key,
      queryFn: ({ pageParam, signal }) =>
        dataOf(call(pageParam === null ? {} : { cursor: pageParam }, signal)),
      initialPageParam: null as string | null,
      getNextPageParam: ({ nextCursor }: Page) => nextCursor,
    });
  return {
    ...{ data: data?.pages, error, isPending, refetch },
    more: hasNextPage ? () => void fetchNextPage() : null,
    isReadingMore: isFetchingNextPage,
  };
}
