/** What the report's page runs in the browser: its charts, in the colours of the reader's setting. */
export const script = `
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const charts = [];
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const series = (index) => colour("--c" + (index % 6));
const usd = (value) => "$" + (value === 0 ? "0" : Math.abs(value) >= 1 ? value.toFixed(2) : Number(value.toPrecision(3)));
const axis = (extra) => ({ grid: { color: colour("--line") }, ticks: { color: colour("--dim"), ...extra } });

const draw = (id, config) => {
  const canvas = document.getElementById(id);
  if (canvas) charts.push(new Chart(canvas, config));
};
const options = (extra) => ({
  responsive: true, maintainAspectRatio: false, animation: false,
  plugins: {
    legend: { display: false, labels: { color: colour("--text") } },
    tooltip: { callbacks: { label: (item) => (item.dataset.label ? item.dataset.label + ": " : "") + usd(item.parsed.x ?? item.parsed.y ?? item.parsed) } }
  },
  ...extra
});
const bars = (id, items, colours) => draw(id, {
  type: "bar",
  data: { labels: items.map((item) => item.name), datasets: [{ data: items.map((item) => item.cost), backgroundColor: colours, maxBarThickness: 34 }] },
  options: { ...options({ indexAxis: "y", scales: { x: { ...axis({ callback: usd, maxTicksLimit: 5 }), beginAtZero: true }, y: axis({}) } }),
    plugins: { ...options({}).plugins, tooltip: { callbacks: { label: (item) => usd(item.parsed.x) } } } }
});
const render = () => {
  for (const chart of charts.splice(0)) chart.destroy();
  draw("timeline", {
    type: "line",
    data: {
      labels: data.timeline.labels,
      datasets: data.timeline.series.map((one, index) => ({
        label: one.name, data: one.values, fill: true, stack: "all", tension: 0, pointRadius: one.values.length < 3 ? 3 : 0,
        borderColor: series(index), backgroundColor: series(index) + "55"
      }))
    },
    options: { ...options({ interaction: { mode: "index", intersect: false }, scales: { x: axis({ maxTicksLimit: 7, maxRotation: 0 }), y: { ...axis({ callback: usd, maxTicksLimit: 6 }), stacked: true, beginAtZero: true } } }),
      plugins: { legend: { display: true, labels: { color: colour("--text"), boxWidth: 14 } }, tooltip: { callbacks: { label: (item) => item.dataset.label + ": " + usd(item.parsed.y) } } } }
  });
  bars("steps", data.steps, data.steps.map((_, index) => series(index)));
  bars("models", data.models, data.models.map((_, index) => series(index + 1)));
  bars("savings", data.savings, data.savings.map((_, index) => index === 0 ? colour("--c4") : colour("--c2")));
};
render();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", render);
`
