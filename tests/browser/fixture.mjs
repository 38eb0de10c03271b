// Answers of the Memory Monitor, made in every state that it can report, and a server that gives them with the page.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';

const STATIC = new URL('../../roles/image/files/memory_monitor/memory_monitor/static/', import.meta.url);
const TYPES = { 'index.html': 'text/html; charset=utf-8', 'app.js': 'text/javascript', 'style.css': 'text/css' };
export const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
  + "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

export const MB = 1024 ** 2;
export const STEP = 20;
export const NOW = Date.UTC(2026, 10, 25, 2, 12, 44) / 1000;

// service: limit, usage target, alert, unreclaimable, page cache, growth an hour; in MB
const BUDGET = {
  nginx: [128, 100, 108, 11.4, 6.1, 0.02],
  api: [384, 320, 326, 142.8, 12.6, 0.6],
  redis: [64, 56, 54, 38.2, 1.1, 0.4],
  postgres: [512, 400, 435, 187.3, 214.9, 1.8],
  prometheus: [128, 100, 108, 71.6, 22.4, 0.9],
  grafana: [128, 100, 108, 78.9, 17.2, 0.1],
  loki: [128, 100, 108, 58.3, 14.8, -0.3],
  memory_monitor: [32, 24, 27, 19.6, 1.9, 0.01],
  alertmanager: [32, 24, 27, 16.2, 3.1, 0],
  fluent_bit: [32, 24, 27, 9.7, 1.2, 0.03],
  redis_exporter: [16, 12, 13, 8.4, 0.9, 0],
  postgres_exporter: [16, 12, 13, 7.8, 1.3, 0],
  nginx_exporter: [16, 12, 13, 8.2, 0.8, 0],
};

const levelOf = (percent) => (percent >= 90 ? 'critical' : percent >= 85 ? 'alert' : percent >= 80 ? 'warning' : 'ok');
const identifier = (n) => `/${(n * 2654435761).toString(16).padStart(16, '0').repeat(4)}`;

export function running(service, overrides = {}) {
  const [limit, target, alert, core, cache, growth] = BUDGET[service] ?? [64, 0, 0, 20, 4, 0];
  const slot = service === 'api' ? 'blue' : '';
  const s = {
    service, slot, release: slot && '20261124-1803-55ec219', name: `sixty-${service.replaceAll('_', '-')}`,
    id: identifier(service.length * 97 + limit), stack: 'sixty', running: true, known: true,
    unreclaimable: core * MB, cache: cache * MB, rss: core * 0.9 * MB, limit: limit * MB, reservation: limit / 2 * MB,
    usage_target: target * MB, alert: alert * MB, cpu_cores: 0.04, restarts: 0, oom_kills: 0,
    start_time: NOW - 8 * 3600, processes: 6, growth_bytes_per_hour: growth * MB, growth_confidence: 0.81, leak: false,
    exhaustion_seconds: null, ...overrides,
  };
  s.usage ??= Math.min(s.limit || Infinity, s.unreclaimable + s.cache);
  s.working_set ??= s.unreclaimable + s.cache * 0.4;
  s.peak ??= s.usage * 1.02;
  s.percent ??= s.limit ? s.unreclaimable / s.limit * 100 : 0;
  s.level ??= levelOf(s.percent);
  return s;
}

export const stopped = (service) => running(service, {
  running: false, id: '', slot: '', release: '', usage: 0, unreclaimable: 0, cache: 0, rss: 0,
  working_set: 0, peak: 0, percent: 0, level: 'ok', cpu_cores: 0, start_time: 0, processes: 0,
  growth_bytes_per_hour: null, growth_confidence: null,
});

export const stranger = (name, overrides = {}) => running('', {
  name, id: identifier(name.length), stack: '', known: false, limit: 0, reservation: 0, slot: '', release: '',
  ...overrides,
});

export function status(services, overrides = {}) {
  const sum = (key) => services.filter((s) => s.known).reduce((total, s) => total + s[key], 0);
  const unreclaimable = sum('unreclaimable');
  const total = { usage: sum('usage'), unreclaimable, limit: 2048 * MB, percent: unreclaimable / 2048 / MB * 100 };
  return {
    version: '0.1.0', stack: 'sixty', time: NOW, cgroup_version: 2, phase: 'steady',
    host: { memory_total: 1978 * MB, memory_available: 912 * MB, swap_total: 0, swap_free: 0, oom_kills: 0 },
    budget: {
      total: 2048 * MB, total_alert: 1638 * MB, total_critical: 1843 * MB,
      warning_percent: 80, container_percent: 85, critical_percent: 90,
    },
    total: { ...total, level: levelOf(total.percent) },
    release: { slot: 'blue', release: '20261124-1803-55ec219', switched: NOW - 8 * 3600 },
    services, ...overrides,
  };
}

export const everything = (changes = {}) => Object.keys(BUDGET).flatMap((name) => changes[name] ?? [running(name)]);
const at = (service, percent, overrides = {}) => {
  const [limit] = BUDGET[service];
  return running(service, { unreclaimable: limit * percent / 100 * MB, cache: limit * 0.02 * MB, ...overrides });
};

export const HOSTILE = [
  '<img src=x onerror="document.title=\'owned\'">',
  '"><script>document.title="owned"</script>',
  '\u202Eexe.lmth \'quotes\' & "more" {{7*7}} ${alert(1)}',
  'n'.repeat(300),
  `${'two words '.repeat(30)}`,
  '__proto__',
];

// Every state by its name, each made anew, so that a test may change what it got.
export const STATES = {
  ok: () => status(everything()),
  warning: () => status(everything({ redis: [at('redis', 82.1)] })),
  alert: () => status(everything({ api: [at('api', 86.3)] })),
  critical: () => status(everything({
    api: [at('api', 91.6, { exhaustion_seconds: 1560, growth_bytes_per_hour: 74 * MB, growth_confidence: 0.97 })],
  })),
  leak: () => status(everything({
    api: [at('api', 61, { leak: true, growth_bytes_per_hour: 24.3 * MB, growth_confidence: 0.96,
      exhaustion_seconds: 22_176 })],
  })),
  oom: () => status(everything({
    redis: [at('redis', 41, { oom_kills: 3, restarts: 4, start_time: NOW - 95 })],
  }), { host: { memory_total: 1978 * MB, memory_available: 912 * MB, swap_total: 512 * MB, swap_free: 500 * MB,
    oom_kills: 3 } }),
  stopped: () => status(everything({ grafana: [stopped('grafana')], loki: [stopped('loki')] })),
  fresh: () => status(everything().map((s) => ({ ...s, growth_bytes_per_hour: null, growth_confidence: null,
    start_time: NOW - 20 })), { release: null }),
  overlap: () => status(everything({
    api: [running('api', { name: 'sixty-api-20261124-1803-55ec219' }), at('api', 34, { slot: 'green',
      release: '20261125-0210-9f31c0d', name: 'sixty-api-20261125-0210-9f31c0d', start_time: NOW - 64,
      growth_bytes_per_hour: null, growth_confidence: null })],
  }), { phase: 'overlap' }),
  total: () => {
    const services = everything({ postgres: [at('postgres', 79)] });
    return { ...status(services), total: { usage: 1990 * MB, unreclaimable: 1861 * MB, limit: 2048 * MB,
      percent: 90.9, level: 'critical' } };
  },
  empty: () => status([], { phase: 'steady', release: null }),
  strangers: () => status([...everything(), stranger('backup_cron'), stranger('staging-redis', { stack: 'staging',
    service: 'redis', limit: 64 * MB, unreclaimable: 57 * MB })]),
  hostile: () => status([
    ...everything().map((s) => ({ ...s, stack: HOSTILE[0] })),
    running('api', { stack: HOSTILE[0], release: HOSTILE[3], slot: HOSTILE[2], name: HOSTILE[1], level: 'critical' }),
    ...HOSTILE.map((name, i) => stranger(name, { id: identifier(i + 7000), stack: name })),
  ], { stack: HOSTILE[0], release: { slot: HOSTILE[1], release: HOSTILE[3], switched: NOW - 60 } }),
  hundred: () => status([...everything(), ...Array.from({ length: 87 }, (_, i) => stranger(`worker-${i}`, {
    id: identifier(i + 9000), limit: (i % 3) * 64 * MB, unreclaimable: (20 + i % 30) * MB }))]),
  night: () => status([
    ...everything({
      api: [at('api', 91.6, { exhaustion_seconds: 1560, growth_bytes_per_hour: 74.2 * MB, growth_confidence: 0.97,
        leak: true, cpu_cores: 0.61, processes: 12 })],
      redis: [at('redis', 86.9, { oom_kills: 1, restarts: 1, start_time: NOW - 2460, growth_bytes_per_hour: 3.1 * MB,
        growth_confidence: 0.44 })],
      prometheus: [at('prometheus', 81.2, { growth_bytes_per_hour: 2.2 * MB, growth_confidence: 0.7 })],
      loki: [stopped('loki')],
    }),
    stranger('backup_cron'),
    stranger('staging-redis', { stack: 'staging', service: 'redis', limit: 64 * MB,
      unreclaimable: 31 * MB }),
  ], { host: { memory_total: 1978 * MB, memory_available: 604 * MB, swap_total: 0, swap_free: 0, oom_kills: 1 } }),
};

// An hour for each service of the stack, its releases together, as the monitor keeps it: one point a step, that ends at
// what is used now and grew as it says. The same at every run.
export function historyOf(answer, length = 180) {
  const services = {};
  const newest = Math.floor(answer.time / STEP);
  for (const s of answer.services.filter((one) => one.running && one.known)) {
    let seed = s.limit + s.service.length;
    const noise = () => (seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648 - 0.5;
    const slope = (s.growth_bytes_per_hour ?? 0) / 3600;
    const points = (services[s.service] ??= []);
    for (let number = Math.max(newest - length + 1, Math.ceil(s.start_time / STEP)); number <= newest; number += 1) {
      const age = (newest - number) * STEP;
      const core = Math.max(0, s.unreclaimable * (1 + (age ? noise() * 0.02 : 0)) - slope * age);
      const usage = core + s.cache * (1 + 0.1 * Math.sin(age / 300));
      const there = points.find(([time]) => time === number * STEP);
      if (there) [there[1], there[2]] = [there[1] + usage, there[2] + core];
      else points.push([number * STEP, usage, core]);
    }
  }
  return { step: STEP, services };
}

// `answer` is what the API says; a test changes it, or sets `fault` to a function of the response.
export async function serve(answer) {
  const site = { answer, history: historyOf(answer), fault: null, requests: [] };
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    site.requests.push(pathname);
    response.setHeader('Content-Security-Policy', POLICY);
    response.setHeader('X-Content-Type-Options', 'nosniff');
    const json = (body) => response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
    if (site.fault && pathname.startsWith('/api/')) return site.fault(response, pathname);
    if (pathname === '/api/v1/status') return json(site.answer);
    if (pathname === '/api/v1/history') return json(site.history);
    const file = pathname === '/' ? 'index.html' : pathname.slice(1);
    if (!TYPES[file]) return response.writeHead(404).end();
    return response.writeHead(200, { 'Content-Type': TYPES[file] }).end(await readFile(new URL(file, STATIC)));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  site.url = `http://127.0.0.1:${server.address().port}/`;
  site.close = () => new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  });
  return site;
}
