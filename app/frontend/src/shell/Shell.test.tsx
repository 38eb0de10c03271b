import { act, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { FakeApi, makeDeal } from '../test/fakeApi';
import { FakeEventSource } from '../test/fakeEventSource';
import { renderApp } from '../test/renderApp';

let api: FakeApi;

beforeEach(() => {
  api = new FakeApi([makeDeal({ id: 1, name: 'Alpha' })]);
});

function link(name: string): HTMLElement {
  return within(screen.getByRole('navigation', { name: 'Pages' })).getByRole('link', { name });
}

const reads = (path: string) => api.sentTo('GET', path).length;

describe('the pages', () => {
  it('have titles, and the keyboard begins at the heading of the next one', async () => {
    const user = userEvent.setup();
    await renderApp('/');
    expect(document.title).toBe('Overview · Sixty Sales');
    expect(document.body).toHaveFocus();
    for (const name of ['Deals', 'Activities', 'Settings', 'Overview']) {
      await user.click(link(name));
      await waitFor(() => {
        expect(screen.getByRole('heading', { level: 1, name })).toHaveFocus();
      });
      expect(document.title).toBe(`${name} · Sixty Sales`);
      expect(link(name)).toHaveAttribute('aria-current', 'page');
    }
  });

  it('are skipped to', async () => {
    const user = userEvent.setup();
    await renderApp('/');
    await user.tab();
    expect(screen.getByRole('link', { name: 'Skip to the content' })).toHaveFocus();
    await user.keyboard('{Enter}');
    expect(screen.getByRole('main')).toHaveFocus();
  });

  it('say that an address leads nowhere', async () => {
    await renderApp('/nowhere');
    expect(screen.getByRole('link', { name: 'Go to the overview' })).toBeInTheDocument();
  });
});

describe('the release', () => {
  it('is shown, and a new one is offered until that is declined', async () => {
    const user = userEvent.setup();
    await renderApp('/');
    expect(await screen.findByText('r1')).toBeInTheDocument();
    expect(screen.queryByText(/new release/)).not.toBeInTheDocument();
    api.release = 'r2';
    await user.click(screen.getByRole('button', { name: 'Refresh' }));
    expect(await screen.findByText(/A new release is ready/)).toBeInTheDocument();
    expect(screen.getByRole('button', { name: 'Load it now' })).toBeInTheDocument();
    await user.click(screen.getByRole('button', { name: 'Later' }));
    expect(screen.queryByText(/new release/)).not.toBeInTheDocument();
    api.release = 'r3';
    await user.click(screen.getByRole('button', { name: 'Refresh' }));
    expect(await screen.findByText(/A new release is ready/)).toBeInTheDocument();
  });
});

describe('live updates', () => {
  it('read anew what an event concerns, and nothing else', async () => {
    await renderApp('/');
    await screen.findByText('1 open deal');
    act(() => {
      FakeEventSource.last.open();
    });
    expect(screen.getByText('Live')).toBeInTheDocument();
    await waitFor(() => {
      expect(reads('/api/summary')).toBe(2);
    });
    const revenue = reads('/api/revenue');
    api.deals.push(makeDeal({ id: 2 }));
    FakeEventSource.last.send('deal', { id: 2, stage: 'lead', kind: 'created' });
    expect(await screen.findByText('2 open deals')).toBeInTheDocument();
    expect(reads('/api/revenue')).toBe(revenue);
    expect(FakeEventSource.all).toHaveLength(1);
  });

  it('pause when nobody has looked for five minutes, and come back', async () => {
    await renderApp('/');
    await screen.findByText('1 open deal');
    const show = (state: DocumentVisibilityState) => {
      vi.spyOn(document, 'visibilityState', 'get').mockReturnValue(state);
      act(() => {
        document.dispatchEvent(new Event('visibilitychange'));
      });
    };
    vi.useFakeTimers();
    show('hidden');
    act(() => {
      vi.advanceTimersByTime(299_000);
    });
    expect(FakeEventSource.last.readyState).toBe(FakeEventSource.CONNECTING);
    act(() => {
      vi.advanceTimersByTime(2_000);
    });
    vi.useRealTimers();
    expect(FakeEventSource.last.readyState).toBe(FakeEventSource.CLOSED);
    expect(screen.getByText('Paused')).toBeInTheDocument();
    show('visible');
    expect(FakeEventSource.all).toHaveLength(2);
  });
});

describe('offline', () => {
  const keptAt = new Date(2020, 9, 24, 9, 5);

  it('says from when the figures are, and reads them anew once the server is back', async () => {
    const user = userEvent.setup();
    const kept = (body: unknown, at: Date) => () =>
      Response.json(body, { headers: { 'X-From-Cache': '1', Date: at.toUTCString() } });
    api.answer('GET /api/summary', kept({ open_count: 7, open_cents: 0, won_cents: 0, won_count: 0, win_rate: 0, average_cents: 0 }, keptAt));
    api.answer('GET /api/activities', kept({ items: [], page: 1, page_size: 5, total: 0 }, new Date(2020, 9, 24, 9, 30)));
    await renderApp('/');
    expect(await screen.findByText('7 open deals')).toBeInTheDocument();
    expect(await screen.findByText(/Figures from Oct 24, 09:05\./)).toBeInTheDocument();
    expect(screen.getByText('Offline')).toBeInTheDocument();
    api.restore('GET /api/summary');
    api.restore('GET /api/activities');
    await user.click(screen.getByRole('button', { name: 'Try now' }));
    expect(await screen.findByText('1 open deal')).toBeInTheDocument();
    expect(screen.queryByText(/Figures from/)).not.toBeInTheDocument();
  });

  it('does not take an old figure for a new one after a look at another page', async () => {
    const user = userEvent.setup();
    api.answer('GET /api/summary', () =>
      Response.json(
        { open_count: 7, open_cents: 0, won_cents: 0, won_count: 0, win_rate: 0, average_cents: 0 },
        { headers: { 'X-From-Cache': '1', Date: keptAt.toUTCString() } },
      ),
    );
    await renderApp('/');
    expect(await screen.findByText('7 open deals')).toBeInTheDocument();
    await user.click(link('Settings'));
    expect(await screen.findByRole('heading', { level: 1, name: 'Settings' })).toBeInTheDocument();
    expect(screen.queryByText(/Figures from/)).not.toBeInTheDocument();
    api.restore('GET /api/summary');
    await user.click(link('Overview'));
    expect(await screen.findByText('1 open deal')).toBeInTheDocument();
  });

  it('is over once the stream is back, without anybody asking', async () => {
    await renderApp('/');
    await screen.findByText('1 open deal');
    act(() => {
      FakeEventSource.last.open();
    });
    api.answer('GET /api/summary', () => Promise.reject(new TypeError('Failed to fetch')));
    FakeEventSource.last.send('deal', { id: 1, stage: 'lead', kind: 'created' });
    expect(await screen.findByText(/What is shown may be old/)).toBeInTheDocument();
    api.restore('GET /api/summary');
    act(() => {
      FakeEventSource.last.fail(false);
      FakeEventSource.last.open();
    });
    await waitFor(() => {
      expect(screen.queryByText(/What is shown may be old/)).not.toBeInTheDocument();
    });
  });

  it('says that nothing can be reached, and where that leaves each part', async () => {
    for (const path of ['summary', 'pipeline', 'revenue', 'activities']) {
      api.answer(`GET /api/${path}`, () => Promise.reject(new TypeError('Failed to fetch')));
    }
    await renderApp('/');
    expect(await screen.findByText(/What is shown may be old/)).toBeInTheDocument();
    expect(await screen.findAllByText('The server cannot be reached. Check the connection.')).toHaveLength(5);
  });
});
