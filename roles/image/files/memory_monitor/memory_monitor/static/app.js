// Copyright (c) 2026, Sixty Sales DevOps Team
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Names come from cgroup paths, so from anybody who can start a container: they reach the page as text alone
// (textContent, setAttribute). Nodes are made once and updated in place.

const POLL = 2000; // ms
const POLL_MAX = 30_000; // ms between tries while there is no answer
const TIMEOUT = 5000; // ms
const FROZEN = 10_000; // ms in which the time of the sample did not move
const STEP = 20; // s of history in a point, until the monitor says otherwise
const POINTS = 180; // of history, at least
const MB = 1024 ** 2;

const LEVELS = {
  critical: { word: 'Critical', rank: 0, colour: '#c81e1e' },
  alert: { word: 'Alert', rank: 1, colour: '#d2640f' },
  warning: { word: 'Warning', rank: 2, colour: '#c29300' },
  leak: { rank: 3 },
  stopped: { word: 'Not running', rank: 4 },
  ok: { word: 'OK', rank: 5, colour: '#12815b' },
  stale: { colour: '#85817a' },
};

const $ = (id) => document.getElementById(id);
const clone = (id) => $(id).content.firstElementChild.cloneNode(true);
const set = (node, text) => node.textContent === text || (node.textContent = text);
const attr = (node, name, value) => node.getAttribute(name) === String(value) || node.setAttribute(name, value);
const show = (node, yes) => node.toggleAttribute('hidden', !yes); // SVG has no property for it

// -- words and numbers

const format = (digits, signDisplay = 'auto') => new Intl.NumberFormat('en-GB', { minimumFractionDigits: digits,
  maximumFractionDigits: digits, signDisplay }).format;
const integer = format(0);
const decimal = format(1);
const signed = format(1, 'exceptZero');
const date = (parts) => new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', ...parts }).format;
const clock = date({ second: '2-digit' });
const moment = date({ day: 'numeric', month: 'short' });

const number = (bytes) => (bytes < 99.95 * MB && bytes % MB ? decimal : integer)(bytes / MB);
const mb = (bytes) => (bytes == null ? '–' : `${number(bytes)} MB`);
const percent = (value) => `${decimal(value)} %`;
const at = (seconds) => (seconds ? moment(seconds * 1000) : '–');
const share = (part, whole) => (whole > 0 ? Math.min(100, Math.max(0, (part / whole) * 100)) : 0);
const sum = (list, key) => list.reduce((total, one) => total + (one[key] ?? 0), 0);
const shorten = (text, n = 60) => (text.length > n ? `${text.slice(0, n - 1)}…` : text);

function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const units = [['d', 86_400], ['h', 3600], ['min', 60], ['s', 1]];
  const i = units.findIndex(([, size]) => s >= size);
  if (i < 0) return '0 s';
  const [[unit, size], [small, part] = []] = units.slice(i);
  const rest = i < 2 ? Math.floor((s % size) / part) : 0;
  return `${Math.floor(s / size)} ${unit}${rest ? ` ${rest} ${small}` : ''}`;
}

let latest = null; // the last answer
let verdict = {};

const isOurs = (s) => s.known && s.stack === latest.stack;
const state = (s) => (s.running ? s.level : 'stopped');
const level = (name) => LEVELS[name] ?? { word: String(name), rank: LEVELS.ok.rank };
// Invisible characters could turn the text after them around.
const plain = (text) => String(text ?? '').replace(/\p{C}/gu, '\ufffd');
const title = (s) => plain(s.service || s.name || s.id || 'unnamed');
const full = (s) => title(s) + (s.slot ? ` (${plain(s.slot)})` : '')
  + (s.stack && s.stack !== latest.stack ? ` of ${plain(s.stack)}` : '');
const spoken = (s) => level(state(s)).word + (s.running && s.limit ? `, ${percent(s.percent)}` : '');
const thresholds = ({ budget } = latest) => [budget.warning_percent, budget.container_percent, budget.critical_percent];

function paintLevel(node, name) {
  set(node, level(name).word);
  attr(node, 'data-level', name);
}

function paintBar(bar, { usage, unreclaimable }, limit, text) {
  const used = share(unreclaimable, limit);
  bar.querySelector('.usage').style.width = `${share(usage, limit)}%`;
  bar.querySelector('.core').style.width = `${used}%`;
  attr(bar, 'aria-valuenow', used.toFixed(1));
  attr(bar, 'aria-valuetext', `${percent(used)} unreclaimable, ${text}; ${mb(unreclaimable)} of ${mb(limit)}, `
    + `with page cache ${mb(usage)}`);
}

// -- what a screen reader says by itself: changes of level and of the feed, nothing else

let announcements = [];
const announce = (text) => announcements.push(text);

function speak() {
  if (!announcements.length) return;
  const more = announcements.length - 5;
  set($('announce'), announcements.slice(0, 5).join('. ') + (more > 0 ? `. And ${more} more changes` : ''));
  announcements = [];
}

// -- rows

const tables = { known: new Map(), unknown: new Map() }; // rows by key, in the order of the answer
let order = location.hash === '#budget' ? 'budget' : 'worst';

function makeRow() {
  const node = clone('row');
  const f = Object.fromEntries([...node.querySelectorAll('[data-f]')].map((n) => [n.dataset.f, n]));
  const row = { node, f, points: [], shared: false, service: null, sortPercent: 0, detail: null };
  f.open.addEventListener('click', () => {
    const open = f.open.getAttribute('aria-expanded') !== 'true';
    attr(f.open, 'aria-expanded', open);
    row.detail ??= makeDetail(node);
    show(row.detail.node, open);
    paintDetail(row);
  });
  return row;
}

function paintRow(row, s) {
  const { f, node, service: before } = row;
  const { running } = s;
  const name = state(s);
  const limited = s.limit > 0;
  attr(node, 'data-level', name);
  set(f.name, title(s));
  attr(f.name, 'title', title(s));
  const foreign = !isOurs(s) && (s.stack ? `stack ${s.stack}` : 'no stack');
  const where = plain([foreign, s.slot, s.release].filter(Boolean).join(' · '));
  set(f.where, where);
  attr(f.where, 'title', where);
  paintLevel(f.level, name);
  set(f.flag, s.leak ? 'Leak suspected' : '');

  show(f.bar, running && limited);
  set(f.idle, running ? (limited ? '' : 'no limit') : `limit ${mb(s.limit)}, none in use`);
  if (running && limited) {
    const target = s.usage_target ? `, target below ${mb(s.usage_target)}` : '';
    attr(f.bar, 'aria-label', `Memory of ${full(s)}`);
    paintBar(f.bar, s, s.limit, level(name).word + target);
    show(f.target, target);
    f.target.style.left = `${share(s.usage_target, s.limit)}%`;
  }
  set(f.used, running ? (limited ? percent(s.percent) : mb(s.unreclaimable)) : '–');
  set(f.rest, running ? (limited ? `${number(s.unreclaimable)} of ${mb(s.limit)}` : `usage ${mb(s.usage)}`) : '');

  const growing = running && s.growth_bytes_per_hour != null;
  const filling = running && s.exhaustion_seconds != null;
  set(f.growth, growing ? `${signed(s.growth_bytes_per_hour / MB).replace('-', '−')} MB/h` : '–');
  attr(f.growth, 'data-quiet', !s.leak && !filling);
  set(f.trend, [
    filling && `full in ${duration(s.exhaustion_seconds)}`,
    growing && s.growth_confidence != null && `${Math.round(s.growth_confidence * 100)} % confidence`,
    running && !growing && 'not known yet',
  ].filter(Boolean).join('\n'));

  for (const [field, n] of [['restarts', s.restarts ?? 0], ['oom', s.oom_kills ?? 0]]) {
    set(f[field], integer(n));
    attr(f[field], 'data-zero', n === 0);
  }
  const started = running && s.start_time > 0;
  set(f.age, started ? `${duration(latest.time - s.start_time)} ago` : '–');
  set(f.start, started ? at(s.start_time) : '');
  if (started) attr(f.age, 'datetime', new Date(s.start_time * 1000).toISOString());

  const changed = before && state(before) !== name;
  if (changed) announce(`${shorten(full(s))}: ${spoken(s)}`);
  // Two services that swap places at every sample cannot be read: a row moves for a level or for two points.
  if (!before || changed || Math.abs(s.percent - row.sortPercent) > 2) row.sortPercent = s.percent;
  row.service = s;
  paintDetail(row);
}

const rank = ({ service: s }) => Math.min(level(state(s)).rank, s.leak ? LEVELS.leak.rank : Infinity);

function arrange(id) {
  const rows = [...tables[id].values()];
  if (order === 'worst') rows.sort((a, b) => rank(a) - rank(b) || b.sortPercent - a.sortPercent);
  const focused = document.activeElement;
  let here = $(id).tBodies[0] ?? null;
  for (const { node } of rows) {
    if (node === here) here = node.nextElementSibling;
    else $(id).insertBefore(node, here);
  }
  if (focused !== document.activeElement) focused.focus({ preventScroll: true });
}

// A row is a service of a slot, and stays when its container is replaced; a stranger is its container.
const keyOf = (s) => (isOurs(s) ? [s.service, s.slot, s.release].join('\n') : s.id || s.name);

function paintTable(id, services) {
  const rows = new Map();
  for (const s of services) {
    let key = keyOf(s);
    while (rows.has(key)) key += '\n+';
    const row = tables[id].get(key) ?? makeRow();
    paintRow(row, s);
    rows.set(key, row);
  }
  for (const [key, { node }] of tables[id]) {
    if (!rows.has(key)) node.remove();
  }
  tables[id] = rows;
  arrange(id);
}

// -- the detail of a row

const DETAILS = {
  Container: (s) => plain(s.name) || '–',
  Identifier: (s) => /[0-9a-f]{12}(?=[0-9a-f]{52})/.exec(s.id)?.[0] ?? '–',
  Usage: (s) => mb(s.usage),
  'Working set': (s) => mb(s.working_set),
  'Anonymous (rss)': (s) => mb(s.rss),
  'Cache and shared': (s) => mb(s.cache),
  'Peak of usage': (s) => mb(s.peak),
  Limit: (s) => (s.limit ? mb(s.limit) : 'none'),
  Reservation: (s) => mb(s.reservation),
  'Usage target': (s) => (s.usage_target ? `below ${mb(s.usage_target)}` : '–'),
  'Alert threshold': (s) => (s.alert ? mb(s.alert) : '–'),
  CPU: (s) => `${(s.cpu_cores ?? 0).toFixed(2)} cores`,
  Processes: (s) => integer(s.processes ?? 0),
  Stack: (s) => plain(s.stack) || '–',
};

function makeDetail(parent) {
  const node = parent.appendChild(clone('detail'));
  const values = Object.keys(DETAILS).map((label) => {
    const pair = node.querySelector('dl').appendChild(document.createElement('div'));
    pair.append(document.createElement('dt'), document.createElement('dd'));
    set(pair.firstChild, label);
    return pair.lastChild;
  });
  return { node, values, paths: node.querySelectorAll('path'), caption: node.querySelector('figcaption') };
}

function paintDetail({ detail, service: s, points, shared }) {
  if (!detail || detail.node.hidden) return;
  Object.values(DETAILS).forEach((value, i) => set(detail.values[i], value(s)));
  const [usage, marks, core] = detail.paths;
  const top = Math.max(s.limit || MB, ...points.map((p) => p[1]));
  attr(usage, 'd', line(points, 600, 140, 0, top, 1, true));
  attr(core, 'd', line(points, 600, 140, 0, top, 2));
  const limited = top === s.limit;
  attr(marks, 'd', limited ? thresholds().map((p) => `M0 ${140 - p * 1.4}H600`).join('') : '');
  const scale = limited ? `the limit of ${mb(top)}, with lines at ${thresholds().join(', ')} %` : mb(top);
  set(detail.caption, points.length ? `${described(s, points, shared)} The scale ends at ${scale}.` : 'No history yet');
}

// -- history

const past = { step: STEP, series: new Map(), size: POINTS, wanted: true, last: 0, span: 300 };

async function loadHistory() {
  try {
    const { step, services } = await ask('api/v1/history?service=all');
    past.step = step;
    for (const [name, points] of Object.entries(services)) {
      // A monitor that was restarted begins anew; what this page has seen before stays.
      const seen = (past.series.get(name) ?? []).filter((p) => points.length && p[0] < points[0][0]);
      past.series.set(name, [...seen, ...points]);
      past.size = Math.max(past.size, points.length);
    }
    past.wanted = false;
    set($('history-note'), '');
  } catch (error) {
    // What is now matters more: the page goes on, and asks again at the next poll.
    set($('history-note'), `No history: ${reason(error)}.`);
  }
}

function paintHistory({ time }) {
  const rows = Object.values(tables).flatMap((table) => [...table.values()]);
  const series = new Map();
  // The monitor remembers a service, all its releases together; of a stranger this page alone knows the past.
  const groups = Map.groupBy(rows, ({ service: s }) => (isOurs(s) ? s.service : s.id || s.name));
  for (const [name, group] of groups) {
    const points = past.series.get(name) ?? [];
    const running = group.map((row) => row.service).filter((s) => s.running);
    const point = [Math.floor(time / past.step) * past.step, sum(running, 'usage'), sum(running, 'unreclaimable')];
    const last = points.at(-1);
    if (last && last[0] >= point[0]) [1, 2].forEach((i) => (last[i] = Math.max(last[i], point[i])));
    else if (running.length) points.push(point);
    points.splice(0, points.length - past.size);
    series.set(name, points);
    for (const row of group) Object.assign(row, { points, shared: group.length > 1 });
  }
  past.series = series; // of what is gone, nothing is kept
  past.last = time;
  const longest = Math.max(300, ...[...series.values()].map((points) => time - (points[0]?.[0] ?? time)));
  past.span = Math.ceil(longest / 60) * 60;
  for (const node of document.querySelectorAll('.window')) set(node, duration(past.span));
  for (const row of rows) {
    paintSpark(row);
    paintDetail(row);
  }
}

// A path with the highest value of each pixel, for peaks are what kills. A gap in time is a gap in the line.
function line(points, width, height, low, high, field, area = false) {
  const scale = width / past.span;
  const start = latest.time - past.span;
  const gap = 3 * past.step * scale + 1;
  const peaks = new Map();
  for (const point of points) {
    const x = Math.round((point[0] - start) * scale);
    if (x >= 0) peaks.set(x, Math.max(peaks.get(x) ?? 0, point[field]));
  }
  let path = '';
  let from = null;
  let previous = -Infinity;
  const close = () => (area && from !== null ? `V${height}H${from}Z` : '');
  for (const [x, peak] of peaks) {
    const y = (height - 1 - ((peak - low) / (high - low)) * (height - 2)).toFixed(1);
    if (x - previous > gap) {
      path += `${close()}M${x} ${area ? `${height}V${y}` : y}h.1`;
      from = x;
    } else path += `L${x} ${y}`;
    previous = x;
  }
  return path + close();
}

const range = (points) => {
  const values = points.map((p) => p[2]);
  return [Math.min(...values), Math.max(...values)];
};

function described(s, points, shared) {
  const [low, high] = range(points);
  const time = Math.ceil((latest.time - points[0][0]) / 60) * 60;
  return `Unreclaimable memory of ${shared ? `${title(s)}, its releases together,` : full(s)} over ${duration(time)}: `
    + `lowest ${mb(low)}, highest ${mb(high)}, last ${mb(points.at(-1)[2])}.`;
}

function paintSpark({ f, points, shared, service: s }) {
  show(f.spark, points.length > 1);
  if (points.length < 2) return;
  // At least a quarter of the limit: noise stays flat, and a leak is seen.
  const [low, high] = range(points);
  const span = Math.max((high - low) * 1.25, (s.limit || high) / 4, MB);
  const base = Math.max(0, (low + high - span) / 2);
  attr(f.spark.firstElementChild, 'd', line(points, 120, 32, base, base + span, 2));
  attr(f.spark, 'aria-label', described(s, points, shared));
}

// -- summary

function paintSummary({ total, budget, host, release, phase, time }, ours) {
  const marks = thresholds();
  set($('thresholds'), `${marks.join(', ')} %`);
  document.querySelectorAll('.axis i').forEach((tick, i) => set(tick, String(marks[i % 3])));
  marks.forEach((p, i) => document.documentElement.style.setProperty(`--mark-${i}`, `${p}%`));

  for (const [name, bytes] of [['alert', budget.total_alert], ['critical', budget.total_critical]]) {
    set($(`mark-${name}`), `${name} ${mb(bytes)}`);
    $(`mark-${name}`).style.width = $(`tick-${name}`).style.left = `${share(bytes, budget.total)}%`;
  }
  set($('total-used'), mb(total.unreclaimable));
  set($('total-limit'), `of ${mb(budget.total)}`);
  const kernel = total.limit < budget.total ? ` of the kernel's limit of ${mb(total.limit)}` : '';
  set($('total-more'), `${percent(total.percent)} unreclaimable${kernel}, ${mb(total.usage)} with cache`);
  paintLevel($('total-level'), total.level);
  attr($('total-bar'), 'data-level', total.level);
  paintBar($('total-bar'), total, budget.total, `${level(total.level).word}, alert at ${mb(budget.total_alert)}, `
    + `critical at ${mb(budget.total_critical)}`);

  const running = ours.filter((s) => s.running);
  const facts = {
    release: [release ? plain(release.release) : 'None', release
      ? `on ${shorten(plain(release.slot), 20)} since ${at(release.switched)}, ${duration(time - release.switched)} ago`
      : 'no release was switched to'],
    phase: [{ steady: 'Steady', overlap: 'Overlap of two releases' }[phase] ?? String(phase),
      `${running.length} containers, limits add up to ${mb(sum(running, 'limit'))}`],
    host: [`${mb(host.memory_available)} available`, `of ${mb(host.memory_total)}, ${host.swap_total
      ? `swap ${mb(host.swap_total - host.swap_free)} of ${mb(host.swap_total)}` : 'no swap'}`],
    oom: [host.oom_kills == null ? '–' : integer(host.oom_kills),
      `since it started, ${integer(sum(ours, 'oom_kills'))} in this stack`],
  };
  for (const [id, [value, more]] of Object.entries(facts)) {
    set($(id), value);
    attr($(id), 'title', value);
    set($(`${id}-more`), more);
  }
}

const names = (list) => list.slice(0, 6).map((s) => shorten(full(s), 40)).join(', ')
  + (list.length > 6 ? ` and ${list.length - 6} more` : '');

const soonest = (list) => (list.length === 1 && list[0].exhaustion_seconds != null
  ? `, full in ${duration(list[0].exhaustion_seconds)}` : '');

// The page in one line, and what else there is to know in a few.
function paintVerdict({ total, services }, ours) {
  const findings = [];
  if (level(total.level).rank < LEVELS.leak.rank) {
    findings.push([total.level, `${level(total.level).word}: the whole stack`]);
  }
  for (const name of ['critical', 'alert', 'warning']) {
    const list = services.filter((s) => state(s) === name);
    if (!list.length) continue;
    const much = list.length === 1 ? ` at ${percent(list[0].percent)}` : '';
    findings.push([name, `${level(name).word}: ${names(list)}${much}${soonest(list)}`]);
  }
  findings.sort(([a], [b]) => level(a).rank - level(b).rank);
  const leaks = services.filter((s) => s.leak);
  if (leaks.length) findings.push(['warning', `Leak suspected: ${names(leaks)}${soonest(leaks)}`]);
  const stopped = ours.filter((s) => !s.running);
  const calm = stopped.length ? 'All that runs is within limits' : 'All within limits';
  const [name, text] = findings.shift() ?? ['ok', services.length ? calm : 'Nothing to watch'];
  verdict = { name, text };
  const killed = services.filter((s) => s.oom_kills > 0);
  if (stopped.length) findings.push(['stopped', `Not running: ${names(stopped)}`]);
  if (killed.length) findings.push(['stopped', `OOM-killed: ${names(killed)}`]);

  set($('verdict'), text);
  attr($('verdict'), 'data-level', name);
  const list = $('findings');
  show(list, findings.length);
  while (list.children.length > findings.length) list.lastElementChild.remove();
  findings.forEach(([kind, finding], i) => {
    const item = list.children[i] ?? list.appendChild(document.createElement('li'));
    set(item, finding);
    attr(item, 'data-level', kind);
  });
}

function paintTab({ name, text }) {
  document.title = `${shorten(text, 80)} · Memory Monitor`;
  const dot = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="${
    level(name).colour}"/></svg>`;
  attr($('icon'), 'href', `data:image/svg+xml,${encodeURIComponent(dot)}`);
}

function paint(status) {
  if (latest && latest.total.level !== status.total.level) {
    announce(`The whole stack: ${level(status.total.level).word}, ${mb(status.total.unreclaimable)}`);
  }
  latest = status;
  const ours = status.services.filter(isOurs);
  const others = status.services.filter((s) => !isOurs(s));
  set($('stack'), plain(status.stack));
  paintSummary(status, ours);
  paintVerdict(status, ours);
  paintTable('known', ours);
  paintTable('unknown', others);
  show($('known'), ours.length);
  show($('empty'), !ours.length);
  show($('others'), others.length);
  paintHistory(status);
  set($('version'), `Memory Monitor ${status.version}, cgroup v${status.cgroup_version}.`);
  attr($('main'), 'aria-busy', false);
}

// -- the feed

const feed = { failures: 0, why: '', moved: performance.now(), retry: 0, timer: 0, asking: false, stale: false };

async function ask(path) {
  let answer;
  try {
    answer = await fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT) });
  } catch (error) {
    throw new Error(error.name === 'TimeoutError' ? `the monitor did not answer within ${TIMEOUT / 1000} s`
      : 'the monitor does not answer', { cause: error });
  }
  if (!answer.ok) throw new Error(`the monitor answers with HTTP ${answer.status}`);
  return answer.json();
}

const reason = (error) => (error.name === 'Error' ? error.message : `the answer cannot be read (${error.message})`);

function paintFeed() {
  const frozen = !feed.why && performance.now() - feed.moved > FROZEN;
  const was = feed.stale;
  feed.stale = frozen || feed.why !== '';
  document.documentElement.classList.toggle('stale', feed.stale);
  show($('stale'), feed.stale);
  if (feed.stale) {
    const since = latest ? `Stale since ${clock(latest.time * 1000)}` : 'No data yet';
    const why = frozen ? 'the monitor answers, but takes no samples' : feed.why;
    const wait = Math.max(0, Math.round((feed.retry - performance.now()) / 1000));
    set($('stale'), `${since}: ${why}.${feed.failures ? ` Next try in ${wait} s.` : ''}`);
    set($('live'), since);
    paintTab({ name: 'stale', text: since });
    if (latest) set($('verdict'), `Last known: ${verdict.text}`);
    if (!was) announce(`${since}: ${why}`);
  } else {
    set($('live'), `Live, sample of ${clock(latest.time * 1000)}`);
    paintTab(verdict);
    if (was) announce('Live again');
  }
  speak();
}

async function poll() {
  clearTimeout(feed.timer);
  if (feed.asking) return;
  feed.asking = true;
  try {
    const status = await ask('api/v1/status');
    // After a pause of this page (a hidden tab, a sleeping machine) the monitor knows what was missed.
    past.wanted ||= status.time - past.last > past.step;
    if (past.wanted) await loadHistory();
    if (latest?.time !== status.time) feed.moved = performance.now();
    paint(status);
    feed.failures = 0;
    feed.why = '';
  } catch (error) {
    feed.failures += 1;
    feed.why = reason(error);
  }
  feed.asking = false;
  const wait = Math.min(POLL_MAX, POLL * 2 ** Math.max(0, feed.failures - 1));
  feed.retry = performance.now() + wait;
  paintFeed();
  if (!document.hidden) feed.timer = setTimeout(poll, wait);
}

document.addEventListener('visibilitychange', () => document.hidden || poll());
setInterval(() => feed.stale && paintFeed(), 1000);

for (const radio of document.querySelectorAll('[name=sort]')) {
  radio.checked = radio.value === order;
  radio.addEventListener('change', () => {
    order = radio.value;
    history.replaceState(null, '', order === 'budget' ? '#budget' : location.pathname);
    Object.keys(tables).forEach(arrange);
  });
}
for (const id of Object.keys(tables)) $(id).append(clone('head'));
set($('zone'), Intl.DateTimeFormat().resolvedOptions().timeZone ?? 'this browser');
poll();
