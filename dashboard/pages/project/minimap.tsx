import type { RefObject } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Geometry } from './geometry.js';
import type { Layout } from './layout.js';
import styles from './minimap.module.css';
import { isBroken } from './words.js';

/** The whole lineage in one strip: which part is shown, and the way to another one with the pointer. */
export function MiniMap({
  layout,
  geometry,
  scale,
  scroller,
  headSessionId,
}: {
  layout: Layout;
  geometry: Geometry;
  /** How many pixels of the page one of the picture is. */
  scale: number;
  scroller: RefObject<HTMLDivElement>;
  headSessionId: string | null;
}) {
  const strip = useRef<SVGSVGElement>(null);
  const [shown, setShown] = useState({ left: 0, width: 1 });
  const { width } = geometry;
  useEffect(() => {
    const box = scroller.current;
    if (!box) return undefined;
    const all = width * scale;
    const look = () => setShown({ left: box.scrollLeft / all, width: box.clientWidth / all });
    look();
    const sizes = new ResizeObserver(look);
    sizes.observe(box);
    box.addEventListener('scroll', look, { passive: true });
    return () => {
      sizes.disconnect();
      box.removeEventListener('scroll', look);
    };
  }, [width, scale]);
  if (shown.width >= 1) return null;
  const goTo = (clientX: number) => {
    const [box, rect] = [scroller.current, strip.current?.getBoundingClientRect()];
    if (box && rect) box.scrollLeft = ((clientX - rect.left) / rect.width - shown.width / 2) * width * scale;
  };
  const percent = (x: number) => `${(100 * x) / width}%`;
  return (
    <svg
      ref={strip}
      class={styles.map}
      aria-hidden="true"
      onPointerDown={(event) => {
        strip.current?.setPointerCapture(event.pointerId);
        goTo(event.clientX);
      }}
      onPointerMove={(event) => event.buttons > 0 && goTo(event.clientX)}
    >
      {layout.bands.map((band) => {
        const { left, width: wide } = geometry.bandOf(band);
        return (
          <rect
            key={`${band.chain.chainId} ${band.first}`}
            class={styles.band}
            data-status={band.chain.status}
            x={percent(left)}
            width={percent(wide)}
            y="2"
            height="24"
            rx="1"
          />
        );
      })}
      {layout.cells.map((cell) => (
        <circle
          key={cell.id}
          class={styles.dot}
          data-tone={
            cell.nodes.some(({ sessionId }) => sessionId === headSessionId)
              ? 'head'
              : cell.nodes.some(({ condition, seq }) => seq !== null && isBroken(condition))
                ? 'broken'
                : cell.row === 0
                  ? 'line'
                  : 'beside'
          }
          cx={percent(geometry.x[cell.column] ?? 0)}
          cy={9 + Math.min(cell.row, 3) * 4.5}
          r={cell.row === 0 ? 2 : 1.2}
        />
      ))}
      <rect
        class={styles.window}
        x={`${100 * shown.left}%`}
        width={`${100 * shown.width}%`}
        y="0.5"
        height="27"
        rx="3"
      />
    </svg>
  );
}
