-- Refuses what would begin in a project that is being erased: SC004. The lock is shared by all that begins and is held
-- until it is committed; request_erasure takes it alone, so that an erasure sees what began before it, and what begins
-- later sees the erasure.
CREATE FUNCTION session_chain.refuse_erased() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock_shared(hashtextextended('session_chain erase ' || NEW.project_id::text, 0));
  IF EXISTS (SELECT FROM session_chain.erasures e WHERE e.project_id = NEW.project_id::text AND e.finished_at IS NULL) THEN
    RAISE EXCEPTION 'the project % is being erased', NEW.project_id USING ERRCODE = 'SC004';
  END IF;
  RETURN NEW;
END
$$;
CREATE TRIGGER refuse_erased BEFORE INSERT ON session_chain.chains
  FOR EACH ROW EXECUTE FUNCTION session_chain.refuse_erased();
CREATE TRIGGER refuse_erased_again BEFORE UPDATE OF status ON session_chain.chains
  FOR EACH ROW WHEN (NEW.closed_at IS NULL AND (OLD.closed_at IS NOT NULL OR (OLD.status = 'queued' AND NEW.status = 'running')))
  EXECUTE FUNCTION session_chain.refuse_erased();
CREATE TRIGGER refuse_erased BEFORE INSERT ON session_chain.sessions
  FOR EACH ROW EXECUTE FUNCTION session_chain.refuse_erased();
CREATE TRIGGER refuse_erased BEFORE INSERT ON session_chain.attempts
  FOR EACH ROW EXECUTE FUNCTION session_chain.refuse_erased();
CREATE TRIGGER refuse_erased BEFORE INSERT ON session_chain.workspaces
  FOR EACH ROW EXECUTE FUNCTION session_chain.refuse_erased();
CREATE TRIGGER refuse_erased BEFORE INSERT ON session_chain.archive_parts
  FOR EACH ROW EXECUTE FUNCTION session_chain.refuse_erased();
CREATE TRIGGER refuse_erased BEFORE INSERT OR UPDATE ON session_chain.project_retention
  FOR EACH ROW EXECUTE FUNCTION session_chain.refuse_erased();
CREATE TRIGGER refuse_erased BEFORE INSERT ON session_chain.session_transitions_archive
  FOR EACH ROW EXECUTE FUNCTION session_chain.refuse_erased();
CREATE TRIGGER refuse_erased BEFORE INSERT ON session_transitions
  FOR EACH ROW WHEN (NEW.seq IS NOT NULL) EXECUTE FUNCTION session_chain.refuse_erased();
CREATE TRIGGER refuse_erased BEFORE INSERT ON project_chat_log_minimal
  FOR EACH ROW WHEN (NEW.question_id IS NOT NULL) EXECUTE FUNCTION session_chain.refuse_erased();
CREATE TRIGGER refuse_erased_again BEFORE UPDATE OF state ON project_chat_log_minimal
  FOR EACH ROW WHEN (NEW.question_id IS NOT NULL AND NEW.state = 'asked' AND OLD.state = 'failed')
  EXECUTE FUNCTION session_chain.refuse_erased();
