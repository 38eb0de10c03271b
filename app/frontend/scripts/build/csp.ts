import { createHash } from 'node:crypto';
import policies from '../../csp.json' with { type: 'json' };

const INLINE_STYLE = /<style[^>]*>([\s\S]*?)<\/style>/g;
const INLINE_SCRIPT = /<script(?![^>]*\ssrc=)[^>]*>([\s\S]*?)<\/script>/g;
const FORBIDDEN = /\s(?:on[a-z]+|style)=/i;

function text(policy: Record<string, string>): string {
  return Object.entries(policy)
    .map(([directive, sources]) => `${directive} ${sources}`)
    .join('; ');
}

function hash(script: string): string {
  return `'sha256-${createHash('sha256').update(script).digest('base64')}'`;
}

/** What nginx says of every page: it is the same for all releases, so it cannot know the style that one has inlined. */
export const headerPolicy: string = text(policies.header);

/** What `html` says of itself: the rest, with a hash for each style that the build has inlined. */
export function pagePolicy(html: string): string {
  const hashes = [...html.matchAll(INLINE_STYLE)].map(([, style = '']) => hash(style));
  return text({ ...policies.page, 'style-src': [policies.page['style-src'], ...hashes].join(' ') });
}

/** `html` with its policy, in front of everything that the policy is about. */
export function withPolicy(html: string): string {
  const forbidden = FORBIDDEN.exec(html)?.[0];
  if (forbidden !== undefined) {
    throw new Error(`index.html has ${forbidden.trim()}, which its Content-Security-Policy forbids; move it to a file.`);
  }
  for (const [, script = ''] of html.matchAll(INLINE_SCRIPT)) {
    if (policies.header['script-src'].includes(hash(script))) continue;
    throw new Error(
      `The script that index.html has inline is none that its Content-Security-Policy allows. Was it changed? Then add ${hash(script)} to ` +
        'script-src, twice in csp.json and in nginx_content_security_policy; the hash before it stays until no release has that script.',
    );
  }
  const charset = /<meta charset="utf-8"\s*\/?>/;
  if (!charset.test(html)) throw new Error('index.html has no <meta charset="utf-8">, after which the policy belongs.');
  return html.replace(charset, `$&<meta http-equiv="Content-Security-Policy" content="${pagePolicy(html)}">`);
}
