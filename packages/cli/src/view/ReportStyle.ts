/** The style of the report page: light and dark by the reader's setting, down to the width of a phone. */
export const style = `
:root{--ground:#fff;--raised:#f6f7f9;--text:#1c2330;--dim:#5b6575;--line:#d8dde5;--bad:#b3261e;--good:#1a7f4b;
--c0:#2f6fde;--c1:#d9822b;--c2:#1f9d78;--c3:#a04ec2;--c4:#c2413b;--c5:#7a8794}
@media (prefers-color-scheme:dark){:root{--ground:#12161d;--raised:#1b212b;--text:#e6eaf0;--dim:#9aa5b5;--line:#303947;--bad:#ff8a80;--good:#6fd6a3;
--c0:#6ea2ff;--c1:#f0a95c;--c2:#4fcfa7;--c3:#c98bea;--c4:#f07f78;--c5:#9aa5b5}}
*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--text);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1080px;margin:0 auto;padding:24px 20px 48px}h1{margin:0;font-size:26px;overflow-wrap:anywhere}h2{font-size:17px;margin:0 0 12px}
details{margin:6px 0}summary{cursor:pointer}pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--raised);border:1px solid var(--line);border-radius:8px;padding:8px;margin:6px 0}pre.answer{border-left:3px solid var(--good)}
.sub,.note,footer{color:var(--dim);margin:4px 0}.problem{color:var(--bad);margin:8px 0;overflow-wrap:anywhere}
.status{font-weight:600}.status.done{color:var(--good)}.status.failed,.status.interrupted,.status.budget{color:var(--bad)}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(120px,1fr));gap:10px;margin:20px 0}
.facts div{background:var(--raised);border:1px solid var(--line);border-radius:10px;padding:10px 14px}
dt{color:var(--dim);font-size:13px}dd{margin:0;overflow-wrap:anywhere;font-size:20px;font-weight:600;font-variant-numeric:tabular-nums}
section{background:var(--raised);border:1px solid var(--line);border-radius:12px;padding:16px;margin:16px 0;min-width:0}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(320px,100%),1fr));gap:16px}.columns section{margin:0}
section>svg{display:block;width:100%;max-width:760px;height:auto;margin:0 auto}.scroll{overflow-x:auto}.scroll table{min-width:560px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}th,td{text-align:left;padding:6px 10px;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere;min-width:64px}
th{color:var(--dim);font-weight:600;white-space:nowrap}.number{text-align:right;white-space:nowrap}
.graph{display:block;margin:0 auto;max-width:none}.box{fill:var(--ground);stroke:var(--line)}.box.failed{stroke:var(--bad)}
.graph text{fill:var(--text);font:13px system-ui,sans-serif}.graph .name{font-weight:600}.graph .line{fill:var(--dim)}
.edge{fill:none;stroke:var(--dim);stroke-width:1.3}.arrow{fill:var(--dim)}footer{margin-top:28px;font-size:13px;overflow-wrap:anywhere}
@media (max-width:520px){main{padding:16px 12px 32px}section{padding:12px}dd{font-size:17px}}
`
