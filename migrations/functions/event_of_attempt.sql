-- The events of an attempt of a step or of a question; that of a recorded operation or a rewind has only its move of the
-- head. One that waited has told its end already.
CREATE FUNCTION session_chain.event_of_attempt() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.chain IS NULL THEN
    IF TG_OP = 'INSERT' AND NEW.build_id LIKE 'chat:%' THEN
      PERFORM session_chain.write_event(NEW.project_id, NULL, NULL, NULL, 'question.started', jsonb_build_object(
        'questionId', substr(NEW.build_id, 6), 'attemptId', NEW.id::text, 'attempt', NEW.attempt, 'sessionId', NEW.session_id));
    END IF;
  ELSIF TG_OP = 'INSERT' THEN
    PERFORM session_chain.write_event(NEW.project_id, NEW.version_id, NEW.build_id, NEW.chain, 'step.started',
      jsonb_build_object('step', NEW.step, 'round', NEW.round, 'attemptId', NEW.id::text, 'attempt', NEW.attempt,
        'sessionId', NEW.session_id, 'baseSessionId', NEW.base_session_id));
  ELSIF NEW.state = 'committed' THEN
    PERFORM session_chain.write_event(NEW.project_id, NEW.version_id, NEW.build_id, NEW.chain, 'step.committed',
      jsonb_build_object('step', NEW.step, 'round', NEW.round, 'attemptId', NEW.id::text, 'attempt', NEW.attempt,
        'oldSessionId', NEW.result -> 'oldSessionId', 'newSessionId', NEW.result -> 'newSessionId',
        'seq', NEW.result -> 'seq', 'turns', NEW.result -> 'turns', 'usage', NEW.result -> 'usage',
        'costUsd', NEW.result -> 'costUsd', 'durationMs', NEW.result -> 'durationMs'));
  ELSE
    PERFORM session_chain.write_event(NEW.project_id, NEW.version_id, NEW.build_id, NEW.chain, 'step.failed',
      jsonb_build_object('step', NEW.step, 'round', NEW.round, 'attemptId', NEW.id::text, 'attempt', NEW.attempt,
        'code', session_chain.failure_code(NEW.failure), 'waits', NEW.state = 'waiting'));
  END IF;
  IF TG_OP = 'UPDATE' AND NEW.chain IS NOT NULL THEN
    PERFORM session_chain.tell_waiters(NEW.project_id);
  END IF;
  RETURN NULL;
END
$$;
CREATE TRIGGER event_of_new_attempt AFTER INSERT ON session_chain.attempts
  FOR EACH ROW WHEN (NEW.state = 'running') EXECUTE FUNCTION session_chain.event_of_attempt();
CREATE TRIGGER event_of_attempt AFTER UPDATE OF state ON session_chain.attempts
  FOR EACH ROW WHEN (OLD.state = 'running' AND NEW.state <> 'running') EXECUTE FUNCTION session_chain.event_of_attempt();
