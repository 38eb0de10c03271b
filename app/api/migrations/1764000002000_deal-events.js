export const down = false;

// Every change of a deal is told to whoever listens, no matter which release or tool made it. Deferred to the commit
// and numbered under a lock, so that ids rise in the order of the commits: NOTIFY delivers in that order, and takes a
// lock of its own for it. The search path is fixed because pg_restore empties it.
export const up = (pgm) => {
  pgm.sql(`
    CREATE SEQUENCE deal_event_ids;
    CREATE FUNCTION notify_deal_event() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
    DECLARE
      deal deals := coalesce(NEW, OLD);
      kind text := CASE
        WHEN TG_OP = 'INSERT' THEN 'created'
        WHEN TG_OP = 'DELETE' THEN 'deleted'
        WHEN NEW.stage <> OLD.stage THEN 'moved'
        ELSE 'updated'
      END;
    BEGIN
      PERFORM pg_advisory_xact_lock(60600002);
      PERFORM pg_notify('deal_events', json_build_object(
        'event', nextval('deal_event_ids'), 'id', deal.id, 'stage', deal.stage, 'kind', kind)::text);
      RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER deals_events AFTER INSERT OR UPDATE OR DELETE ON deals
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION notify_deal_event();
  `);
};
