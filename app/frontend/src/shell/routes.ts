import type { ComponentType } from 'react';
import type { IconName } from '../ui/Icon';
import { part, type Part } from '../ui/useLazy';

export interface AppRoute {
  path: string;
  label: string;
  icon: IconName;
  page: Part<object>;
}

function route(path: string, label: string, icon: IconName, load: () => Promise<{ default: ComponentType }>): AppRoute {
  return { path, label, icon, page: part(load) };
}

export const ROUTES: readonly AppRoute[] = [
  route('/', 'Overview', 'overview', () => import('../overview/OverviewPage')),
  route('/deals', 'Deals', 'deals', () => import('../deals/DealsPage')),
  route('/activities', 'Activities', 'activities', () => import('../activities/ActivitiesPage')),
  route('/settings', 'Settings', 'settings', () => import('../settings/SettingsPage')),
];
