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
summary { cursor:pointer; }
pre { background:var(--card); padding:14px; border-radius:10px; overflow-x:auto; font-size:.82rem;
  line-height:1.45; }
@media (max-width:560px) { main { padding:20px 14px 48px; } svg.wide { display:none; }
  svg.narrow { display:block; } .bar { display:none; } th,td { padding:6px 6px; }
  .facts { grid-template-columns:repeat(2,1fr); } }
@media print { details { display:none; } }
)css";

}  // namespace frcnn::apps
