/** How a report's page looks: system fonts, light and dark, tables that scroll by themselves on a narrow screen. */
export const PAGE_STYLE = `
:root { --paper: #fdfdfb; --ink: #1b1f24; --muted: #57606a; --rule: #d8dee4; --shade: #f3f4f1; --good: #116329; --bad: #b3261e;
  --ours: #0b62c4; --peer: #9aa4b0; --nullbar: #ccd3db;
  --c0: #0b62c4; --c1: #c2410c; --c2: #6b7280; --c3: #15803d; --c4: #9333ea; --c5: #b45309; --c6: #0e7490; --c7: #be185d; --c8: #4d7c0f; --c9: #7c6f64; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --ink: #e6e9ed; --muted: #a0a9b4; --rule: #333a42; --shade: #1c2026; --good: #57c774; --bad: #ff8a80;
  --ours: #5aa9ff; --peer: #66717e; --nullbar: #454d57;
  --c0: #5aa9ff; --c1: #ff9a5c; --c2: #a7b0bb; --c3: #57c774; --c4: #c792ff; --c5: #e6b34d; --c6: #4fc4d8; --c7: #ff85b8; --c8: #a8d24a; --c9: #c4b5a5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 1.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.35rem; margin: 0 0 .5rem; } h2 { font-size: 1.1rem; margin: 2.5rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--rule); }
.facts { list-style: none; margin: 0; padding: 0; color: var(--muted); font-size: .85rem; }
nav { margin-top: 1rem; display: flex; flex-wrap: wrap; gap: .25rem 1rem; } a { color: var(--ours); }
p { margin: .25rem 0 1rem; max-width: 60rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 34rem), 1fr)); gap: 1.5rem; }
figure { margin: 0; min-width: 0; padding: .75rem; background: var(--shade); border-radius: 6px; } figcaption { font-weight: 600; margin-bottom: .5rem; }
.u-legend { color: var(--ink); font-size: .78rem; text-align: left; } .u-legend th, .u-legend td { border: 0; padding: .05rem .35rem; } .u-legend tr { background: none; }
.u-legend .u-marker { width: 26px; height: 3px; }
.uplot { font-family: inherit; } .u-legend.u-inline.u-live th::after { content: ""; }
.scroll { overflow-x: auto; margin-bottom: 1rem; }
table { border-collapse: collapse; font-size: .82rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--muted); padding: .25rem 0; }
main th, main td { text-align: left; padding: .2rem .75rem .2rem 0; vertical-align: top; white-space: nowrap; font-weight: normal; border-bottom: 1px solid var(--rule); }
thead th { color: var(--muted); } main tbody th { color: var(--ink); } main .number { text-align: right; }
.holds { color: var(--good); } .missed { color: var(--bad); font-weight: 600; } .none { color: var(--muted); font-style: italic; white-space: normal; }
table.bars { width: 100%; } table.bars td.bar, table.bars th.bar { width: 45%; min-width: 10rem; } table.bars tbody { border-top: 2px solid var(--rule); } table.bars tr > * { border-bottom: 0; padding-top: .1rem; padding-bottom: .1rem; }
.bar span { display: block; height: .8rem; margin-top: .3rem; border-radius: 0 3px 3px 0; } .ours { background: var(--ours); } .peer { background: var(--peer); } .null { background: var(--nullbar); }
details { margin: .5rem 0; } summary { cursor: pointer; color: var(--ours); }
figure .uplot th, figure .uplot td { border-bottom: 0; white-space: nowrap; }
@media print { details > * { display: block; } }
`;
