/**
 * Says of an answer that it is an old one (`Date` has its time). It is no longer an answer of the release that it
 * came from, so X-Release goes.
 */
export function markFromCache(response: Response | undefined): Response | undefined {
  if (response === undefined) return undefined;
  const headers = new Headers(response.headers);
  headers.set('X-From-Cache', '1');
  headers.delete('X-Release');
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
