import {
  type VirtualizerOptions,
  Virtualizer,
  observeWindowOffset,
  observeWindowRect,
  windowScroll,
} from '@tanstack/virtual-core';
import { useEffect, useLayoutEffect, useReducer, useState } from 'preact/hooks';

type Options = Omit<
  VirtualizerOptions<Window, HTMLElement>,
  'getScrollElement' | 'scrollToFn' | 'observeElementRect' | 'observeElementOffset' | 'onChange'
>;

/** A long list of which only what is in sight is there; the window scrolls it. */
export function useWindowVirtualizer(options: Options): Virtualizer<Window, HTMLElement> {
  const [, render] = useReducer<number, void>((times) => times + 1, 0);
  const all: VirtualizerOptions<Window, HTMLElement> = {
    ...options,
    getScrollElement: () => window,
    observeElementRect: observeWindowRect,
    observeElementOffset: observeWindowOffset,
    scrollToFn: windowScroll,
    initialOffset: () => window.scrollY,
    onChange: () => render(),
  };
  const [virtualizer] = useState(() => new Virtualizer(all));
  virtualizer.setOptions(all);
  useEffect(() => virtualizer._didMount(), [virtualizer]);
  useLayoutEffect(() => virtualizer._willUpdate());
  return virtualizer;
}
