/**
 * The plots of a report, as they run in the reader's browser: `drawPlots` is put into the page as its own text, so it uses nothing from around it.
 * Cost against size, both axes logarithmic, a line a contender; colours follow the page's, light or dark.
 */

/** One curve: what workloads of one `curve` came to. */
export interface Plot {
  readonly id: string;
  readonly title: string;
  /** what the x axis counts */
  readonly of: string;
  readonly yLabel: string;
  readonly xs: readonly number[];
  readonly lines: readonly { readonly name: string; readonly color: number; /** lengths of line and gap; none is a whole line */ readonly dash: readonly number[]; readonly ys: readonly (number | null)[] }[];
}

/** Of the DOM, what the plots need: this package is compiled without it. */
interface PageElement {
  readonly clientWidth: number;
  replaceChildren(): void;
}
interface Page {
  readonly document: { getElementById(id: string): PageElement | null; readonly documentElement: unknown };
  getComputedStyle(element: unknown): { getPropertyValue(name: string): string };
  matchMedia(query: string): { addEventListener(type: 'change', listener: () => void): void };
  addEventListener(type: 'resize', listener: () => void): void;
  requestAnimationFrame(callback: () => void): number;
}
type UPlot = new (options: object, data: readonly (readonly (number | null)[])[], target: PageElement) => { readonly root: unknown };

export function drawPlots(page: Page, uPlot: UPlot, plots: readonly Plot[]): void {
  const color = (name: string): string => page.getComputedStyle(page.document.documentElement).getPropertyValue(name).trim();
  const sized = (n: number): string => {
    for (const [unit, name] of [[2 ** 40, 'TiB'], [2 ** 30, 'GiB'], [2 ** 20, 'MiB'], [2 ** 10, 'KiB']] as const) if (n >= unit) return `${Number((n / unit).toPrecision(3))} ${name}`;
    return `${n} B`;
  };
  const counted = (n: number): string => (n >= 1e6 ? `${n / 1e6} M` : n >= 1e4 ? `${n / 1e3} k` : String(n));
  const digits = (n: number): string => (n >= 1e4 ? `${Number((n / 1e3).toPrecision(3))} k` : String(Number(n.toPrecision(3))));

  /** 1, 2 and 5 of each power of ten between the two, or 1 alone where those are many: uPlot's own marks of a logarithmic axis begin at its end, and may have no end. */
  function marks(low: number, high: number): number[] {
    const found: number[] = [];
    const steps = high / low > 1e4 ? [1] : [1, 2, 5];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
      for (const step of steps) {
        const mark = Number(`${step}e${power}`);
        if (mark >= low && mark <= high) found.push(mark);
      }
    }
    return found;
  }

  /** all of the marks have a label, not only powers of the base */
  const kept = (_: unknown, splits: readonly number[]): readonly number[] => splits;

  /** a piece of the line, as CSS has it: its colour, its dashes */
  function swatch(line: Plot['lines'][number] | undefined): string {
    if (line === undefined) return 'none';
    const [on = 0, off = 0] = line.dash;
    const ink = color(`--c${line.color}`);
    return on === 0 ? ink : `repeating-linear-gradient(90deg, ${ink} 0 ${on}px, transparent ${on}px ${on + off}px)`;
  }

  function draw(plot: Plot): unknown {
    const target = page.document.getElementById(plot.id);
    if (target === null) return null;
    target.replaceChildren();
    const words = plot.of === 'bytes' ? sized : counted;
    const axis = { stroke: color('--muted'), grid: { stroke: color('--rule'), width: 1 }, ticks: { stroke: color('--rule'), width: 1 }, font: '12px system-ui, sans-serif', labelFont: '12px system-ui, sans-serif' };
    const ys = plot.lines.flatMap((line) => line.ys.filter((y) => y !== null));
    const room = Math.max(...ys) / Math.min(...ys) < 10 ? 3 : 1.5;
    const [low, high] = [Math.min(...ys) / room, Math.max(...ys) * room];
    const options = {
      width: target.clientWidth,
      height: 260,
      legend: { live: true, markers: { width: 0, fill: (_: unknown, i: number) => swatch(plot.lines[i - 1]) } },
      cursor: { drag: { x: false, y: false } },
      scales: { x: { time: false, distr: 3, log: plot.of === 'bytes' ? 2 : 10 }, y: { distr: 3, log: 10, range: [low, high] } },
      axes: [
        { ...axis, label: plot.of, labelSize: 20, size: 34, splits: () => plot.xs, filter: kept, values: (_: unknown, splits: readonly number[]) => splits.map(words) },
        { ...axis, label: plot.yLabel, labelSize: 20, size: 72, splits: () => marks(low, high), filter: kept, values: (_: unknown, splits: readonly (number | null)[]) => splits.map((y) => (y === null ? '' : digits(y))) },
      ],
      series: [
        { label: plot.of, value: (_: unknown, x: number | null) => (x === null ? '' : words(x)) },
        ...plot.lines.map((line) => ({
          label: line.name, stroke: color(`--c${line.color}`), width: line.name === 'walker' ? 2.5 : 1.5, spanGaps: true, points: { show: true, size: 6, fill: color(`--c${line.color}`) },
          ...(line.dash.length > 0 ? { dash: line.dash } : {}), value: (_: unknown, y: number | null) => (y === null ? '' : `${digits(y)} ns`),
        })),
      ],
    };
    return new uPlot(options, [plot.xs, ...plot.lines.map((line) => line.ys)], target);
  }

  function all(): void {
    for (const plot of plots) draw(plot);
  }
  let isAsked = false;
  const again = (): void => {
    if (isAsked) return;
    isAsked = true;
    page.requestAnimationFrame(() => {
      isAsked = false;
      all();
    });
  };
  all();
  page.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', again);
  page.addEventListener('resize', again);
}
