-- The events of a chain's row: what its status became, and the steps that had nothing to do.
CREATE FUNCTION session_chain.event_of_chain() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
  v_head record;
  v_skipped record;
BEGIN
  IF NEW.status = 'queued' AND (TG_OP = 'INSERT' OR OLD.status <> 'queued') THEN
    PERFORM session_chain.write_event(NEW.project_id, NEW.version_id, NEW.build_id, NEW.id, 'chain.queued',
      jsonb_build_object('mode', NEW.mode, 'again', TG_OP = 'UPDATE'));
  END IF;
  IF NEW.status = 'running' AND (TG_OP = 'INSERT' OR NEW.opened_at IS DISTINCT FROM OLD.opened_at
      OR OLD.status NOT IN ('running', 'waiting')) THEN
    PERFORM session_chain.write_event(NEW.project_id, NEW.version_id, NEW.build_id, NEW.id, 'chain.opened',
      jsonb_build_object('origin', NEW.origin ->> 'kind', 'baseSessionId', NEW.base_session_id,
        'steps', coalesce(jsonb_path_query_array(NEW.plan, '$[*].name'), '[]')));
  END IF;
  IF TG_OP = 'UPDATE' THEN
    FOR v_skipped IN SELECT s.key AS step, s.value AS reason FROM jsonb_each(NEW.skipped) s
        WHERE OLD.skipped -> s.key IS DISTINCT FROM s.value LOOP
      PERFORM session_chain.write_event(NEW.project_id, NEW.version_id, NEW.build_id, NEW.id, 'step.skipped',
        jsonb_build_object('step', v_skipped.step, 'reason', v_skipped.reason));
    END LOOP;
  END IF;
  IF NEW.status = 'waiting' AND (TG_OP = 'INSERT' OR OLD.status <> 'waiting'
      OR (NEW.waiting_code, NEW.waiting_until) IS DISTINCT FROM (OLD.waiting_code, OLD.waiting_until)) THEN
    PERFORM session_chain.write_event(NEW.project_id, NEW.version_id, NEW.build_id, NEW.id, 'chain.waiting',
      jsonb_build_object('for', NEW.waiting_code,
        'until', to_char(NEW.waiting_until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')));
  END IF;
  IF NEW.closed_at IS NOT NULL AND (TG_OP = 'INSERT' OR OLD.closed_at IS NULL) THEN
    IF NEW.status = 'budget_exceeded' THEN
      PERFORM session_chain.write_event(NEW.project_id, NEW.version_id, NEW.build_id, NEW.id, 'budget.reached',
        jsonb_build_object('limit', (
          SELECT jsonb_build_object('limit', f.value #> '{reached,limit}', 'owner', f.value #> '{reached,owner}')
          FROM jsonb_each(NEW.failures) f WHERE f.value ? 'reached' LIMIT 1)));
    END IF;
    SELECT p.last_ai_session_id::text AS session_id, p.session_seq AS seq INTO v_head FROM projects p
      WHERE p.project_id = session_chain.project_key(NEW.project_id);
    PERFORM session_chain.write_event(NEW.project_id, NEW.version_id, NEW.build_id, NEW.id, 'chain.closed',
      jsonb_build_object('status', NEW.status, 'failureCode', session_chain.failure_code(NEW.result -> 'failure'),
        'headSessionId', v_head.session_id, 'headSeq', v_head.seq));
  END IF;
  IF TG_OP = 'UPDATE' AND OLD.status IN ('running', 'waiting') AND NEW.status NOT IN ('running', 'waiting') THEN
    PERFORM session_chain.tell_waiters(NEW.project_id);
  END IF;
  RETURN NULL;
END
$$;
CREATE TRIGGER event_of_new_chain AFTER INSERT ON session_chain.chains
  FOR EACH ROW EXECUTE FUNCTION session_chain.event_of_chain();
CREATE TRIGGER event_of_chain AFTER UPDATE OF status, opened_at, closed_at, waiting_until, waiting_code, skipped ON session_chain.chains
  FOR EACH ROW EXECUTE FUNCTION session_chain.event_of_chain();
