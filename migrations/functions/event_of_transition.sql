-- The event of a head that moved; none where a transition comes back from the archive.
CREATE FUNCTION session_chain.event_of_transition() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
  v_chain record;
BEGIN
  IF EXISTS (SELECT FROM session_chain.session_transitions_archive a WHERE a.project_id = NEW.project_id::text AND a.seq = NEW.seq) THEN
    RETURN NULL;
  END IF;
  SELECT c.id, c.build_id INTO v_chain FROM session_chain.attempts a JOIN session_chain.chains c ON c.id = a.chain
    WHERE a.id = NEW.attempt_id;
  PERFORM session_chain.write_event(NEW.project_id::text, NEW.version_id::text, v_chain.build_id, v_chain.id, 'head.moved',
    jsonb_build_object('seq', NEW.seq, 'oldSessionId', NEW.old_session_id::text, 'newSessionId', NEW.new_session_id::text,
      'source', NEW.source, 'rewoundTo', NEW.rewound_to));
  RETURN NULL;
END
$$;
CREATE TRIGGER event_of_transition AFTER INSERT ON session_transitions
  FOR EACH ROW WHEN (NEW.seq IS NOT NULL) EXECUTE FUNCTION session_chain.event_of_transition();
