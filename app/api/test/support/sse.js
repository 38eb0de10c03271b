import http from 'node:http';
import { after } from 'node:test';

/**
 * Opens an event stream and collects what comes: `events` ({ id, event, data }), `comments`, `retry`, `lastId` (as
 * EventSource keeps it) and `end` ('open', 'clean', or 'cut' when the response was not ended properly).
 */
export function openStream(port, { lastEventId, path = '/api/stream' } = {}) {
  return new Promise((resolve, reject) => {
    const headers = lastEventId === undefined ? {} : { 'last-event-id': String(lastEventId) };
    const sent = http.get({ host: '127.0.0.1', port, path, headers, agent: false }, (response) => {
      const stream = {
        status: response.statusCode, headers: response.headers, response,
        events: [], comments: 0, retry: [], lastId: lastEventId, end: 'open', body: '',
        of: (name) => stream.events.filter(({ event }) => event === name),
        close: () => sent.destroy(),
      };
      let rest = '';
      response.setEncoding('utf8');
      response.on('data', (chunk) => {
        stream.body += chunk;
        rest += chunk;
        const blocks = rest.split('\n\n');
        rest = blocks.pop();
        for (const block of blocks) {
          const event = {};
          for (const line of block.split('\n')) {
            const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
            if (field === '') stream.comments += 1;
            else if (field === 'retry') stream.retry.push(Number(value));
            else if (field === 'data') event.data = JSON.parse(value);
            else event[field] = field === 'id' ? Number(value) : value;
          }
          if (event.id !== undefined) stream.lastId = event.id;
          if (event.data !== undefined) stream.events.push({ ...event, at: performance.now() });
        }
      });
      response.on('close', () => {
        stream.end = response.complete ? 'clean' : 'cut';
        stream.endedAt = performance.now();
      });
      response.on('error', () => {}); // 'close' follows, and says 'cut'
      after(() => sent.destroy());
      resolve(stream);
    });
    sent.on('error', reject);
  });
}
