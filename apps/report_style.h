#pragma once

namespace frcnn::apps {

/// Style sheet of report.html: readable on phones and wide screens, light and dark.
inline constexpr const char* kReportStyle = R"css(
:root { --bg:#ffffff; --card:#f6f7f9; --text:#1b1f24; --muted:#5d6673; --line:#e1e5ea;
  --c1:#2563eb; --c2:#ea580c; --c3:#16a34a; --c4:#9333ea; --c5:#0891b2; --c6:#be123c; }
@media (prefers-color-scheme: dark) { :root { --bg:#14171b; --card:#1e2227; --text:#e7eaee;
  --muted:#9aa4b1; --line:#323941; --c1:#60a5fa; --c2:#fb923c; --c3:#4ade80; --c4:#c084fc;
  --c5:#22d3ee; --c6:#fb7185; } }
* { box-sizing:border-box; }
body { margin:0; background:var(--bg); color:var(--text);
  font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif; }
main { max-width:960px; margin:0 auto; padding:32px 20px 64px; }
h1 { font-size:1.7rem; line-height:1.2; margin:0; overflow-wrap:anywhere; }
h2 { font-size:1.2rem; margin:40px 0 8px; padding-top:16px; border-top:1px solid var(--line); }
nav { display:flex; flex-wrap:wrap; gap:4px 16px; margin-top:20px; font-size:.9rem; }
a { color:var(--c1); text-decoration:none; } a:hover { text-decoration:underline; }
.source { overflow-wrap:anywhere; margin:4px 0; }
code { font-size:.92em; }
.words td:last-child { text-align:left; overflow-wrap:anywhere; }
.words td:first-child { color:var(--muted); white-space:nowrap; }
.columns svg.wide { display:none; } .columns svg.narrow { display:block; }
.bars { display:grid; grid-auto-flow:column; grid-auto-columns:1fr; gap:6px; margin-top:8px;
  font-size:.75rem; text-align:center; color:var(--muted); font-variant-numeric:tabular-nums; }
.n { display:inline-block; min-width:4.8em; white-space:nowrap; } .facts + .scroll { margin-top:16px; }
.scroll code, .commands { overflow-wrap:anywhere; } .commands { white-space:pre-wrap; }
.bars span, .bars b { display:block; line-height:1.35; font-weight:600; }
.bars span { font-weight:400; }
.stand { height:120px; display:flex; align-items:flex-end; justify-content:center; gap:2px;
  border-bottom:1px solid var(--line); }
.stand i { width:38%; border-radius:3px 3px 0 0; }
details { margin:12px 0; }
.note { color:var(--muted); margin:4px 0 12px; font-size:.9rem; }
.facts { display:grid; grid-template-columns:repeat(auto-fit,minmax(140px,1fr)); gap:12px;
  margin-top:20px; }
.fact { background:var(--card); border-radius:10px; padding:12px 14px; }
.fact b { display:block; font-size:1.35rem; font-variant-numeric:tabular-nums; }
.fact span { color:var(--muted); font-size:.8rem; }
.scroll { overflow-x:auto; }
table { border-collapse:collapse; width:100%; font-size:.92rem; font-variant-numeric:tabular-nums; }
th,td { text-align:right; padding:6px 10px; border-bottom:1px solid var(--line); }
th { color:var(--muted); font-weight:600; font-size:.82rem; }
th:first-child,td:first-child { text-align:left; padding-left:0; }
tfoot td { font-weight:700; border-bottom:none; }
.bar { display:inline-block; width:90px; height:8px; margin-right:10px; border-radius:4px;
  background:var(--line); overflow:hidden; }
.bar i { display:block; height:100%; background:var(--c1); }
tfoot .bar { visibility:hidden; }
figure { margin:16px 0 24px; }
figcaption { font-size:.9rem; display:flex; flex-wrap:wrap; gap:4px 16px; margin-bottom:4px; }
.key { color:var(--muted); white-space:nowrap; }
.key i { display:inline-block; width:12px; height:12px; border-radius:3px; margin-right:6px;
  vertical-align:-1px; }
svg { display:block; width:100%; height:auto; }
svg.narrow { display:none; }
svg .grid { stroke:var(--line); stroke-width:1; }
svg .tick { fill:var(--muted); font-size:12px; }
svg path { fill:none; stroke-linejoin:round; }
svg .line { stroke-width:2; }
svg .raw { stroke-width:1; opacity:.28; }
.pictures { display:grid; grid-template-columns:repeat(auto-fill,minmax(260px,1fr)); gap:12px; }
.pictures img { width:100%; height:auto; border-radius:8px; display:block; }
h3 { font-size:1rem; margin:20px 0 8px; }
.left { text-align:left; color:var(--muted); }
.columns { display:grid; grid-template-columns:1fr 1fr; gap:0 32px; align-items:start; }
.matrix td { background:color-mix(in srgb, var(--miss) var(--share), transparent);
  border:1px solid var(--bg); text-align:center; }
.matrix th { text-align:center; }
.matrix td:first-child { background:none; text-align:left; padding-left:0; }
.matrix td.hit { --miss:var(--c3); }
.matrix td.miss { --miss:var(--c2); }
.legend { display:flex; flex-wrap:wrap; gap:4px 16px; font-size:.85rem; margin:0 0 8px; }
.k-found { background:#22c55e; } .k-missed { background:#facc15; }
.k-right { background:#38bdf8; } .k-wrong { background:#f43f5e; }
.choice { display:flex; flex-wrap:wrap; gap:6px; margin:0 0 8px; }
.choice button { font:inherit; font-size:.85rem; color:var(--text); background:var(--card);
  border:1px solid var(--line); border-radius:8px; padding:4px 12px; cursor:pointer; }
.choice button.on { border-color:var(--c1); color:var(--c1); }
.shots { display:grid; grid-template-columns:repeat(auto-fill,minmax(min(100%,420px),1fr)); gap:16px; }
.shot { margin:0; cursor:pointer; }
.shot div { position:relative; border-radius:8px; overflow:hidden; }
.shot img { display:block; width:100%; height:auto; }
.shot figcaption { margin-top:6px; font-size:.82rem; color:var(--muted); }
.shot figcaption strong { color:var(--text); overflow-wrap:anywhere; }
svg.boxes { position:absolute; inset:0; width:100%; height:100%; }
.boxes rect { fill:none; stroke:var(--ink); stroke-width:var(--unit); }
.boxes .under { stroke:#000; stroke-opacity:.45; stroke-width:calc(2 * var(--unit)); }
.boxes text { fill:var(--ink); stroke:#000; stroke-width:calc(.6 * var(--unit));
  paint-order:stroke; font-weight:600; }
.shot:not([data-show=truth]) .found text, .shot:not([data-show=found]) .right text { display:none; }
.boxes .found { --ink:#22c55e; } .boxes .missed { --ink:#facc15; } .boxes .ignored { --ink:#d4d4d8; }
.boxes .right { --ink:#38bdf8; } .boxes .wrong { --ink:#f43f5e; }
.boxes .missed rect, .boxes .ignored rect { stroke-dasharray:calc(3 * var(--unit)); }
.shot[data-show=truth] .layer-found, .shot[data-show=found] .layer-truth, .shot[data-show=none] svg
  { display:none; }
summary { cursor:pointer; }
pre { background:var(--card); padding:14px; border-radius:10px; overflow-x:auto; font-size:.82rem;
  line-height:1.45; }
@media (max-width:560px) { main { padding:20px 14px 48px; } svg.wide { display:none; }
  svg.narrow { display:block; } .columns { grid-template-columns:1fr; } .left { display:none; }
  .bar { display:none; } .n { min-width:0; } .bars { gap:2px; font-size:.66rem; } .bars span { white-space:nowrap; }
  th,td { padding:6px 6px; }
  .facts { grid-template-columns:repeat(2,1fr); } }
@media print { details { display:none; } }
)css";

}  // namespace frcnn::apps
