// How the page is measured, and what it has to reach: one file for `make test-performance`, for Lighthouse
// (lighthouse URL --config-path=lighthouse.memory-config.js) and for Lighthouse CI (lhci autorun
// --config=lighthouse.memory-config.js). The memory limit holds in `make test-performance`, which runs Chromium in a
// container of that size; on a small machine start the other two in a cgroup of your own.
//
// CommonJS, because Lighthouse CI requires it and no package.json at the root says otherwise.

/** A positive number from the environment, or what stands here. */
function setting(name, fallback) {
  const text = process.env[name]?.trim();
  if (!text) return fallback;
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) {
    throw new RangeError(`${name} is '${text}'. It has to be a number above 0. Nothing was measured.`);
  }
  return value;
}

// `test` is how the measured value has to compare with the threshold; a goal may be met exactly. Without a threshold a
// metric decides only with STRICT_GOALS=1, without either it is only reported.
const lcp = { unit: 'ms', test: '<=', threshold: setting('PERFORMANCE_THRESHOLD_LCP', 2000) };
const metrics = {
  // Lighthouse calculates it from a load at full speed, where it cannot tell scripts that happened to arrive before the
  // paint from those that it needs: 0.6 to 1.8 s for one page. So the goal is for what the browser itself reports.
  lcp: { name: 'Largest Contentful Paint', ...lcp, goal: null },
  lcp_applied: { name: 'Largest Contentful Paint, throttling applied', ...lcp, goal: 1500 },
  // Browsers have replaced it by INP, and Lighthouse has never measured it: here it is what the browser itself reports
  // for a real click or tap, made as soon as the page can take one, with the CPU slowed down.
  fid: {
    name: 'First Input Delay', unit: 'ms', test: '<=',
    threshold: setting('PERFORMANCE_THRESHOLD_FID', 50), goal: null,
  },
  cls: {
    name: 'Cumulative Layout Shift', unit: '', test: '<=',
    threshold: setting('PERFORMANCE_THRESHOLD_CLS', 0.05), goal: 0.02,
  },
  tti: {
    name: 'Time to Interactive', unit: 'ms', test: '<=',
    threshold: setting('PERFORMANCE_THRESHOLD_TTI', 3000), goal: 2500,
  },
  score: {
    name: 'Lighthouse score', unit: '', test: '>',
    threshold: setting('PERFORMANCE_THRESHOLD_SCORE', 85), goal: 95,
  },
  load: {
    name: 'Load time', unit: 'ms', test: '<',
    threshold: setting('PERFORMANCE_THRESHOLD_LOAD', 2000), goal: null,
  },
  inp: { name: 'Interaction to Next Paint', unit: 'ms', test: '<=', threshold: null, goal: 100 },
  tbt: { name: 'Total Blocking Time', unit: 'ms', test: '<=', threshold: null, goal: 200 },
  max_fid: { name: 'Max Potential FID', unit: 'ms', test: '<=', threshold: null, goal: null },
};

// Chromium as root and in a container, without anything that is not the page.
const chromeFlags = [
  '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage',
  '--disable-extensions', '--mute-audio',
];

const settings = {
  onlyCategories: ['performance'],
  formFactor: 'mobile',
  // Lighthouse's slow 4G: 150 ms, 1.6 Mbit/s. Its CPU factor is for a fast desktop, so `make test-performance` sets
  // this one from the machine's benchmarkIndex.
  throttling: { cpuSlowdownMultiplier: setting('PERFORMANCE_CPU_SLOWDOWN', 4) },
};

const atMost = (metric, level = 'error') => [level, { maxNumericValue: metric, aggregationMethod: 'median' }];

module.exports = {
  extends: 'lighthouse:default',
  settings,

  metrics,
  chromeFlags,
  // Chromium and Lighthouse work with 1,024 MB, have no margin with 512, and are killed with 384.
  browserMemoryMb: setting('PERFORMANCE_BROWSER_MEMORY_MB', 1024),
  // What is clicked for FID and INP, as far as the page has it: each link of the navigation, and on each page what
  // filters, sorts or opens a dialog. A search field is typed into. Nothing of it may change data.
  navigation: 'nav a[href^="/"]',
  actions: ['[role="tab"]', '[aria-pressed]', 'th button', '[aria-haspopup="dialog"]'],
  search: 'input[type="search"]',

  // Lighthouse CI. It knows neither FID nor INP: TBT stands for them, as Lighthouse's own proxy.
  ci: {
    collect: {
      url: [process.env.URL?.trim() || 'http://localhost'],
      numberOfRuns: setting('RUNS', 5),
      settings: { ...settings, chromeFlags: chromeFlags.join(' ') },
    },
    assert: {
      assertions: {
        'categories:performance': ['error', { minScore: metrics.score.threshold / 100, aggregationMethod: 'median' }],
        'largest-contentful-paint': atMost(metrics.lcp.threshold),
        'cumulative-layout-shift': atMost(metrics.cls.threshold),
        interactive: atMost(metrics.tti.threshold),
        'total-blocking-time': atMost(metrics.tbt.goal, 'warn'),
      },
    },
    upload: { target: 'filesystem', outputDir: 'build/reports/lighthouse-ci' },
  },
};
