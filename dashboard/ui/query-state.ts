import { useLocation } from 'preact-iso';

/**
 * A part of the page's state that stands in its address, so that the link shows the same. Setting null takes it out. `replace`
 * leaves no entry in the browser's history, which is what typing in a field wants.
 * @example
 * const [status, setStatus] = useQueryState('status');
 */
export function useQueryState(
  name: string,
): [string | null, (value: string | null, options?: { replace?: boolean }) => void] {
  const { path, query, route } = useLocation();
  const set = (value: string | null, { replace = false } = {}) => {
    // Several may be set in the same moment.
    const search = new URLSearchParams(location.search);
    if (value === null || value === '') search.delete(name);
    else search.set(name, value);
    const text = search.toString();
    route(text === '' ? path : `${path}?${text}`, replace);
  };
  return [query[name] ?? null, set];
}
