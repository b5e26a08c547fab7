-- The events of a step that is an activity of the host; a call repeated after its answer was lost is the same call.
CREATE FUNCTION session_chain.event_of_activity() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
  v_chain session_chain.chains;
  v_step jsonb := jsonb_build_object('step', NEW.step, 'round', NEW.round, 'attemptId', NULL);
BEGIN
  SELECT * INTO v_chain FROM session_chain.chains c WHERE c.id = NEW.chain;
  IF NEW.state = 'running' THEN
    PERFORM session_chain.write_event(v_chain.project_id, v_chain.version_id, v_chain.build_id, v_chain.id, 'step.started',
      v_step || jsonb_build_object('attempt', NEW.calls, 'sessionId', NULL, 'baseSessionId', NULL));
  ELSIF NEW.state = 'completed' THEN
    PERFORM session_chain.write_event(v_chain.project_id, v_chain.version_id, v_chain.build_id, v_chain.id, 'step.completed', v_step);
  ELSE
    PERFORM session_chain.write_event(v_chain.project_id, v_chain.version_id, v_chain.build_id, v_chain.id, 'step.failed',
      v_step || jsonb_build_object('attempt', NEW.calls, 'waits', false,
        'code', CASE NEW.state WHEN 'cancelled' THEN 'CANCELLED' ELSE session_chain.failure_code(NEW.failure) END));
  END IF;
  RETURN NULL;
END
$$;
CREATE TRIGGER event_of_new_activity AFTER INSERT ON session_chain.activity_steps
  FOR EACH ROW EXECUTE FUNCTION session_chain.event_of_activity();
CREATE TRIGGER event_of_activity AFTER UPDATE OF state ON session_chain.activity_steps
  FOR EACH ROW WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION session_chain.event_of_activity();
