// Places for a graph that nobody has drawn: a column per layer, in as many rows as make it look like a page. Pure.

export interface Arrow {
  source: string;
  target: string;
}

interface Size {
  width: number;
  height: number;
  gap: number;
}

/** Width to height of a drawing that fits a screen's pane. */
const RATIO = 1.9;

/** Nodes by the longest way that leads to them: whatever a node waits for stands in an earlier layer. */
export function layersOf(ids: readonly string[], arrows: readonly Arrow[]): string[][] {
  const known = new Set(ids);
  const after = new Map<string, string[]>(ids.map((id) => [id, []]));
  const waits = new Map<string, number>(ids.map((id) => [id, 0]));
  for (const { source, target } of arrows) {
    if (!known.has(source) || !known.has(target) || source === target) continue;
    after.get(source)?.push(target);
    waits.set(target, (waits.get(target) ?? 0) + 1);
  }
  const layers: string[][] = [];
  let layer = ids.filter((id) => waits.get(id) === 0);
  const placed = new Set<string>();
  while (layer.length) {
    layers.push(layer);
    const next: string[] = [];
    for (const id of layer) {
      placed.add(id);
      for (const target of after.get(id) ?? []) {
        const left = (waits.get(target) ?? 0) - 1;
        waits.set(target, left);
        if (left === 0) next.push(target);
      }
    }
    layer = next;
  }
  const circling = ids.filter((id) => !placed.has(id)); // a fault that validation names; they are shown all the same
  return circling.length ? [...layers, circling] : layers;
}

/** Where the layers' nodes stand: side by side, and in a further band below where that would be too wide. */
export function placeLayers(layers: readonly (readonly string[])[], size: Size): Map<string, { x: number; y: number }> {
  const stepX = size.width + 2 * size.gap;
  const stepY = size.height + size.gap;
  const perBand = bandLength(layers, stepX, stepY);
  const places = new Map<string, { x: number; y: number }>();
  let top = 0;
  for (let first = 0; first < layers.length; first += perBand) {
    const band = layers.slice(first, first + perBand);
    const rows = Math.max(...band.map((ids) => ids.length));
    band.forEach((ids, column) => {
      ids.forEach((id, row) => {
        places.set(id, { x: column * stepX, y: (top + row + (rows - ids.length) / 2) * stepY });
      });
    });
    top += rows + 1 / 2;
  }
  return places;
}

/** Layers per band for which the whole comes closest to RATIO. */
function bandLength(layers: readonly (readonly string[])[], stepX: number, stepY: number): number {
  let best = Math.max(1, layers.length);
  let distance = Number.POSITIVE_INFINITY;
  for (let length = Math.min(3, layers.length); length <= layers.length; length += 1) {
    let rows = 0;
    for (let first = 0; first < layers.length; first += length)
      rows += Math.max(...layers.slice(first, first + length).map((ids) => ids.length)) + (first ? 1 / 2 : 0);
    const off = Math.abs(Math.log((length * stepX) / (rows * stepY) / RATIO));
    if (off < distance) [best, distance] = [length, off];
  }
  return Math.max(1, best);
}
