/** The stages of a deal, in the order of the sales process; the last two are its ends. */
export const STAGES = ['lead', 'qualified', 'proposal', 'negotiation', 'won', 'lost'] as const;

export type Stage = (typeof STAGES)[number];

export const OPEN_STAGES: readonly Stage[] = STAGES.slice(0, 4);

export const STAGE_LABELS: Record<Stage, string> = {
  lead: 'Lead',
  qualified: 'Qualified',
  proposal: 'Proposal',
  negotiation: 'Negotiation',
  won: 'Won',
  lost: 'Lost',
};

export function isStage(value: unknown): value is Stage {
  return STAGES.includes(value as Stage);
}

export interface Deal {
  id: number;
  name: string;
  company: string;
  owner: string;
  stage: Stage;
  amount_cents: number;
  /** Per cent, 0 to 100. */
  probability: number;
  /** A day, YYYY-MM-DD. */
  expected_close: string;
  created_at: string;
  updated_at: string;
}

export interface Page<T> {
  items: T[];
  page: number;
  page_size: number;
  total: number;
}

export interface NewDeal {
  name: string;
  company: string;
  owner: string;
  stage: Stage;
  amount_cents: number;
  probability: number;
  expected_close?: string;
}

export interface StageTotal {
  stage: Stage;
  count: number;
  amount_cents: number;
  /** The amount times the probability of each deal. */
  weighted_cents: number;
}

export interface RevenueMonth {
  /** YYYY-MM */
  month: string;
  won_cents: number;
  won_count: number;
  lost_count: number;
}

export interface Summary {
  open_count: number;
  open_cents: number;
  won_cents: number;
  won_count: number;
  /** Won of all closed deals, 0 to 1; 0 when none is closed. */
  win_rate: number;
  /** Mean amount of the won deals; 0 when there is none. */
  average_cents: number;
}

/** What a person logs, in the order of the form. */
export const LOGGED_TYPES = ['call', 'email', 'meeting', 'note', 'task'] as const;

/** A move of a deal is logged by the API itself. */
export const ACTIVITY_TYPES = [...LOGGED_TYPES, 'stage_change'] as const;

export type ActivityType = (typeof ACTIVITY_TYPES)[number];

export const ACTIVITY_LABELS: Record<ActivityType, string> = {
  call: 'Call',
  email: 'Email',
  meeting: 'Meeting',
  note: 'Note',
  task: 'Task',
  stage_change: 'Stage change',
};

export function isActivityType(value: unknown): value is ActivityType {
  return ACTIVITY_TYPES.includes(value as ActivityType);
}

export interface Activity {
  id: number;
  deal_id: number;
  deal_name: string;
  type: ActivityType;
  subject: string;
  owner: string;
  happened_at: string;
}

export interface NewActivity {
  deal_id: number;
  type: (typeof LOGGED_TYPES)[number];
  subject: string;
  owner: string;
  happened_at?: string;
}
